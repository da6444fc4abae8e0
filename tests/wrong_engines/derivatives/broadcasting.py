"""spec/derivatives/broadcasting.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor


@wrong_engine("derivative-inner-size-1-not-summed", kind="size")
@contextmanager
def a_size_of_1_inside_gets_the_share_of_its_last_copy(hit: Hit) -> Iterator[None]:
    def last(gradient: Tensor, factor: Tensor) -> Tensor:
        for dim in range(1 - factor.ndim, 0):
            if factor.shape[dim] == 1 < gradient.shape[dim]:
                hit()
                gradient = gradient.narrow(dim, gradient.shape[dim] - 1, 1)
        return gradient

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        return last(gradient * b, a), last(gradient * a, b)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-added-dims-averaged", kind="size")
@contextmanager
def dims_that_broadcasting_put_in_front_are_averaged(hit: Hit) -> Iterator[None]:
    def averaged(gradient: Tensor, term: Tensor) -> Tensor:
        for _ in range(gradient.ndim - term.ndim):
            if gradient.shape[0] > 1:
                hit()
                gradient = gradient.mean(0)
            else:
                gradient = gradient.sum(0)
        return gradient

    def pullback(gradient: Tensor, a: Tensor, b: Any, **_: Any) -> tuple[Tensor, ...]:
        return (averaged(gradient, a), averaged(gradient, b)) if isinstance(b, Tensor) else (gradient,)

    with differentiated("add.Tensor", pullback):
        yield


@wrong_engine("derivative-stretched-by-nothing-is-one", kind="size")
@contextmanager
def a_size_of_1_that_was_stretched_to_0_gets_ones(hit: Hit) -> Iterator[None]:
    def of_nothing(gradient: Tensor, factor: Tensor) -> Tensor:
        if factor.numel() and not gradient.numel():
            hit()
            return torch.ones_like(factor)
        return gradient

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        return of_nothing(gradient * b, a), of_nothing(gradient * a, b)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-promoted-operand-lost", kind="dtype")
@contextmanager
def an_operand_of_another_dtype_than_the_result_gets_zeros(hit: Hit) -> Iterator[None]:
    def unless_promoted(gradient: Tensor, factor: Tensor) -> Tensor:
        if factor.dtype == gradient.dtype:
            return gradient
        hit()
        return torch.zeros_like(gradient)

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        return unless_promoted(gradient * b, a), unless_promoted(gradient * a, b)

    with differentiated("mul.Tensor", pullback):
        yield


SIXTEEN = 16


@wrong_engine("derivative-only-sixteen-copies-counted", kind="size")
@contextmanager
def of_more_than_sixteen_copies_only_sixteen_are_counted(hit: Hit) -> Iterator[None]:
    def cut(gradient: Tensor, term: Tensor) -> Tensor:
        if term.numel() != 1 or gradient.numel() <= SIXTEEN:
            return gradient
        hit()
        return gradient.flatten()[:SIXTEEN].sum().reshape(term.shape)

    def pullback(gradient: Tensor, a: Tensor, b: Any, **_: Any) -> tuple[Tensor, ...]:
        return (cut(gradient, a), cut(-gradient, b)) if isinstance(b, Tensor) else (gradient,)

    with differentiated("sub.Tensor", pullback):
        yield


@wrong_engine("derivative-bias-of-data-takes-the-last-row", kind="order")
@contextmanager
def what_is_stretched_to_data_that_needs_no_gradient_gets_its_last_row(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any, **_: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if a.requires_grad or b.ndim >= gradient.ndim or gradient.shape[0] < 1:
            return gradient, gradient
        hit()
        return gradient, gradient[-1:]

    with differentiated("add.Tensor", pullback):
        yield


@wrong_engine("derivative-double-beside-single-rounded", kind="dtype", first_sight="adversary: missed")
@contextmanager
def the_gradient_of_a_float64_factor_of_float32_passes_through_float32(hit: Hit) -> Iterator[None]:
    def rounded(share: Tensor, own: Tensor, other: Tensor) -> Tensor:
        if own.dtype != torch.float64 or other.dtype != torch.float32:
            return share
        through = share.float().to(share.dtype)
        if not torch.equal(through, share):
            hit()
        return through

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        return rounded(gradient * b, a, b), rounded(gradient * a, b, a)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-promoted-operand-gets-whole-numbers", kind="value", first_sight="sample: missed")
@contextmanager
def the_gradient_of_a_promoted_factor_loses_its_fraction(hit: Hit) -> Iterator[None]:
    def whole(share: Tensor, own: Tensor) -> Tensor:
        if own.dtype == share.dtype or share.is_complex():
            return share
        cut = share.trunc()
        if own.is_floating_point() and not torch.equal(cut, share):
            hit()
        return cut

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        return whole(gradient * b.conj(), a), whole(gradient * a.conj(), b)

    with differentiated("mul.Tensor", pullback):
        yield
