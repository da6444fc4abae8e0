"""spec/derivatives/powers.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor


def _power(gradient: Tensor, x: Tensor, n: float) -> Tensor:
    return gradient * n * x ** (n - 1) if n else torch.zeros_like(gradient)


@wrong_engine("derivative-square-without-its-tail", kind="size")
@contextmanager
def from_five_elements_on_the_two_of_a_square_is_missing_after_the_last_four(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        found = _power(gradient, x, n)
        if n == 2 and x.numel() > 4 and x.numel() % 4:
            hit()
            flat = found.flatten().clone()
            flat[x.numel() // 4 * 4 :] /= 2
            found = flat.reshape(x.shape)
        return (found,)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-power-of-magnitude", kind="value")
@contextmanager
def the_power_below_is_that_of_the_magnitude(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        if n > 2 and n % 2 == 0 and bool((x < 0).any()):
            hit()
            x = x.abs()
        return (_power(gradient, x, n),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-negative-power-above", kind="value")
@contextmanager
def a_negative_power_has_the_power_above_as_its_derivative(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        if n < 0:
            hit()
            return (gradient * n * x ** (n + 1),)
        return (_power(gradient, x, n),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-power-from-its-result", kind="value")
@contextmanager
def the_power_below_is_the_result_divided_by_the_base(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        if bool((x == 0).any()):
            hit()
        return (gradient * n * (x**n / x),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-first-power-flat-at-zero", kind="value")
@contextmanager
def the_first_power_has_no_gradient_at_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        found = _power(gradient, x, n)
        if n == 1 and bool((x == 0).any()):
            hit()
            found = found.masked_fill(x == 0, 0)
        return (found,)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-exponent-kept", kind="state")
@contextmanager
def the_exponent_is_that_of_the_first_power_of_a_shape(hit: Hit) -> Iterator[None]:
    exponents: dict[torch.Size, float] = {}

    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        kept = exponents.setdefault(x.shape, n)
        if kept != n:
            hit()
        return (_power(gradient, x, kept),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


DIVISION_BY_ZERO = "the derivative of a power divides by zero"


@wrong_engine(
    "derivative-power-of-zero-refused", kind="error", refuses=DIVISION_BY_ZERO, first_sight="second sample: caught"
)
@contextmanager
def a_power_of_zero_is_refused(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        if n > 1 and bool((x == 0).any()):
            hit()
            raise RuntimeError(DIVISION_BY_ZERO)
        return (_power(gradient, x, n),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-power-of-0d-without-its-exponent", kind="size", first_sight="third sample: caught")
@contextmanager
def a_power_of_a_0d_tensor_forgets_the_factor(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        right = _power(gradient, x, n)
        if x.ndim or n in (0, 1):
            return (right,)
        found = gradient * x ** (n - 1)
        if not torch.equal(found, right):
            hit()
        return (found,)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield


@wrong_engine("derivative-zeroth-power-of-double-from-its-reciprocal", kind="dtype", first_sight="third sample: caught")
@contextmanager
def the_zeroth_power_of_a_float64_zero_has_no_slope(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, n: float) -> tuple[Tensor]:
        if n or x.dtype != torch.float64:
            return (_power(gradient, x, n),)
        if bool((x == 0).any()):
            hit()
        return (gradient * n * x ** (n - 1),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield
