"""spec/graph/as-it-runs.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.oracles.graph import leaves_reached
from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced


def _grad_fn(wrong: Callable[[torch.Tensor, Any], Any]) -> Any:
    """`grad_fn` that says `wrong(tensor, node)` where there is a node."""

    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> Any:
            node = honest.__get__(tensor)
            return node and wrong(tensor, node)

        return property(read)

    return replaced(torch.Tensor, "grad_fn", make)


@wrong_engine("as-it-runs-when-asked", kind="plain")
@contextmanager
def a_node_is_there_from_the_second_time_it_is_asked_for(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, node: Any) -> Any:
        if "_asked" in vars(tensor):
            return node
        hit()
        tensor._asked = True  # type: ignore[attr-defined]
        return None

    with _grad_fn(wrong):
        yield


@wrong_engine("as-it-runs-lost-with-leaf", kind="state")
@contextmanager
def a_node_is_lost_when_its_leaf_is_switched_off(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, node: Any) -> Any:
        if all(leaf.requires_grad for leaf in leaves_reached(node)):
            return node
        hit()
        return None

    with _grad_fn(wrong):
        yield


@wrong_engine("as-it-runs-first-graph", kind="state")
@contextmanager
def later_runs_get_the_gradient_of_the_first(hit: Hit) -> Iterator[None]:
    first: dict[Any, torch.Tensor] = {}

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        honest()
        for leaf in leaves:
            if leaf.grad is None:
                continue
            gradient = first.setdefault((leaf.shape, leaf.dtype), leaf.grad.clone())
            if not torch.equal(gradient, leaf.grad):
                hit()
                leaf.grad.copy_(gradient)

    with around_backward(wrong):
        yield


@wrong_engine("as-it-runs-loop-once", kind="place")
@contextmanager
def a_product_of_a_product_passes_the_gradient_on_unchanged(hit: Hit) -> Iterator[None]:
    def make(multiply: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(one: torch.Tensor, other: Any) -> torch.Tensor:
            if isinstance(other, torch.Tensor) or one.grad_fn is None or one.grad_fn.name() != "MulBackward0":
                return multiply(one, other)
            hit()
            return (one - one.detach()) + multiply(one.detach(), other)

        return wrong

    with replaced(torch.Tensor, "__mul__", make):
        yield


@wrong_engine("as-it-runs-lost-after-backward", kind="state")
@contextmanager
def a_node_is_lost_when_gradients_were_computed_through_it(hit: Hit) -> Iterator[None]:
    used: set[Any] = set()

    def make(grad: Callable[..., Any]) -> Callable[..., Any]:
        def remembering(outputs: torch.Tensor, inputs: torch.Tensor, **kwargs: Any) -> Any:
            gradients = grad(outputs, inputs, **kwargs)
            used.update(nodes_below([outputs]))
            return gradients

        return remembering

    def wrong(tensor: torch.Tensor, node: Any) -> Any:
        if node not in used:
            return node
        hit()
        return None

    with replaced(torch.autograd, "grad", make), _grad_fn(wrong):
        yield


@wrong_engine("as-it-runs-gone-when-freed", kind="state", first_sight="adversary: missed")
@contextmanager
def a_result_has_no_node_once_backward_has_run_from_it(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> Any:
            if vars(tensor).get("_has_run") is not True or honest.__get__(tensor) is None:
                return honest.__get__(tensor)
            hit()
            return None

        return property(read)

    def wrong(outputs: list[torch.Tensor], run: Backward, options: dict[str, Any]) -> None:
        run()
        for output in outputs if not options.get("retain_graph") and not options.get("create_graph") else ():
            vars(output)["_has_run"] = True

    with replaced(torch.Tensor, "grad_fn", make), around_backward(wrong):
        yield


@wrong_engine("as-it-runs-late-for-the-second-operand", kind="order", first_sight="sample: missed")
@contextmanager
def a_node_whose_first_operand_requires_no_grad_comes_late(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, node: Any) -> Any:
        edges = [following for following, _ in node.next_functions]
        if "_was_asked" in vars(tensor) or not edges or edges[0] is not None or not any(edges):
            return node
        hit()
        tensor._was_asked = True  # type: ignore[attr-defined]
        return None

    with _grad_fn(wrong):
        yield


@wrong_engine("as-it-runs-inside-no-grad-first-operand-only", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def a_backward_inside_no_grad_follows_the_first_operand(hit: Hit) -> Iterator[None]:
    def drop(gradients: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        first, second, *others = gradients
        if first is None or second is None or not second.any():
            return gradients
        hit()
        return first, torch.zeros_like(second), *others

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nodes = [] if torch.is_grad_enabled() else nodes_below(outputs)
        handles = [node.register_hook(drop) for node in nodes if len(node.next_functions) > 1]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    with around_backward(wrong):
        yield
