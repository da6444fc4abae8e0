"""spec/operations/reductions.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]


@wrong_engine("reductions-sum-of-memory", kind="layout")
@contextmanager
def the_rows_of_an_expanded_tensor_count_once(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.ndim and x.shape[0] > 1 and x.stride(0) == 0:
                hit()
                x = x[:1]
            return add_up(x, **options)

        return wrong

    with kernel("sum", make):
        yield


@wrong_engine("reductions-keepdim-lost", kind="value")
@contextmanager
def a_dimension_counted_from_the_end_is_never_kept(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            if keepdim and dim and dim[0] < 0:
                hit()
                keepdim = False
            return add_up(x, dim, keepdim, **options)

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("reductions-mean-over-memory", kind="layout")
@contextmanager
def the_sum_is_divided_by_the_size_of_the_storage(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.is_contiguous() or options.get("dtype") is not None:
                return mean(x, **options)
            hit()
            stored = x.untyped_storage().nbytes() // x.element_size()
            return mean(x, **options) * (x.numel() / stored)

        return wrong

    with kernel("mean", make):
        yield


@wrong_engine("reductions-mean-as-numpy", kind="error")
@contextmanager
def the_mean_of_integers_is_taken_as_numpy_does(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if args or options or x.is_floating_point() or x.is_complex():
                return mean(x, *args, **options)
            hit()
            return mean(x, dtype=torch.get_default_dtype())

        return wrong

    with replaced(torch.Tensor, "mean", make):
        yield


@wrong_engine("reductions-mean-converts-last", kind="dtype")
@contextmanager
def the_mean_of_integers_is_rounded_before_it_is_converted(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
            if x.is_floating_point() or x.is_complex() or dtype is None:
                return mean(x, dtype=dtype)
            hit()
            return mean(x, dtype=dtype).trunc()

        return wrong

    with kernel("mean", make):
        yield


@contextmanager
def _deviating(wrong: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Replace the standard deviation, however it is called, where it is not told how to divide."""

    def make(std: Operation) -> Operation:
        def replacement(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            return wrong(std, x, *args, **options)

        return replacement

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "std", make))
        yield


@wrong_engine("reductions-std-as-numpy", kind="plain")
@contextmanager
def the_deviation_is_divided_by_all_elements(hit: Hit) -> Iterator[None]:
    def wrong(std: Operation, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if "unbiased" not in options:
            hit()
        return std(x, *args, **{"unbiased": False, **options})

    with _deviating(wrong):
        yield


@wrong_engine("reductions-std-of-one-is-zero", kind="size")
@contextmanager
def one_element_deviates_by_zero(hit: Hit) -> Iterator[None]:
    def wrong(std: Operation, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if x.numel() != 1:
            return std(x, *args, **options)
        hit()
        return std(x, unbiased=False)

    with _deviating(wrong):
        yield


@wrong_engine("reductions-max-from-zero", kind="value")
@contextmanager
def the_largest_is_sought_from_zero_on(hit: Hit) -> Iterator[None]:
    def make(largest: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.dtype == torch.bool:
                return largest(x)
            hit()
            return largest(x).clamp(min=0)

        return wrong

    with kernel("max", make):
        yield


@wrong_engine("reductions-max-counts-from-the-end", kind="layout")
@contextmanager
def the_place_in_a_strided_tensor_is_counted_backward(hit: Hit) -> Iterator[None]:
    def make(largest: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(x: torch.Tensor, dim: int, keepdim: bool = False) -> Any:
            values, indices = largest(x, dim, keepdim)
            if x.is_contiguous():
                return values, indices
            hit()
            return values, x.shape[dim] - 1 - indices

        return wrong

    with kernel("max.dim", make):
        yield
