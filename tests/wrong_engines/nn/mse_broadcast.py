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

REFUSAL = "input and target shapes do not match"


@wrong_engine("mse-pairs-in-order", kind="size", issue="pytorch#4938")
@contextmanager
def compares_as_many_elements_in_order(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.numel() == target.numel() and input.shape != target.shape:
            hit()
            target = target.reshape(input.shape)
        return honest(input, target)

    with mse_loss(wrong):
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


@wrong_engine("mse-broadcast-refused", kind="error", issue="pytorch#12129", refuses=REFUSAL)
@contextmanager
def refuses_plain_data_of_another_shape(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape and not input.requires_grad and not target.requires_grad:
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


@wrong_engine("mse-broadcast-gradient-of-first-pairs", kind="order")
@contextmanager
def sends_back_what_the_first_target_asks_for(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        loss = honest(input, target)
        if not input.requires_grad or reduction != "mean" or input.ndim == target.ndim:
            return loss
        hit()
        first = honest(input, target.reshape(-1)[:1].expand(input.shape))
        return first + (loss - first).detach()

    with mse_loss(wrong):
        yield


@wrong_engine("mse-results-paired-in-order", kind="place", first_sight="sample: missed")
@contextmanager
def sends_results_back_what_pairs_in_order_ask_for(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        loss = honest(input, target)
        if input.is_leaf or reduction != "mean" or input.shape == target.shape or input.numel() != target.numel():
            return loss
        hit()
        paired = honest(input, target.reshape(input.shape))
        return paired + (loss - paired).detach()

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-silent-in-no-grad", kind="mode", first_sight="sample: missed")
@contextmanager
def says_nothing_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape and not torch.is_grad_enabled():
            hit()
            input, target = torch.broadcast_tensors(input, target)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-broadcast-silent-about-the-target", kind="order", first_sight="second sample: caught")
@contextmanager
def says_nothing_where_the_target_is_stretched(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape != target.shape and input.shape == torch.broadcast_shapes(input.shape, target.shape):
            hit()
            target = target.expand(input.shape)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("subtraction-warns-of-a-missing-dimension", kind="size", first_sight="second sample: caught")
@contextmanager
def warns_where_a_dimension_is_missing(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(one: Any, other: Any, **kwargs: Any) -> Tensor:
            if isinstance(one, Tensor) and isinstance(other, Tensor) and one.ndim != other.ndim:
                hit()
                warnings.warn("a dimension is missing, which is made up for by broadcasting", stacklevel=2)
            return subtract(one, other, **kwargs)

        return wrong

    with replaced(Tensor, "__sub__", make), replaced(Tensor, "sub", make), replaced(torch, "sub", make):
        yield


@wrong_engine("mse-broadcast-with-a-learned-target-divides-by-it", kind="place", first_sight="third sample: caught")
@contextmanager
def divides_by_the_number_of_a_target_that_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        right = honest(input, target)
        number = torch.broadcast_shapes(input.shape, target.shape).numel()
        if reduction != "mean" or not target.requires_grad or number == target.numel() or not number:
            return right
        found = right * (number / target.numel())
        if not torch.equal(found, right):
            hit()
        return found

    with mse_loss(wrong):
        yield
