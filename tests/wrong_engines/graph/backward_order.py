"""spec/graph/backward-order.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.oracles.graph import nodes_reached
from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, nodes_below, replaced

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


@wrong_engine("hook-gradient-accumulated-into", kind="aliasing", issue="pytorch#59828")
@contextmanager
def contributions_are_added_up_in_a_gradient_that_a_hook_holds(hit: Hit) -> Iterator[None]:
    uses: dict[Any, int] = {}
    held: list[torch.Tensor] = []

    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        if uses.get(tensor.grad_fn, 0) > 1 and held:
            hit()
            held[-1].copy_(gradient)
        held.append(gradient.clone())
        hook(held[-1])

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        uses.clear()
        held.clear()
        for node in nodes_below(outputs):
            for end, _ in node.next_functions:
                uses[end] = uses.get(end, 0) + 1
        honest()

    with _hooks(pass_on), around_backward(wrong):
        yield


@wrong_engine("hook-hears-first-of-expanded", kind="layout")
@contextmanager
def of_an_expanded_gradient_a_hook_hears_the_first_element(hit: Hit) -> Iterator[None]:
    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        if gradient.numel() < 2 or 0 not in gradient.stride():
            hook(gradient)
            return
        hit()
        first = torch.zeros(gradient.numel(), dtype=gradient.dtype)
        first[0] = gradient.flatten()[0]
        hook(first.reshape(gradient.shape))

    with _hooks(pass_on):
        yield


@wrong_engine("hooks-skip-empty", kind="size")
@contextmanager
def hooks_on_results_without_elements_are_not_called(hit: Hit) -> Iterator[None]:
    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        if gradient.numel():
            hook(gradient)
        else:
            hit()

    with _hooks(pass_on):
        yield


@wrong_engine("hooks-silent-inside-no-grad", kind="mode")
@contextmanager
def hooks_are_not_called_by_a_backward_inside_no_grad(hit: Hit) -> Iterator[None]:
    inside = False

    def pass_on(tensor: torch.Tensor, hook: Hook, gradient: torch.Tensor) -> None:
        if inside:
            hit()
        else:
            hook(gradient)

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal inside
        inside = not torch.is_grad_enabled()
        honest()

    with _hooks(pass_on), around_backward(wrong):
        yield


@wrong_engine("backward-order-hooks-pile-up", kind="state", first_sight="adversary: caught")
@contextmanager
def a_hook_is_called_once_more_in_each_further_backward(hit: Hit) -> Iterator[None]:
    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor, hook: Hook) -> Any:
            runs = 0

            def repeated(gradient: torch.Tensor) -> Any:
                nonlocal runs
                runs += 1
                for _ in range(runs - 1):
                    hit()
                    hook(gradient)
                return hook(gradient)

            return register(tensor, repeated if tensor.grad_fn is not None else hook)

        return wrong

    with replaced(torch.Tensor, "register_hook", make):
        yield


def _distances(outputs: list[torch.Tensor]) -> dict[Any, int]:
    """How many edges the shortest way from an output to each node has."""
    distances = {output.grad_fn: 0 for output in outputs if output.grad_fn is not None}
    waiting = list(distances)
    for node in waiting:
        for end, _ in node.next_functions:
            if end is not None and end not in distances:
                distances[end] = distances[node] + 1
                waiting.append(end)
    return distances


@wrong_engine("backward-order-by-distance", kind="place", first_sight="adversary: caught")
@contextmanager
def hooks_are_called_by_the_shortest_way_from_the_output(hit: Hit) -> Iterator[None]:
    held: list[tuple[Any, Hook, torch.Tensor]] = []
    hooked: set[Any] = set()
    holding = False

    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor, hook: Hook) -> Any:
            node = tensor.grad_fn
            hooked.add(node)

            def held_back(gradient: torch.Tensor) -> Any:
                if not holding:
                    return hook(gradient)
                held.append((node, hook, gradient))
                return None

            return register(tensor, hook if node is None else held_back)

        return wrong

    def wrong_backward(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal holding
        distances = _distances(outputs)
        reached = [node for node in hooked if node in distances]
        holding = any(
            user is not node and distances[user] > distances[node] and node in nodes_reached(user)
            for node in reached
            for user in reached
        )
        try:
            honest()
        finally:
            was_held, holding = holding, False
        for _, hook, gradient in sorted(held, key=lambda entry: distances[entry[0]]) if was_held else ():
            hit()
            hook(gradient)
        held.clear()

    with replaced(torch.Tensor, "register_hook", make), around_backward(wrong_backward):
        yield


@wrong_engine("hooks-on-doubles-called-twice", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def a_hook_on_a_result_of_float64_is_called_twice(hit: Hit) -> Iterator[None]:
    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor, hook: Hook) -> Any:
            def twice(gradient: torch.Tensor) -> Any:
                hit()
                hook(gradient)
                return hook(gradient)

            return register(tensor, hook if tensor.grad_fn is None or tensor.dtype != torch.float64 else twice)

        return wrong

    with replaced(torch.Tensor, "register_hook", make):
        yield


@wrong_engine("hooks-on-scalars-called-last", kind="size", first_sight="fourth sample: missed")
@contextmanager
def hooks_on_results_of_no_dimensions_wait_for_the_end(hit: Hit) -> Iterator[None]:
    waiting: list[tuple[Hook, torch.Tensor]] = []
    running = overtaken = False

    def make(register: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor, hook: Hook) -> Any:
            def in_turn(gradient: torch.Tensor) -> Any:
                nonlocal overtaken
                if running and gradient.dim() == 0:
                    waiting.append((hook, gradient))
                    return None
                overtaken = overtaken or bool(waiting)
                return hook(gradient)

            return register(tensor, hook if tensor.grad_fn is None else in_turn)

        return wrong

    def wrong_backward(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal running, overtaken
        running, overtaken = True, False
        try:
            honest()
        finally:
            running = False
            held = list(waiting)
            waiting.clear()
        for hook, gradient in held:
            if hook(gradient) is not None or overtaken:
                hit()

    with replaced(torch.Tensor, "register_hook", make), around_backward(wrong_backward):
        yield
