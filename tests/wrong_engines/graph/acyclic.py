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


VIEWS = ("SliceBackward0", "SelectBackward0", "ViewBackward0", "TBackward0", "TransposeBackward0", "UnsqueezeBackward0")


@wrong_engine("acyclic-base-leads-back-to-its-view", kind="place", first_sight="third sample: caught")
@contextmanager
def a_base_has_an_edge_to_its_view(hit: Hit) -> Iterator[None]:
    views: dict[Facade, Facade] = {}

    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        if facade.name() in VIEWS and honest[0][0] is not None:
            views[honest[0][0]] = facade
        if facade not in views:
            return honest
        hit()
        return [*honest, (views[facade], 0)]

    with graph_with(edges):
        yield
