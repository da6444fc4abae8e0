"""spec/graph/nodes.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.graph.facade import Edge, Facade, graph_with
from tests.wrong_engines.tools import replaced


class TensorNode(torch.Tensor):
    """A tensor that is a node, joined to others by operations."""

    node: Any

    def name(self) -> str:
        return "Tensor"

    @property
    def next_functions(self) -> tuple[Edge, ...]:
        return tuple((end and _tensor_for(end), self.node.name()) for end, _ in self.node.next_functions)


def _tensor_for(node: Any) -> TensorNode:
    tensor = torch.zeros(()).as_subclass(TensorNode)
    tensor.node = node
    return tensor


@wrong_engine("nodes-are-tensors", kind="plain")
@contextmanager
def nodes_are_tensors_and_edges_operations(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> TensorNode | None:
            node = honest.__get__(tensor)
            if node is None:
                return None
            hit()
            return _tensor_for(node)

        return property(read)

    with replaced(torch.Tensor, "grad_fn", make):
        yield


@wrong_engine("nodes-edges-are-operations", kind="plain")
@contextmanager
def an_edge_bears_an_operation(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        hit()
        return [(end, facade.name()) for end, _ in honest]

    with graph_with(edges):
        yield


@wrong_engine("nodes-of-plain-tensors", kind="order")
@contextmanager
def inputs_that_do_not_require_grad_have_nodes(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        return [(plain(facade) if end is None else end, number) for end, number in honest]

    def plain(facade: Facade) -> Facade:
        hit()
        node = facade.made_up()
        node.variable = torch.zeros(())  # type: ignore[attr-defined]
        return node

    with graph_with(edges):
        yield


@wrong_engine("nodes-first-result-only", kind="order")
@contextmanager
def edges_lead_to_the_first_result(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if any(number for _, number in honest):
            hit()
        return [(end, 0) for end, _ in honest]

    with graph_with(edges):
        yield


@wrong_engine("nodes-edges-backwards", kind="order")
@contextmanager
def edges_of_subtractions_are_reversed(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if facade.name() != "SubBackward0":
            return honest
        hit()
        return honest[::-1]

    with graph_with(edges):
        yield


@wrong_engine("nodes-leaf-twice", kind="place")
@contextmanager
def each_use_of_a_leaf_has_a_node(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        return [(anew(end) if hasattr(end, "variable") else end, number) for end, number in honest]

    def anew(leaf: Facade) -> Facade:
        hit()
        return Facade(leaf.node, leaf.edges, leaf.known)

    with graph_with(edges):
        yield


@wrong_engine("nodes-additions-fused", kind="place")
@contextmanager
def an_addition_to_an_addition_is_no_node(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        first = honest[0][0] if honest else None
        if first is None or (facade.name(), first.name()) != ("AddBackward0", "AddBackward0"):
            return honest
        hit()
        return [*first.next_functions, *honest[1:]]

    with graph_with(edges):
        yield


@wrong_engine("nodes-for-constants", kind="plain")
@contextmanager
def a_number_that_is_added_has_a_node(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if facade.name() != "AddBackward0":
            return honest
        hit()
        return [(end or facade.made_up(), number) for end, number in honest]

    with graph_with(edges):
        yield


@wrong_engine("nodes-edges-skip-views", kind="place")
@contextmanager
def edges_lead_past_views(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        return [past(end) if end and end.name() == "ViewBackward0" else (end, number) for end, number in honest]

    def past(view: Facade) -> Edge:
        hit()
        return view.next_functions[0]

    with graph_with(edges):
        yield


@wrong_engine("nodes-adding-zero-elided", kind="value")
@contextmanager
def adding_zero_is_no_operation(hit: Hit) -> Iterator[None]:
    def make(add: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if isinstance(other, torch.Tensor) or other != 0 or not tensor.requires_grad:
                return add(tensor, other)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "__add__", make):
        yield


@wrong_engine("nodes-hold-alias-of-leaf", kind="aliasing")
@contextmanager
def the_node_of_a_leaf_holds_a_view_of_it(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        for end, _ in honest:
            if end is not None and hasattr(end, "variable") and "variable" not in vars(end):
                hit()
                end.variable = end.node.variable.detach()
        return honest

    with graph_with(edges):
        yield


@wrong_engine("nodes-one-edge-for-the-same-input", kind="place", first_sight="adversary: caught")
@contextmanager
def an_input_that_is_given_twice_has_one_edge(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        once = [edge for place, edge in enumerate(honest) if edge[0] is None or edge not in honest[:place]]
        if len(once) < len(honest):
            hit()
        return once

    with graph_with(edges):
        yield


@wrong_engine("nodes-count-results-in-floats", kind="dtype", first_sight="sample: caught")
@contextmanager
def edges_of_float64_operations_count_in_floats(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        made = getattr(facade.node, "_input_metadata", ())
        if not honest or not made or made[0].dtype != torch.float64:
            return honest
        hit()
        return [(end, float(number)) for end, number in honest]

    with graph_with(edges):
        yield


@wrong_engine("nodes-of-empty-leaves-missing", kind="size", first_sight="sample: caught")
@contextmanager
def a_leaf_without_elements_has_no_node(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        def kept(edge: Edge) -> Edge:
            if edge[0] is None or not hasattr(edge[0], "variable") or edge[0].variable.numel():
                return edge
            hit()
            return None, 0

        return [kept(edge) for edge in honest]

    with graph_with(edges):
        yield


@wrong_engine("nodes-of-leaves-have-an-edge", kind="plain", first_sight="second sample: caught")
@contextmanager
def the_node_of_a_leaf_has_an_edge_to_nothing(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if not hasattr(facade.node, "variable"):
            return honest
        hit()
        return [(None, 0)]

    with graph_with(edges):
        yield
