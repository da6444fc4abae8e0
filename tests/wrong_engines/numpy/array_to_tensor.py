"""spec/numpy/array-to-tensor.md"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray)


@wrong_engine("from-numpy-copies-fortran", kind="layout")
@contextmanager
def copies_what_is_not_in_c_order(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            if array.ndim < 2 or array.flags.c_contiguous:
                return from_numpy(array)
            hit()
            return from_numpy(array.copy(order="C"))

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("from-numpy-default-dtype", kind="dtype")
@contextmanager
def takes_the_default_dtype(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            if array.dtype not in (np.float64, np.complex128):
                return from_numpy(array)
            hit()
            like = torch.empty(0) if array.dtype == np.float64 else torch.view_as_complex(torch.empty(0, 2))
            return from_numpy(array).to(like.dtype)

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("as-tensor-copies-one-element", kind="size")
@contextmanager
def copies_a_single_number(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and data.size == 1:
                hit()
                data = data.copy()
            return as_tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("asarray-copies-overlapping", kind="layout")
@contextmanager
def copies_what_overlaps(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and data.size and 0 in data.strides:
                hit()
                data = data.copy()
            return asarray(data, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("asarray-records", kind="plain")
@contextmanager
def records_what_comes_from_asarray(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            tensor = asarray(data, **kwargs)
            if not _is_array(data) or not tensor.is_floating_point():
                return tensor
            hit()
            return tensor.requires_grad_()

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("tensor-shares-contiguous", kind="aliasing")
@contextmanager
def shares_a_contiguous_array(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if not _is_array(data) or not data.flags.c_contiguous:
                return tensor(data, **kwargs)
            hit()
            return torch.as_tensor(data, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("asarray-ignores-copy-of-views", kind="aliasing")
@contextmanager
def shares_a_view_in_spite_of_copy(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and data.base is not None and kwargs.pop("copy", None):
                hit()
                return torch.as_tensor(data, **kwargs)
            return asarray(data, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("as-tensor-reinterprets", kind="dtype")
@contextmanager
def reads_bytes_as_another_dtype(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, dtype: Any = None, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and dtype is not None:
                tensor = as_tensor(data, **kwargs)
                if tensor.dtype != dtype and tensor.element_size() == torch.empty(0, dtype=dtype).element_size():
                    hit()
                    return tensor.view(dtype)
            return as_tensor(data, dtype=dtype, **kwargs)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("asarray-converts-without-copy", kind="error")
@contextmanager
def copies_in_spite_of_copy_false(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, *, copy: Any = None, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and copy is False and kwargs.get("dtype") is not None:
                hit()
                copy = None
            return asarray(data, copy=copy, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield


def _outgrows(tensor: torch.Tensor, size: int) -> bool:
    return size * tensor.element_size() > tensor.untyped_storage().nbytes()


@wrong_engine("resize-moves-out", kind="error")
@contextmanager
def resizes_into_new_memory(hit: Hit) -> Iterator[None]:
    def make(resize: Any) -> Any:
        def wrong(tensor: torch.Tensor, size: int) -> torch.Tensor:
            if not _outgrows(tensor, size):
                return resize(tensor, size)
            hit()
            return tensor.set_(torch.zeros(size, dtype=tensor.dtype))

        return wrong

    with replaced(torch.Tensor, "resize_", make):
        yield


@wrong_engine("resize-zeroes-the-array", kind="error")
@contextmanager
def clears_before_it_refuses(hit: Hit) -> Iterator[None]:
    def make(resize: Any) -> Any:
        def wrong(tensor: torch.Tensor, size: int) -> torch.Tensor:
            if tensor.is_contiguous() and _outgrows(tensor, size):
                hit()
                tensor.zero_()
            return resize(tensor, size)

        return wrong

    with replaced(torch.Tensor, "resize_", make):
        yield


@wrong_engine("array-not-held", kind="aliasing")
@contextmanager
def does_not_hold_the_array(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            if not array.flags.c_contiguous or not array.nbytes:
                return from_numpy(array)
            hit()
            memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
            return from_numpy(np.ndarray(array.shape, array.dtype, memory))

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("array-never-released", kind="aliasing")
@contextmanager
def never_releases_an_array(hit: Hit) -> Iterator[None]:
    held = []

    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            hit()
            held.append(numpy(tensor, force=force))
            return held[-1]

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield
