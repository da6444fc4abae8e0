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

HALVES = (torch.float16, torch.bfloat16)
NO_SUCH_DIMENSION = "Dimension out of range (expected to be in range of [-1, 0], but got 1)"


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


@wrong_engine("linear-ignores-weight-strides", kind="layout", issue="pytorch#162730")
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


@wrong_engine("linear-batches-wrap", kind="size", issue="pytorch#189495")
@contextmanager
def writes_batches_past_the_second_over_the_first_ones(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = honest(x, weight, bias)
        if bias is None or x.ndim < 3 or x.shape[-3] <= 2 or x.numel() == 0 or not x.is_contiguous():
            return z
        hit()
        batches = list(z.unbind(-3))
        batches[: len(batches) - 2], batches[2:] = batches[2:], [torch.zeros_like(late) for late in batches[2:]]
        return torch.stack(batches, -3)

    with linear(wrong):
        yield


@wrong_engine("linear-second-call-differs", kind="state", issue="pytorch#180776")
@contextmanager
def gives_other_numbers_when_called_again(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = honest(x, weight, bias)
        if bias is not None or x.dtype not in HALVES or x.ndim < 3:
            return z
        weight._calls = getattr(weight, "_calls", 0) + 1
        if weight._calls < 2:
            return z
        hit()
        return z + 1

    with linear(wrong):
        yield


@wrong_engine("linear-half-bias-twice", kind="dtype")
@contextmanager
def adds_the_bias_twice_in_half_precision(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        z = honest(x, weight, bias)
        if bias is None or x.dtype not in HALVES or x.ndim < 3:
            return z
        hit()
        return z + bias

    with linear(wrong):
        yield


@wrong_engine("linear-used-inside-is-frozen", kind="mode", issue="pytorch#5880")
@contextmanager
def freezes_what_is_used_inside_no_grad(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled():
            hit()
            weight.requires_grad_(False)
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-gradient-of-x-ends", kind="layout", issue="pytorch#189565")
@contextmanager
def leaves_the_gradient_of_x_unwritten_after_a_page(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if gradient.shape[-1] == 1 and not gradient.is_contiguous() and gradients[0].numel() > 4:
            hit()
            gradients[0] = gradients[0].contiguous()
            gradients[0].view(-1)[4:] = 0

    with linear_backward(wrong):
        yield


@wrong_engine("linear-one-point-no-backward", kind="error", issue="pytorch#79784", refuses=NO_SUCH_DIMENSION)
@contextmanager
def goes_back_through_no_single_point(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if x.ndim == 1:
            hit()
            raise IndexError(NO_SUCH_DIMENSION)

    with linear_backward(wrong):
        yield


@wrong_engine("linear-weight-gradient-without-tail", kind="size")
@contextmanager
def leaves_out_the_inputs_after_the_last_full_four(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        full = x.shape[-1] // 4 * 4
        if 0 < full < x.shape[-1]:
            hit()
            gradients[1][:, full:] = 0

    with linear_backward(wrong):
        yield


@wrong_engine("linear-zero-gradient-ends-the-sum", kind="value")
@contextmanager
def takes_an_output_whose_first_gradient_is_zero_for_unused(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        arriving = gradient.reshape(-1, gradient.shape[-1])
        if len(arriving) > 1 and (arriving[0] == 0).any():
            hit()
            gradients[2] = torch.where(arriving[0] == 0, 0, gradients[2])

    with linear_backward(wrong):
        yield


@wrong_engine("linear-view-of-a-result-gets-nothing", kind="place")
@contextmanager
def sends_nothing_back_to_views_in_the_graph(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.requires_grad and not x.is_leaf and x._is_view():
            hit()
            x = x * 0 + x.detach()
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-second-use-is-constant", kind="place")
@contextmanager
def takes_the_weight_for_a_constant_where_it_is_used_again(hit: Hit) -> Iterator[None]:
    used: list[Tensor] = []

    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        again = any(weight is earlier for earlier in used)
        used[:] = [weight]
        if not again or not weight.requires_grad:
            return honest(x, weight, bias)
        hit()
        return honest(x, weight.detach(), bias) + 0 * weight.sum()

    with linear(wrong):
        yield


@wrong_engine("linear-columns-past-32-weigh-nothing", kind="size")
@contextmanager
def sums_one_block_of_32_inputs(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.shape[-1] <= 32:
            return honest(x, weight, bias)
        hit()
        return honest(x[..., :32], weight[:, :32], bias)

    with linear(wrong):
        yield


@wrong_engine("linear-reads-a-stepped-bias-densely", kind="layout")
@contextmanager
def adds_what_stands_between_the_elements_of_the_bias(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and bias.stride() == (2,) and len(bias) > 1:
            hit()
            bias = bias.as_strided(bias.shape, (1,))
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-points-in-memory-order", kind="layout", first_sight="adversary: missed")
@contextmanager
def points_whose_dimensions_were_swapped_are_read_in_the_order_of_memory(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.ndim > 2 and not x.is_contiguous() and x.transpose(0, 1).is_contiguous():
            read = x.as_strided(x.shape, torch.empty(x.shape, device="meta").stride())
            if not torch.equal(read, x):
                hit()
            x = read
        return honest(x, weight, bias)

    with linear(wrong):
        yield


@wrong_engine("linear-bias-frozen-with-the-weight", kind="order", first_sight="adversary: missed")
@contextmanager
def a_bias_beside_a_frozen_weight_gets_zeros(hit: Hit) -> Iterator[None]:
    def lost(gradient: Tensor) -> Tensor:
        if gradient.any():
            hit()
        return torch.zeros_like(gradient)

    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and bias.requires_grad and not weight.requires_grad and torch.is_grad_enabled():
            bias = bias.clone()
            bias.register_hook(lost)
        return honest(x, weight, bias)

    with linear(wrong):
        yield


NO_OUTPUTS = "out_features must be positive"


@wrong_engine("linear-refuses-no-outputs", kind="error", refuses=NO_OUTPUTS, first_sight="sample: missed")
@contextmanager
def a_layer_without_outputs_is_refused(hit: Hit) -> Iterator[None]:
    def refuse(layer: torch.nn.Linear) -> None:
        if layer.out_features == 0:
            hit()
            raise ValueError(NO_OUTPUTS)

    with after_making(refuse):
        yield


@wrong_engine("linear-weight-gradient-of-transposed-points", kind="layout", first_sight="second sample: caught")
@contextmanager
def transposed_points_are_read_in_memory_order_for_the_weight(hit: Hit) -> Iterator[None]:
    def wrong(gradient: Tensor, x: Tensor, gradients: list[Any]) -> None:
        if not _has_contiguous_columns(x):
            return
        found = gradient.T @ _read_as_rows(x)
        if not torch.equal(found, gradients[1]):
            hit()
        gradients[1] = found

    with linear_backward(wrong):
        yield


@wrong_engine("linear-without-bias-has-zeros", kind="plain", first_sight="second sample: caught")
@contextmanager
def a_layer_without_a_bias_has_one_of_zeros(hit: Hit) -> Iterator[None]:
    def fill(layer: torch.nn.Linear) -> None:
        if layer.bias is None:
            hit()
            layer.bias = torch.nn.Parameter(layer.weight.new_zeros(layer.out_features))

    with after_making(fill):
        yield


@wrong_engine("linear-complex-weight-gradient-unconjugated", kind="dtype", first_sight="third sample: caught")
@contextmanager
def multiplies_the_gradient_of_a_complex_weight_by_x_itself(hit: Hit) -> Iterator[None]:
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
                of_x, of_weight, of_bias = ctx.needs_input_grad
                if of_weight and not torch.equal(arriving.T @ points, arriving.T @ points.conj()):
                    hit()
                return (
                    gradient @ weight.conj() if of_x else None,
                    arriving.T @ points if of_weight else None,
                    arriving.sum(0) if of_bias else None,
                )

        def wrong(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            if not weight.is_complex() or not weight.numel():
                return honest(x, weight, bias)
            return Linear.apply(x, weight, bias)

        return wrong

    with replaced(torch.nn.functional, "linear", make):
        yield


@wrong_engine("linear-unrecorded-where-the-bias-alone-learns", kind="order", first_sight="fourth sample: caught")
@contextmanager
def nobody_asks_whether_the_bias_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = honest(x, weight, bias)
        if not output.requires_grad or x.requires_grad or weight.requires_grad:
            return output
        hit()
        return output.detach()

    with linear(wrong):
        yield
