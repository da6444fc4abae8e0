"""spec/numpy/off-the-cpu.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _is_elsewhere(tensor: torch.Tensor) -> bool:
    return tensor.device.type != "cpu"


def _is_sent(data: Any, device: Any) -> bool:
    return isinstance(data, np.ndarray) and device is not None and torch.device(device).type != "cpu"


@wrong_engine("numpy-fetches", kind="error")
@contextmanager
def fetches_without_being_asked(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            if force or not _is_elsewhere(tensor):
                return numpy(tensor, force=force)
            hit()
            return numpy(tensor, force=True)

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("off-cpu-refusal-drops-grad", kind="error")
@contextmanager
def refuses_and_drops_the_gradient(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            try:
                return numpy(tensor, force=force)
            except TypeError:
                if tensor.is_leaf and tensor.grad is not None:
                    hit()
                    tensor.grad = None
                raise

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("fetch-forgets-offset", kind="layout")
@contextmanager
def fetches_from_the_start_of_the_storage(hit: Hit) -> Iterator[None]:
    def make(cpu: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if _is_elsewhere(tensor) and tensor.storage_offset() > 0:
                hit()
                tensor = tensor.as_strided(tensor.shape, tensor.stride(), 0)
            return cpu(tensor, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "cpu", make):
        yield


@wrong_engine("fetch-counts-as-write", kind="aliasing")
@contextmanager
def counts_a_fetch_as_a_write(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            array = numpy(tensor, force=force)
            if force and _is_elsewhere(tensor) and tensor.is_contiguous():
                hit()
                tensor.detach().mul_(1)
            return array

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("device-argument-ignored", kind="plain")
@contextmanager
def stays_on_the_cpu(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
            if _is_sent(data, device):
                hit()
                device = None
            return as_tensor(data, dtype=dtype, device=device)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("sent-in-memory-order", kind="layout", issue="pytorch#79383")
@contextmanager
def sends_elements_as_they_lie(hit: Hit) -> Iterator[None]:
    def make(to: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if _is_elsewhere(tensor) or tensor.is_contiguous():
                return to(tensor, *args, **kwargs)
            turned = tensor.permute(*reversed(range(tensor.ndim)))
            if not turned.is_contiguous():
                return to(tensor, *args, **kwargs)
            hit()
            return to(turned.reshape(tensor.shape), *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "to", make):
        yield


@wrong_engine("sent-without-the-gaps", kind="layout", issue="pytorch#85967")
@contextmanager
def sends_what_lies_between_the_elements(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
            descending = _is_sent(data, device) and list(data.strides) == sorted(data.strides, reverse=True)
            if descending and data.size and 0 not in data.strides and not data.flags.c_contiguous:
                hit()
                strides = np.empty(data.shape, data.dtype).strides
                data = np.lib.stride_tricks.as_strided(data, strides=strides)
            return tensor(data, device=device, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("fetch-loses-the-end", kind="size")
@contextmanager
def fetches_whole_blocks_of_four(hit: Hit) -> Iterator[None]:
    def make(cpu: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            fetched = cpu(tensor, *args, **kwargs)
            end = tensor.numel() % 4
            if not _is_elsewhere(tensor) or tensor.numel() < 16 or not end or not fetched.is_contiguous():
                return fetched
            hit()
            fetched.detach().view(-1)[-end:] = 0
            return fetched

        return wrong

    with replaced(torch.Tensor, "cpu", make):
        yield
