"""spec/derivatives/exp-sin-sqrt.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor


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
