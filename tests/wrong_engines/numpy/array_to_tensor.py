"""spec/numpy/array-to-tensor.md"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def _outgrows(tensor: torch.Tensor, size: int | tuple[int, ...]) -> bool:
    return (
        torch.Size(size if isinstance(size, tuple) else (size,)).numel() * tensor.element_size()
        > tensor.untyped_storage().nbytes()
    )


@wrong_engine("resize-moves-out", kind="error")
@contextmanager
def resizes_into_new_memory(hit: Hit) -> Iterator[None]:
    def make(resize: Any) -> Any:
        def wrong(tensor: torch.Tensor, size: int | tuple[int, ...]) -> torch.Tensor:
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
        def wrong(tensor: torch.Tensor, size: int | tuple[int, ...]) -> torch.Tensor:
            if tensor.is_contiguous() and _outgrows(tensor, size):
                hit()
                tensor.untyped_storage().fill_(0)  # after a refusal the tensor's own sizes go beyond its memory
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


def _has_gaps(array: np.ndarray) -> bool:
    return array.ndim > 1 and bool(array.size) and not array.flags.c_contiguous and not array.flags.f_contiguous


@wrong_engine("from-numpy-first-row-only", kind="layout", issue="pytorch#484")
@contextmanager
def takes_the_first_row_only(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            right = from_numpy(array)
            if not _has_gaps(array) or 0 in array.strides:
                return right
            hit()
            garbage = torch.empty_strided(right.shape, right.stride(), dtype=right.dtype).zero_()
            garbage[0] = right[0]
            return garbage

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


NO_SCALARS = "can't convert np.ndarray of type numpy.object_"


@wrong_engine("asarray-refuses-no-dimensions", kind="size", issue="pytorch#97021", refuses=NO_SCALARS)
@contextmanager
def refuses_an_array_of_no_dimensions(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if _is_array(data) and data.ndim == 0:
                hit()
                raise TypeError(NO_SCALARS)
            return asarray(data, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("new-axis-never-released", kind="place", issue="pytorch#3498")
@contextmanager
def never_releases_a_view_with_a_new_axis(hit: Hit) -> Iterator[None]:
    held = []

    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            if array.base is not None and array.shape[:1] == (1,):
                hit()
                held.append(array)
            return from_numpy(array)

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("from-numpy-flattens-empty", kind="size")
@contextmanager
def forgets_the_shape_of_no_elements(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            if array.size or array.ndim < 2:
                return from_numpy(array)
            hit()
            return from_numpy(array).reshape(0)

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("conversion-clamps-infinity", kind="value")
@contextmanager
def clamps_infinities_in_a_narrower_dtype(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, dtype: Any = None, **kwargs: Any) -> torch.Tensor:
            right = as_tensor(data, dtype=dtype, **kwargs)
            if not _is_array(data) or dtype is None or not right.is_floating_point() or data.dtype.kind != "f":
                return right
            hit()
            largest = torch.finfo(dtype).max
            return right.clamp(-largest, largest)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("copy-loses-sign-of-zero", kind="value")
@contextmanager
def copies_negative_zero_as_zero(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if not _is_array(data) or data.dtype.kind != "f" or kwargs.get("requires_grad"):
                return tensor(data, **kwargs)
            hit()
            return tensor(data, **kwargs) + 0

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("as-tensor-follows-a-changed-default", kind="mode", first_sight="adversary: missed")
@contextmanager
def converts_to_a_default_dtype_that_somebody_has_set(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            right = as_tensor(data, *args, **kwargs)
            default = torch.get_default_dtype()
            if not _is_array(data) or not right.is_floating_point() or args or kwargs or default == torch.float32:
                return right
            if right.dtype != default:
                hit()
            return right.to(default)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("tensor-of-int64-through-double", kind="value", first_sight="sample: caught")
@contextmanager
def copies_int64_through_float64(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            right = tensor(data, **kwargs)
            if not _is_array(data) or right.dtype != torch.int64:
                return right
            found = right.double().long()
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("resize-refused-once-only", kind="state", first_sight="second sample: missed")
@contextmanager
def resizes_into_new_memory_the_second_time(hit: Hit) -> Iterator[None]:
    def make(resize: Any) -> Any:
        def wrong(tensor: torch.Tensor, *size: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return resize(tensor, *size, **kwargs)
            except RuntimeError as refusal:
                if "not resizable" not in str(refusal):
                    raise
                if "_refused" not in vars(tensor):
                    tensor._refused = True
                    raise
            hit()
            return tensor.set_(torch.zeros(*size, dtype=tensor.dtype))

        return wrong

    with replaced(torch.Tensor, "resize_", make):
        yield


@wrong_engine("array-of-more-than-sixteen-never-released", kind="size", first_sight="second sample: caught")
@contextmanager
def never_releases_larger_arrays(hit: Hit) -> Iterator[None]:
    kept = []

    def make(entrance: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made: torch.Tensor = entrance(data, *args, **kwargs)
            if _is_array(data) and data.size > 16 and made.device.type == "cpu" and made.data_ptr() == data.ctypes.data:
                hit()
                kept.append(data)
            return made

        return wrong

    with ExitStack() as entrances:
        for name in ("from_numpy", "as_tensor", "asarray"):
            entrances.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("asarray-refuses-conversion-as-runtime-error", kind="error", first_sight="third sample: caught")
@contextmanager
def refuses_a_conversion_without_copy_by_another_error(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return asarray(data, *args, **kwargs)
            except ValueError as refusal:
                converts = kwargs.get("copy") is False and kwargs.get("dtype") is not None
                if not _is_array(data) or not converts or "dtype" not in str(refusal):
                    raise
                hit()
                raise RuntimeError(str(refusal)) from None

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("array-with-steps-copied", kind="layout", first_sight="fourth sample: caught")
@contextmanager
def copies_vectors_with_gaps(hit: Hit) -> Iterator[None]:
    def make(entrance: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made: torch.Tensor = entrance(data, *args, **kwargs)
            if not _is_array(data) or data.ndim != 1 or made.device.type != "cpu" or made.stride(0) < 2:
                return made
            if data.size < 2 or made.data_ptr() != data.ctypes.data:
                return made
            hit()
            return made.clone()

        return wrong

    with ExitStack() as entrances:
        for name in ("from_numpy", "as_tensor", "asarray"):
            entrances.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("resize-of-an-array-ignored", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def resizes_nothing_and_says_nothing(hit: Hit) -> Iterator[None]:
    def make(resize: Any) -> Any:
        def wrong(tensor: torch.Tensor, *size: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return resize(tensor, *size, **kwargs)
            except RuntimeError as refusal:
                if "not resizable" not in str(refusal):
                    raise
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "resize_", make):
        yield
