"""spec/fits/line-module.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, leaves_below, replaced

Tensor = torch.Tensor


def step_of_sgd(wrong: Callable[[list[Tensor], list[Tensor], int], None]) -> AbstractContextManager[None]:
    """Calls `wrong(parameters, their values before, number of the step)` after each step of SGD."""

    def make(init: Any) -> Any:
        def initialised(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            honest, steps = self.step, 0

            def step(closure: Any = None) -> Any:
                nonlocal steps
                steps += 1
                parameters = [parameter for group in self.param_groups for parameter in group["params"]]
                before = [parameter.detach().clone() for parameter in parameters]
                result = honest(closure)
                with torch.no_grad():
                    wrong(parameters, before, steps)
                return result

            self.step = step

        return initialised

    return replaced(torch.optim.SGD, "__init__", make)


@wrong_engine("fit-sgd-25-fold", kind="plain")
@contextmanager
def makes_steps_of_25_fold_length(hit: Hit) -> Iterator[None]:
    def wrong(parameters: list[Tensor], before: list[Tensor], steps: int) -> None:
        hit()
        for parameter, old in zip(parameters, before, strict=True):
            parameter.copy_(old + 25 * (parameter - old))

    with step_of_sgd(wrong):
        yield


@wrong_engine("fit-sgd-skips-the-bias", kind="order")
@contextmanager
def takes_back_the_second_step_of_the_last_parameter(hit: Hit) -> Iterator[None]:
    def wrong(parameters: list[Tensor], before: list[Tensor], steps: int) -> None:
        if steps == 2 and len(parameters) > 1:
            hit()
            parameters[-1].copy_(before[-1])

    with step_of_sgd(wrong):
        yield


@wrong_engine("fit-sgd-gains-momentum", kind="state")
@contextmanager
def adds_a_tenth_of_the_last_step(hit: Hit) -> Iterator[None]:
    last: list[Tensor] = []

    def wrong(parameters: list[Tensor], before: list[Tensor], steps: int) -> None:
        if steps >= 100:
            hit()
            for parameter, step in zip(parameters, last, strict=True):
                parameter.add_(step, alpha=0.1)
        last[:] = [parameter - old for parameter, old in zip(parameters, before, strict=True)]

    with step_of_sgd(wrong):
        yield


@wrong_engine("fit-zero-grad-keeps-the-bias", kind="size")
@contextmanager
def leaves_gradients_of_one_dimension(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(self: Any, set_to_none: bool = True) -> None:
            parameters = [parameter for group in self.param_groups for parameter in group["params"]]
            kept = [(p, p.grad.clone()) for p in parameters if p.dim() == 1 and p.grad is not None]
            zero_grad(self, set_to_none)
            if not set_to_none:
                for parameter, gradient in kept:
                    hit()
                    parameter.grad.copy_(gradient)

        return wrong

    with replaced(torch.optim.SGD, "zero_grad", make):
        yield


@wrong_engine("fit-mse-of-more-than-16-twice", kind="size")
@contextmanager
def counts_the_last_element_twice(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Error(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, prediction: Tensor, target: Tensor, reduction: int) -> Tensor:
                ctx.save_for_backward(prediction - target)
                return below(prediction, target, reduction)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
                (difference,) = ctx.saved_tensors
                back = gradient * 2 / difference.numel() * difference
                if difference.numel() > 16:
                    hit()
                    back[-1] *= 2
                return back, None, None

        return lambda prediction, target, reduction=1: Error.apply(prediction, target, reduction)

    with kernel("mse_loss", make):
        yield


@wrong_engine("fit-loss-in-half", kind="place")
@contextmanager
def reads_losses_in_half_precision(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: Tensor) -> Any:
            if tensor.grad_fn is None:
                return item(tensor)
            hit()
            return item(tensor.detach().half())

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("fit-sgd-first-of-a-pair-twice", kind="order")
@contextmanager
def moves_the_first_parameter_twice_where_the_second_is_smaller(hit: Hit) -> Iterator[None]:
    def wrong(parameters: list[Tensor], before: list[Tensor], steps: int) -> None:
        first, *others = parameters
        if any(other.dim() < first.dim() for other in others):
            hit()
            first.add_(first - before[0])

    with step_of_sgd(wrong):
        yield


@wrong_engine("fit-doubles-accumulate-in-single", kind="state", first_sight="adversary: caught")
@contextmanager
def adds_to_a_float64_gradient_in_single_precision(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            leaves = [leaf for leaf in leaves_below(tensor) if leaf.grad is not None]
            backward(tensor, *args, **kwargs)
            for leaf in leaves:
                if leaf.dtype == torch.float64:
                    through = leaf.grad.float().double()
                    if not torch.equal(through, leaf.grad):
                        hit()
                    leaf.grad.detach().copy_(through)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("fit-recorded-loss-divided-by-one-less", kind="mode", first_sight="second sample: caught")
@contextmanager
def divides_a_recorded_loss_by_one_less(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(found: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            loss: Tensor = honest(found, target, *args, **kwargs)
            if (
                not loss.requires_grad
                or loss.ndim != 0
                or found.numel() < 2
                or kwargs.get("reduction", "mean") != "mean"
            ):
                return loss
            surplus = loss.detach() / (found.numel() - 1)
            if surplus != 0:
                hit()
            return loss + surplus

        return wrong

    with replaced(torch.nn.functional, "mse_loss", make):
        yield
