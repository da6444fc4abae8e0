"""spec/nn/linear.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Tensor = torch.Tensor


def _read_as_rows(tensor: Tensor) -> Tensor:
    """The memory of a matrix in which columns are contiguous, read as if rows were."""
    return tensor.as_strided(tensor.shape, (tensor.shape[1], 1))


def _has_contiguous_columns(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and min(tensor.shape) > 1 and tensor.stride() == (1, tensor.shape[0])


def linear(wrong: Callable[..., Tensor]) -> AbstractContextManager[None]:
    """What layers call is replaced by `wrong(honest, x, weight, bias)`."""

    def make(honest: Any) -> Any:
        return lambda x, weight, bias=None: wrong(honest, x, weight, bias)

    return replaced(torch.nn.functional, "linear", make)


def linear_backward(wrong: Callable[[Tensor, Tensor, list[Any]], None]) -> AbstractContextManager[None]:
    """`wrong(gradient, x, gradients)` changes the right gradients of x, weight and bias in their list."""

    def make(honest: Any) -> Any:
        class Linear(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
                ctx.save_for_backward(x, weight)
                return honest(x, weight, bias)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
                x, weight = ctx.saved_tensors
                points, arriving = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
                gradients = [gradient @ weight, arriving.T @ points, arriving.sum(0)]
                wrong(gradient, x, gradients)
                return tuple(
                    one if needed else None for one, needed in zip(gradients, ctx.needs_input_grad, strict=True)
                )

        return lambda x, weight, bias=None: Linear.apply(x, weight, bias)

    return replaced(torch.nn.functional, "linear", make)


@wrong_engine("linear-ignores-weight-strides", kind="layout")
@contextmanager
def reads_the_weight_as_if_it_were_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if _has_contiguous_columns(weight):
            hit()
            weight = _read_as_rows(weight)
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-forgets-bias-1d", kind="size")
@contextmanager
def adds_no_bias_to_a_single_point(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.ndim == 1 and bias is not None:
            hit()
            bias = bias * 0
        return honest(x, weight, bias)

    with linear(wrong):
        yield


def after_making(wrong: Callable[[torch.nn.Linear], None]) -> AbstractContextManager[None]:
    """`wrong(layer)` changes a layer that has just been made."""

    def make(init: Any) -> Any:
        @wraps(init)
        def wrong_init(layer: torch.nn.Linear, *args: Any, **kwargs: Any) -> None:
            init(layer, *args, **kwargs)
            wrong(layer)

        return wrong_init

    return replaced(torch.nn.Linear, "__init__", make)


@wrong_engine("linear-stores-in-by-out", kind="plain")
@contextmanager
def keeps_a_row_for_each_input(hit: Hit) -> Iterator[None]:
    def turns(layer: torch.nn.Linear) -> None:
        hit()
        layer.weight = torch.nn.Parameter(layer.weight.detach().T)

    def make(forward: Any) -> Any:
        def wrong(layer: torch.nn.Linear, x: Tensor) -> Tensor:
            z = x @ layer.weight
            return z if layer.bias is None else z + layer.bias

        return wrong

    with after_making(turns), replaced(torch.nn.Linear, "forward", make):
        yield


@wrong_engine("linear-bias-is-a-row", kind="plain")
@contextmanager
def makes_the_bias_a_row(hit: Hit) -> Iterator[None]:
    def wrong(layer: torch.nn.Linear) -> None:
        if layer.bias is not None:
            hit()
            layer.bias = torch.nn.Parameter(layer.bias.detach()[None])

    with after_making(wrong):
        yield


@wrong_engine("linear-made-inside-is-frozen", kind="mode")
@contextmanager
def freezes_what_is_made_inside_no_grad(hit: Hit) -> Iterator[None]:
    def wrong(layer: torch.nn.Linear) -> None:
        if not torch.is_grad_enabled():
            hit()
            layer.requires_grad_(False)

    with after_making(wrong):
        yield


@wrong_engine("linear-single-bias-unlisted", kind="size")
@contextmanager
def lists_no_bias_of_one_element(hit: Hit) -> Iterator[None]:
    def make(parameters: Any) -> Any:
        def wrong(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            for parameter in parameters(module, *args, **kwargs):
                if parameter.shape == (1,):
                    hit()
                else:
                    yield parameter

        return wrong

    with replaced(torch.nn.Module, "parameters", make):
        yield


@wrong_engine("linear-unrecorded-for-one-point", kind="size")
@contextmanager
def records_nothing_for_a_single_point(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.ndim == 1 and not x.requires_grad:
            hit()
            with torch.no_grad():
                return honest(x, weight, bias)
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-bias-gradient-of-first-batch", kind="size")
@contextmanager
def sums_the_gradient_of_the_bias_over_one_dimension(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if x.ndim >= 3 and x.numel() > 0:
            hit()
            gradients[2] = gradient.sum(0).reshape(-1, gradient.shape[-1])[0]

    with linear_backward(wrong):
        yield


@wrong_engine("linear-gradient-read-contiguous", kind="layout")
@contextmanager
def reads_the_gradient_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if (
            not gradient.is_contiguous()
            and gradient.untyped_storage().nbytes() == gradient.numel() * gradient.element_size()
        ):
            hit()
            outputs = gradient.shape[-1]
            arriving = gradient.as_strided((gradient.numel() // outputs, outputs), (outputs, 1))
            gradients[1] = arriving.T @ x.reshape(-1, x.shape[-1])

    with linear_backward(wrong):
        yield


@wrong_engine("linear-no-points-ones", kind="size")
@contextmanager
def leaves_the_gradient_of_no_points_unwritten(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if x.numel() == 0:
            hit()
            gradients[1] = torch.ones_like(gradients[1])

    with linear_backward(wrong):
        yield
