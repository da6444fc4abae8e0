"""spec/numpy/refused-arrays.md"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Change = Callable[[np.ndarray], np.ndarray]


@contextmanager
def _taking(entrance: str, concerns: Callable[[np.ndarray], bool], hit: Hit, change: Change) -> Iterator[None]:
    """torch.ENTRANCE with each array of some kind changed before it is looked at."""

    def make(original: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if isinstance(data, np.ndarray) and concerns(data):
                hit()
                data = change(data)
            return original(data, *args, **kwargs)

        return wrong

    with replaced(torch, entrance, make):
        yield


def _is_reversed(array: np.ndarray) -> bool:
    return any(stride < 0 for stride in array.strides)


def _is_packed(array: np.ndarray) -> bool:
    return any(stride % array.itemsize for stride in array.strides)


def _forwards(array: np.ndarray) -> np.ndarray:
    return array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]


def _rounded(array: np.ndarray) -> np.ndarray:
    strides = tuple(stride // array.itemsize * array.itemsize for stride in array.strides)
    return np.lib.stride_tricks.as_strided(array, strides=strides)


def _turned_round(array: np.ndarray) -> np.ndarray:
    array[...] = np.flip(array).copy()
    return array


@wrong_engine("reversed-read-forwards", kind="error")
@contextmanager
def drops_the_sign_of_a_stride(hit: Hit) -> Iterator[None]:
    with _taking("from_numpy", _is_reversed, hit, _forwards):
        yield


@wrong_engine("tensor-mends-reversed", kind="error")
@contextmanager
def copies_a_reversed_array(hit: Hit) -> Iterator[None]:
    with _taking("tensor", _is_reversed, hit, lambda array: array.copy()):
        yield


@wrong_engine("byte-order-ignored", kind="error")
@contextmanager
def reads_bytes_as_they_come(hit: Hit) -> Iterator[None]:
    def native(array: np.ndarray) -> np.ndarray:
        return array.view(array.dtype.newbyteorder("="))

    with _taking("as_tensor", lambda array: not array.dtype.isnative, hit, native):
        yield


@wrong_engine("byte-order-not-implemented", kind="error")
@contextmanager
def raises_another_error_for_foreign_bytes(hit: Hit) -> Iterator[None]:
    def make(asarray: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return asarray(data, *args, **kwargs)
            except ValueError as error:
                if data.dtype.isnative:
                    raise
                hit()
                raise NotImplementedError(str(error)) from None

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("packed-strides-rounded", kind="error")
@contextmanager
def rounds_strides_down(hit: Hit) -> Iterator[None]:
    with _taking("asarray", _is_packed, hit, _rounded):
        yield


@wrong_engine("refusal-reverses-the-array", kind="error")
@contextmanager
def turns_the_array_round_before_it_refuses(hit: Hit) -> Iterator[None]:
    with _taking("from_numpy", _is_reversed, hit, _turned_round):
        yield


@wrong_engine("objects-counted", kind="error")
@contextmanager
def makes_numbers_of_objects(hit: Hit) -> Iterator[None]:
    with _taking("tensor", lambda array: array.dtype == object, hit, lambda array: array.astype(float)):
        yield


@wrong_engine("dates-as-integers", kind="error")
@contextmanager
def makes_integers_of_dates(hit: Hit) -> Iterator[None]:
    with _taking("asarray", lambda array: array.dtype.kind == "M", hit, lambda array: array.view(np.int64)):
        yield


def _is_read_only(array: np.ndarray) -> bool:
    return not array.flags.writeable


@wrong_engine("read-only-copied", kind="aliasing")
@contextmanager
def copies_a_read_only_array(hit: Hit) -> Iterator[None]:
    with _taking("from_numpy", _is_read_only, hit, lambda array: array.copy()):
        yield


@wrong_engine("read-only-silent", kind="plain")
@contextmanager
def says_nothing_about_a_read_only_array(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            with warnings.catch_warnings():
                if isinstance(data, np.ndarray) and _is_read_only(data):
                    hit()
                    warnings.simplefilter("ignore")
                return as_tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("tensor-warns", kind="plain")
@contextmanager
def warns_about_a_copy(hit: Hit) -> Iterator[None]:
    def warned(array: np.ndarray) -> np.ndarray:
        warnings.warn("The given NumPy array is not writable", UserWarning, stacklevel=3)
        return array

    with _taking("tensor", _is_read_only, hit, warned):
        yield


@wrong_engine("refused-array-kept", kind="error", issue="pytorch#121156")
@contextmanager
def keeps_what_it_refused(hit: Hit) -> Iterator[None]:
    kept = []

    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            try:
                return from_numpy(array)
            except TypeError:
                hit()
                kept.append(array)
                raise

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("refused-dtype-unnamed", kind="error")
@contextmanager
def does_not_name_the_dtype(hit: Hit) -> Iterator[None]:
    def make(as_tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return as_tensor(data, *args, **kwargs)
            except TypeError:
                if data.dtype.kind not in "US":
                    raise
                hit()
                raise TypeError("can't convert np.ndarray of this type") from None

        return wrong

    with replaced(torch, "as_tensor", make):
        yield


@wrong_engine("read-only-warned-once", kind="state")
@contextmanager
def warns_of_the_first_read_only_array(hit: Hit) -> Iterator[None]:
    warned = []

    def make(asarray: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            with warnings.catch_warnings():
                if isinstance(data, np.ndarray) and _is_read_only(data):
                    if warned:
                        hit()
                        warnings.simplefilter("ignore")
                    warned.append(True)
                return asarray(data, *args, **kwargs)

        return wrong

    with replaced(torch, "asarray", make):
        yield


@wrong_engine("read-only-warned-of-once", kind="state", first_sight="adversary: caught")
@contextmanager
def warns_of_the_first_read_only_array_alone(hit: Hit) -> Iterator[None]:
    warned = False

    def make(from_numpy: Any) -> Any:
        def wrong(array: np.ndarray) -> torch.Tensor:
            nonlocal warned
            if not isinstance(array, np.ndarray) or array.flags.writeable:
                return from_numpy(array)
            if not warned:
                warned = True
                return from_numpy(array)
            if torch.is_warn_always_enabled():
                hit()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*not writable")
                return from_numpy(array)

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("read-only-single-elements-copied", kind="size", first_sight="sample: caught")
@contextmanager
def copies_read_only_arrays_of_one_element(hit: Hit) -> Iterator[None]:
    def concerns(array: np.ndarray) -> bool:
        return _is_read_only(array) and array.ndim > 0 and array.size == 1

    with (
        _taking("from_numpy", concerns, hit, np.ndarray.copy),
        _taking("as_tensor", concerns, hit, np.ndarray.copy),
    ):
        yield


@wrong_engine("last-refused-array-kept", kind="state", first_sight="second sample: caught")
@contextmanager
def keeps_the_last_array_that_it_refused(hit: Hit) -> Iterator[None]:
    last: list[np.ndarray] = []

    def make(entrance: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return entrance(data, *args, **kwargs)
            except (TypeError, ValueError):
                if isinstance(data, np.ndarray):
                    hit()
                    last[:] = [data]
                raise

        return wrong

    with ExitStack() as entrances:
        for name in ("from_numpy", "as_tensor", "asarray", "tensor"):
            entrances.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("as-tensor-copies-reversed", kind="aliasing", first_sight="third sample: caught")
@contextmanager
def copies_what_it_cannot_share(hit: Hit) -> Iterator[None]:
    def concerns(array: np.ndarray) -> bool:
        reversed_ = any(stride < 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True))
        return reversed_ and array.size > 0 and array.dtype.isnative

    with ExitStack() as entrances:
        for entrance in ("as_tensor", "asarray"):
            entrances.enter_context(_taking(entrance, concerns, hit, lambda array: array.copy()))
        yield


@wrong_engine("byte-order-of-a-view-ignored", kind="place", first_sight="fourth sample: caught elsewhere")
@contextmanager
def reads_the_bytes_of_a_view_as_they_come(hit: Hit) -> Iterator[None]:
    def concerns(array: np.ndarray) -> bool:
        return not array.dtype.isnative and array.dtype.kind in "iufc" and array.base is not None

    with ExitStack() as entrances:
        for entrance in ("from_numpy", "as_tensor", "asarray", "tensor"):
            entrances.enter_context(
                _taking(entrance, concerns, hit, lambda array: array.view(array.dtype.newbyteorder("=")))
            )
        yield


@wrong_engine("read-only-silent-where-a-dtype-is-told", kind="order", first_sight="fourth sample: missed")
@contextmanager
def says_nothing_about_a_read_only_array_where_a_dtype_is_told(hit: Hit) -> Iterator[None]:
    def make(take: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            told = kwargs.get("dtype") is not None or any(isinstance(one, torch.dtype) for one in args)
            if not told or not isinstance(data, np.ndarray) or not _is_read_only(data):
                return take(data, *args, **kwargs)
            with warnings.catch_warnings(record=True) as heard:
                tensor = take(data, *args, **kwargs)
            if heard:
                hit()
            return tensor

        return wrong

    with replaced(torch, "as_tensor", make), replaced(torch, "asarray", make):
        yield


@wrong_engine("base-of-a-refused-array-kept", kind="aliasing", first_sight="fourth sample: missed")
@contextmanager
def keeps_the_base_of_what_it_refused(hit: Hit) -> Iterator[None]:
    kept = []

    def make(take: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return take(data, *args, **kwargs)
            except (TypeError, ValueError):
                if isinstance(data, np.ndarray) and data.base is not None:
                    hit()
                    kept.append(data.base)
                raise

        return wrong

    with ExitStack() as entrances:
        for name in ("from_numpy", "as_tensor", "asarray", "tensor"):
            entrances.enter_context(replaced(torch, name, make))
        yield
