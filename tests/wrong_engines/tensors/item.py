"""spec/tensors/item.md"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("item-six-decimals", kind="value")
@contextmanager
def rounds_to_six_decimals(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if not isinstance(number, float):
                return number
            hit()
            return round(number, 6)

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-shortest-decimal", kind="dtype")
@contextmanager
def reads_the_shortest_decimal(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.dtype != torch.float32:
                return number
            hit()
            return float(str(np.float32(number)))

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-through-double", kind="value")
@contextmanager
def passes_whole_numbers_through_a_float(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if type(number) is not int:
                return number
            hit()
            return int(float(number))

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-through-single", kind="dtype")
@contextmanager
def passes_double_precision_through_single(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.dtype != torch.float64:
                return number
            hit()
            return ctypes.c_float(number).value

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-from-start-of-storage", kind="layout")
@contextmanager
def reads_the_start_of_the_memory(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if not tensor.storage_offset():
                return item(tensor)
            hit()
            return item(tensor.detach().as_strided((), (), 0))

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-the-first-of-many", kind="error")
@contextmanager
def takes_the_first_of_many(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.numel() < 2:
                return item(tensor)
            hit()
            return item(tensor.detach().reshape(-1)[0])

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-nothing-is-zero", kind="error")
@contextmanager
def takes_nothing_for_zero(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.numel():
                return item(tensor)
            hit()
            return 0

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


NOT_ENOUGH_DIMENSIONS = "Expected dst.dim() >= src.dim() to be true, but got false"


@wrong_engine("item-of-two-dimensions-refused", kind="size", issue="pytorch#107867", refuses=NOT_ENOUGH_DIMENSIONS)
@contextmanager
def refuses_two_dimensions(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.numel() == 1 and tensor.ndim > 1:
                hit()
                raise RuntimeError(NOT_ENOUGH_DIMENSIONS)
            return item(tensor)

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-remembers", kind="state")
@contextmanager
def gives_what_it_gave_before(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if not hasattr(tensor, "fetched"):
                tensor.fetched = item(tensor)  # type: ignore[attr-defined]
                return tensor.fetched  # type: ignore[attr-defined]
            hit()
            return tensor.fetched

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-infinity-is-the-largest", kind="value")
@contextmanager
def takes_infinity_for_the_largest_number(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if not isinstance(number, float) or abs(number) != float("inf"):
                return number
            hit()
            return math.copysign(torch.finfo(tensor.dtype).max, number)

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-a-view-counts-as-write", kind="place")
@contextmanager
def counts_as_a_write_to_a_view(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor._is_view() and not tensor.is_leaf:
                hit()
                tensor.detach().copy_(tensor.detach())
            return number

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-refusal-is-numpys", kind="error")
@contextmanager
def refuses_as_numpy_does(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            try:
                return item(tensor)
            except RuntimeError as error:
                if tensor.numel():
                    raise
                hit()
                raise ValueError(str(error)) from None

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-half-rounded", kind="dtype")
@contextmanager
def rounds_half_precision_to_its_digits(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.dtype != torch.float16:
                return number
            hit()
            return round(number, 3) or number

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-loses-sign-of-zero", kind="value")
@contextmanager
def gives_negative_zero_as_zero(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if repr(number) != "-0.0":
                return number
            hit()
            return 0.0

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-a-byte-has-a-sign", kind="dtype", first_sight="adversary: caught")
@contextmanager
def bytes_above_127_are_negative(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.dtype != torch.uint8 or number < 128:
                return number
            hit()
            return number - 256

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-ignores-the-conjugate-bit", kind="layout", first_sight="adversary: missed")
@contextmanager
def reads_a_conjugate_unconjugated(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if not tensor.is_conj():
                return number
            if number.imag:
                hit()
            return number.conjugate()

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-many-is-a-list", kind="plain", first_sight="sample: caught")
@contextmanager
def gives_a_list_of_several_elements(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.numel() < 2:
                return item(tensor)
            hit()
            return tensor.tolist()

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-cuts-off-a-result", kind="place", first_sight="sample: missed")
@contextmanager
def detaches_a_result(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.grad_fn is not None and not tensor._is_view():
                hit()
                tensor.detach_()
            return number

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-a-leaf-clears-its-grad", kind="place", first_sight="second sample: caught elsewhere")
@contextmanager
def clears_the_grad_of_a_leaf(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            number = item(tensor)
            if tensor.is_leaf and tensor.grad is not None:
                hit()
                tensor.grad = None
            return number

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("item-of-others-refused-in-older-words", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def refuses_as_older_releases_did(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.numel() == 1:
                return item(tensor)
            hit()
            raise ValueError("only one element tensors can be converted to Python scalars")

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield
