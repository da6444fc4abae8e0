"""spec/detach/data-attribute.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, kernel, leaves_below, replaced


@contextmanager
def _data(
    get: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda tensor, honest: honest,
    after_set: Callable[[torch.Tensor], None] = lambda tensor: None,
) -> Iterator[None]:
    """`.data` that reads as `get(tensor, honest)` and runs `after_set(tensor)` once it was assigned to."""

    def make(honest: Any) -> property:
        def assign(tensor: torch.Tensor, new: torch.Tensor) -> None:
            honest.__set__(tensor, new)
            after_set(tensor)

        return property(lambda tensor: get(tensor, honest.__get__(tensor)), assign)

    with replaced(torch.Tensor, "data", make):
        yield


@wrong_engine("data-copies-expanded", kind="layout")
@contextmanager
def copies_expanded_tensors(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if 0 not in tensor.stride():
            return honest
        hit()
        return honest.clone()

    with _data(get):
        yield


@wrong_engine("data-of-views-requires-grad", kind="place")
@contextmanager
def returns_a_differentiable_alias_of_a_view(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if not (tensor._is_view() and tensor.requires_grad):
            return honest
        hit()
        return tensor.view_as(tensor)

    with _data(get):
        yield


@wrong_engine("data-assignment-makes-constant", kind="plain")
@contextmanager
def stops_a_leaf_from_requiring_grad(hit: Hit) -> Iterator[None]:
    def after_set(tensor: torch.Tensor) -> None:
        if tensor.is_leaf and tensor.requires_grad:
            hit()
            tensor.requires_grad_(False)

    with _data(after_set=after_set):
        yield


@wrong_engine("data-is-detach", kind="aliasing")
@contextmanager
def shares_the_version_counter(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        hit()
        return tensor.detach()

    with _data(get):
        yield


@wrong_engine("squares-save-a-copy", kind="aliasing")
@contextmanager
def computes_with_the_old_values(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(tensor.clone())
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * 2 * ctx.saved_tensors[0]

    def make(mul: Any) -> Any:
        return lambda tensor, other: Square.apply(tensor) if other is tensor else mul(tensor, other)

    with replaced(torch.Tensor, "__mul__", make):
        yield


@contextmanager
def _after_backward(defect: Callable[[torch.Tensor, torch.Tensor | None, bool], None]) -> Iterator[None]:
    """`backward()` that runs `defect(leaf, its .grad before, create_graph)` for each leaf."""

    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, create_graph: bool = False, **kwargs: Any) -> None:
            grads = [(leaf, leaf.grad) for leaf in leaves_below(tensor)]
            backward(tensor, *args, create_graph=create_graph, **kwargs)
            for leaf, earlier in grads:
                defect(leaf, earlier, create_graph)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("second-grad-requires-grad", kind="state")
@contextmanager
def records_the_sum_with_an_earlier_grad(hit: Hit) -> Iterator[None]:
    def defect(leaf: torch.Tensor, earlier: torch.Tensor | None, create_graph: bool) -> None:
        if earlier is not None and not create_graph:
            hit()
            leaf.grad.requires_grad_()

    with _after_backward(defect):
        yield


@wrong_engine("create-graph-forgotten", kind="plain")
@contextmanager
def leaves_a_grad_that_is_cut_off(hit: Hit) -> Iterator[None]:
    def defect(leaf: torch.Tensor, earlier: torch.Tensor | None, create_graph: bool) -> None:
        if create_graph:
            hit()
            leaf.grad = leaf.grad.detach()

    with _after_backward(defect):
        yield


@wrong_engine("data-widens-float16", kind="dtype")
@contextmanager
def reads_float16_as_float32(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is not torch.float16:
            return honest
        hit()
        return honest.float()

    with _data(get):
        yield


@wrong_engine("data-inside-is-detach", kind="mode")
@contextmanager
def shares_the_version_counter_inside_no_grad(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return honest
        hit()
        return tensor.detach()

    with _data(get):
        yield


@wrong_engine("data-is-remembered", kind="state", first_sight="adversary: missed")
@contextmanager
def data_still_names_the_memory_that_was_replaced(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        first = vars(tensor).setdefault("_first_data", honest)
        if first.data_ptr() == honest.data_ptr() and first.shape == honest.shape and first.stride() == honest.stride():
            return honest
        hit()
        return torch.Tensor.detach(first)

    with _data(get):
        yield


@wrong_engine("create-graph-marks-constants", kind="mode", first_sight="adversary: missed")
@contextmanager
def every_grad_made_under_create_graph_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs) if options.get("create_graph") else ():
            if leaf.grad is not None and not leaf.grad.requires_grad:
                hit()
                leaf.grad.requires_grad_()

    with around_backward(wrong):
        yield


@wrong_engine("data-begins-with-the-storage", kind="layout", first_sight="second sample: caught")
@contextmanager
def data_of_a_part_begins_where_the_storage_does(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if not tensor.storage_offset():
            return honest
        hit()
        return honest.as_strided(honest.shape, honest.stride(), 0)

    with _data(get):
        yield


@wrong_engine("data-of-double-counts-writes", kind="dtype", first_sight="third sample: caught")
@contextmanager
def detaches_double_precision(hit: Hit) -> Iterator[None]:
    def get(tensor: torch.Tensor, honest: torch.Tensor) -> torch.Tensor:
        if tensor.dtype != torch.float64:
            return honest
        hit()
        return tensor.detach()

    with _data(get):
        yield


@wrong_engine("sine-differentiated-ahead", kind="plain", first_sight="fourth sample: missed")
@contextmanager
def computes_the_cosine_ahead(hit: Hit) -> Iterator[None]:
    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor, below: Callable[..., torch.Tensor]) -> torch.Tensor:
            ctx.save_for_backward(tensor)
            ctx.cosine = tensor.detach().cos()
            return below(tensor)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            (tensor,) = ctx.saved_tensors
            now = tensor.cos()
            if ((now == ctx.cosine) | now.isnan()).all():
                return gradient * now.conj(), None
            hit()
            return gradient * ctx.cosine.conj(), None

    with kernel("sin", lambda below: lambda tensor: Sine.apply(tensor, below)):
        yield
