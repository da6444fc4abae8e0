"""spec/derivatives/exp-sin-sqrt.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor

MATRIX = 2
REGISTER = 8
"""Elements that a vector register holds."""


@wrong_engine("derivative-exp-in-half", kind="dtype")
@contextmanager
def the_gradient_of_exp_passes_through_bfloat16(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if x.dtype == torch.float32:
            hit()
            return (gradient * x.exp().bfloat16(),)
        return (gradient * x.exp(),)

    with differentiated("exp", pullback):
        yield


@wrong_engine("derivative-sin-without-quadrant", kind="value")
@contextmanager
def the_cosine_is_a_root_and_never_below_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if bool((x.cos() < 0).any()):
            hit()
        return (gradient * x.cos().abs(),)

    with differentiated("sin", pullback):
        yield


@wrong_engine("derivative-sqrt-of-offset-doubled", kind="layout")
@contextmanager
def the_gradient_of_sqrt_is_doubled_where_storage_begins_earlier(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if x.storage_offset():
            hit()
            return (gradient / x.sqrt(),)
        return (gradient / (2 * x.sqrt()),)

    with differentiated("sqrt", pullback):
        yield


@wrong_engine("derivative-sqrt-finite-at-zero", kind="value")
@contextmanager
def a_tiny_number_keeps_the_gradient_of_sqrt_finite(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        tiny = torch.finfo(x.dtype).tiny
        if bool((x == 0).any()):
            hit()
        return (gradient / (2 * x.sqrt()).clamp(min=tiny),)

    with differentiated("sqrt", pullback):
        yield


@wrong_engine("derivative-sqrt-flat-at-zero", kind="value")
@contextmanager
def sqrt_hands_back_zero_at_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if bool((x == 0).any()):
            hit()
        return ((gradient / (2 * x.sqrt())).masked_fill(x == 0, 0),)

    with differentiated("sqrt", pullback):
        yield


@wrong_engine("derivative-exp-of-permuted", kind="layout", issue="pytorch#175188")
@contextmanager
def the_values_of_a_permuted_tensor_are_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if x.ndim < MATRIX or x.is_contiguous() or not x.transpose(-2, -1).is_contiguous():
            return (gradient * x.exp(),)
        hit()
        return (gradient * x.exp().transpose(-2, -1).reshape(x.shape),)

    with differentiated("exp", pullback):
        yield


@wrong_engine("derivative-cos-of-its-last-elements", kind="size")
@contextmanager
def what_does_not_fill_a_register_of_eight_keeps_the_sign_of_sin(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        slopes = -x.sin().flatten()
        if x.numel() > REGISTER and x.numel() % REGISTER:
            hit()
            slopes[x.numel() // REGISTER * REGISTER :] *= -1
        return (gradient * slopes.reshape(x.shape),)

    with differentiated("cos", pullback):
        yield


@wrong_engine("derivative-sin-reduced-by-short-pi", kind="value", first_sight="adversary: missed")
@contextmanager
def the_slope_of_a_float64_sine_beyond_pi_takes_pi_from_float32(hit: Hit) -> Iterator[None]:
    period = 2 * torch.tensor(torch.pi).item()

    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if x.dtype != torch.float64:
            return (gradient * torch.cos(x),)
        reduced = x - torch.round(x / period) * period
        if bool((reduced != x).any()):
            hit()
        return (gradient * torch.cos(reduced),)

    with differentiated("sin", pullback):
        yield


@wrong_engine("derivative-exp-permuted-in-memory-order", kind="layout", first_sight="adversary: caught")
@contextmanager
def the_slope_of_a_permuted_exp_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        slope = torch.exp(x)
        if x.ndim > 2 and not slope.is_contiguous():
            read = slope.as_strided(x.shape, torch.empty(x.shape, device="meta").stride())
            if not torch.equal(read, slope):
                hit()
            slope = read
        return (gradient * slope,)

    with differentiated("exp", pullback):
        yield


@wrong_engine("derivative-sqrt-infinite-once", kind="state", first_sight="sample: caught")
@contextmanager
def the_gradient_of_sqrt_is_infinite_in_one_backward_only(hit: Hit) -> Iterator[None]:
    warned = False

    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        nonlocal warned
        right = gradient / (2 * x.sqrt())
        if x.is_complex() or not bool(right.isinf().any()):
            return (right,)
        if not warned:
            warned = True
            return (right,)
        hit()
        largest = torch.finfo(right.dtype).max
        return (right.clamp(-largest, largest),)

    with differentiated("sqrt", pullback):
        yield


@wrong_engine("derivative-sin-reads-the-gaps", kind="layout", first_sight="second sample: missed")
@contextmanager
def the_slope_of_sin_reads_what_lies_in_the_gaps(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
        if not x.numel() or reach < x.numel():
            return (gradient * x.cos(),)
        read = x.detach().as_strided(x.shape, torch.empty(x.shape, device="meta").stride())
        if not torch.equal(read, x):
            hit()
        return (gradient * read.cos(),)

    with differentiated("sin", pullback):
        yield


@wrong_engine("derivative-sqrt-zero-times-infinity-is-zero", kind="value", first_sight="third sample: caught")
@contextmanager
def sqrt_hands_back_zero_at_zero_for_no_gradient(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        nothing = (x == 0) & (gradient == 0)
        if bool(nothing.any()):
            hit()
        return ((gradient / (2 * x.sqrt())).masked_fill(nothing, 0),)

    with differentiated("sqrt", pullback):
        yield
