"""spec/devices/to.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

To = Callable[..., torch.Tensor]


def asked_to(wrong: Callable[..., torch.Tensor]) -> AbstractContextManager[None]:
    """Replace `tensor.to(*args, **kwargs)` by `wrong(to, tensor, *args, **kwargs)`."""

    def make(to: To) -> To:
        def replacement(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            return wrong(to, tensor, *args, **kwargs)

        return replacement

    return replaced(torch.Tensor, "to", make)


@wrong_engine("device-to-always-copies", kind="aliasing")
@contextmanager
def makes_another_tensor_in_any_case(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved is not tensor:
            return moved
        hit()
        return tensor.clone()

    with asked_to(wrong):
        yield


@wrong_engine("device-to-copies-views", kind="aliasing")
@contextmanager
def makes_another_tensor_of_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved is tensor and not tensor.is_contiguous():
            hit()
            return tensor.contiguous()
        return moved

    with asked_to(wrong):
        yield


@wrong_engine("device-to-moves-the-tensor", kind="aliasing")
@contextmanager
def converts_in_place(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved.device != tensor.device or moved.dtype == tensor.dtype:
            return moved
        hit()
        tensor.data = moved.detach()
        return tensor

    with asked_to(wrong):
        yield


@wrong_engine("device-to-reads-in-memory-order", kind="layout")
@contextmanager
def converts_a_transposed_matrix_as_it_lies(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        is_transposed = tensor.ndim == 2 and not tensor.is_contiguous() and tensor.t().is_contiguous()
        if moved.device != tensor.device or moved.dtype == tensor.dtype or not is_transposed:
            return moved
        hit()
        return moved.t().reshape(moved.shape)

    with asked_to(wrong):
        yield


@wrong_engine("device-meta-in-reverse", kind="plain")
@contextmanager
def reverses_the_dimensions_on_meta(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if tensor.is_meta or not moved.is_meta:
            return moved
        hit()
        return moved.permute(tuple(reversed(range(moved.ndim))))

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-when-different", kind="aliasing")
@contextmanager
def copies_only_what_has_to_change(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        if copy:
            hit()
        return to(tensor, *args, **kwargs)

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-of-expanded-is-a-view", kind="aliasing")
@contextmanager
def copies_no_expanded_tensor(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, copy=copy, **kwargs)
        is_expanded = 0 in tensor.stride() and tensor.numel() > 0
        if not copy or not is_expanded or (moved.device, moved.dtype) != (tensor.device, tensor.dtype):
            return moved
        hit()
        return tensor.view_as(tensor)

    with asked_to(wrong):
        yield
