"""spec/nn/mse-broadcast.md"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.nn.mse_loss import mse_loss
from tests.wrong_engines.tools import replaced

Tensor = torch.Tensor

REFUSAL = "input and target must have the same size"


def _in_order(one: Tensor, other: Any) -> Any:
    """The second of a column and a list of the same length, or of a list and a column, in the shape of the first."""
    pair = (
        isinstance(other, Tensor) and sorted((one.ndim, other.ndim)) == [1, 2] and min(one.numel(), other.numel()) > 1
    )
    if pair and {one.shape, other.shape} == {(one.numel(),), (one.numel(), 1)}:
        return other.reshape(one.shape)
    return other


@wrong_engine("mse-pairs-in-order", kind="size")
@contextmanager
def compares_a_column_with_a_list_in_order(hit: Hit) -> Iterator[None]:
    def ordered(one: Tensor, other: Any) -> Any:
        if (changed := _in_order(one, other)) is not other:
            hit()
        return changed

    def make(subtract: Any) -> Any:
        return lambda one, other: subtract(one, ordered(one, other))

    def wrong_loss(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return honest(input, ordered(input, target))

    with replaced(Tensor, "__sub__", make), mse_loss(wrong_loss):
        yield


@wrong_engine("mse-broadcast-divides-by-input", kind="size")
@contextmanager
def divides_by_the_elements_of_the_input(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "mean" and input.shape != target.shape:
            hit()
            return honest(input, target, "sum") / input.numel()
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-refused", kind="error", refuses=REFUSAL)
@contextmanager
def refuses_another_shape(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape:
            hit()
            raise RuntimeError(REFUSAL)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-silent", kind="size")
@contextmanager
def says_nothing_where_the_dimensions_are_as_many(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape and input.ndim == target.ndim:
            hit()
            input, target = torch.broadcast_tensors(input, target)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-warns-of-layouts", kind="layout")
@contextmanager
def warns_where_only_strides_differ(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape == target.shape and input.stride() != target.stride():
            hit()
            warnings.warn("the strides differ, which may be due to broadcasting", stacklevel=3)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("subtraction-warns-of-broadcasting", kind="size")
@contextmanager
def warns_where_both_sides_are_stretched(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(one: Tensor, other: Any) -> Tensor:
            difference = subtract(one, other)
            if isinstance(other, Tensor) and difference.shape not in (one.shape, other.shape):
                hit()
                warnings.warn("both sides are broadcast", stacklevel=2)
            return difference

        return wrong

    with replaced(Tensor, "__sub__", make):
        yield
