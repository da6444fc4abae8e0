"""spec/derivatives/mean-squared-error.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor

MEAN, SUM = 1, 2
"""How the operator is told its reduction."""


def _squares(
    gradient: Tensor, prediction: Tensor, target: Tensor, reduction: int = MEAN, divisor: int | None = None
) -> Tensor:
    count = prediction.numel() if divisor is None else divisor
    return 2 * gradient * (prediction - target) / (count if reduction == MEAN else 1)


@wrong_engine("derivative-mse-divides-by-rows", kind="size")
@contextmanager
def the_mean_divides_by_the_first_size(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        rows = prediction.shape[0] if prediction.ndim else 1
        if rows != prediction.numel():
            hit()
        found = _squares(gradient, prediction, target, *(reduction or (MEAN,)), divisor=rows)
        return found, -found

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-target-keeps-sign", kind="order")
@contextmanager
def the_target_gets_what_the_prediction_gets(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        if target.requires_grad:
            hit()
        found = _squares(gradient, prediction, target, *reduction)
        return found, found

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-sum-halved", kind="plain")
@contextmanager
def the_sum_of_squares_is_halved(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        found = _squares(gradient, prediction, target, *reduction)
        if reduction == (SUM,):
            hit()
            found = found / 2
        return found, -found

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-in-memory-order", kind="layout")
@contextmanager
def what_a_transposed_prediction_gets_lies_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        found = _squares(gradient, prediction, target, *reduction)
        if prediction.ndim > 1 and not prediction.is_contiguous() and prediction.transpose(-2, -1).is_contiguous():
            hit()
            return found.contiguous().as_strided(prediction.shape, prediction.stride()), -found
        return found, -found

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-count-kept", kind="state")
@contextmanager
def the_mean_divides_by_the_count_of_the_first_loss_of_its_dims(hit: Hit) -> Iterator[None]:
    counts: dict[int, int] = {}

    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        count = counts.setdefault(prediction.ndim, prediction.numel())
        if count != prediction.numel():
            hit()
        found = _squares(gradient, prediction, target, *(reduction or (MEAN,)), divisor=count)
        return found, -found

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-strided-forgets-cotangent", kind="layout", first_sight="adversary: caught")
@contextmanager
def a_prediction_that_is_not_contiguous_gets_the_gradient_of_the_bare_loss(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, p: Tensor, t: Tensor, reduction: int = 1) -> tuple[Tensor, Tensor]:
        if reduction and not p.is_contiguous() and gradient.item() != 1:
            hit()
            gradient = torch.ones_like(gradient)
        share = 2 * (p - t) * gradient
        if reduction == 1:
            share = share / share.numel()
        return share, -share

    with differentiated("mse_loss", pullback):
        yield


@wrong_engine("derivative-mse-target-from-the-start-of-its-storage", kind="layout", first_sight="second sample: caught")
@contextmanager
def the_slope_reads_the_target_without_its_offset(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, prediction: Tensor, target: Tensor, *reduction: int) -> tuple[Tensor, Tensor]:
        if target.storage_offset():
            read = target.detach().as_strided(target.shape, target.stride(), 0)
            if not torch.equal(read, target):
                hit()
            target = read
        found = _squares(gradient, prediction, target, *reduction)
        return found, -found

    with differentiated("mse_loss", pullback):
        yield
