"""spec/accumulation/sum.md"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced

VIEWS = ("View", "Unsqueeze", "Squeeze", "Permute")
"""How the names of nodes of views begin."""


@wrong_engine("overwrites-0d")
@contextmanager
def overwrites_the_gradient_of_a_0d_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if leaf.ndim == 0 and leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("overwrites-every-leaf")
@contextmanager
def stores_the_gradient_instead_of_adding_it(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("first-backward-stores-nothing")
@contextmanager
def the_first_backward_of_a_leaf_leaves_grad_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        unreached = [leaf for leaf in leaves_below(outputs) if leaf.grad is None and "_reached" not in vars(leaf)]
        honest()
        for leaf in unreached:
            hit()
            leaf.grad, leaf._reached = None, True  # type: ignore[attr-defined]

    with around_backward(wrong):
        yield


@wrong_engine("stops-adding-after-two")
@contextmanager
def keeps_the_sum_of_two(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        full = [leaf.grad for leaf in leaves_below(outputs) if leaf.grad is not None and leaf.grad._version > 0]
        values = [grad.clone() for grad in full]
        honest()
        for grad, value in zip(full, values, strict=True):
            hit()
            grad.copy_(value)

    with around_backward(wrong):
        yield


@wrong_engine("adds-only-while-recording")
@contextmanager
def overwrites_while_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if not torch.is_grad_enabled() and leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("by-hand-is-ignored")
@contextmanager
def overwrites_a_tensor_put_there_by_hand(hit: Hit) -> Iterator[None]:
    made: list[torch.Tensor] = []

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        for leaf in leaves:
            if leaf.grad is not None and not any(leaf.grad is grad for grad in made):
                hit()
                leaf.grad = None
        honest()
        made[:] = [leaf.grad for leaf in leaves if leaf.grad is not None]

    with around_backward(wrong):
        yield


def _with_hooks(node_hooks: Callable[[list[torch.Tensor]], list[tuple[Any, Callable[..., Any]]]]) -> Any:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        handles = [node.register_hook(hook) for node, hook in node_hooks(outputs)]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    return around_backward(wrong)


@wrong_engine("last-view-wins")
@contextmanager
def only_one_view_of_a_leaf_contributes(hit: Hit) -> Iterator[None]:
    def drops(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hit()
        return tuple(None if one is None else torch.zeros_like(one) for one in inputs)

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        views: dict[Any, list[Any]] = {}
        for node in nodes_below(outputs):
            following = node.next_functions[0][0] if node.next_functions else None
            if node.name().startswith(VIEWS) and hasattr(following, "variable"):
                views.setdefault(following, []).append(node)
        return [(node, drops) for nodes in views.values() for node in nodes[1:]]

    with _with_hooks(hooks):
        yield


@wrong_engine("cast-use-lost")
@contextmanager
def drops_what_a_bfloat16_leaf_gets_through_a_cast(hit: Hit) -> Iterator[None]:
    def drops(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hit()
        return tuple(torch.zeros_like(one) for one in inputs)

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        return [
            (node, drops)
            for node in nodes_below(outputs)
            for following, _ in node.next_functions
            if node.name() == "ToCopyBackward0" and getattr(following, "variable", outputs[0]).dtype == torch.bfloat16
        ]

    with _with_hooks(hooks):
        yield


@wrong_engine("broadcast-use-once")
@contextmanager
def a_broadcast_0d_leaf_gets_the_mean_over_its_copies(hit: Hit) -> Iterator[None]:
    def averages(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        copies = outputs[0].numel()
        if copies > 1:
            hit()
        return tuple(one / copies if one is not None and one.ndim == 0 and copies > 1 else one for one in inputs)

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        return [(node, averages) for node in nodes_below(outputs) if node.name() == "AddBackward0"]

    with _with_hooks(hooks):
        yield


@wrong_engine("last-output-wins")
@contextmanager
def differentiates_only_the_last_output(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if not isinstance(tensors, torch.Tensor) and len(tensors) > 1:
                hit()
                tensors = tensors[-1:]
                grad_tensors = None if grad_tensors is None else grad_tensors[-1:]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("listed-twice-counts-once")
@contextmanager
def differentiates_an_output_once_however_often_it_is_listed(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if not isinstance(tensors, torch.Tensor) and grad_tensors is None:
                once = list({id(tensor): tensor for tensor in tensors}.values())
                if len(once) < len(tensors):
                    hit()
                tensors = once
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("zeros-for-all-inputs")
@contextmanager
def fills_the_grad_of_leaves_that_inputs_does_not_name(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs):
            if options.get("inputs") is not None and leaf.grad is None:
                hit()
                leaf.grad = torch.zeros_like(leaf)

    with around_backward(wrong):
        yield


@wrong_engine("grad-function-stores")
@contextmanager
def autograd_grad_adds_to_a_grad_that_is_there(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            gradients = grad(outputs, inputs, *args, **kwargs)
            for leaf, gradient in zip([inputs] if isinstance(inputs, torch.Tensor) else inputs, gradients, strict=True):
                if leaf.is_leaf and leaf.grad is not None:
                    hit()
                    leaf.grad.add_(gradient)
            return gradients

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("zeros-for-unrelated-leaves")
@contextmanager
def fills_the_grad_of_every_leaf_there_is(hit: Hit) -> Iterator[None]:
    leaves: list[weakref.ref[torch.Tensor]] = []

    def make(requires_grad_: Any) -> Any:
        def remembering(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            leaves.append(weakref.ref(tensor))
            return requires_grad_(tensor, requires_grad)

        return remembering

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in (reference() for reference in leaves):
            if leaf is not None and leaf.is_leaf and leaf.requires_grad and leaf.grad is None:
                hit()
                leaf.grad = torch.zeros_like(leaf)

    with replaced(torch.Tensor, "requires_grad_", make), around_backward(wrong):
        yield


@wrong_engine("grad-function-accumulates")
@contextmanager
def autograd_grad_adds_to_grad_and_returns_the_sum(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            leaves = [inputs] if isinstance(inputs, torch.Tensor) else inputs
            for leaf, gradient in zip(leaves, grad(outputs, inputs, *args, **kwargs), strict=True):
                hit()
                leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
            return tuple(leaf.grad for leaf in leaves)

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield
