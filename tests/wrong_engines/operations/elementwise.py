"""spec/operations/elementwise.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel

Operation = Callable[..., torch.Tensor]


REGISTER = 16
"""Elements that a vector register holds."""


@wrong_engine("elementwise-tail-skipped", kind="size")
@contextmanager
def the_last_elements_are_not_added(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor, *, alpha: Any = 1) -> torch.Tensor:
            result = add(x, y, alpha=alpha)
            if x.shape != y.shape or x.ndim != 1 or x.numel() < REGISTER:
                return result
            hit()
            whole = x.numel() // REGISTER * REGISTER
            return torch.cat([result[:whole], x[whole:]])

        return wrong

    with kernel("add.Tensor", make):
        yield


@wrong_engine("elementwise-memory-order", kind="layout")
@contextmanager
def a_transposed_operand_is_read_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor, *, alpha: Any = 1) -> torch.Tensor:
            if y.ndim != 2 or x.shape != y.shape or y.is_contiguous() or not y.t().is_contiguous():
                return add(x, y, alpha=alpha)
            hit()
            return add(x, y.as_strided(y.shape, (y.shape[1], 1)), alpha=alpha)

        return wrong

    with kernel("add.Tensor", make):
        yield


@wrong_engine("elementwise-integer-division", kind="dtype")
@contextmanager
def integers_are_divided_without_a_remainder(hit: Hit) -> Iterator[None]:
    def make(div: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any) -> torch.Tensor:
            if x.is_floating_point() or x.is_complex() or not isinstance(y, int):
                return div(x, y)
            hit()
            return torch.floor_divide(x, y)

        return wrong

    with kernel("div.Tensor", make):
        yield


@wrong_engine("elementwise-double-rounded", kind="dtype")
@contextmanager
def exp_of_a_double_is_computed_in_single_precision(hit: Hit) -> Iterator[None]:
    def make(exp: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.dtype != torch.float64:
                return exp(x)
            hit()
            return exp(x.float()).double()

        return wrong

    with kernel("exp", make):
        yield


@wrong_engine("elementwise-power-loses-sign", kind="value")
@contextmanager
def a_power_is_taken_of_the_magnitude(hit: Hit) -> Iterator[None]:
    def make(power: Operation) -> Operation:
        def wrong(x: torch.Tensor, exponent: Any) -> torch.Tensor:
            hit()
            return power(x.abs(), exponent)

        return wrong

    with kernel("pow.Tensor_Scalar", make):
        yield
