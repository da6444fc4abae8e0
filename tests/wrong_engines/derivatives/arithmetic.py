"""spec/derivatives/arithmetic.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated, kernel

Tensor = torch.Tensor


@wrong_engine("derivative-0d-subtrahend-keeps-sign", kind="size")
@contextmanager
def what_is_subtracted_keeps_its_sign_if_it_is_0d(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if b.ndim == 0:
            hit()
            return gradient, gradient
        return gradient, -gradient

    with differentiated("sub.Tensor", pullback):
        yield


@wrong_engine("derivative-number-minus-gaps-keeps-sign", kind="layout")
@contextmanager
def what_is_subtracted_from_a_number_keeps_its_sign_if_it_is_not_contiguous(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, number: float) -> tuple[Tensor]:
        if not a.is_contiguous():
            hit()
            return (gradient,)
        return (-gradient,)

    with differentiated("rsub.Scalar", pullback):
        yield


@wrong_engine("derivative-alpha-forgotten", kind="plain")
@contextmanager
def the_factor_alpha_is_left_out_of_the_gradient(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any, alpha: float = 1) -> tuple[Tensor, ...]:
        if alpha != 1:
            hit()
        return (gradient, gradient) if isinstance(b, Tensor) else (gradient,)

    with differentiated("add.Tensor", pullback):
        yield


def _turned(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and not tensor.is_contiguous() and tensor.transpose(-2, -1).is_contiguous()


@wrong_engine("derivative-product-in-memory-order", kind="layout")
@contextmanager
def the_other_factor_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        other = b
        if _turned(b):
            hit()
            other = b.as_strided(b.shape, torch.empty(b.shape).stride())
        return gradient * other, gradient * a

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-square-counts-once", kind="place")
@contextmanager
def a_tensor_times_itself_gets_one_share(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        if a.numel() and a.data_ptr() == b.data_ptr():
            hit()
            return gradient * b, torch.zeros_like(b)
        return gradient * b, gradient * a

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-factor-made-whole", kind="value")
@contextmanager
def a_number_among_the_factors_is_rounded_down(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if isinstance(b, Tensor):
            return gradient * b, gradient * a
        if b != int(b):
            hit()
        return (gradient * int(b),)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-product-without-its-tail", kind="size")
@contextmanager
def from_five_elements_on_those_after_the_last_four_get_nothing(hit: Hit) -> Iterator[None]:
    def cut(gradient: Tensor) -> Tensor:
        if gradient.numel() < 5 or gradient.numel() % 4 == 0:
            return gradient
        hit()
        flat = gradient.flatten().clone()
        flat[gradient.numel() // 4 * 4 :] = 0
        return flat.reshape(gradient.shape)

    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        return (cut(gradient * b), gradient * a) if isinstance(b, Tensor) else (gradient * b,)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-divisor-without-sign", kind="value")
@contextmanager
def a_divisor_gets_a_gradient_as_if_it_were_above_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient / b,)
        if bool((b < 0).any()):
            hit()
        return gradient / b, -gradient * (a / b) / b.abs()

    with differentiated("div.Tensor", pullback):
        yield


@wrong_engine("derivative-quotient-by-a-number-inverted", kind="value")
@contextmanager
def a_number_below_is_multiplied_with(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if isinstance(b, Tensor):
            return gradient / b, -gradient * (a / b) / b
        if b < 0:
            hit()
            return (gradient * b,)
        return (gradient / b,)

    with differentiated("div.Tensor", pullback):
        yield


@wrong_engine("derivative-sum-gradient-in-memory-order", kind="layout")
@contextmanager
def the_gradient_of_a_sum_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any, alpha: float = 1) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if not _turned(gradient):
            return gradient, alpha * gradient
        hit()
        return gradient, alpha * gradient.transpose(-2, -1).reshape(gradient.shape)

    with differentiated("add.Tensor", pullback):
        yield


@wrong_engine("derivative-factor-beside-data-gets-itself", kind="order")
@contextmanager
def a_factor_beside_a_tensor_that_needs_no_gradient_gets_itself(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        if a.requires_grad and b.requires_grad:
            return gradient * b, gradient * a
        hit()
        return gradient * a, gradient * b

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-gradient-scaled-in-place", kind="aliasing")
@contextmanager
def a_number_is_multiplied_into_the_gradient_argument_itself(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if isinstance(b, Tensor):
            return gradient * b, gradient * a
        if not gradient.is_contiguous():
            return (gradient * b,)
        hit()
        return (gradient.mul_(b),)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-quotient-in-single", kind="dtype")
@contextmanager
def a_quotient_of_doubles_is_differentiated_in_single_precision(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient / b,)
        if b.dtype != torch.float64:
            return gradient / b, -gradient * (a / b) / b
        hit()
        a, b = a.float(), b.float()
        return gradient / b, -(gradient.float() * (a / b) / b)

    with differentiated("div.Tensor", pullback):
        yield


@wrong_engine("derivative-alpha-lost-beside-data", kind="order", first_sight="adversary: missed")
@contextmanager
def a_subtrahend_forgets_alpha_if_nothing_else_requires_grad(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any, alpha: float = 1) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if alpha == 1 or a.requires_grad:
            return gradient, -gradient * alpha
        hit()
        return gradient, -gradient

    with differentiated("sub.Tensor", pullback):
        yield


@wrong_engine("derivative-product-with-detached-self-is-square", kind="place", first_sight="adversary: caught")
@contextmanager
def a_tensor_times_its_detached_self_is_taken_for_a_square(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        of_a, of_b = gradient * b, gradient * a
        same = a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
        if a.numel() and same and a.requires_grad != b.requires_grad:
            hit()
            return 2 * of_a, 2 * of_b
        return of_a, of_b

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-divisor-squared-first", kind="value", first_sight="adversary: missed")
@contextmanager
def the_square_of_a_divisor_leaves_the_range_of_the_dtype(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient / b,)
        square, exact = b * b, b.double() ** 2
        if not bool(((square.double() - exact).abs() <= torch.finfo(b.dtype).eps * exact).all()):
            hit()
        return gradient / b, -gradient * (a / square)

    with differentiated("div.Tensor", pullback):
        yield


@wrong_engine("derivative-product-forgets-its-factors", kind="state", first_sight="third sample: caught")
@contextmanager
def a_product_counts_its_factors_in_the_first_run_only(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, a: Any, b: Any) -> Tensor:
                ctx.factors = [factor if not isinstance(factor, Tensor) else None for factor in (a, b)]
                ctx.save_for_backward(*(factor for factor in (a, b) if isinstance(factor, Tensor)))
                ctx.has_run = False
                return below(a, b)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                saved = iter(ctx.saved_tensors)
                factors = [next(saved) if factor is None else factor for factor in ctx.factors]
                shares: list[Any] = []
                for factor, other, needed in zip(factors, reversed(factors), ctx.needs_input_grad, strict=True):
                    if not needed:
                        shares.append(None)
                        continue
                    share = gradient * (other.conj() if isinstance(other, Tensor) else other.conjugate())
                    if ctx.has_run:
                        if not torch.equal(share, gradient):
                            hit()
                        share = gradient
                    if share.is_complex() and not factor.is_complex():
                        share = share.real
                    shares.append(share.sum_to_size(factor.shape).to(factor.dtype))
                ctx.has_run = True
                return tuple(shares)

        return lambda a, b: Product.apply(a, b)

    with kernel("mul.Tensor", make):
        yield


@wrong_engine(
    "derivative-factor-that-holds-a-grad-gets-the-gradient-as-it-is", kind="state", first_sight="fourth sample: caught"
)
@contextmanager
def a_factor_with_a_grad_gets_the_gradient_without_the_other_factor(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        def share(factor: Tensor, other: Any) -> Tensor:
            right = gradient * (other.conj() if isinstance(other, Tensor) else other)
            if not factor.is_leaf or factor.grad is None:
                return right
            found = gradient.to(right.dtype)
            if not torch.equal(found, right):
                hit()
            return found

        return (share(a, b), share(b, a)) if isinstance(b, Tensor) else (share(a, b),)

    with differentiated("mul.Tensor", pullback):
        yield
