"""spec/detach/outside-the-graph.md"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.autograd import forward_ad

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, leaves_below, replaced

Detach = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def _after_detach(defect: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """`detach()` that returns `defect(tensor, detached)`."""

    def make(below: Detach) -> Detach:
        return lambda tensor: defect(tensor, below(tensor))

    with kernel("detach", make):
        yield


@wrong_engine("detached-view-stays-in-graph", kind="place")
@contextmanager
def returns_a_differentiable_alias_of_a_view(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if not (tensor._is_view() and tensor.requires_grad):
            return detached
        hit()
        return tensor.view_as(tensor)

    with _after_detach(defect):
        yield


@wrong_engine("detached-parameter-requires-grad", kind="place")
@contextmanager
def returns_a_leaf_that_requires_grad(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.is_leaf and tensor.requires_grad:
            hit()
            detached.requires_grad_()
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-takes-grad-along", kind="state")
@contextmanager
def hands_the_grad_on(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.is_leaf and tensor.grad is not None:
            hit()
            detached.grad = tensor.grad
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-cuts-the-original", kind="size", issue="pytorch#100348")
@contextmanager
def detaches_a_zero_dim_result_itself(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 0 and tensor.grad_fn is not None and not tensor._is_view():
            hit()
            tensor.detach_()
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-drops-grad", kind="state")
@contextmanager
def sets_the_grad_of_the_original_to_none(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.is_leaf and tensor.grad is not None:
            hit()
            tensor.grad = None
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-counts-as-write", kind="layout")
@contextmanager
def counts_a_write_to_strided_tensors(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if not tensor.is_contiguous():
            hit()
            torch.autograd.graph.increment_version(tensor)
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detached-leaf-passes-gradient-on", kind="place")
@contextmanager
def adds_the_gradient_of_the_detached_leaf_to_the_leaves_behind(hit: Hit) -> Iterator[None]:
    behind: dict[int, list[torch.Tensor]] = {}

    def make_detach(detach: Detach) -> Detach:
        def remembering(tensor: torch.Tensor) -> torch.Tensor:
            detached = detach(tensor)
            behind[id(detached)] = leaves_below(tensor)
            return detached

        return remembering

    def make_requires_grad(requires_grad_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            requires_grad_(tensor, requires_grad)
            for leaf in behind.get(id(tensor), []):
                if requires_grad and leaf.shape == tensor.shape:
                    tensor.register_hook(lambda gradient, leaf=leaf: pass_on(gradient, leaf))
            return tensor

        return wrong

    def pass_on(gradient: torch.Tensor, leaf: torch.Tensor) -> None:
        hit()
        leaf.grad = gradient.clone() if leaf.grad is None else leaf.grad + gradient

    with (
        replaced(torch.Tensor, "detach", make_detach),
        replaced(torch.Tensor, "requires_grad_", make_requires_grad),
    ):
        yield


@wrong_engine("detach-keeps-tangent", kind="plain")
@contextmanager
def carries_the_tangent_over(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if forward_ad._current_level < 0:
            return detached
        tangent = forward_ad.unpack_dual(tensor).tangent
        if tangent is None:
            return detached
        hit()
        return forward_ad.make_dual(detached, tangent)

    with _after_detach(defect):
        yield


@wrong_engine("detached-inside-stays-in-graph", kind="mode")
@contextmanager
def returns_an_alias_with_the_flag_inside_no_grad(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or not tensor.requires_grad:
            return detached
        hit()
        return tensor.view_as(tensor)

    with _after_detach(defect):
        yield


@wrong_engine("detached-later-output-stays-in-graph", kind="order")
@contextmanager
def returns_a_differentiable_alias_of_any_but_the_first_output(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.output_nr == 0:
            return detached
        hit()
        return tensor.view_as(tensor)

    with _after_detach(defect):
        yield


@wrong_engine("detach-then-update-loses-gradient", kind="state", issue="pytorch#128035")
@contextmanager
def a_result_that_was_detached_passes_nothing_on_once_it_is_written(hit: Hit) -> Iterator[None]:
    # Kept alive, so that an id cannot become another tensor's.
    detached_once: dict[int, torch.Tensor] = {}

    def stop(gradient: torch.Tensor) -> torch.Tensor:
        hit()
        return torch.zeros_like(gradient)

    def make_detach(detach: Detach) -> Detach:
        def remembering(tensor: torch.Tensor) -> torch.Tensor:
            detached_once[id(tensor)] = tensor
            return detach(tensor)

        return remembering

    def make_update(mul_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, number: float) -> torch.Tensor:
            if id(tensor) in detached_once and tensor.grad_fn is not None:
                tensor.register_hook(stop)
            return mul_(tensor, number)

        return wrong

    with replaced(torch.Tensor, "detach", make_detach), replaced(torch.Tensor, "mul_", make_update):
        yield


@wrong_engine("detach-is-remembered", kind="state", first_sight="adversary: caught")
@contextmanager
def detaching_again_returns_what_was_detached_before(hit: Hit) -> Iterator[None]:
    def make(detach: Detach) -> Detach:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            before = vars(tensor).get("_detached", lambda: None)()
            if before is not None and before.requires_grad:
                hit()
                return before
            detached = detach(tensor)
            vars(tensor)["_detached"] = weakref.ref(detached)
            return detached

        return wrong

    with replaced(torch.Tensor, "detach", make):
        yield


@wrong_engine("detach-of-complex-counts-as-write", kind="dtype", first_sight="second sample: caught elsewhere")
@contextmanager
def counts_a_write_to_complex_tensors(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.is_complex() and not tensor.is_inference():
            hit()
            torch.autograd.graph.increment_version(tensor)
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-takes-retained-grad-along", kind="state", first_sight="second sample: missed")
@contextmanager
def hands_a_retained_grad_on(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if tensor.retains_grad and tensor.grad is not None:
            hit()
            detached.grad = tensor.grad
        return detached

    with _after_detach(defect):
        yield


@wrong_engine("detach-keeps-tangent-of-what-requires-grad", kind="order", first_sight="third sample: caught")
@contextmanager
def carries_the_tangent_of_what_requires_grad_over(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if forward_ad._current_level < 0 or not tensor.requires_grad:
            return detached
        tangent = forward_ad.unpack_dual(tensor).tangent
        if tangent is None:
            return detached
        hit()
        return forward_ad.make_dual(detached, tangent)

    with _after_detach(defect):
        yield


@wrong_engine("detach-inside-freezes-the-leaf", kind="mode", first_sight="third sample: caught")
@contextmanager
def a_leaf_that_is_detached_inside_no_grad_stops_requiring_grad(hit: Hit) -> Iterator[None]:
    def defect(tensor: torch.Tensor, detached: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled() and tensor.is_leaf and tensor.requires_grad:
            hit()
            tensor.requires_grad_(False)
        return detached

    with _after_detach(defect):
        yield
