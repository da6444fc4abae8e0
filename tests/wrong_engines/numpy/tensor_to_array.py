"""spec/numpy/tensor-to-array.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Change = Callable[[torch.Tensor, np.ndarray], np.ndarray]


@contextmanager
def _arrays_changed(change: Change) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            return change(tensor, numpy(tensor, force=force))

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("numpy-copies-stepped", kind="layout")
@contextmanager
def copies_what_has_gaps(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if tensor.is_contiguous():
            return array
        hit()
        return array.copy()

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-forgets-offset", kind="layout")
@contextmanager
def starts_where_the_storage_starts(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            if tensor.is_contiguous() and tensor.storage_offset() > 0:
                hit()
                tensor = tensor.as_strided(tensor.shape, tensor.stride(), 0)
            return numpy(tensor, force=force)

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("numpy-copies-from-second-call", kind="state")
@contextmanager
def copies_what_has_an_array_already(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if not hasattr(tensor, "has_an_array"):
            tensor.has_an_array = True  # type: ignore[attr-defined]
            return array
        hit()
        return array.copy()

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-widens-half", kind="dtype")
@contextmanager
def widens_half_precision(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if tensor.dtype != torch.float16:
            return array
        hit()
        return array.astype(np.float32)

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-flattens-0d", kind="size")
@contextmanager
def adds_a_dimension_to_none(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if tensor.ndim:
            return array
        hit()
        return array.reshape(1)

    with _arrays_changed(change):
        yield


@wrong_engine("array-protocol-copies-0d", kind="size")
@contextmanager
def copies_0d_for_the_protocol(hit: Hit) -> Iterator[None]:
    def make(protocol: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> np.ndarray:
            array = protocol(tensor, *args, **kwargs)
            if tensor.ndim:
                return array
            hit()
            return array.copy()

        return wrong

    with replaced(torch.Tensor, "__array__", make):
        yield


@wrong_engine("array-protocol-ignores-dtype", kind="dtype")
@contextmanager
def ignores_the_dtype_of_the_protocol(hit: Hit) -> Iterator[None]:
    def make(protocol: Any) -> Any:
        def wrong(tensor: torch.Tensor, dtype: Any = None, **kwargs: Any) -> np.ndarray:
            if dtype is not None:
                hit()
            return protocol(tensor, **kwargs)

        return wrong

    with replaced(torch.Tensor, "__array__", make):
        yield


@wrong_engine("numpy-copies-above-sixteen", kind="size")
@contextmanager
def copies_more_than_sixteen_elements(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if tensor.numel() <= 16:
            return array
        hit()
        return array.copy()

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-copies-after-a-write", kind="state")
@contextmanager
def copies_what_has_been_written_to(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if tensor.is_inference() or not tensor._version:
            return array
        hit()
        return array.copy()

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-read-only-expanded", kind="layout")
@contextmanager
def makes_an_overlapping_array_read_only(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        if 0 not in tensor.stride():
            return array
        hit()
        array.flags.writeable = False
        return array

    with _arrays_changed(change):
        yield


@wrong_engine("numpy-remembers-the-first-shape", kind="state", first_sight="adversary: missed")
@contextmanager
def gives_the_shape_that_the_tensor_had_at_the_first_call(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            right = numpy(tensor, force=force)
            now = tensor.untyped_storage().data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset()
            first = tensor.__dict__.setdefault("_first", now)
            if first[0] != now[0] or first[1:] == now[1:]:
                return right
            hit()
            return numpy(tensor.as_strided(*first[1:]), force=force)

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("numpy-dimensions-in-memory-order", kind="layout", first_sight="second sample: caught")
@contextmanager
def orders_dimensions_by_their_strides(hit: Hit) -> Iterator[None]:
    def change(tensor: torch.Tensor, array: np.ndarray) -> np.ndarray:
        order = sorted(range(array.ndim), key=lambda dim: -abs(array.strides[dim]))
        if array.size < 2 or order == list(range(array.ndim)):
            return array
        hit()
        return array.transpose(order)

    with _arrays_changed(change):
        yield
