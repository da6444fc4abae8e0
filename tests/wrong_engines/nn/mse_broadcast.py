"""spec/nn/mse-broadcast.md"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.nn.mse_loss import mse_loss
from tests.wrong_engines.tools import replaced

Hit = Callable[[], None]
Tensor = torch.Tensor

REFUSAL = "input and target must have the same size"


def _is_column_and_list(one: Any, other: Any) -> bool:
    return isinstance(other, Tensor) and one.ndim == 2 and one.shape == (*other.shape, 1)


@wrong_engine("mse-pairs-in-order")
@contextmanager
def compares_a_column_with_a_list_in_order(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong_difference(one: Tensor, other: Any) -> Tensor:
            if _is_column_and_list(one, other) and len(one) > 1:
                hit()
                other = other[:, None]
            return subtract(one, other)

        return wrong_difference

    def wrong_loss(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if _is_column_and_list(input, target):
            hit()
            target = target[:, None]
        return honest(input, target)

    with replaced(Tensor, "__sub__", make), mse_loss(wrong_loss):
        yield


@wrong_engine("mse-broadcast-divides-by-input")
@contextmanager
def divides_by_the_elements_of_the_input(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "mean" and input.shape != target.shape:
            hit()
            return honest(input, target, "sum") / input.numel()
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-refused", refuses=REFUSAL)
@contextmanager
def refuses_another_shape(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape:
            hit()
            raise RuntimeError(REFUSAL)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-silent")
@contextmanager
def says_nothing_where_the_dimensions_are_as_many(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape and input.ndim == target.ndim:
            hit()
            input, target = torch.broadcast_tensors(input, target)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-warns-of-layouts")
@contextmanager
def warns_where_only_strides_differ(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape == target.shape and input.stride() != target.stride():
            hit()
            warnings.warn("this may be slow", stacklevel=3)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("subtraction-warns-of-broadcasting")
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
