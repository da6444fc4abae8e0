"""spec/fits/layer-gradients.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import around_backward, kernel, leaves_below

Tensor = torch.Tensor


def mean_squared_error(share: Callable[[Tensor], float]) -> AbstractContextManager[None]:
    """A mean squared error whose gradient is `share(prediction)` times the differences."""

    def make(below: Any) -> Any:
        class Error(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, prediction: Tensor, target: Tensor, reduction: int) -> Tensor:
                ctx.save_for_backward(prediction - target)
                return below(prediction, target, reduction)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
                (difference,) = ctx.saved_tensors
                return gradient * share(difference) * difference, None, None

        return lambda prediction, target, reduction=1: Error.apply(prediction, target, reduction)

    return kernel("mse_loss", make)


@wrong_engine("fit-mean-over-rows")
@contextmanager
def divides_by_the_number_of_rows(hit: Callable[[], None]) -> Iterator[None]:
    def share(difference: Tensor) -> float:
        if len(difference) != difference.numel():
            hit()
        return 2 / len(difference)

    with mean_squared_error(share):
        yield


@wrong_engine("fit-two-over-n-in-half")
@contextmanager
def rounds_the_factor_to_half_precision(hit: Callable[[], None]) -> Iterator[None]:
    def share(difference: Tensor) -> float:
        rounded = torch.tensor(2 / difference.numel()).half().item()
        if rounded != 2 / difference.numel():
            hit()
        return rounded

    with mean_squared_error(share):
        yield


@wrong_engine("fit-bias-of-the-first-row")
@contextmanager
def takes_the_gradient_of_the_first_of_two_rows(hit: Callable[[], None]) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Add(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, one: Tensor, other: Tensor, alpha: float) -> Tensor:
                ctx.shapes = one.shape, other.shape
                return below(one, other, alpha=alpha)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
                one, other = ctx.shapes
                if one != (2, *other):
                    return gradient.sum_to_size(one), gradient.sum_to_size(other), None
                hit()
                return gradient, gradient[0], None

        return lambda one, other, alpha=1: Add.apply(one, other, alpha)

    with kernel("add.Tensor", make):
        yield


@wrong_engine("fit-square-input-not-transposed")
@contextmanager
def forgets_to_transpose_a_square_input(hit: Callable[[], None]) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
                ctx.save_for_backward(one, other)
                return below(one, other)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
                one, other = ctx.saved_tensors
                if one.shape[0] == one.shape[1] > 1:
                    hit()
                    return below(gradient, other.T), below(one, gradient)
                return below(gradient, other.T), below(one.T, gradient)

        return Product.apply

    with kernel("mm", make):
        yield


@wrong_engine("fit-grad-is-the-bias")
@contextmanager
def leaves_the_bias_where_its_gradient_belongs(hit: Callable[[], None]) -> Iterator[None]:
    def wrong(outputs: list[Tensor], honest: Callable[[], None], options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs):
            if leaf.dim() == 1:
                hit()
                leaf.grad = leaf.detach().clone()

    with around_backward(wrong):
        yield


@wrong_engine("fit-backward-updates")
@contextmanager
def updates_while_it_is_there(hit: Callable[[], None]) -> Iterator[None]:
    def wrong(outputs: list[Tensor], honest: Callable[[], None], options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        honest()
        for leaf in leaves:
            if leaf.dim() == 1 and leaf.grad.any():
                hit()
                leaf.data.copy_(leaf.data - 0.01 * leaf.grad)

    with around_backward(wrong):
        yield


@wrong_engine("fit-input-gets-zeros")
@contextmanager
def leaves_zeros_at_the_input(hit: Callable[[], None]) -> Iterator[None]:
    def wrong(outputs: list[Tensor], honest: Callable[[], None], options: dict[str, Any]) -> None:
        inputs, waiting = [], [output.grad_fn for output in outputs]
        while waiting:
            node = waiting.pop()
            if node.name() == "MmBackward0":
                inputs.append(node._saved_self)
            waiting += [following for following, _ in node.next_functions if following is not None]
        honest()
        for tensor in inputs:
            if tensor is not None and tensor.is_leaf and not tensor.requires_grad:
                hit()
                tensor.grad = torch.zeros_like(tensor)

    with around_backward(wrong):
        yield
