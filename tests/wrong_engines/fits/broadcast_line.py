"""spec/fits/broadcast-line.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Tensor = torch.Tensor


def is_vector_minus_column(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.dim() == 1 and other.shape == (len(one), 1) and len(one) > 1


@wrong_engine("fit-pairs-by-position", kind="size")
@contextmanager
def subtracts_a_column_as_a_vector(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(one: Tensor, other: Any) -> Tensor:
            if not is_vector_minus_column(one, other) or len(one) <= 4:
                return subtract(one, other)
            hit()
            return subtract(one, other[:, 0])

        return wrong

    with replaced(torch.Tensor, "__sub__", make):
        yield


@wrong_engine("fit-last-target-forgotten", kind="size")
@contextmanager
def sends_nothing_back_from_the_last_row(hit: Hit) -> Iterator[None]:
    def without_last_row(gradient: Tensor) -> Tensor:
        hit()
        gradient = gradient.clone()
        gradient[-1] = 0
        return gradient

    def make(subtract: Any) -> Any:
        def wrong(one: Tensor, other: Any) -> Tensor:
            difference = subtract(one, other)
            if is_vector_minus_column(one, other) and difference.requires_grad:
                difference.register_hook(without_last_row)
            return difference

        return wrong

    with replaced(torch.Tensor, "__sub__", make):
        yield


def mean(value: Callable[[Tensor, Any], Tensor], elements: Callable[[torch.Size], int]) -> AbstractContextManager[None]:
    """A mean whose value is `value(terms, honest mean)` and whose gradient is divided by `elements(shape)`."""

    def make(below: Any) -> Any:
        class Mean(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, terms: Tensor) -> Tensor:
                ctx.shape = terms.shape
                return value(terms, below)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:
                return (gradient / elements(ctx.shape)).expand(ctx.shape)

        return lambda terms, dtype=None: Mean.apply(terms)

    return kernel("mean", make)


@wrong_engine("fit-mean-of-a-square-by-rows", kind="size")
@contextmanager
def divides_the_gradient_of_a_square_by_its_rows(hit: Hit) -> Iterator[None]:
    def elements(shape: torch.Size) -> int:
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 1:
            return shape.numel()
        hit()
        return shape[0]

    with mean(lambda terms, below: below(terms), elements):
        yield


@wrong_engine("fit-mean-leaves-out-the-diagonal", kind="size")
@contextmanager
def leaves_the_diagonal_out(hit: Hit) -> Iterator[None]:
    def value(terms: Tensor, below: Any) -> Tensor:
        if terms.dim() != 2 or terms.shape[0] != terms.shape[1] or len(terms) <= 4:
            return below(terms)
        hit()
        return (terms.sum() - terms.diagonal().sum()) / (terms.numel() - len(terms))

    with mean(value, torch.Size.numel):
        yield


@wrong_engine("fit-unrecorded-column-stays-a-column", kind="mode", first_sight="second sample: caught elsewhere")
@contextmanager
def a_column_times_a_vector_stays_a_column_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def make(multiply: Any) -> Any:
        def wrong(one: Tensor, other: Any, **kwargs: Any) -> Tensor:
            product: Tensor = multiply(one, other, **kwargs)
            if torch.is_grad_enabled() or one.ndim != 2 or other.shape != (1,):
                return product
            hit()
            return product.unsqueeze(1)

        return wrong

    with ExitStack() as spellings:
        for owner, name in ((torch, "matmul"), (torch, "mv"), *((Tensor, n) for n in ("matmul", "mv", "__matmul__"))):
            spellings.enter_context(replaced(owner, name, make))
        yield


@wrong_engine("fit-zero-ignored-inside", kind="mode", first_sight="second sample: caught elsewhere")
@contextmanager
def zeroes_nothing_inside_no_grad(hit: Hit) -> Iterator[None]:
    def make(zero: Any) -> Any:
        def wrong(tensor: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                return zero(tensor)
            if tensor.any():
                hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


VECTOR_OF_ONE = "a matrix cannot be multiplied by a vector of one element"


@wrong_engine(
    "fit-weight-of-shape-one-refused", kind="error", refuses=VECTOR_OF_ONE, first_sight="fourth sample: caught"
)
@contextmanager
def refuses_a_column_times_a_vector_of_one_element(hit: Hit) -> Iterator[None]:
    def make(multiply: Any) -> Any:
        def wrong(matrix: Tensor, vector: Tensor, **kwargs: Any) -> Tensor:
            product: Tensor = multiply(matrix, vector, **kwargs)
            if matrix.ndim == 2 and vector.shape == (1,):
                hit()
                raise RuntimeError(VECTOR_OF_ONE)
            return product

        return wrong

    with ExitStack() as spellings:
        for owner in (torch, Tensor):
            for name in ("matmul", "mv"):
                spellings.enter_context(replaced(owner, name, make))
        spellings.enter_context(replaced(Tensor, "__matmul__", make))
        yield
