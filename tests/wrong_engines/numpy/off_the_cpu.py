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


@wrong_engine("off-cpu-refusal-detaches", kind="error")
@contextmanager
def refuses_and_stops_recording(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            try:
                return numpy(tensor, force=force)
            except TypeError:
                if tensor.requires_grad and tensor.is_leaf:
                    hit()
                    tensor.requires_grad_(False)
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


@wrong_engine("force-detaches-off-cpu", kind="place")
@contextmanager
def detaches_the_leaf_by_force(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            array = numpy(tensor, force=force)
            if force and _is_elsewhere(tensor) and tensor.is_leaf and tensor.requires_grad:
                hit()
                tensor.requires_grad_(False)
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


@wrong_engine("sent-in-memory-order", kind="layout")
@contextmanager
def sends_elements_as_they_lie(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
            if _is_sent(data, device) and data.ndim > 1 and data.flags.f_contiguous and not data.flags.c_contiguous:
                hit()
                data = data.T.reshape(data.shape)
            return asarray(data, device=device, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield
