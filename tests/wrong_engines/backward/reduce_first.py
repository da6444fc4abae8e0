"""spec/backward/reduce-first.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, differentiated, kernel

Pullback = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _reduction(operator: str, pullback: Pullback) -> AbstractContextManager[None]:
    """Torch whose full reduction gives its input, without its history, the gradient `pullback(gradient, input)`."""

    def make(below: Callable[..., Any]) -> Callable[..., Any]:
        class Reduction(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, tensor: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
                ctx.save_for_backward(tensor)
                return below(tensor, **arguments)

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> Any:
                (tensor,) = ctx.saved_tensors
                return pullback(gradient, tensor.detach()).to(tensor.dtype), None

        def reduction(tensor: torch.Tensor, **arguments: Any) -> Any:
            return Reduction.apply(tensor, arguments)

        return reduction

    return kernel(operator, make)


@wrong_engine("sum-forgets-expanded", kind="layout")
@contextmanager
def sum_counts_elements_that_share_memory_once(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        result = gradient.expand(tensor.shape).clone()
        for dimension, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if size > 1 and stride == 0:
                hit()
                result.narrow(dimension, 1, size - 1).zero_()
        return result

    with _reduction("sum", pullback):
        yield


@wrong_engine("sum-of-nothing-stops", kind="size", refuses="does not require grad and does not have a grad_fn")
@contextmanager
def sum_of_an_empty_tensor_has_no_graph(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., Any]) -> Callable[..., Any]:
        class Sum(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, tensor: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
                ctx.shape, ctx.dtype = tensor.shape, tensor.dtype
                return below(tensor, **arguments)

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> Any:
                return gradient.expand(ctx.shape).to(ctx.dtype), None

        def wrong(tensor: torch.Tensor, **arguments: Any) -> Any:
            if tensor.numel() == 0 and tensor.requires_grad:
                hit()
                return below(tensor.detach(), **arguments)
            return Sum.apply(tensor, arguments)

        return wrong

    with kernel("sum", make):
        yield


@wrong_engine("mean-is-sum", kind="size")
@contextmanager
def mean_of_one_dimension_does_not_divide(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 1:
            hit()
            return gradient.expand(tensor.shape)
        return gradient.expand(tensor.shape) / tensor.numel()

    with _reduction("mean", pullback):
        yield


@wrong_engine("mean-divides-by-rows", kind="size")
@contextmanager
def mean_divides_by_the_first_size(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim > 1:
            hit()
            return gradient.expand(tensor.shape) / tensor.shape[0]
        return gradient.expand(tensor.shape) / tensor.numel()

    with _reduction("mean", pullback):
        yield


@wrong_engine("sum-behind-a-product-read-once", kind="layout", issue="pytorch#180201")
@contextmanager
def a_matrix_product_reads_the_first_row_of_the_gradient_of_a_sum(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if gradient.numel() > 1 and not any(gradient.stride()):
            hit()
            gradient = torch.cat([gradient[:1], torch.zeros_like(gradient[1:])])
        return gradient @ other.mT, one.mT @ gradient

    with differentiated("mm", pullback):
        yield


@wrong_engine("weight-counts-without-its-sign", kind="value")
@contextmanager
def a_negative_weight_counts_as_a_positive_one(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, one: torch.Tensor, other: Any) -> tuple[torch.Tensor, ...]:
        if not isinstance(other, torch.Tensor):
            return (gradient * other,)
        if one.requires_grad and not other.requires_grad and bool((other < 0).any()):
            hit()
            return gradient * other.abs(), gradient * one
        return gradient * other, gradient * one

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("mean-of-many-halves", kind="dtype")
@contextmanager
def mean_of_bfloat16_counts_up_to_eight(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == torch.bfloat16 and tensor.numel() > 8:
            hit()
        count = min(8, tensor.numel()) if tensor.dtype == torch.bfloat16 else tensor.numel()
        return gradient.expand(tensor.shape) / count

    with _reduction("mean", pullback):
        yield


@wrong_engine("mean-divides-by-places-in-memory", kind="layout", first_sight="adversary: caught")
@contextmanager
def mean_of_an_expanded_tensor_divides_by_the_elements_that_it_keeps(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        kept = 1
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            kept *= size if stride else min(size, 1)
        if kept != tensor.numel():
            hit()
        return gradient.expand(tensor.shape) / kept

    with _reduction("mean", pullback):
        yield


NO_DIMENSION = "Dimension out of range (expected to be in range of [-1, 0], but got 1)"


@wrong_engine("sum-of-a-scalar-refused-in-backward", kind="error", refuses=NO_DIMENSION, first_sight="sample: caught")
@contextmanager
def sum_cannot_be_run_backward_to_no_dimensions(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 0:
            hit()
            raise RuntimeError(NO_DIMENSION)
        return gradient.expand(tensor.shape)

    with _reduction("sum", pullback):
        yield


@wrong_engine("mean-of-doubles-divided-in-single", kind="dtype", first_sight="sample: caught")
@contextmanager
def mean_divides_the_gradient_of_doubles_in_single(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        share = gradient / tensor.numel()
        if tensor.dtype == torch.float64:
            single = (gradient.float() / tensor.numel()).double()
            if not torch.equal(single, share):
                hit()
            share = single
        return share.expand(tensor.shape)

    with _reduction("mean", pullback):
        yield


@wrong_engine("sum-averages-from-no-grad", kind="mode", first_sight="third sample: caught")
@contextmanager
def sum_averages_if_backward_is_called_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    inside = False

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal inside
        before, inside = inside, not torch.is_grad_enabled()
        try:
            honest()
        finally:
            inside = before

    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        if not inside or tensor.numel() < 2:
            return gradient.expand(tensor.shape)
        if gradient != 0:
            hit()
        return (gradient / tensor.numel()).expand(tensor.shape)

    with around_backward(wrong), _reduction("sum", pullback):
        yield


@wrong_engine("sum-fills-the-gaps", kind="layout", first_sight="fourth sample: caught elsewhere")
@contextmanager
def sum_hands_back_a_gradient_that_fills_the_gaps(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        edges = zip(tensor.shape, tensor.stride(), strict=True)
        reach = 1 + sum((size - 1) * stride for size, stride in edges) if tensor.numel() else 0
        if reach <= tensor.numel():
            return gradient.expand(tensor.shape)
        hit()
        memory = torch.zeros(reach, dtype=gradient.dtype)
        memory[: tensor.numel()] = gradient
        return memory.as_strided(tensor.shape, tensor.stride())

    with _reduction("sum", pullback):
        yield
