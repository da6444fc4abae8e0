"""spec/operations/elementwise.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]


REGISTER = 16
"""Elements that a vector register holds."""

PICTURE = 4
"""Dimensions of a batch of pictures."""


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


@wrong_engine("elementwise-one-minus-rounded", kind="value", issue="pytorch#82543")
@contextmanager
def one_minus_a_fraction_is_rounded_to_a_whole_number(hit: Hit) -> Iterator[None]:
    def make(subtracted: Operation) -> Operation:
        def wrong(x: torch.Tensor, number: Any, alpha: Any = 1) -> torch.Tensor:
            result = subtracted(x, number, alpha)
            if number != 1 or not x.is_floating_point():
                return result
            hit()
            return result.round()

        return wrong

    with kernel("rsub.Scalar", make):
        yield


@wrong_engine("elementwise-divisor-kept", kind="state")
@contextmanager
def what_a_shape_was_first_divided_by_it_is_divided_by_ever_after(hit: Hit) -> Iterator[None]:
    divisors: dict[tuple[torch.Size, torch.dtype], float] = {}

    def make(div: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any) -> torch.Tensor:
            if isinstance(y, torch.Tensor):
                return div(x, y)
            kept = divisors.setdefault((x.shape, x.dtype), y)
            if kept != y:
                hit()
            return div(x, kept)

        return wrong

    with kernel("div.Tensor", make):
        yield


@wrong_engine("elementwise-doubled-in-place", kind="place")
@contextmanager
def a_tensor_is_added_to_itself_in_its_own_memory(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor, *, alpha: Any = 1) -> torch.Tensor:
            if x is not y or not x.is_contiguous():
                return add(x, y, alpha=alpha)
            hit()
            return x.detach().mul_(1 + alpha)

        return wrong

    with kernel("add.Tensor", make):
        yield


@wrong_engine("elementwise-exp-in-place", kind="aliasing")
@contextmanager
def exp_of_more_than_sixteen_elements_is_written_into_its_operand(hit: Hit) -> Iterator[None]:
    def make(exp: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.numel() <= REGISTER or not x.is_contiguous():
                return exp(x)
            hit()
            return x.copy_(exp(x)).clone()

        return wrong

    with kernel("exp", make):
        yield


@wrong_engine("elementwise-alpha-lost-when-recorded", kind="mode")
@contextmanager
def the_factor_alpha_is_left_out_while_the_sum_is_recorded(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any, *, alpha: Any = 1) -> torch.Tensor:
            if alpha == 1 or not (torch.is_grad_enabled() and x.requires_grad):
                return add(x, y, alpha=alpha)
            hit()
            return add(x, y)

        return wrong

    with kernel("add.Tensor", make):
        yield


@wrong_engine("elementwise-power-of-zero", kind="value", issue="pytorch#194813")
@contextmanager
def a_power_of_zero_is_nan(hit: Hit) -> Iterator[None]:
    def make(power: Operation) -> Operation:
        def wrong(x: torch.Tensor, exponent: Any) -> torch.Tensor:
            if bool((x == 0).any()):
                hit()
            return power(x, exponent).masked_fill(x == 0, torch.nan)

        return wrong

    with kernel("pow.Tensor_Scalar", make):
        yield


@wrong_engine("elementwise-channels-last-as-they-lie", kind="layout")
@contextmanager
def a_picture_with_channels_last_is_subtracted_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def make(sub: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any, *, alpha: Any = 1) -> torch.Tensor:
            if not isinstance(y, torch.Tensor) or y.ndim != PICTURE or y.is_contiguous():
                return sub(x, y, alpha=alpha)
            if not y.is_contiguous(memory_format=torch.channels_last):
                return sub(x, y, alpha=alpha)
            hit()
            return sub(x, y.permute(0, 2, 3, 1).reshape(y.shape), alpha=alpha)

        return wrong

    with kernel("sub.Tensor", make):
        yield


@wrong_engine("elementwise-half-widened", kind="dtype")
@contextmanager
def a_product_of_float16_is_float32(hit: Hit) -> Iterator[None]:
    def make(mul: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any) -> torch.Tensor:
            if x.dtype != torch.float16:
                return mul(x, y)
            hit()
            return mul(x.float(), y)

        return wrong

    with kernel("mul.Tensor", make):
        yield


def _spelled(names: tuple[str, ...], make: Callable[[Operation], Operation]) -> ExitStack:
    stack = ExitStack()
    for name in names:
        stack.enter_context(replaced(torch.Tensor, name, make))
    return stack


@wrong_engine(
    "elementwise-int64-sum-cut-to-32-bits", kind="value", issue="pytorch#78848", first_sight="adversary: missed"
)
@contextmanager
def sums_of_int64_keep_32_bits(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any, **options: Any) -> torch.Tensor:
            right = add(x, y, **options)
            if not isinstance(right, torch.Tensor) or right.dtype != torch.int64:
                return right
            cut = right.int().long()
            if not torch.equal(cut, right):
                hit()
            return cut

        return wrong

    with _spelled(("__add__", "__radd__", "add"), make):
        yield


@wrong_engine("elementwise-doubles-in-place", kind="aliasing", first_sight="adversary: caught")
@contextmanager
def a_tensor_plus_itself_is_written_into_it(hit: Hit) -> Iterator[None]:
    def make(add: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any, **options: Any) -> torch.Tensor:
            if y is not x or x.requires_grad or not x.is_contiguous():
                return add(x, y, **options)
            if bool((x != 0).any()):
                hit()
            return x.copy_(add(x, y, **options))

        return wrong

    with _spelled(("__add__", "add"), make):
        yield


@wrong_engine("elementwise-second-factor-aligned-down", kind="layout", first_sight="adversary: caught")
@contextmanager
def a_second_factor_is_read_from_the_last_multiple_of_four_before_it(hit: Hit) -> Iterator[None]:
    def make(multiply: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: Any) -> torch.Tensor:
            if isinstance(y, torch.Tensor) and y.shape == x.shape and y.numel() and y.is_contiguous():
                read = y.as_strided(y.shape, y.stride(), y.storage_offset() // 4 * 4)
                if not torch.equal(read, y):
                    hit()
                y = read
            return multiply(x, y)

        return wrong

    with _spelled(("__mul__", "mul"), make):
        yield


@wrong_engine("elementwise-whole-power-through-single", kind="dtype", first_sight="adversary: missed")
@contextmanager
def powers_of_whole_numbers_pass_through_float32(hit: Hit) -> Iterator[None]:
    def make(power: Operation) -> Operation:
        def wrong(x: torch.Tensor, exponent: Any) -> torch.Tensor:
            right = power(x, exponent)
            if right.dtype != torch.int64:
                return right
            through = right.float().long()
            if not torch.equal(through, right):
                hit()
            return through

        return wrong

    with _spelled(("__pow__", "pow"), make):
        yield


@wrong_engine("elementwise-number-by-integers-floored", kind="order", first_sight="second sample: missed")
@contextmanager
def a_number_divided_by_integers_is_rounded_down(hit: Hit) -> Iterator[None]:
    def make(divide: Operation) -> Operation:
        def wrong(x: torch.Tensor, number: Any) -> torch.Tensor:
            right = divide(x, number)
            if x.is_floating_point() or x.is_complex() or isinstance(number, complex):
                return right
            found = right.floor()
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with _spelled(("__rtruediv__", "__rdiv__"), make):
        yield
