"""spec/fits/layer-gradients.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced

Tensor = torch.Tensor


def at_nodes(name: str, wrong: Callable[[Any, list[Any], Tensor], None]) -> AbstractContextManager[None]:
    """At every node of this name `wrong(node, results, gradient)` changes the results, gradients of its inputs."""

    def hooked(node: Any) -> Any:
        def hook(results: tuple[Any, ...], gradients: tuple[Any, ...]) -> tuple[Any, ...]:
            changed = list(results)
            wrong(node, changed, gradients[0])
            return tuple(changed)

        return node.register_hook(hook)

    def around(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        handles = [hooked(node) for node in nodes_below(outputs) if node.name() == name]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    return around_backward(around)


@wrong_engine("layer-bias-gradient-of-first-point", kind="size")
@contextmanager
def does_not_sum_over_the_points(hit: Hit) -> Iterator[None]:
    def wrong(node: Any, results: list[Any], gradient: Tensor) -> None:
        if gradient.ndim == 2 and len(gradient) > 1 and results[1] is not None and results[1].ndim == 1:
            hit()
            results[1] = gradient[0].clone()

    with at_nodes("AddBackward0", wrong):
        yield


def _after_backward(wrong: Callable[[Tensor], None]) -> AbstractContextManager[None]:
    """`wrong(leaf)` for each leaf with a gradient, once a backward is over."""

    def around(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        with torch.no_grad():
            for leaf in leaves_below(outputs):
                wrong(leaf)

    return around_backward(around)


@wrong_engine("layer-bias-gradient-is-bias", kind="size")
@contextmanager
def puts_the_bias_where_its_gradient_belongs(hit: Hit) -> Iterator[None]:
    def wrong(leaf: Tensor) -> None:
        if leaf.ndim == 1:
            hit()
            leaf.grad = leaf.detach().clone()

    with _after_backward(wrong):
        yield


@wrong_engine("layer-weight-gradient-ignores-strides", kind="layout")
@contextmanager
def reads_the_points_as_if_they_were_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(node: Any, results: list[Any], gradient: Tensor) -> None:
        x = node._saved_self
        if results[1] is not None and min(x.shape) > 1 and x.stride() == (1, x.shape[0]):
            hit()
            results[1] = x.as_strided(x.shape, (x.shape[1], 1)).T @ gradient

    with at_nodes("MmBackward0", wrong):
        yield


@wrong_engine("layer-weight-gradient-transposed", kind="size")
@contextmanager
def transposes_the_gradient_of_a_square_weight(hit: Hit) -> Iterator[None]:
    def wrong(leaf: Tensor) -> None:
        if leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1] > 1 and leaf.grad is not None:
            hit()
            leaf.grad = leaf.grad.T.clone()

    with _after_backward(wrong):
        yield


@wrong_engine("layer-bias-moves-at-once", kind="size")
@contextmanager
def steps_on_the_bias_in_backward(hit: Hit) -> Iterator[None]:
    def wrong(leaf: Tensor) -> None:
        if leaf.ndim == 1 and leaf.grad is not None:
            hit()
            leaf.data.copy_(leaf.detach() - 0.5 * leaf.grad)

    with _after_backward(wrong):
        yield


@wrong_engine("layer-points-get-a-gradient", kind="order")
@contextmanager
def gives_the_points_a_gradient(hit: Hit) -> Iterator[None]:
    def make(matmul: Any) -> Any:
        def wrong(x: Tensor, w: Tensor) -> Tensor:
            if not x.requires_grad and w.requires_grad:
                hit()
                x.grad = torch.zeros_like(x)
            return matmul(x, w)

        return wrong

    with replaced(torch.Tensor, "__matmul__", make):
        yield


@wrong_engine("layer-addmm-turns-squares", kind="size", issue="pytorch#116547")
@contextmanager
def takes_a_square_factor_for_its_transpose(hit: Hit) -> Iterator[None]:
    def make(addmm: Any) -> Any:
        def wrong(b: Tensor, x: Tensor, w: Tensor) -> Tensor:
            if x.shape != w.shape or len(w) < 2:
                return addmm(b, x, w)
            hit()
            return addmm(b, x, w.T)

        return wrong

    with replaced(torch, "addmm", make):
        yield


@wrong_engine("layer-weight-gradient-in-its-own-memory", kind="aliasing", first_sight="third sample: caught")
@contextmanager
def puts_the_gradient_of_a_weight_in_its_memory(hit: Hit) -> Iterator[None]:
    def around(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        weights = [leaf for leaf in leaves_below(outputs) if leaf.ndim == 2 and leaf.grad is None]
        honest()
        for w in weights:
            if w.grad is not None and w.numel():
                hit()
                w.data.copy_(w.grad)
                w.grad = w.data

    with around_backward(around):
        yield
