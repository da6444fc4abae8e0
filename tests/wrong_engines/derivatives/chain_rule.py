"""spec/derivatives/chain-rule.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated, kernel

Tensor = torch.Tensor


@wrong_engine("derivative-product-of-results-swapped", kind="place")
@contextmanager
def two_results_that_are_multiplied_get_each_its_own_value(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient * b,)
        if not a.is_leaf and not b.is_leaf:
            hit()
            return gradient * a, gradient * b
        return gradient * b, gradient * a

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("derivative-of-a-leaf-only", kind="place")
@contextmanager
def what_is_subtracted_and_is_no_leaf_keeps_its_sign(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if not b.is_leaf:
            hit()
            return gradient, gradient
        return gradient, -gradient

    with differentiated("sub.Tensor", pullback):
        yield


@wrong_engine("derivative-recorded-in-half", kind="mode")
@contextmanager
def a_recorded_product_is_rounded_to_bfloat16(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
                ctx.save_for_backward(a, b)
                hit()
                return below(a, b).bfloat16().to(a.dtype)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
                a, b = ctx.saved_tensors
                return gradient * b, gradient * a

        def wrong(a: Tensor, b: Any) -> Tensor:
            recorded = torch.is_grad_enabled() and isinstance(b, Tensor) and a.requires_grad and b.requires_grad
            return Product.apply(a, b) if recorded else below(a, b)

        return wrong

    with kernel("mul.Tensor", make):
        yield
