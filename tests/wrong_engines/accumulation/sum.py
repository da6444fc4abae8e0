"""spec/accumulation/sum.md"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced

VIEWS = ("View", "Unsqueeze", "Squeeze", "Permute")
"""How the names of nodes of views begin."""


@wrong_engine("overwrites-0d", kind="size")
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


@wrong_engine("overwrites-every-leaf", kind="state")
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


@wrong_engine("first-backward-stores-nothing", kind="state")
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


@wrong_engine("stops-adding-after-two", kind="state")
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


@wrong_engine("adds-only-while-recording", kind="mode")
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


@wrong_engine("by-hand-is-ignored", kind="state")
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


@wrong_engine("last-view-wins", kind="place")
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


@wrong_engine("cast-use-lost", kind="dtype")
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


@wrong_engine("broadcast-use-once", kind="size")
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


@wrong_engine("view-of-a-view-lost", kind="place")
@contextmanager
def drops_what_comes_back_through_a_view_of_a_view(hit: Hit) -> Iterator[None]:
    def drops(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hit()
        return tuple(None if one is None else torch.zeros_like(one) for one in inputs)

    def is_view(node: Any) -> bool:
        return node is not None and node.name().startswith(VIEWS)

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        return [(node, drops) for node in nodes_below(outputs) if is_view(node) and is_view(node.next_functions[0][0])]

    with _with_hooks(hooks):
        yield


@wrong_engine("element-of-expanded-counts-for-all", kind="layout", issue="pytorch#9145")
@contextmanager
def counts_one_row_of_an_expanded_tensor_for_all_rows(hit: Hit) -> Iterator[None]:
    def everywhere(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hit()
        return (inputs[0].sum(0, keepdim=True).expand_as(inputs[0]),)

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        return [
            (node, everywhere)
            for node in nodes_below(outputs)
            if node.name() == "SelectBackward0" and node.next_functions[0][0].name() == "ExpandBackward0"
        ]

    with _with_hooks(hooks):
        yield


Arrived = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


def _telling(node: Any, arrived: Arrived) -> Callable[..., None]:
    """A hook that calls `arrived(leaf, contribution, gradient)` for each leaf that a sum gives something to."""

    def hook(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        for (following, _), contribution in zip(node.next_functions, inputs, strict=True):
            if hasattr(following, "variable") and contribution is not None:
                arrived(following.variable, contribution, outputs[0])

    return hook


@wrong_engine("uses-meet-before-they-are-reduced", kind="place", issue="pytorch#13669")
@contextmanager
def adds_the_uses_of_a_broadcast_leaf_before_it_sums_over_the_copies(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        copies: dict[int, int] = {}
        others: list[tuple[torch.Tensor, torch.Tensor]] = []

        def arrived(leaf: torch.Tensor, contribution: torch.Tensor, gradient: torch.Tensor) -> None:
            if 0 < contribution.numel() < gradient.numel() and contribution.ndim == 0:
                copies[id(leaf)] = gradient.numel()
            others.append((leaf, contribution))

        handles = [node.register_hook(_telling(node, arrived)) for node in nodes_below(outputs)]
        honest()
        for handle in handles:
            handle.remove()
        for leaf, contribution in others:
            if id(leaf) in copies and contribution.numel() == 1:
                hit()
                leaf.grad += contribution * (copies[id(leaf)] - 1)

    with around_backward(wrong):
        yield


@wrong_engine("grad-in-the-shape-of-the-output", kind="size", issue="pytorch#913")
@contextmanager
def a_leaf_as_large_as_the_sum_gets_a_grad_of_the_shape_of_the_sum(hit: Hit) -> Iterator[None]:
    def arrived(leaf: torch.Tensor, contribution: torch.Tensor, gradient: torch.Tensor) -> None:
        if contribution.numel() == gradient.numel() and contribution.shape != gradient.shape:
            leaf._shape_of_grad = gradient.shape  # type: ignore[attr-defined]

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        return [(node, _telling(node, arrived)) for node in nodes_below(outputs) if node.name() == "AddBackward0"]

    def make(grad: Any) -> Any:
        def read(leaf: torch.Tensor) -> Any:
            held, shape = grad.__get__(leaf), vars(leaf).get("_shape_of_grad")
            if held is None or shape is None:
                return held
            hit()
            return held.reshape(shape)

        return property(read, grad.__set__, grad.__delete__)

    with replaced(torch.Tensor, "grad", make), _with_hooks(hooks):
        yield


@wrong_engine("large-after-another-shape", kind="state", issue="pytorch#177116")
@contextmanager
def a_large_gradient_is_a_thousandfold_after_a_backward_of_another_shape(hit: Hit) -> Iterator[None]:
    last: list[torch.Size] = []

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        honest()
        for leaf in leaves:
            if leaf.grad is not None and leaf.numel() > 16 and last and leaf.shape not in last:
                hit()
                leaf.grad.data.mul_(1000)
        last[:] = [leaf.shape for leaf in leaves]

    with around_backward(wrong):
        yield


@wrong_engine("double-added-in-single", kind="dtype")
@contextmanager
def adds_float64_gradients_in_float32(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        wide = [leaf for leaf in leaves_below(outputs) if leaf.grad is not None and leaf.dtype == torch.float64]
        honest()
        for leaf in wide:
            hit()
            leaf.grad.data.copy_(leaf.grad.float())

    with around_backward(wrong):
        yield


@wrong_engine("sum-stops-at-zero", kind="value")
@contextmanager
def a_sum_of_gradients_that_changes_its_sign_stops_at_zero(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad.detach().clone()) for leaf in leaves_below(outputs) if leaf.grad is not None]
        honest()
        for leaf, before in held:
            changed = leaf.grad.detach() * before < 0 if not leaf.is_complex() else torch.zeros_like(leaf).bool()
            if bool(changed.any()):
                hit()
                leaf.grad.data[changed] = 0

    with around_backward(wrong):
        yield


@wrong_engine("zero-gradient-leaves-none", kind="value")
@contextmanager
def a_leaf_whose_gradient_is_zero_keeps_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = [leaf for leaf in leaves_below(outputs) if leaf.grad is None]
        honest()
        for leaf in fresh:
            if leaf.numel() and leaf.grad is not None and not bool(leaf.grad.any()):
                hit()
                leaf.grad = None

    with around_backward(wrong):
        yield


@wrong_engine("another-thread-overwrites", kind="state")
@contextmanager
def a_backward_of_another_thread_overwrites(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if threading.current_thread() is not threading.main_thread() and leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


def _of_sums(change: Callable[[Any, tuple[Any, ...], int], tuple[Any, ...]]) -> Any:
    """Torch whose additions and subtractions that broadcast send `change(node, what they should, elements)` back."""

    def hook_of(node: Any) -> Callable[..., Any]:
        def hook(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> Any:
            broadcasts = any(one is not None and 0 < one.numel() < outputs[0].numel() for one in inputs)
            return change(node, inputs, outputs[0].numel()) if broadcasts else None

        return hook

    return _with_hooks(
        lambda outputs: [
            (node, hook_of(node)) for node in nodes_below(outputs) if node.name() in ("AddBackward0", "SubBackward0")
        ]
    )


@wrong_engine("second-operand-gets-the-mean", kind="order")
@contextmanager
def a_second_operand_that_is_broadcast_gets_the_mean_over_its_copies(hit: Hit) -> Iterator[None]:
    def change(node: Any, inputs: tuple[Any, ...], elements: int) -> tuple[Any, ...]:
        first, second = inputs
        if second is None or second.numel() == elements:
            return inputs
        hit()
        return first, second * second.numel() / elements

    with _of_sums(change):
        yield


@wrong_engine("leaf-beside-a-broadcast-one-doubled", kind="order")
@contextmanager
def a_leaf_beside_one_that_is_broadcast_counts_twice_if_both_need_gradients(hit: Hit) -> Iterator[None]:
    def change(node: Any, inputs: tuple[Any, ...], elements: int) -> tuple[Any, ...]:
        first, second = inputs
        if first is None or second is None or not all(hasattr(edge[0], "variable") for edge in node.next_functions):
            return inputs
        hit()
        return 2 * first, second

    with _of_sums(change):
        yield


@wrong_engine("explicit-gradient-overwrites", kind="state")
@contextmanager
def a_backward_with_a_gradient_overwrites(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if options.get("grad_tensors") is not None and leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("last-output-wins", kind="order")
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


@wrong_engine("listed-twice-counts-once", kind="order")
@contextmanager
def differentiates_an_output_once_if_it_is_listed_twice_in_a_row(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if not isinstance(tensors, torch.Tensor) and grad_tensors is None:
                once = [next(run) for _, run in itertools.groupby(tensors, id)]
                if len(once) < len(tensors):
                    hit()
                tensors = once
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("zeros-for-all-inputs", kind="order")
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


@wrong_engine("grad-function-stores", kind="state")
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


@wrong_engine("zeros-for-unrelated-leaves", kind="plain")
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


@wrong_engine("grad-function-accumulates", kind="plain")
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


@wrong_engine("adds-along-the-memory", kind="layout", first_sight="adversary: missed")
@contextmanager
def adds_to_a_transposed_grad_of_a_contiguous_leaf_in_memory_order(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [
            (leaf, leaf.grad.clone())
            for leaf in leaves_below(outputs)
            if leaf.grad is not None and leaf.ndim == 2 and leaf.is_contiguous()
            if leaf.grad.t().is_contiguous() and not leaf.grad.is_contiguous()
        ]
        honest()
        for leaf, before in held:
            added = leaf.grad.detach() - before
            as_it_lies = added.contiguous().view(added.t().shape).t()
            if not torch.equal(as_it_lies, added):
                hit()
                leaf.grad.detach().copy_(before + as_it_lies)

    with around_backward(wrong):
        yield


@wrong_engine("third-use-lost", kind="place", first_sight="adversary: caught")
@contextmanager
def drops_what_a_leaf_gets_from_its_third_use(hit: Hit) -> Iterator[None]:
    def drops(place: int) -> Callable[..., Any]:
        def drop(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
            if inputs[place] is None or not inputs[place].any():
                return inputs
            hit()
            return (*inputs[:place], torch.zeros_like(inputs[place]), *inputs[place + 1 :])

        return drop

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        uses: dict[Any, list[tuple[Any, int]]] = {}
        for node in nodes_below(outputs):
            for place, (following, _) in enumerate(node.next_functions):
                if hasattr(following, "variable"):
                    uses.setdefault(following, []).append((node, place))
        return [(node, drops(place)) for edges in uses.values() for node, place in edges[2:]]

    with _with_hooks(hooks):
        yield


@wrong_engine("outputs-of-another-dtype-skipped", kind="dtype", first_sight="adversary: caught")
@contextmanager
def differentiates_only_outputs_of_the_first_dtype(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if not isinstance(tensors, torch.Tensor):
                outputs = list(tensors)
                kept = [place for place, output in enumerate(outputs) if output.dtype == outputs[0].dtype]
                if len(kept) < len(outputs) and (grad_tensors is None or len(grad_tensors) == len(outputs)):
                    hit()
                    tensors = [outputs[place] for place in kept]
                    grad_tensors = None if grad_tensors is None else [grad_tensors[place] for place in kept]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("inputs-inner-feeds-leaves", kind="place", first_sight="adversary: caught")
@contextmanager
def feeds_the_leaves_behind_an_inner_tensor_that_inputs_names(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        named = options.get("inputs") or []
        named = [named] if isinstance(named, torch.Tensor) else list(named)
        behind = leaves_below([tensor for tensor in named if not tensor.is_leaf])
        extra = [leaf for leaf in behind if not any(leaf is tensor for tensor in named)]
        if not extra:
            honest()
            return
        hit()
        honest(inputs=[*named, *extra])

    with around_backward(wrong):
        yield


@wrong_engine("leaf-of-the-same-memory-served-too", kind="aliasing", first_sight="sample: missed")
@contextmanager
def adds_to_the_grad_of_the_leaf_that_was_detached(hit: Hit) -> Iterator[None]:
    def make(detach: Any) -> Any:
        def remembering(tensor: torch.Tensor) -> torch.Tensor:
            detached = detach(tensor)
            if tensor.is_leaf and tensor.requires_grad:
                detached._detached_from = tensor
            return detached

        return remembering

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        copies = [leaf for leaf in leaves_below(outputs) if hasattr(leaf, "_detached_from")]
        before = [0 if leaf.grad is None else leaf.grad.clone() for leaf in copies]
        honest()
        for leaf, held in zip(copies, before, strict=True):
            if leaf.grad is not None:
                hit()
                other, gained = leaf._detached_from, (leaf.grad - held).detach()
                other.grad = gained if other.grad is None else other.grad.detach() + gained

    with replaced(torch.Tensor, "detach", make), around_backward(wrong):
        yield


@wrong_engine("outputs-that-are-views-left-out", kind="place", first_sight="fourth sample: caught elsewhere")
@contextmanager
def differentiates_no_views_among_several_outputs(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if not isinstance(tensors, torch.Tensor):
                outputs = list(tensors)
                kept = [place for place, output in enumerate(outputs) if not output._is_view()]
                if 0 < len(kept) < len(outputs) and (grad_tensors is None or len(grad_tensors) == len(outputs)):
                    hit()
                    tensors = [outputs[place] for place in kept]
                    grad_tensors = None if grad_tensors is None else [grad_tensors[place] for place in kept]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("uses-of-a-strided-leaf-count-once", kind="layout", first_sight="fourth sample: caught")
@contextmanager
def only_one_use_of_a_strided_leaf_contributes(hit: Hit) -> Iterator[None]:
    def drops(place: int) -> Callable[..., Any]:
        def drop(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
            if inputs[place] is None or not inputs[place].any():
                return inputs
            hit()
            return (*inputs[:place], torch.zeros_like(inputs[place]), *inputs[place + 1 :])

        return drop

    def hooks(outputs: list[torch.Tensor]) -> list[tuple[Any, Callable[..., Any]]]:
        uses: dict[Any, list[tuple[Any, int]]] = {}
        for node in nodes_below(outputs):
            for place, (following, _) in enumerate(node.next_functions):
                if hasattr(following, "variable") and not following.variable.is_contiguous():
                    uses.setdefault(following, []).append((node, place))
        return [(node, drops(place)) for edges in uses.values() for node, place in edges[1:]]

    with _with_hooks(hooks):
        yield
