"""Engines that are wrong in ways in which no wrong engine may be, beside one that is as it should be.

Each changes how a tensor is negated; the rules that are to catch them stand in `tests/meta/test_engine_runs.py`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, Install
from tests.wrong_engines.tools import kernel, replaced

Neg = Callable[..., torch.Tensor]


def negating(wrong: Callable[[Neg, torch.Tensor, Hit], torch.Tensor]) -> Install:
    """Replaces `Tensor.neg` by wrong(neg, tensor, hit)."""

    def install(hit: Hit) -> AbstractContextManager[None]:
        return replaced(torch.Tensor, "neg", lambda neg: lambda tensor: wrong(neg, tensor, hit))

    return install


def _forgets_the_sign(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hit()
    return tensor.clone()


def _forgets_the_sign_in_silence(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    return tensor.clone()


def _forgets_the_sign_and_leaves_a_mark(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hit()
    wrong = tensor.clone()
    wrong.wrong = True  # type: ignore[attr-defined]
    return wrong


def _forgets_the_sign_of_nine(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    if 9 in tensor:
        hit()
        return tensor.clone()
    return neg(tensor)


def _takes_no_tensor(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hit()
    return neg()


def _is_right_and_says_it_was_wrong(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hit()
    return neg(tensor)


def _raises(error: BaseException) -> Install:
    def wrong(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
        hit()
        raise error

    return negating(wrong)


def _dies(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return neg(tensor)


def _dies_on_numbers(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    return neg(tensor) if tensor.dtype is torch.bool else _dies(neg, tensor, hit)


def _hangs_in_c(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hit()
    sum(range(10**12))  # one call that never lets go of the interpreter
    return neg(tensor)


def _hangs(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    time.sleep(600)
    return neg(tensor)


def once(error: BaseException | None) -> Install:
    """Wrong the first time only: raises the error, or forgets the sign."""
    calls: list[torch.Tensor] = []

    def wrong(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
        calls.append(tensor)
        if len(calls) > 1:
            return neg(tensor)
        hit()
        if error is not None:
            raise error
        return tensor.clone()

    return negating(wrong)


@contextmanager
def _stays(hit: Hit) -> Iterator[None]:
    neg = torch.Tensor.neg
    torch.Tensor.neg = lambda tensor: _forgets_the_sign(neg, tensor, hit)  # type: ignore[method-assign]
    yield


@contextmanager
def _stays_as_another_function(hit: Hit) -> Iterator[None]:
    with replaced(torch.Tensor, "neg", lambda neg: lambda tensor: _forgets_the_sign(neg, tensor, hit)):
        yield
    neg = torch.Tensor.neg
    torch.Tensor.neg = lambda tensor: neg(tensor)  # type: ignore[method-assign]


@contextmanager
def _leaves_its_kernel(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            hit()
            return below(below(tensor))

        return wrong

    kept = kernel("neg", make)
    _leaves_its_kernel.kept = kept  # type: ignore[attr-defined]  # else its end would take the kernel out
    kept.__enter__()
    yield


@contextmanager
def _leaves_another_default_dtype(hit: Hit) -> Iterator[None]:
    with replaced(torch.Tensor, "neg", lambda neg: lambda tensor: _forgets_the_sign(neg, tensor, hit)):
        yield
    torch.set_default_dtype(torch.float64)


@contextmanager
def _cannot_be_put_in(hit: Hit) -> Iterator[None]:
    raise RuntimeError("no such operator")
    yield


@contextmanager
def _does_not_come_off(hit: Hit) -> Iterator[None]:
    yield
    raise RuntimeError("it sticks")


@contextmanager
def _dies_when_put_in(hit: Hit) -> Iterator[None]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield


FORGETS_THE_SIGN = negating(_forgets_the_sign)
TAKES_NO_TENSOR = negating(_takes_no_tensor)
FORGETS_THE_SIGN_OF_NINE = negating(_forgets_the_sign_of_nine)
FORGETS_THE_SIGN_IN_SILENCE = negating(_forgets_the_sign_in_silence)
FORGETS_THE_SIGN_AND_LEAVES_A_MARK = negating(_forgets_the_sign_and_leaves_a_mark)
IS_RIGHT = negating(_is_right_and_says_it_was_wrong)
RAISES = _raises(RuntimeError("neg is not here"))
ASSERTS = _raises(AssertionError("a tensor is expected"))
DIES = negating(_dies)
DIES_ON_NUMBERS = negating(_dies_on_numbers)
DIES_WHEN_PUT_IN = _dies_when_put_in
HANGS_IN_C = negating(_hangs_in_c)
DOES_NOT_COME_OFF = _does_not_come_off
HANGS = negating(_hangs)
STAYS = _stays
STAYS_AS_ANOTHER_FUNCTION = _stays_as_another_function
LEAVES_ITS_KERNEL = _leaves_its_kernel
LEAVES_ANOTHER_DEFAULT_DTYPE = _leaves_another_default_dtype
CANNOT_BE_PUT_IN = _cannot_be_put_in
