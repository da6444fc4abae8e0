"""spec/accumulation/failure.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below


@wrong_engine("failure-allocates-grad")
@contextmanager
def a_failed_backward_leaves_zeros_where_there_was_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                if leaf.grad is None:
                    hit()
                    leaf.grad = torch.zeros_like(leaf)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-clears-grad")
@contextmanager
def a_failed_backward_sets_grad_to_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                if leaf.grad is not None:
                    hit()
                    leaf.grad = None
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-takes-back-half")
@contextmanager
def a_failed_backward_takes_back_half_of_what_it_added(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, 0 if leaf.grad is None else leaf.grad.clone()) for leaf in leaves_below(outputs)]
        try:
            honest()
        except Exception:
            for leaf, before in held:
                if leaf.grad is not None:
                    hit()
                    leaf.grad.add_(before).div_(2)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-keeps-grad-mode")
@contextmanager
def grad_mode_stays_off_after_a_failed_backward(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            hit()
            torch._C._set_grad_enabled(False)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-poisons-leaves")
@contextmanager
def the_first_backward_after_a_failed_one_adds_nothing_to_its_leaves(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        poisoned = [leaf for leaf in leaves_below(outputs) if vars(leaf).pop("_poisoned", False)]
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                leaf._poisoned = True  # type: ignore[attr-defined]
            raise
        for leaf in poisoned:
            hit()
            leaf.grad.zero_()

    with around_backward(wrong):
        yield
