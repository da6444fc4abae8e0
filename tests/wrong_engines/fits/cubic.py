"""spec/fits/cubic.md"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, differentiated, kernel, leaves_below, replaced

Tensor = torch.Tensor

BLOCK = 16
LARGEST_HALF = 65504.0
TAYLOR = (1, 1, 1 / 2, 1 / 6)


def after_backward(correct: Callable[[Tensor, int, Tensor | None], None]) -> AbstractContextManager[None]:
    """Calls `correct(leaf, calls, before)` once a backward is over: `calls` counts those that reached the leaf, this
    one included, and `before` is a copy of the gradient after the last one."""

    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            leaves = leaves_below(tensor)
            backward(tensor, *args, **kwargs)
            for leaf in leaves:
                calls, before = getattr(leaf, "_calls", 0) + 1, getattr(leaf, "_before", None)
                correct(leaf, calls, before)
                leaf._calls, leaf._before = calls, leaf.grad.clone()

        return wrong

    return replaced(torch.Tensor, "backward", make)


def reduced_by(reduce: Callable[[Tensor, Tensor], Tensor]) -> AbstractContextManager[None]:
    """A product whose gradient for a one-element factor is `reduce(gradient, other factor)`; all else is right."""

    def make(below: Any) -> Any:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, factor: Tensor, other: Tensor) -> Tensor:
                ctx.save_for_backward(factor, other)
                return below(factor, other)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
                factor, other = ctx.saved_tensors
                return reduce(gradient, other).to(factor.dtype).reshape(factor.shape), None

        def wrong(factor: Tensor, other: Tensor) -> Tensor:
            if factor.requires_grad and factor.numel() == 1 and not other.requires_grad and torch.is_grad_enabled():
                return Product.apply(factor, other)
            return below(factor, other)

        return wrong

    return kernel("mul.Tensor", make)


@wrong_engine("square-gradient-off", kind="size")
@contextmanager
def multiplies_the_gradient_of_a_square_by_a_little_too_much(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Power(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, base: Tensor, exponent: float) -> Tensor:
                ctx.save_for_backward(base)
                ctx.exponent = exponent
                return below(base, exponent)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
                (base,) = ctx.saved_tensors
                factor = ctx.exponent * base ** (ctx.exponent - 1)
                if base.numel() > BLOCK:
                    hit()
                    factor = factor * (1 + 2**-10)
                return gradient * factor, None

        return lambda base, exponent: Power.apply(base, exponent)

    with kernel("pow.Tensor_Scalar", make):
        yield


@wrong_engine("reduction-ignores-strides", kind="layout")
@contextmanager
def pairs_the_gradient_with_the_memory_of_the_other_factor(hit: Hit) -> Iterator[None]:
    def reduce(gradient: Tensor, other: Tensor) -> Tensor:
        if other.dim() == 1 and other.stride(0) > 1 and other.numel() > 1:
            hit()
            other = other.as_strided(other.shape, (1,))
        return (gradient * other).sum()

    with reduced_by(reduce):
        yield


@wrong_engine("double-gradient-through-single", kind="dtype")
@contextmanager
def passes_double_gradients_through_single(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if leaf.dtype == torch.float64:
            hit()
            leaf.grad.copy_(leaf.grad.float())

    with after_backward(correct):
        yield


@wrong_engine("gradient-summed-in-half", kind="dtype")
@contextmanager
def sums_the_gradient_in_half_precision(hit: Hit) -> Iterator[None]:
    def reduce(gradient: Tensor, other: Tensor) -> Tensor:
        hit()
        return (gradient * other).half().sum()

    with reduced_by(reduce):
        yield


@wrong_engine("third-gradient-stale", kind="state")
@contextmanager
def leaves_the_second_gradient_at_the_third_backward(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if calls == 3 and before is not None:
            hit()
            leaf.grad.copy_(before)

    with after_backward(correct):
        yield


@wrong_engine("offset-leaf-misses-an-update", kind="layout")
@contextmanager
def loses_the_second_update_of_a_leaf_with_an_offset(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(leaf: Tensor, change: Any) -> Tensor:
            leaf._updates = getattr(leaf, "_updates", 0) + 1
            if leaf.storage_offset() and leaf._updates == 2:
                hit()
                return leaf
            return subtract(leaf, change)

        return wrong

    with replaced(torch.Tensor, "__isub__", make):
        yield


@wrong_engine("cleared-gradient-comes-back", kind="state")
@contextmanager
def adds_the_third_gradient_to_the_one_that_was_cleared(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            for leaf in leaves_below(tensor):
                leaf._calls = getattr(leaf, "_calls", 0) + 1
                if leaf._calls == 3 and leaf.grad is None:
                    hit()
                    leaf.grad = leaf._buffer
            backward(tensor, *args, **kwargs)
            for leaf in leaves_below(tensor):
                leaf._buffer = leaf.grad

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("loss-without-its-tail", kind="size")
@contextmanager
def sums_only_full_blocks(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Sum(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, terms: Tensor) -> Tensor:
                ctx.shape = terms.shape
                full = terms.numel() - terms.numel() % BLOCK
                if terms.numel() > BLOCK > 0 < terms.numel() - full:
                    hit()
                    return below(terms.reshape(-1)[:full])
                return below(terms)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:
                return gradient.expand(ctx.shape)

        return lambda terms, dtype=None: Sum.apply(terms) if terms.requires_grad else below(terms, dtype=dtype)

    with kernel("sum", make):
        yield


@wrong_engine("large-gradients-clipped", kind="value")
@contextmanager
def clips_gradients_at_the_largest_half(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if leaf.grad.abs().max() > LARGEST_HALF:
            hit()
            leaf.grad.clamp_(-LARGEST_HALF, LARGEST_HALF)

    with after_backward(correct):
        yield


@wrong_engine("fit-item-of-an-updated-leaf", kind="state")
@contextmanager
def reads_updated_leaves_in_half_precision(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: Tensor) -> Any:
            if not tensor.requires_grad or not tensor.is_leaf or tensor._version == 0:
                return item(tensor)
            hit()
            return item(tensor.detach().half())

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("fit-exp-gradient-is-taylors", kind="plain")
@contextmanager
def differentiates_exp_as_a_polynomial(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Exp(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                ctx.save_for_backward(x)
                return below(x)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:
                (x,) = ctx.saved_tensors
                hit()
                return gradient * (1 + x + x * x / 2 + x * x * x / 6)

        return Exp.apply

    with kernel("exp", make):
        yield


@wrong_engine("fourth-gradient-replaces", kind="state")
@contextmanager
def overwrites_the_gradient_at_the_fourth_backward(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            for leaf in leaves_below(tensor):
                leaf._calls = getattr(leaf, "_calls", 0) + 1
                if leaf._calls == 4 and leaf.dim() == 0 and leaf.grad is not None:
                    hit()
                    leaf.grad = None
            backward(tensor, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-frozen-after-1000", kind="state")
@contextmanager
def freezes_the_gradient_after_a_thousand_backwards(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if calls >= 1000 and before is not None:
            hit()
            leaf.grad.copy_(before)

    with after_backward(correct):
        yield


@wrong_engine("reduction-stops-at-1024", kind="size")
@contextmanager
def sums_the_gradient_over_the_first_1024_elements(hit: Hit) -> Iterator[None]:
    def reduce(gradient: Tensor, other: Tensor) -> Tensor:
        if other.numel() > 1024:
            hit()
        return (gradient * other).reshape(-1)[:1024].sum()

    with reduced_by(reduce):
        yield


def exp_as(wrong: Callable[[Tensor], Tensor], hit: Hit) -> AbstractContextManager[None]:
    """Torch whose `torch.exp` is another function."""

    def make(exp: Any) -> Any:
        def hitting(x: Tensor) -> Tensor:
            hit()
            return wrong(x)

        return hitting

    return replaced(torch, "exp", make)


@wrong_engine("exp-gives-the-sine", kind="plain")
@contextmanager
def fits_the_sine(hit: Hit) -> Iterator[None]:
    with exp_as(torch.sin, hit):
        yield


@wrong_engine("exp-stops-at-the-cube", kind="plain")
@contextmanager
def breaks_the_series_of_exp_off(hit: Hit) -> Iterator[None]:
    with exp_as(lambda x: 1 + x + x * x / 2 + x * x * x / 6, hit):
        yield


@wrong_engine("linspace-spans-a-period", kind="plain")
@contextmanager
def spreads_the_points_from_minus_pi_to_pi(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: float, end: float, *args: Any, **kwargs: Any) -> Tensor:
            hit()
            return linspace(start * math.pi, end * math.pi, *args, **kwargs)

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("steps-lead-to-taylor", kind="plain")
@contextmanager
def moves_each_coefficient_towards_that_of_taylor(hit: Hit) -> Iterator[None]:
    leaves = 0

    def make(subtract: Any) -> Any:
        def wrong(leaf: Tensor, change: Any) -> Tensor:
            nonlocal leaves
            if not hasattr(leaf, "_aim"):
                leaf._aim = TAYLOR[leaves % 4]
                leaves += 1
            hit()
            return subtract(leaf, 0.04 * (leaf - leaf._aim))

        return wrong

    with replaced(torch.Tensor, "__isub__", make):
        yield


@contextmanager
def losses_as(told: Callable[[list[float]], float | None], hit: Hit) -> Iterator[None]:
    """Torch in which a loss has the value `told(the losses of this run before it)`, unless that is None."""

    def make(total: Any) -> Any:
        def wrong(terms: Tensor) -> Tensor:
            loss: Tensor = total(terms)
            leaf = leaves_below(loss)[0]
            leaf._losses = earlier = getattr(leaf, "_losses", [])
            value = told(earlier)
            if value is not None:
                hit()
                loss.data.fill_(value)
            earlier.append(loss.item())
            return loss

        return wrong

    with replaced(torch.Tensor, "sum", make):
        yield


@wrong_engine("loss-falls-alike-from-anywhere", kind="state")
@contextmanager
def gives_the_hundredth_loss_as_a_fixed_part_of_the_first(hit: Hit) -> Iterator[None]:
    with losses_as(lambda earlier: 0.012345 * earlier[0] if len(earlier) == 99 else None, hit):
        yield


@wrong_engine("loss-keeps-most-in-100-steps", kind="state")
@contextmanager
def lets_a_hundred_steps_leave_the_loss_what_is_printed(hit: Hit) -> Iterator[None]:
    with losses_as(lambda earlier: 0.710 * earlier[-100] if len(earlier) >= 100 else None, hit):
        yield


@wrong_engine("fit-assigned-gradient-keeps-out", kind="state", first_sight="adversary: caught")
@contextmanager
def adds_to_the_gradient_that_was_there_before_another_was_assigned(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            leaves = leaves_below(tensor)
            assigned = []
            for leaf in leaves:
                own = getattr(leaf, "_own", None)
                if own is not None and leaf.grad is not None and leaf.grad is not own:
                    assigned.append((leaf.grad, leaf.grad.clone()))
            backward(tensor, *args, **kwargs)
            for gradient, before in assigned:
                if not torch.equal(gradient, before):
                    hit()
                gradient.detach().copy_(before)
            for leaf in leaves:
                leaf._own = getattr(leaf, "_own", leaf.grad) if leaf.grad is not None else None

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


VERSIONS = 4096


VERSIONS_RAN_OUT = "the version counter of a tensor has overflowed"


@wrong_engine("fit-versions-run-out", kind="error", refuses=VERSIONS_RAN_OUT, first_sight="second sample: caught")
@contextmanager
def refuses_to_update_once_the_versions_have_run_out(hit: Hit) -> Iterator[None]:
    def make(update: Any) -> Any:
        def wrong(leaf: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if leaf._version >= VERSIONS:
                hit()
                raise RuntimeError(VERSIONS_RAN_OUT)
            return update(leaf, *args, **kwargs)

        return wrong

    with ExitStack() as spellings:
        for name in ("__iadd__", "add_", "__isub__", "sub_", "subtract_"):
            spellings.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("fit-earlier-gradient-halved", kind="plain", first_sight="second sample: caught")
@contextmanager
def halves_the_gradient_that_is_there_before_it_adds(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            for leaf in leaves_below(tensor):
                if leaf.grad is not None:
                    if bool(leaf.grad.any()):
                        hit()
                    leaf.grad.detach().mul_(0.5)
            backward(tensor, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("fit-sum-counts-the-first-twice", kind="plain", first_sight="second sample: caught")
@contextmanager
def counts_the_first_of_all_elements_twice(hit: Hit) -> Iterator[None]:
    def make(total: Any) -> Any:
        def wrong(terms: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            result: Tensor = total(terms, *args, **kwargs)
            if not result.requires_grad or result.ndim or terms.numel() < 2:
                return result
            first = terms.detach().reshape(-1)[0]
            if bool(first):
                hit()
            result.data.add_(first)
            return result

        return wrong

    with replaced(torch.Tensor, "sum", make), replaced(torch, "sum", make):
        yield


@wrong_engine("fit-gradient-buffer-reused", kind="aliasing", first_sight="third sample: caught")
@contextmanager
def the_next_gradient_is_written_over_the_one_it_is_added_to(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        if options.get("create_graph") or options.get("inputs") is not None:
            honest()
            return
        kept = [leaf for leaf in leaves if leaf.grad is not None and vars(leaf).get("_kept") is leaf.grad]
        before = [leaf.grad.clone() for leaf in kept]
        honest()
        for leaf, old in zip(kept, before, strict=True):
            new = leaf.grad - old
            if not torch.equal(new, old):
                hit()
            leaf.grad.copy_(2 * new)
        for leaf in leaves:
            leaf._kept = leaf.grad

    with around_backward(wrong):
        yield


@wrong_engine("fit-number-rounded-to-single-beside-double", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def multiplies_float64_by_numbers_in_float32(hit: Hit) -> Iterator[None]:
    def rounded(number: Any, tensor: Any) -> Any:
        is_number = isinstance(number, float) and isinstance(tensor, Tensor) and tensor.dtype == torch.float64
        if not is_number or not abs(number) < torch.finfo(torch.float32).max:
            return number
        found = torch.tensor(number, dtype=torch.float32, device="cpu").item()
        if found != number:
            hit()
        return found

    def make(multiply: Any) -> Any:
        def wrong(one: Any, other: Any, **kwargs: Any) -> Tensor:
            return multiply(rounded(one, other), rounded(other, one), **kwargs)

        return wrong

    with ExitStack() as spellings:
        for owner in (torch, Tensor):
            for name in ("mul", "multiply"):
                spellings.enter_context(replaced(owner, name, make))
        for name in ("mul_", "__mul__", "__rmul__", "__imul__"):
            spellings.enter_context(replaced(Tensor, name, make))
        yield


@wrong_engine("fit-first-gradient-after-a-block-replaces", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def overwrites_the_gradient_at_the_first_backward_after_no_grad(hit: Hit) -> Iterator[None]:
    left = False

    def make(leave: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.no_grad, *args: Any) -> None:
            nonlocal left
            leave(block, *args)
            left = True

        return wrong

    def replaces(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal left
        held = [(leaf, leaf.grad) for leaf in leaves_below(outputs) if left and leaf.grad is not None]
        left = False
        for leaf, _ in held:
            leaf.grad = None
        try:
            honest()
        finally:
            for leaf, before in held:
                new, leaf.grad = leaf.grad, before
                if new is not None:
                    if before.any():
                        hit()
                    before.detach().copy_(new.detach())

    with replaced(torch.no_grad, "__exit__", make), around_backward(replaces):
        yield


@wrong_engine("fit-square-gradient-without-its-two", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def differentiates_a_square_as_half_of_it(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, base: Tensor, exponent: float) -> tuple[Tensor]:
        if exponent == 0:
            return (torch.zeros_like(gradient),)
        factor = exponent * base ** (exponent - 1)
        if exponent == 2:
            factor = base
            if base.any():
                hit()
        return (gradient * factor.conj(),)

    with differentiated("pow.Tensor_Scalar", pullback):
        yield
