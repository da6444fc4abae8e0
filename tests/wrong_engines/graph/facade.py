"""A false picture of the recorded graph: nodes that pass themselves off as what `grad_fn` should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.graph import Node

from tests.wrong_engines.tools import replaced

Edge = tuple[Any, Any]
Edges = Callable[["Facade", list[Edge]], list[Edge]]


class Facade(Node):
    """Stands before a node, or, where that is None, for one that does not exist.

    edges(facade, honest): what `next_functions` says; the ends of the honest edges are facades already.
    version: that of the tensor whose `grad_fn` this is, when it was last asked.
    """

    def __init__(self, node: Any, edges: Edges, known: dict[Any, Facade]) -> None:
        self.node, self.edges, self.known, self.version = node, edges, known, 0

    def name(self) -> str:
        return "Nothing" if self.node is None else str(self.node.name())

    @property
    def next_functions(self) -> tuple[Edge, ...]:  # type: ignore[override]
        honest = () if self.node is None else self.node.next_functions
        return tuple(self.edges(self, [(end and self.facade_of(end), number) for end, number in honest]))

    def facade_of(self, node: Any) -> Facade:
        """The same facade whenever the same node is asked for."""
        return self.known.setdefault(node, Facade(node, self.edges, self.known))

    def made_up(self) -> Facade:
        """A node that is not there, without edges."""
        return Facade(None, lambda facade, honest: [], self.known)

    def __getattr__(self, name: str) -> Any:
        if self.__dict__.get("node") is None:
            raise AttributeError(name)
        return getattr(self.node, name)

    def metadata(self) -> dict[str, Any]:
        return dict(self.node.metadata)

    def _register_hook_dict(self, tensor: torch.Tensor) -> None:
        self.node._register_hook_dict(tensor)

    def register_hook(self, fn: Callable[..., Any]) -> Any:
        return self.node.register_hook(fn)

    def register_prehook(self, fn: Callable[..., Any]) -> Any:
        return self.node.register_prehook(fn)


Facade.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # some releases ask for more


@contextmanager
def graph_with(edges: Edges) -> Iterator[None]:
    """The graph as it is, but for what `edges` says about each node."""
    known: dict[Any, Facade] = {}

    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> Facade | None:
            node = honest.__get__(tensor)
            if node is None:
                return None
            facade = known.setdefault(node, Facade(node, edges, known))
            facade.version = tensor._version
            return facade

        return property(read)

    with replaced(torch.Tensor, "grad_fn", make):
        yield
