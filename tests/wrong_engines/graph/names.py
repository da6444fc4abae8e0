"""spec/graph/names.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.graph.facade import Edge, Facade, graph_with
from tests.wrong_engines.tools import replaced


@wrong_engine("names-of-nothing", kind="plain")
@contextmanager
def every_node_is_called_node(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Callable[[Facade], str]:
        def wrong(facade: Facade) -> str:
            hit()
            return "Node"

        return wrong

    def edges(facade: Facade, honest: list[Edge]) -> list[Edge]:
        return honest

    with graph_with(edges), replaced(Facade, "name", make):
        yield


@wrong_engine("names-of-parts", kind="plain")
@contextmanager
def computes_the_mean_squared_error_by_its_parts(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Callable[..., torch.Tensor]:
        def wrong(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            hit()
            return ((one - other) ** 2).mean()

        return wrong

    with replaced(torch.nn.functional, "mse_loss", make):
        yield


@wrong_engine("names-of-conversions", kind="dtype")
@contextmanager
def exponentiates_bfloat16_as_float32(hit: Hit) -> Iterator[None]:
    def make(exp: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dtype is not torch.bfloat16:
                return exp(tensor)
            hit()
            return exp(tensor.float()).to(tensor.dtype)

        return wrong

    with replaced(torch.Tensor, "exp", make):
        yield
