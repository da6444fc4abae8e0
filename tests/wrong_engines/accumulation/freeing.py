"""spec/accumulation/freeing.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced

SECOND_TIME = "Trying to backward through the graph a second time"


def _has_run(outputs: list[torch.Tensor]) -> bool:
    """Whether there was a backward from the first output before; remembers this one."""
    ran = "_has_run" in vars(outputs[0])
    outputs[0]._has_run = True  # type: ignore[attr-defined]
    return ran


@wrong_engine("retain-halves", kind="size")
@contextmanager
def a_later_run_of_a_graph_adds_half_to_a_0d_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad.clone()) for leaf in leaves_below(outputs) if leaf.grad is not None]
        again = _has_run(outputs)
        honest()
        for leaf, before in held:
            if again and leaf.ndim == 0:
                hit()
                leaf.grad = (leaf.grad + before).detach() / 2

    with around_backward(wrong):
        yield


@wrong_engine("retain-once", kind="state", refuses=SECOND_TIME)
@contextmanager
def a_retained_graph_lasts_for_one_further_call(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if _has_run(outputs) and options.get("retain_graph"):
            hit()
            honest(retain_graph=False)
        else:
            honest()

    with around_backward(wrong):
        yield


@wrong_engine("second-run-silent", kind="error")
@contextmanager
def a_backward_through_a_freed_graph_does_nothing(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError as error:
            if SECOND_TIME not in str(error):
                raise
            hit()

    with around_backward(wrong):
        yield


@wrong_engine("second-run-zeroes", kind="error")
@contextmanager
def a_refused_second_run_has_already_zeroed_the_gradients(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError:
            for leaf in leaves_below(outputs):
                if leaf.grad is not None:
                    hit()
                    leaf.grad.zero_()
            raise

    with around_backward(wrong):
        yield


@wrong_engine("frees-older-graphs", kind="state", refuses=SECOND_TIME)
@contextmanager
def a_backward_uses_up_older_graphs_of_its_leaves_too(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        node = outputs[0].grad_fn
        for leaf in leaves_below(outputs):
            freed_by, freed_at = vars(leaf).get("_freed", (node, -1))
            if node is not freed_by and node._sequence_nr() < freed_at:
                hit()
                raise RuntimeError(SECOND_TIME)
        honest()
        now = torch.ones((), requires_grad=True).clone().grad_fn
        for leaf in leaves_below(outputs):
            leaf._freed = (node, now._sequence_nr())  # type: ignore[attr-defined, union-attr]

    with around_backward(wrong):
        yield


@wrong_engine("refuses-any-second-run", kind="state", refuses=SECOND_TIME)
@contextmanager
def refuses_a_second_run_of_whatever_was_not_retained(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if _has_run(outputs):
            hit()
            raise RuntimeError(SECOND_TIME)
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("second-run-of-nothing", kind="size")
@contextmanager
def a_freed_graph_of_an_empty_leaf_runs_again(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if _has_run(outputs) and all(leaf.numel() == 0 for leaf in leaves_below(outputs)):
            hit()
            return
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("second-run-unexplained", kind="error")
@contextmanager
def refuses_a_second_run_with_the_text_of_an_internal_error(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError as error:
            if SECOND_TIME not in str(error):
                raise
            hit()
            raise RuntimeError("saved_variable.data.defined() INTERNAL ASSERT FAILED") from None

    with around_backward(wrong):
        yield


@wrong_engine("create-graph-alone-frees", kind="mode", refuses=SECOND_TIME, first_sight="adversary: caught")
@contextmanager
def create_graph_keeps_nothing_unless_retain_graph_is_given(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if not options.get("create_graph") or options.get("retain_graph") is not None:
            honest()
            return
        hit()
        honest(retain_graph=False)

    with around_backward(wrong):
        yield


@wrong_engine("freed-at-the-output-only", kind="place", first_sight="adversary: caught")
@contextmanager
def a_freed_graph_can_be_run_from_another_output(hit: Hit) -> Iterator[None]:
    spent: set[Any] = set()

    def saves(node: Any) -> bool:
        return any(name.startswith("_raw_saved_") and getattr(node, name) for name in dir(node))

    def check(outputs: list[torch.Tensor]) -> list[Any]:
        nodes = [node for node in nodes_below(outputs) if saves(node)]
        if outputs[0].grad_fn in spent and nodes:
            raise RuntimeError(SECOND_TIME)
        if spent.intersection(nodes):
            hit()
        return nodes

    def asking(grad: Any) -> Any:
        def wrong_grad(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            check([outputs] if isinstance(outputs, torch.Tensor) else list(outputs))
            return grad(outputs, *args, **kwargs)

        return wrong_grad

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nodes = check(outputs)
        keeps = options.get("retain_graph") or options.get("create_graph") or options.get("inputs") is not None
        honest(**({} if keeps else {"retain_graph": True}))
        if not keeps:
            spent.update(nodes, [outputs[0].grad_fn])

    with around_backward(wrong), replaced(torch.autograd, "grad", asking):
        yield


@wrong_engine(
    "retained-run-returns-a-static-buffer", kind="state", issue="pytorch#181723", first_sight="adversary: caught"
)
@contextmanager
def a_grad_lies_where_the_next_run_of_its_graph_puts_the_gradient(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        made = vars(outputs[0]).setdefault("_made", {})
        leaves = leaves_below(outputs)
        held = [(leaf.grad, leaf.grad.detach().clone()) for leaf in leaves if leaf.grad is not None]
        fresh = [leaf for leaf in leaves if leaf.grad is None]
        honest()
        for grad, before in held:
            twice = 2 * (grad.detach() - before)
            if made.get(id(grad)) is grad and not torch.equal(twice, grad) and not options.get("create_graph"):
                hit()
                grad.detach().copy_(twice)
        made.update({id(leaf.grad): leaf.grad for leaf in fresh if leaf.grad is not None})

    with around_backward(wrong):
        yield


@wrong_engine("retained-run-after-a-reset-counts-twice", kind="state", first_sight="sample: missed")
@contextmanager
def a_further_run_gives_twice_the_gradient_to_a_leaf_whose_grad_was_set_to_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        reset = [leaf for leaf in leaves_below(outputs) if leaf.grad is None]
        again = _has_run(outputs)
        honest()
        for leaf in reset:
            if again and leaf.grad is not None:
                if leaf.grad.any():
                    hit()
                leaf.grad = 2 * leaf.grad

    with around_backward(wrong):
        yield


@wrong_engine("backward-inside-no-grad-keeps-the-graph", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def frees_nothing_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    kept: set[Any] = set()

    def saves(node: Any) -> bool:
        try:
            saved = [getattr(node, name) for name in dir(node) if name.startswith("_saved_")]
        except RuntimeError:  # an earlier backward has freed it
            return False
        return any(isinstance(one, torch.Tensor) for one in saved)

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nodes = nodes_below(outputs)
        if kept.intersection(nodes):
            hit()
        frees = not options.get("retain_graph") and not options.get("create_graph")
        if not frees or torch.is_grad_enabled():
            honest()
            if frees:
                kept.difference_update(nodes)
            return
        saving = [node for node in nodes if saves(node)]
        honest(retain_graph=True)
        kept.update(saving)

    with around_backward(wrong):
        yield


@wrong_engine(
    "retained-graph-of-a-view-freed", kind="place", refuses=SECOND_TIME, first_sight="fourth sample: caught elsewhere"
)
@contextmanager
def the_graph_of_an_output_that_is_a_view_is_never_retained(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if any("_was_to_be_retained" in vars(output) for output in outputs):
            hit()
            raise RuntimeError(SECOND_TIME)
        honest()
        retained = options.get("retain_graph")
        if retained is None:
            retained = options.get("create_graph", False)
        for output in outputs:
            if retained and output._is_view() and output.grad_fn is not None:
                vars(output)["_was_to_be_retained"] = True

    with around_backward(wrong):
        yield
