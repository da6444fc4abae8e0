"""spec/graph/backward-order.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.oracles.graph import nodes_reached
from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, replaced

Hook = Callable[[torch.Tensor], Any]


def _shares_results(output: torch.Tensor) -> bool:
    """Whether edges from two places lead to the same node that is not that of a leaf."""
    ends = [end for node in nodes_reached(output.grad_fn) for end, _ in node.next_functions]
    inner = [end for end in ends if end is not None and end.next_functions]
    return len(inner) > len(set(inner))


@wrong_engine("backward-order-by-halves", kind="place")
@contextmanager
def runs_a_graph_twice_with_half_of_the_gradient(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if not _shares_results(outputs[0]):
            honest()
            return
        hit()
        half = [torch.full_like(output, 0.5) for output in outputs]
        honest(grad_tensors=half, retain_graph=True)
        honest(grad_tensors=half)

    with around_backward(wrong):
        yield


@contextmanager
def _hooks(pass_on: Callable[[torch.Tensor, Hook, torch.Tensor], None]) -> Iterator[None]:
    """A hook on a tensor is not called; `pass_on(tensor, hook, gradient)` is."""

    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        return lambda tensor, hook: register(tensor, lambda gradient: pass_on(tensor, hook, gradient))

    with replaced(torch.Tensor, "register_hook", make):
        yield


@wrong_engine("backward-order-calls-strangers", kind="place")
@contextmanager
def hooks_above_the_output_are_called_with_zeros(hit: Hit) -> Iterator[None]:
    registered: list[tuple[torch.Tensor, Hook]] = []

    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        def remembering(tensor: torch.Tensor, hook: Hook) -> Any:
            registered.append((tensor, hook))
            return register(tensor, hook)

        return remembering

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        below = nodes_reached(*[output.grad_fn for output in outputs])
        honest()
        for tensor, hook in registered:
            if tensor.grad_fn not in below:
                hit()
                hook(torch.zeros_like(tensor))
        registered.clear()

    with replaced(torch.Tensor, "register_hook", make), around_backward(wrong):
        yield


@wrong_engine("backward-order-forwards", kind="order")
@contextmanager
def hooks_are_called_at_the_end_in_forward_order(hit: Hit) -> Iterator[None]:
    held: list[tuple[Hook, torch.Tensor]] = []

    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        held.append((hook, gradient))

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        if len(held) > 1:
            hit()
        for hook, gradient in reversed(held):
            hook(gradient)
        held.clear()

    with _hooks(pass_on), around_backward(wrong):
        yield


@wrong_engine("backward-order-leaf-side-first", kind="order")
@contextmanager
def the_first_hook_waits_for_the_second(hit: Hit) -> Iterator[None]:
    waiting: list[tuple[Hook, torch.Tensor]] = []
    called = 0

    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        nonlocal called
        called += 1
        if called == 1:
            waiting.append((hook, gradient))
            return
        hook(gradient)
        if called == 2:
            hit()
            flush()

    def flush() -> None:
        for hook, gradient in waiting:
            hook(gradient)
        waiting.clear()

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal called
        called = 0
        honest()
        flush()

    with _hooks(pass_on), around_backward(wrong):
        yield
