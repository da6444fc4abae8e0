"""spec/graph/acyclic.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.graph.facade import Edge, Facade, graph_with


@wrong_engine("acyclic-in-place-loops", kind="place", issue="pytorch#839")
@contextmanager
def an_in_place_operation_is_its_own_input(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if facade.version == 0:
            return honest
        hit()
        return [(facade, 0), *honest[1:]]

    with graph_with(edges):
        yield


@wrong_engine("acyclic-doubling-loops", kind="place")
@contextmanager
def doubling_has_an_edge_to_itself(hit: Hit) -> Iterator[None]:
    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if facade.name() != "AddBackward0" or honest[0] != honest[1]:
            return honest
        hit()
        return [honest[0], (facade, 0)]

    with graph_with(edges):
        yield
