"""spec/devices/between-devices.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tests.wrong_engines.devices.to import Hit, To, asked_to
from tests.wrong_engines.engine import wrong_engine


def _crossing(
    wrong: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *, back: bool = False
) -> AbstractContextManager[None]:
    """Let `wrong(tensor, moved)` change what `to()` takes from the CPU to a device; back: from a device to the CPU."""

    def replacement(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        ways = (tensor.device.type == "cpu", moved.device.type == "cpu")
        return wrong(tensor, moved) if ways == (back is False, back) else moved

    return asked_to(replacement)


def _is_transposed(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 2 and not tensor.is_contiguous() and tensor.t().is_contiguous()


@wrong_engine("device-arrives-in-memory-order", kind="layout")
@contextmanager
def sends_a_transposed_matrix_as_it_lies(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if not _is_transposed(tensor):
            return moved
        hit()
        return moved.t().reshape(moved.shape)

    with _crossing(wrong):
        yield


@wrong_engine("device-fetch-ignores-the-offset", kind="layout")
@contextmanager
def fetches_a_slice_from_the_start_of_its_storage(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.storage_offset() == 0 or tensor.requires_grad:
            return moved
        hit()
        return tensor.as_strided(tensor.shape, tensor.stride(), 0).cpu()

    with _crossing(wrong, back=True):
        yield


@wrong_engine("device-fetch-is-remembered", kind="state")
@contextmanager
def gives_what_it_fetched_before(hit: Hit) -> Iterator[None]:
    fetched: WeakKeyDictionary[torch.Tensor, torch.Tensor] = WeakKeyDictionary()

    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor in fetched:
            hit()
        return fetched.setdefault(tensor, moved)

    with _crossing(wrong, back=True):
        yield


@wrong_engine("device-gradient-stays-there", kind="size")
@contextmanager
def brings_no_gradient_of_0d_tensors_back(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.ndim != 0 or not tensor.requires_grad:
            return moved
        hit()
        return moved.detach().requires_grad_()

    with _crossing(wrong):
        yield


@wrong_engine("device-gradient-of-fetched-row-order", kind="layout")
@contextmanager
def sends_the_gradient_of_a_matrix_column_by_column(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 2 and moved.requires_grad:
            hit()
            moved.register_hook(lambda gradient: gradient.t().reshape(gradient.shape))
        return moved

    with _crossing(wrong, back=True):
        yield


@wrong_engine("device-send-ignores-the-offset", kind="layout", issue="pytorch#86052")
@contextmanager
def sends_a_slice_from_the_start_of_its_storage(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.storage_offset() == 0 or tensor.requires_grad:
            return moved
        hit()
        return tensor.as_strided(tensor.shape, tensor.stride(), 0).to(moved.device)

    with _crossing(wrong):
        yield


@wrong_engine("device-send-does-not-wait", kind="order", issue="pytorch#139550")
@contextmanager
def has_not_sent_the_end_when_not_to_wait(hit: Hit) -> Iterator[None]:
    def replacement(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if kwargs.get("non_blocking") and tensor.device.type == "cpu" != moved.device.type and moved.ndim > 0:
            hit()
            moved.detach()[..., -1:].fill_(5)
        return moved

    with asked_to(replacement):
        yield
