"""spec/derivatives/chain-rule.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated, kernel, replaced

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


@wrong_engine("derivative-doubling-counts-once", kind="place")
@contextmanager
def a_result_that_is_added_to_itself_gets_one_share(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, a: Tensor, b: Any, alpha: float = 1) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if a.numel() and a.data_ptr() == b.data_ptr() and not a.is_leaf:
            hit()
            return gradient, torch.zeros_like(b)
        return gradient, alpha * gradient

    with differentiated("add.Tensor", pullback):
        yield


@wrong_engine("derivative-product-saves-in-one-buffer", kind="state")
@contextmanager
def a_product_overwrites_what_the_last_one_of_its_shape_has_saved(hit: Hit) -> Iterator[None]:
    saved: dict[torch.Size, tuple[Tensor, Tensor]] = {}

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, compute: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            saved[a.shape] = a.clone(), b.clone()
            return compute(a, b)  # type: ignore[no-any-return]

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
            a, b = ctx.saved_tensors
            last_a, last_b = saved[a.shape]
            if not (torch.equal(a, last_a) and torch.equal(b, last_b)):
                hit()
            return None, gradient * last_b, (gradient * last_a).sum_to_size(b.shape)

    def make(below: Any) -> Any:
        def wrong(a: Tensor, b: Any) -> Tensor:
            if not torch.is_grad_enabled():
                return below(a, b)  # type: ignore[no-any-return]
            return Product.apply(below, a, b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype))

        return wrong

    with kernel("mul.Tensor", make):
        yield


class _Difference(torch.autograd.Function):
    """a - b; `sign` is what the gradient of b is multiplied with."""

    @staticmethod
    def forward(ctx: Any, compute: Any, sign: int, a: Tensor, b: Tensor) -> Tensor:
        ctx.sign = sign
        return compute(a, b)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor]:
        return None, None, gradient, ctx.sign * gradient


@wrong_engine("derivative-sign-lost-after-no-grad", kind="state")
@contextmanager
def the_first_difference_after_one_that_was_not_recorded_keeps_its_sign(hit: Hit) -> Iterator[None]:
    unrecorded: list[bool] = []

    def make(below: Any) -> Any:
        def wrong(a: Tensor, b: Any) -> Tensor:
            b = b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype).expand(a.shape)
            if not torch.is_grad_enabled():
                unrecorded.extend([True] * a.requires_grad)
                return below(a, b)  # type: ignore[no-any-return]
            sign = 1 if unrecorded else -1
            if unrecorded:
                hit()
                unrecorded.clear()
            return _Difference.apply(below, sign, a, b)

        return wrong

    with kernel("sub.Tensor", make):
        yield


@wrong_engine("derivative-unrecorded-in-place", kind="mode")
@contextmanager
def a_difference_that_is_not_recorded_is_written_into_its_first_operand(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        def wrong(a: Tensor, b: Any) -> Tensor:
            b = b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype).expand(a.shape)
            if torch.is_grad_enabled():
                return _Difference.apply(below, -1, a, b)
            result: Tensor = below(a, b)
            if a.requires_grad and a.is_contiguous():
                hit()
                a.detach().copy_(result)
            return result

        return wrong

    with kernel("sub.Tensor", make):
        yield


@wrong_engine("derivative-third-use-of-a-result-lost", kind="place", first_sight="adversary: caught")
@contextmanager
def the_third_product_of_a_result_hands_it_nothing(hit: Hit) -> Iterator[None]:
    def make(multiply: Any) -> Any:
        def wrong(x: Tensor, y: Any) -> Any:
            if x.grad_fn is None or not torch.is_grad_enabled():
                return multiply(x, y)
            x._uses = getattr(x, "_uses", 0) + 1
            if x._uses != 3:
                return multiply(x, y)
            hit()
            return multiply(x.detach(), y)

        return wrong

    with replaced(Tensor, "__mul__", make):
        yield


RANKS = "the operands of a recorded difference must have the same number of dimensions"


@wrong_engine("derivative-recorded-ranks-must-match", kind="error", refuses=RANKS, first_sight="sample: missed")
@contextmanager
def a_recorded_difference_of_other_ranks_is_refused(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(a: Any, b: Any, *args: Any, **kwargs: Any) -> Tensor:
            differ = isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim != b.ndim
            if differ and torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
                hit()
                raise RuntimeError(RANKS)
            return subtract(a, b, *args, **kwargs)

        return wrong

    with ExitStack() as spellings:
        for owner in (torch, Tensor):
            for name in ("sub", "subtract"):
                spellings.enter_context(replaced(owner, name, make))
        spellings.enter_context(replaced(Tensor, "__sub__", make))
        yield


@wrong_engine("derivative-recorded-difference-reversed", kind="plain", first_sight="second sample: caught")
@contextmanager
def a_recorded_difference_is_taken_the_other_way_round(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(a: Any, b: Any, **kwargs: Any) -> Tensor:
            difference: Tensor = subtract(a, b, **kwargs)
            if difference.requires_grad:
                if bool(difference.any()):
                    hit()
                difference.data.neg_()
            return difference

        return wrong

    with ExitStack() as spellings:
        for owner in (torch, Tensor):
            for name in ("sub", "subtract"):
                spellings.enter_context(replaced(owner, name, make))
        spellings.enter_context(replaced(Tensor, "__sub__", make))
        yield


@wrong_engine("derivative-sign-lost-in-a-backward-inside-no-grad", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def what_is_subtracted_keeps_its_sign_if_backward_is_asked_for_inside_no_grad(hit: Hit) -> Iterator[None]:
    is_inside = False

    def make(backward: Any) -> Any:
        def noting_the_mode(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_inside
            before, is_inside = is_inside, not torch.is_grad_enabled()
            try:
                return backward(*args, **kwargs)
            finally:
                is_inside = before

        return noting_the_mode

    def pullback(gradient: Tensor, a: Tensor, b: Any, alpha: float = 1) -> tuple[Tensor, ...]:
        if not isinstance(b, Tensor):
            return (gradient,)
        if not is_inside:
            return gradient, -gradient * alpha
        if b.requires_grad and bool(gradient.any()):
            hit()
        return gradient, gradient * alpha

    with (
        replaced(torch.autograd, "backward", make),
        replaced(torch.autograd, "grad", make),
        differentiated("sub.Tensor", pullback),
    ):
        yield
