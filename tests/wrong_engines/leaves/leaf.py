"""spec/leaves/leaf.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _is_leaf(wrong: Callable[[torch.Tensor, bool], bool]) -> Any:
    """`is_leaf` that says `wrong(tensor, the truth)`."""

    def make(honest: Any) -> property:
        return property(lambda tensor: wrong(tensor, honest.__get__(tensor)))

    return replaced(torch.Tensor, "is_leaf", make)


@wrong_engine("leaf-means-requires-grad")
@contextmanager
def only_what_requires_grad_is_a_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if truth and not tensor.requires_grad:
            hit()
            return False
        return truth

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-includes-views")
@contextmanager
def a_view_of_a_leaf_is_a_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if not truth and tensor._is_view() and tensor._base is not None and tensor._base.grad_fn is None:
            hit()
            return True
        return truth

    with _is_leaf(wrong):
        yield


def _new_leaf(result: torch.Tensor) -> torch.Tensor:
    return result.detach().requires_grad_()


@wrong_engine("leaf-copy-is-a-leaf")
@contextmanager
def copying_a_leaf_by_to_gives_a_leaf(hit: Hit) -> Iterator[None]:
    def make(to: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = to(tensor, *args, **kwargs)
            if tensor.is_leaf and result.requires_grad and result is not tensor:
                hit()
                return _new_leaf(result)
            return result

        return wrong

    with replaced(torch.Tensor, "to", make):
        yield


@wrong_engine("leaf-clone-of-0d-is-a-leaf")
@contextmanager
def cloning_a_0d_leaf_gives_a_leaf(hit: Hit) -> Iterator[None]:
    def make(clone: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = clone(tensor, *args, **kwargs)
            if tensor.ndim == 0 and tensor.is_leaf and result.requires_grad:
                hit()
                return _new_leaf(result)
            return result

        return wrong

    with replaced(torch.Tensor, "clone", make):
        yield
