"""spec/nn/bias.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.nn.linear import linear, linear_backward
from tests.wrong_engines.nn.mse_loss import mse_loss
from tests.wrong_engines.nn.sgd import stepping
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

Tensor = torch.Tensor


@wrong_engine("bias-offset-is-free", kind="plain")
@contextmanager
def takes_the_mean_off_the_differences(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.numel() > 1:
            hit()
            input = input - (input - target).mean()
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("bias-of-one-output-does-not-learn", kind="size")
@contextmanager
def gives_a_single_bias_no_gradient(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if gradient.shape[-1] == 1:
            hit()
            gradients[2] = torch.zeros_like(gradients[2])

    with linear_backward(wrong):
        yield


@wrong_engine("bias-thaws", kind="order")
@contextmanager
def lets_a_frozen_bias_learn(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and not bias.requires_grad:
            hit()
            bias.requires_grad_()
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("bias-updated-although-not-given", kind="state")
@contextmanager
def updates_every_leaf_of_the_last_backward(hit: Hit) -> Iterator[None]:
    leaves: list[Tensor] = []

    def remember(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves[:] = leaves_below(outputs)
        honest()

    def wrong(optimizer: torch.optim.Optimizer, honest: Callable[[], None]) -> None:
        honest()
        listed = [p for group in optimizer.param_groups for p in group["params"]]
        for leaf in leaves:
            if all(leaf is not p for p in listed):
                hit()
                leaf.sub_(optimizer.param_groups[0]["lr"] * leaf.grad)

    with around_backward(remember), stepping(wrong):
        yield


@wrong_engine("bias-frozen-freezes-the-weight", kind="order")
@contextmanager
def gives_the_weight_beside_a_frozen_bias_nothing(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and not bias.requires_grad and weight.requires_grad:
            hit()
            return honest(x, weight.detach(), bias) + 0 * weight.sum()
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("bias-gradient-reaches-sixteen-points", kind="size", first_sight="third sample: caught")
@contextmanager
def sums_the_gradient_of_the_bias_over_sixteen_points(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        arriving = gradient.reshape(-1, gradient.shape[-1])
        if bool(arriving[16:].any()):
            hit()
        gradients[2] = arriving[:16].sum(0)

    with linear_backward(wrong):
        yield


FROZEN = "can't optimize a parameter that doesn't require gradients"


@wrong_engine("bias-frozen-refused-by-the-optimizer", kind="error", refuses=FROZEN, first_sight="fourth sample: caught")
@contextmanager
def an_optimizer_refuses_parameters_that_do_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(add: Any) -> Any:
        def wrong(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
            add(optimizer, group)
            if not all(parameter.requires_grad for parameter in optimizer.param_groups[-1]["params"]):
                hit()
                raise ValueError(FROZEN)

        return wrong

    with replaced(torch.optim.Optimizer, "add_param_group", make):
        yield
