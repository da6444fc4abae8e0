"""spec/leaves/switching.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

Instead = Callable[[torch.Tensor], bool]


@contextmanager
def _switching_off(instead: Instead, by: tuple[str, ...] = ("assignment", "method")) -> Iterator[None]:
    """Switching a tensor off asks `instead(tensor)`, and is done as it should be where that returns False."""

    def make_attribute(honest: Any) -> property:
        def write(tensor: torch.Tensor, flag: bool) -> None:
            if flag or "assignment" not in by or not instead(tensor):
                honest.__set__(tensor, flag)

        return property(honest.__get__, write)

    def make_method(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if requires_grad or "method" not in by or not instead(tensor):
                return honest(tensor, requires_grad)
            return tensor

        return wrong

    with replaced(torch.Tensor, "requires_grad", make_attribute), replaced(torch.Tensor, "requires_grad_", make_method):
        yield


@wrong_engine("leaf-flag-reaches-back")
@contextmanager
def results_follow_the_flags_of_their_leaves(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> bool:
            if tensor.grad_fn is None or any(honest.__get__(leaf) for leaf in leaves_below(tensor)):
                return bool(honest.__get__(tensor))
            hit()
            return False

        return property(read, honest.__set__)

    with replaced(torch.Tensor, "requires_grad", make):
        yield


@wrong_engine("leaf-stays-on")
@contextmanager
def assignment_does_not_switch_off_0d_leaves(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.ndim == 0 and tensor.is_leaf and tensor.requires_grad:
            hit()
            return True
        return False

    with _switching_off(instead, by=("assignment",)):
        yield


@wrong_engine("leaf-switch-detaches-results")
@contextmanager
def detaches_results_in_place(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or tensor._is_view():
            return False
        hit()
        tensor.detach_()
        return True

    with _switching_off(instead):
        yield


@wrong_engine("leaf-switch-ignored-on-views")
@contextmanager
def ignores_that_views_are_switched_off(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or not tensor._is_view():
            return False
        hit()
        return True

    with _switching_off(instead):
        yield


@wrong_engine("leaf-switch-refused-too-late")
@contextmanager
def detaches_results_before_it_refuses(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or tensor._is_view():
            return False
        hit()
        tensor.detach_()
        raise RuntimeError("you can only change requires_grad flags of leaf variables.")

    with _switching_off(instead):
        yield


@wrong_engine("leaf-off-still-fed")
@contextmanager
def feeds_leaves_that_were_switched_off(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        off = [leaf for leaf in leaves_below(outputs) if not leaf.requires_grad]
        for leaf in off:
            hit()
            leaf.requires_grad_()
        honest()
        for leaf in off:
            leaf.requires_grad_(False)

    with around_backward(wrong):
        yield
