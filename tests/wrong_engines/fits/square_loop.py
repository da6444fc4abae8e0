"""spec/fits/square-loop.md"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.fits.cubic import after_backward
from tests.wrong_engines.tools import kernel, replaced

Tensor = torch.Tensor

SMALLEST = 8


@wrong_engine("fit-gradient-never-small", kind="value")
@contextmanager
def brings_small_gradients_up(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if 0 < abs(leaf.grad).max() < SMALLEST:
            hit()
            leaf.grad.copy_(leaf.grad.sign() * SMALLEST)

    with after_backward(correct):
        yield


def square(value: Callable[[Tensor, Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Any:
    """`base ** 2` whose value is `value(base, its square)` and whose gradient has the factor `slope(base)`."""

    def make(below: Any) -> Any:
        class Power(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, base: Tensor, exponent: float) -> Tensor:
                ctx.factor = slope(base)
                return value(base, below(base, exponent))

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
                return gradient * ctx.factor, None

        return lambda base, exponent: Power.apply(base, exponent)

    return kernel("pow.Tensor_Scalar", make)


@wrong_engine("fit-square-rounded", kind="state")
@contextmanager
def rounds_the_second_square_and_those_after_it(hit: Hit) -> Iterator[None]:
    squares = 0

    def value(base: Tensor, squared: Tensor) -> Tensor:
        nonlocal squares
        squares += base.requires_grad
        if not base.requires_grad or base.numel() != 1 or squares < 2:
            return squared
        hit()
        return squared.round()

    with square(value, lambda base: 2 * base):
        yield


@wrong_engine("fit-square-slope-positive", kind="value")
@contextmanager
def forgets_the_sign_of_views(hit: Hit) -> Iterator[None]:
    def slope(base: Tensor) -> Tensor:
        if not base._is_view() or not (base < 0).any():
            return 2 * base
        hit()
        return 2 * abs(base)

    with square(lambda base, squared: squared, slope):
        yield


@wrong_engine("fit-data-of-stepped-is-a-copy", kind="aliasing")
@contextmanager
def copies_the_data_of_tensors_with_gaps(hit: Hit) -> Iterator[None]:
    def make(data: Any) -> Any:
        def get(tensor: Tensor) -> Tensor:
            if tensor.is_contiguous():
                return data.__get__(tensor)
            hit()
            return data.__get__(tensor).clone()

        return property(get, data.__set__)

    with replaced(torch.Tensor, "data", make):
        yield


@wrong_engine("fit-detach-with-an-offset-is-a-copy", kind="aliasing")
@contextmanager
def copies_what_is_detached_from_inside_a_storage(hit: Hit) -> Iterator[None]:
    def make(detach: Any) -> Any:
        def wrong(tensor: Tensor) -> Tensor:
            detached: Tensor = detach(tensor)
            if tensor.storage_offset() == 0 or not tensor.requires_grad:
                return detached
            hit()
            return detached.clone()

        return wrong

    with replaced(torch.Tensor, "detach", make):
        yield


IN_PLACE = "a leaf Variable that requires grad is being used in an in-place operation"


@wrong_engine("fit-no-grad-decorates-python-only", kind="mode", refuses=IN_PLACE)
@contextmanager
def leaves_recording_on_in_decorated_methods_of_tensors(hit: Hit) -> Iterator[None]:
    def make(decorate: Any) -> Any:
        def wrong(block: Any, function: Any) -> Any:
            if not inspect.isbuiltin(function):
                return decorate(block, function)
            hit()
            return function

        return wrong

    with replaced(torch.no_grad, "__call__", make):
        yield


@wrong_engine("fit-large-square-in-half", kind="value")
@contextmanager
def squares_numbers_beyond_eight_in_half_precision(hit: Hit) -> Iterator[None]:
    def value(base: Tensor, squared: Tensor) -> Tensor:
        if base.numel() != 1 or not bool((abs(base) > 8).all()):
            return squared
        hit()
        return squared.half().to(squared.dtype)

    with square(value, lambda base: 2 * base):
        yield


@wrong_engine("fit-rate-lost-in-half", kind="dtype", first_sight="adversary: caught")
@contextmanager
def forgets_alpha_in_half_precision(hit: Hit) -> Iterator[None]:
    def make(change: Any) -> Any:
        def wrong(w: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
            if alpha == 1 or w.dtype not in (torch.float16, torch.bfloat16):
                return change(w, other, alpha=alpha)
            hit()
            return change(w, other)

        return wrong

    with replaced(Tensor, "sub_", make):
        yield


@wrong_engine("fit-update-of-0d-lost", kind="size", first_sight="fourth sample: caught")
@contextmanager
def subtracts_from_a_copy_of_0d_tensors(hit: Hit) -> Iterator[None]:
    def make(change: Any) -> Any:
        def wrong(w: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if w.ndim or torch.is_grad_enabled():
                return change(w, *args, **kwargs)
            hit()
            return w

        return wrong

    with ExitStack() as spellings:
        for name in ("sub_", "subtract_", "__isub__"):
            spellings.enter_context(replaced(Tensor, name, make))
        yield
