"""spec/modes/in-place-updates.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Update = Callable[..., torch.Tensor]


def _is_leaf_that_requires_grad(tensor: torch.Tensor) -> bool:
    return tensor.requires_grad and tensor.is_leaf


def _updating(
    name: str, inside: bool, applies: Callable[[torch.Tensor], bool], wrong: Callable[..., torch.Tensor]
) -> Any:
    """Replace the in-place method by `wrong(method, tensor, ...)` for some tensors, inside `no_grad()` or outside."""

    def make(update: Update) -> Update:
        def replacement(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if torch.is_grad_enabled() is not inside and applies(tensor):
                return wrong(update, tensor, *args, **kwargs)
            return update(tensor, *args, **kwargs)

        return replacement

    return replaced(torch.Tensor, name, make)


@wrong_engine("update-inside-drops-flag-0d", kind="size")
@contextmanager
def a_0d_leaf_loses_its_flag(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor, *args, **kwargs).requires_grad_(False)

    with _updating("sub_", True, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.ndim == 0, wrong):
        yield


@wrong_engine("update-inside-moves-memory", kind="layout")
@contextmanager
def a_leaf_with_an_offset_gets_new_memory(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        tensor.data = tensor.detach().clone()
        return update(tensor, *args, **kwargs)

    def starts_late(tensor: torch.Tensor) -> bool:
        return _is_leaf_that_requires_grad(tensor) and tensor.storage_offset() > 0

    with ExitStack() as methods:
        for name in ("sub_", "mul_", "neg_", "fill_", "zero_", "copy_"):
            methods.enter_context(_updating(name, True, starts_late, wrong))
        yield


@wrong_engine("update-inside-not-counted", kind="aliasing")
@contextmanager
def an_update_inside_leaves_the_version(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args, **kwargs)
        return tensor

    with _updating("sub_", True, lambda tensor: True, wrong):
        yield


@wrong_engine("update-inside-clears-grad", kind="state")
@contextmanager
def an_update_inside_clears_grad(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        tensor.grad = None
        return update(tensor, *args, **kwargs)

    with _updating(
        "zero_", True, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.grad is not None, wrong
    ):
        yield


@wrong_engine("update-outside-allowed-0d", kind="error")
@contextmanager
def a_0d_leaf_is_changed_in_grad_mode(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.no_grad():
            return update(tensor, *args, **kwargs)

    with _updating("sub_", False, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.ndim == 0, wrong):
        yield


IN_PLACE = ("__isub__", "__iadd__", "sub_", "mul_", "neg_", "fill_", "zero_", "copy_", "__setitem__")


@wrong_engine("update-outside-runs", kind="error")
@contextmanager
def a_leaf_is_changed_in_grad_mode_as_inside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.no_grad():
            return update(tensor, *args, **kwargs)

    with ExitStack() as methods:
        for name in IN_PLACE:
            methods.enter_context(_updating(name, False, _is_leaf_that_requires_grad, wrong))
        yield


@wrong_engine("update-outside-destroys-graph", kind="error")
@contextmanager
def a_leaf_changed_in_grad_mode_is_cut_out_of_its_graphs(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor.requires_grad_(False), *args, **kwargs)

    with ExitStack() as methods:
        for name in IN_PLACE:
            methods.enter_context(_updating(name, False, _is_leaf_that_requires_grad, wrong))
        yield


@wrong_engine("update-refused-after-writing", kind="error", issue="pytorch#2940")
@contextmanager
def a_refused_update_has_been_written(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args, **kwargs)
        return update(tensor, *args, **kwargs)

    with _updating("mul_", False, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-refused-counts-version", kind="error")
@contextmanager
def a_refused_update_has_been_counted(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        torch.autograd.graph.increment_version(tensor)
        return update(tensor, *args, **kwargs)

    with _updating("fill_", False, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-inside-recorded", kind="place")
@contextmanager
def an_update_of_a_result_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.enable_grad():
            return update(tensor, *args, **kwargs)

    with _updating("mul_", True, lambda tensor: tensor.grad_fn is not None, wrong):
        yield
