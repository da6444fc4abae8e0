"""spec/operations/matmul.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]


def _multiplying(operator: str, wrong: Callable[[Operation, torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    def make(multiply: Operation) -> Operation:
        def replacement(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return wrong(multiply, x, y)

        return replacement

    return kernel(operator, make)


@wrong_engine("matmul-keeps-column", kind="size")
@contextmanager
def a_column_times_a_vector_of_one_stays_a_column(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or y.shape != (1,):
            return multiply(x, y)
        hit()
        return multiply(x, y).unsqueeze(1)

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-ignores-strides", kind="layout")
@contextmanager
def a_transposed_second_factor_is_read_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if y.is_contiguous() or not y.t().is_contiguous():
            return multiply(x, y)
        hit()
        return multiply(x, y.as_strided(y.shape, (y.shape[1], 1)))

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-empty-inner", kind="size")
@contextmanager
def a_sum_of_no_products_is_left_at_one(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        result = multiply(x, y)
        if x.shape[-1]:
            return result
        hit()
        return torch.ones_like(result)

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-first-batch-only", kind="size")
@contextmanager
def every_batch_is_multiplied_by_the_first(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if y.shape[0] < 2:
            return multiply(x, y)
        hit()
        return multiply(x, y[:1].expand(y.shape))

    with _multiplying("bmm", wrong):
        yield


@wrong_engine("matmul-mm-is-matmul", kind="error")
@contextmanager
def mm_takes_what_matmul_takes(hit: Hit) -> Iterator[None]:
    def make(multiply: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if x.ndim == y.ndim == 2:
                return multiply(x, y)
            hit()
            return x @ y

        return wrong

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "mm", make))
        yield


@wrong_engine("matmul-swaps-to-fit", kind="error")
@contextmanager
def factors_that_do_not_fit_are_swapped(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim == y.ndim == 2 and x.shape[1] != y.shape[0] and y.shape[1] == x.shape[0]:
            hit()
            x, y = y, x
        return multiply(x, y)

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-longer-vector-cut", kind="error")
@contextmanager
def the_longer_of_two_vectors_is_cut(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.numel() != y.numel():
            hit()
        length = min(x.numel(), y.numel())
        return multiply(x[:length], y[:length])

    with _multiplying("dot", wrong):
        yield
