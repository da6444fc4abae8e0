"""spec/detach/in-place.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, nodes_below, replaced

InPlace = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def _detach_in_place(wrong: Callable[[torch.Tensor, InPlace], torch.Tensor]) -> Iterator[None]:
    """`detach_()` that is `wrong(tensor, honest)`."""
    with replaced(torch.Tensor, "detach_", lambda honest: lambda tensor: wrong(tensor, honest)):
        yield


@wrong_engine("detach-in-place-returns-another", kind="aliasing")
@contextmanager
def returns_an_alias(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        hit()
        return honest(tensor).detach()

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-moves-memory", kind="layout")
@contextmanager
def moves_strided_tensors(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        honest(tensor)
        if not tensor.is_contiguous():
            hit()
            tensor.data = tensor.clone()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-skips-leaves", kind="place")
@contextmanager
def leaves_leaves_alone(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            return honest(tensor)
        hit()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-cuts-earlier-results", kind="place")
@contextmanager
def stops_the_gradient_of_earlier_results(hit: Hit) -> Iterator[None]:
    def stop(gradient: torch.Tensor) -> torch.Tensor:
        hit()
        return torch.zeros_like(gradient)

    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if tensor.grad_fn is not None:
            tensor.register_hook(stop)
        return honest(tensor)

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-keeps-recording", kind="size")
@contextmanager
def makes_a_zero_dim_result_a_leaf_that_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        recorded = tensor.requires_grad and tensor.dim() == 0
        honest(tensor)
        if recorded:
            hit()
            tensor.requires_grad_()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-tolerates-plain-views", kind="error")
@contextmanager
def does_nothing_for_a_view_outside_of_the_graph(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if tensor.requires_grad or not tensor._is_view():
            return honest(tensor)
        hit()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-refuses-too-late", kind="error")
@contextmanager
def refuses_a_view_after_counting_a_write(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if tensor._is_view():
            hit()
            torch.autograd.graph.increment_version(tensor)
        return honest(tensor)

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-keeps-flag", kind="plain", issue="pytorch#176854")
@contextmanager
def a_result_goes_on_saying_that_it_requires_grad(hit: Hit) -> Iterator[None]:
    # Kept alive, so that an id cannot become another tensor's.
    detached: dict[int, torch.Tensor] = {}

    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if tensor.grad_fn is not None:
            detached[id(tensor)] = tensor
        return honest(tensor)

    def make(flag: Any) -> property:
        def read(tensor: torch.Tensor) -> bool:
            if id(tensor) not in detached:
                return bool(flag.__get__(tensor))
            hit()
            return True

        return property(read, flag.__set__)

    with _detach_in_place(wrong), replaced(torch.Tensor, "requires_grad", make):
        yield


@wrong_engine("detach-in-place-inside-does-nothing", kind="mode")
@contextmanager
def leaves_results_alone_inside_no_grad(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if torch.is_grad_enabled() or tensor.grad_fn is None:
            return honest(tensor)
        hit()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-refuses-by-value-error", kind="error")
@contextmanager
def refuses_with_another_type_of_error(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        try:
            return honest(tensor)
        except RuntimeError as refusal:
            hit()
            raise ValueError(str(refusal)) from refusal

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-tolerates-later-output", kind="order")
@contextmanager
def copies_a_view_that_is_not_the_first_of_its_operation(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        if tensor.output_nr == 0:
            return honest(tensor)
        hit()
        return tensor.detach()

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-tolerates-whole-views", kind="aliasing", first_sight="adversary: caught")
@contextmanager
def does_nothing_to_a_view_that_is_all_of_its_base(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        base = tensor._base if tensor._is_view() else None
        if base is None or (tensor.shape, tensor.stride()) != (base.shape, base.stride()):
            return honest(tensor)
        hit()
        return tensor

    with _detach_in_place(wrong):
        yield


@wrong_engine("detach-in-place-detaches-the-base", kind="plain", first_sight="second sample: caught")
@contextmanager
def detaches_the_base_of_a_view_that_it_refuses(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        try:
            return honest(tensor)
        except RuntimeError:
            if tensor._base is not None and tensor._base.requires_grad:
                hit()
                honest(tensor._base)
            raise

    with _detach_in_place(wrong):
        yield


VIEWS = (
    *("View", "UnsafeView", "ReshapeAlias", "Alias", "AsStrided", "Expand", "Unsqueeze", "Squeeze"),
    *("T", "Transpose", "Permute", "Select", "Slice", "Split", "Unbind", "Diagonal"),
)


"""The beginnings, as far as "Backward", of the names of nodes of views."""


@wrong_engine("detach-in-place-cuts-earlier-views", kind="place", first_sight="fourth sample: caught")
@contextmanager
def views_taken_before_pass_nothing_any_more(hit: Hit) -> Iterator[None]:
    # Nodes are kept, so that an id cannot become another node's.
    detached: list[Any] = []

    def detach(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        node = tensor.grad_fn
        honest(tensor)
        if node is not None:
            detached.append(node)
        return tensor

    def stop(gradients: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(one is not None and one.any() for one in gradients):
            hit()
        return tuple(None if one is None else torch.zeros_like(one) for one in gradients)

    def backward(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        views = [node for node in nodes_below(outputs) if node.name().split("Backward")[0] in VIEWS]
        cut = [view for view in views if any(view.next_functions[0][0] is node for node in detached)]
        handles = [view.register_hook(stop) for view in cut]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    with _detach_in_place(detach), around_backward(backward):
        yield


@wrong_engine(
    "detach-in-place-skips-results-of-a-constant-first-operand",
    kind="order",
    first_sight="fourth sample: caught elsewhere",
)
@contextmanager
def leaves_a_result_alone_whose_first_operand_is_a_constant(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, honest: InPlace) -> torch.Tensor:
        edges = tensor.grad_fn.next_functions if tensor.grad_fn is not None else ()
        if tensor._is_view() or not edges or edges[0][0] is not None:
            return honest(tensor)
        hit()
        return tensor

    with _detach_in_place(wrong):
        yield
