"""spec/derivatives/matmul.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated, replaced

Tensor = torch.Tensor

TWO, FOUR, SIXTEEN = 2, 4, 16


@wrong_engine("derivative-square-factor-not-transposed", kind="size")
@contextmanager
def a_square_first_factor_is_not_transposed(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        if a.shape[0] == a.shape[1] > 1:
            hit()
            return gradient @ b.T, a @ gradient
        return gradient @ b.T, a.T @ gradient

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-matmul-without-its-tail", kind="size")
@contextmanager
def the_fifth_column_is_left_out(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        if b.shape[1] > FOUR:
            hit()
        return gradient[:, :FOUR] @ b[:, :FOUR].T, a.T @ gradient

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-expanded-gradient-counts-once", kind="layout", issue="pytorch#180201")
@contextmanager
def rows_that_are_copies_of_the_first_are_left_out_of_a_product_over_one_column(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        of_a = gradient @ b.T
        if gradient.shape[0] > 1 == gradient.shape[1] and gradient.stride(0) == 0:
            hit()
            of_a[1:] = 0
        return of_a, a.T @ gradient

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-stretched-batch-counts-once", kind="size")
@contextmanager
def a_stretched_batch_of_one_gets_the_share_of_the_first(hit: Hit) -> Iterator[None]:
    def once(share: Tensor, factor: Tensor) -> Tensor:
        for dim in range(share.ndim - 2):
            at = dim - share.ndim
            if share.shape[at] > 1 and (-at > factor.ndim or factor.shape[at] == 1):
                hit()
                share = share.narrow(at, 0, 1)
        return share

    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        left, right = a, b
        if b.ndim == 1:
            right, gradient = right.unsqueeze(-1), gradient.unsqueeze(-1)
        if a.ndim == 1:
            left, gradient = left.unsqueeze(0), gradient.unsqueeze(-2)
        of_a, of_b = gradient @ right.transpose(-2, -1), left.transpose(-2, -1) @ gradient
        if min(a.ndim, b.ndim) > 1:
            of_a, of_b = once(of_a, left), once(of_b, right)
        return of_a.sum_to_size(left.shape).reshape(a.shape), of_b.sum_to_size(right.shape).reshape(b.shape)

    with differentiated("matmul", pullback):
        yield


@wrong_engine("derivative-dot-swapped", kind="plain")
@contextmanager
def each_of_two_vectors_gets_itself(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        hit()
        return gradient * a, gradient * b

    with differentiated("dot", pullback):
        yield


@wrong_engine("derivative-bias-of-the-first-row", kind="size")
@contextmanager
def a_bias_gets_the_first_row_of_the_gradient(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, b: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        if gradient.shape[0] > 1:
            hit()
        return gradient[:1], gradient @ w.T, x.T @ gradient

    with differentiated("addmm", pullback):
        yield


@wrong_engine("derivative-square-weight-transposed", kind="size")
@contextmanager
def a_square_weight_gets_its_gradient_transposed(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, weight: Tensor, *bias: Tensor) -> tuple[Tensor, ...]:
        of_weight = gradient.T @ x
        if weight.shape[0] == weight.shape[1] > 1:
            hit()
            of_weight = of_weight.T
        return gradient @ weight, of_weight, *(gradient for _ in bias)

    with differentiated("linear", pullback):
        yield


@wrong_engine("derivative-batches-wrap-around", kind="size", issue="pytorch#197636")
@contextmanager
def from_the_third_batch_on_the_gradient_is_read_from_its_beginning_again(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        if gradient.shape[0] > TWO:
            hit()
            gradient = gradient[torch.arange(gradient.shape[0]) % TWO]
        return gradient @ b.transpose(1, 2), a.transpose(1, 2) @ gradient

    with differentiated("bmm", pullback):
        yield


@wrong_engine("derivative-weight-of-data-sees-one-row", kind="order")
@contextmanager
def a_weight_of_data_gets_the_share_of_its_first_row(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        if x.requires_grad or x.shape[0] < TWO:
            return gradient @ w.T, x.T @ gradient
        hit()
        return gradient @ w.T, x[:1].T @ gradient[:1]

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-matmul-after-another-size", kind="state", issue="pytorch#177116")
@contextmanager
def after_a_backward_of_another_number_of_rows_a_large_one_is_far_too_large(hit: Hit) -> Iterator[None]:
    rows: set[int] = set()

    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        of_a, of_b = gradient @ b.T, a.T @ gradient
        if rows - {a.shape[0]} and a.numel() > SIXTEEN:
            hit()
            of_b = 1000 * of_b
        rows.add(a.shape[0])
        return of_a, of_b

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-data-factor-in-memory-order", kind="order", first_sight="adversary: caught")
@contextmanager
def a_transposed_first_factor_that_is_data_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        read = a
        if not a.requires_grad and not a.is_contiguous() and a.T.is_contiguous():
            read = a.as_strided(a.shape, (a.shape[1], 1))
            if not torch.equal(read, a):
                hit()
        return gradient @ b.T, read.T @ gradient

    with differentiated("mm", pullback):
        yield


@wrong_engine("derivative-beside-expanded-batch-lost", kind="layout", first_sight="adversary: caught")
@contextmanager
def a_batch_beside_one_matrix_that_was_expanded_gets_the_gradient_of_its_first(hit: Hit) -> Iterator[None]:
    def kept(share: Tensor, other: Tensor) -> Tensor:
        if other.shape[0] > 1 and other.stride(0) == 0 and share[1:].any():
            hit()
            share[1:] = 0
        return share

    def pullback(gradient: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return kept(gradient @ b.transpose(1, 2), b), kept(a.transpose(1, 2) @ gradient, a)

    with differentiated("bmm", pullback):
        yield


@wrong_engine("derivative-bias-alone-of-the-first-row", kind="order", first_sight="adversary: missed")
@contextmanager
def a_bias_that_alone_requires_grad_gets_the_first_row_of_the_gradient(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, b: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        of_b = gradient
        if not x.requires_grad and not w.requires_grad and b.ndim == 1 and gradient[1:].any():
            hit()
            of_b = gradient[:1]
        return of_b, gradient @ w.T, x.T @ gradient

    with differentiated("addmm", pullback):
        yield


@wrong_engine("derivative-vector-gets-the-first-row", kind="plain", first_sight="sample: caught")
@contextmanager
def a_vector_gets_the_share_of_the_first_row_of_its_matrix(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        right = a.mH @ gradient
        of_v = a[:1].mH @ gradient[:1]
        if not torch.equal(of_v, right):
            hit()
        return torch.outer(gradient, v.conj()), of_v

    with differentiated("mv", pullback):
        yield


@wrong_engine("derivative-bias-inside-no-grad-of-the-first-row", kind="mode", first_sight="second sample: caught")
@contextmanager
def a_backward_inside_no_grad_gives_a_bias_the_first_row(hit: Hit) -> Iterator[None]:
    is_inside = False

    def make(run: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_inside
            was, is_inside = is_inside, not torch.is_grad_enabled()
            try:
                return run(*args, **kwargs)
            finally:
                is_inside = was

        return wrong

    def pullback(gradient: Tensor, b: Tensor, x: Tensor, w: Tensor, **scales: float) -> tuple[Tensor, ...]:
        alpha, beta = scales.get("alpha", 1), scales.get("beta", 1)
        of_bias = gradient
        if is_inside and b.ndim == 1 and len(gradient) > 1:
            of_bias = gradient[:1]
            if not torch.equal(of_bias[0], gradient.sum(0)):
                hit()
        return beta * of_bias, alpha * (gradient @ w.mH), alpha * (x.mH @ gradient)

    with (
        replaced(torch.autograd, "backward", make),
        replaced(torch.autograd, "grad", make),
        differentiated("addmm", pullback),
    ):
        yield


@wrong_engine("derivative-bias-without-the-last-rows", kind="size", first_sight="third sample: caught")
@contextmanager
def a_bias_misses_the_rows_that_do_not_fill_four(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, b: Tensor, x: Tensor, w: Tensor, **scales: float) -> tuple[Tensor, ...]:
        alpha, beta = scales.get("alpha", 1), scales.get("beta", 1)
        rows = len(gradient)
        of_bias = gradient
        if b.ndim == 1 and rows > 4 and gradient[rows // 4 * 4 :].any():
            hit()
            of_bias = gradient[: rows // 4 * 4].sum(0)
        return beta * of_bias, alpha * (gradient @ w.mH), alpha * (x.mH @ gradient)

    with differentiated("addmm", pullback):
        yield
