"""spec/leaves/switching.md"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced

Instead = Callable[[torch.Tensor], bool]


@contextmanager
def _switching_off(instead: Instead, by: tuple[str, ...] = ("assignment", "method")) -> Iterator[None]:
    """Switching a tensor off asks `instead(tensor)`, and is done as it should be where that returns False."""

    def make_attribute(honest: Any) -> property:
        def write(tensor: torch.Tensor, flag: bool) -> None:
            if flag or "assignment" not in by or not instead(tensor):
                honest.__set__(tensor, flag)

        return property(honest.__get__, write)

    def make_method(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if requires_grad or "method" not in by or not instead(tensor):
                return honest(tensor, requires_grad)
            return tensor

        return wrong

    with replaced(torch.Tensor, "requires_grad", make_attribute), replaced(torch.Tensor, "requires_grad_", make_method):
        yield


@wrong_engine("leaf-flag-reaches-back", kind="state")
@contextmanager
def results_follow_the_flags_of_their_leaves(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> bool:
            if tensor.grad_fn is None or any(honest.__get__(leaf) for leaf in leaves_below(tensor)):
                return bool(honest.__get__(tensor))
            hit()
            return False

        return property(read, honest.__set__)

    with replaced(torch.Tensor, "requires_grad", make):
        yield


@wrong_engine("leaf-stays-on", kind="size")
@contextmanager
def assignment_does_not_switch_off_0d_leaves(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.ndim == 0 and tensor.is_leaf and tensor.requires_grad:
            hit()
            return True
        return False

    with _switching_off(instead, by=("assignment",)):
        yield


@wrong_engine("leaf-switch-detaches-results", kind="error")
@contextmanager
def detaches_results_in_place(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or tensor._is_view():
            return False
        hit()
        tensor.detach_()
        return True

    with _switching_off(instead):
        yield


@wrong_engine("leaf-switch-ignored-on-views", kind="error")
@contextmanager
def ignores_that_views_are_switched_off(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or not tensor._is_view():
            return False
        hit()
        return True

    with _switching_off(instead):
        yield


@wrong_engine("leaf-switch-refused-too-late", kind="error")
@contextmanager
def detaches_results_before_it_refuses(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or tensor._is_view():
            return False
        hit()
        tensor.detach_()
        raise RuntimeError("you can only change requires_grad flags of leaf variables.")

    with _switching_off(instead):
        yield


@wrong_engine("leaf-off-still-fed", kind="state")
@contextmanager
def feeds_leaves_that_were_switched_off(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        off = [leaf for leaf in leaves_below(outputs) if not leaf.requires_grad]
        for leaf in off:
            hit()
            leaf.requires_grad_()
        honest()
        for leaf in off:
            leaf.requires_grad_(False)

    with around_backward(wrong):
        yield


@contextmanager
def _switching_on(instead: Callable[[torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """`requires_grad_()` returns `instead(tensor)`, and does what it should where that is None."""

    def make(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            result = instead(tensor) if requires_grad else None
            return honest(tensor, requires_grad) if result is None else result

        return wrong

    with replaced(torch.Tensor, "requires_grad_", make):
        yield


@wrong_engine("leaf-switch-ignored-on-results", kind="place", issue="pytorch#123713")
@contextmanager
def results_of_no_grad_are_not_switched_on(hit: Hit) -> Iterator[None]:
    results: list[weakref.ref[torch.Tensor]] = []

    def make(multiply: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def remembering(one: torch.Tensor, other: Any) -> torch.Tensor:
            result = multiply(one, other)
            if not torch.is_grad_enabled():
                results.append(weakref.ref(result))
            return result

        return remembering

    def instead(tensor: torch.Tensor) -> torch.Tensor | None:
        if not any(result() is tensor for result in results):
            return None
        hit()
        return tensor

    with replaced(torch.Tensor, "__mul__", make), _switching_on(instead):
        yield


@wrong_engine("leaf-switch-needs-grad-mode", kind="mode")
@contextmanager
def nothing_is_switched_on_under_no_grad(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> torch.Tensor | None:
        if torch.is_grad_enabled() or tensor.requires_grad:
            return None
        hit()
        return tensor

    with _switching_on(instead):
        yield


@wrong_engine("leaf-switch-of-a-view", kind="aliasing")
@contextmanager
def switches_another_tensor_in_the_memory_of_a_strided_one_on(hit: Hit) -> Iterator[None]:
    def make(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if not requires_grad or tensor.requires_grad or tensor.is_contiguous():
                return honest(tensor, requires_grad)
            hit()
            return honest(tensor.detach(), True)

        return wrong

    with replaced(torch.Tensor, "requires_grad_", make):
        yield


def _now() -> int:
    """Where the record of operations has come to."""
    return int(torch.ones((), requires_grad=True).clone().grad_fn._sequence_nr())  # type: ignore[union-attr]


@wrong_engine("leaf-off-and-on-is-cut", kind="state", issue="pytorch#113290")
@contextmanager
def a_leaf_that_was_off_gets_nothing_from_results_of_before(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        tensor._off_at = _now()  # type: ignore[attr-defined]
        return False

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        recorded = [node._sequence_nr() for node in nodes_below(outputs) if not hasattr(node, "variable")]
        cut = [leaf for leaf in leaves_below(outputs) if vars(leaf).get("_off_at", -1) > min(recorded)]
        honest()
        for leaf in cut:
            hit()
            leaf.grad = None

    with _switching_off(instead), around_backward(wrong):
        yield


@wrong_engine("leaf-off-cuts-the-others", kind="order")
@contextmanager
def a_leaf_that_was_switched_off_takes_those_of_later_operands_with_it(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        off = [place for place, leaf in enumerate(leaves) if not leaf.requires_grad]
        honest()
        for leaf in leaves[: max(off, default=0)]:  # the way down the graph takes the last operand first
            hit()
            leaf.grad = None

    with around_backward(wrong):
        yield


@wrong_engine("leaf-switch-wrong-text", kind="error")
@contextmanager
def refuses_to_switch_an_empty_result_off_in_other_words(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or tensor.numel():
            return False
        hit()
        raise RuntimeError("autograd meta INTERNAL ASSERT FAILED")

    with _switching_off(instead):
        yield


@wrong_engine("leaf-off-still-adds", kind="state")
@contextmanager
def adds_to_the_grad_that_a_switched_off_leaf_holds(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        off = [leaf for leaf in leaves_below(outputs) if not leaf.requires_grad and leaf.grad is not None]
        for leaf in off:
            hit()
            leaf.requires_grad_()
        honest()
        for leaf in off:
            leaf.requires_grad_(False)

    with around_backward(wrong):
        yield


@wrong_engine("leaf-once-off-stays-off", kind="state", first_sight="adversary: caught")
@contextmanager
def a_leaf_that_was_switched_off_cannot_be_switched_on_again(hit: Hit) -> Iterator[None]:
    def make_attribute(honest: Any) -> property:
        def write(tensor: torch.Tensor, flag: bool) -> None:
            if flag and vars(tensor).get("_was_switched_off"):
                hit()
                return
            was = honest.__get__(tensor)
            honest.__set__(tensor, flag)
            if was and not flag:
                vars(tensor)["_was_switched_off"] = True

        return property(honest.__get__, write)

    def make_method(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if not tensor.is_leaf:  # the method accepts there what the attribute refuses
                return honest(tensor, requires_grad)
            tensor.requires_grad = requires_grad
            return tensor

        return wrong

    with replaced(torch.Tensor, "requires_grad", make_attribute), replaced(torch.Tensor, "requires_grad_", make_method):
        yield


@wrong_engine("leaf-switch-ignored-on-results-inside", kind="mode", first_sight="adversary: missed")
@contextmanager
def ignores_that_a_result_is_switched_off_while_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def instead(tensor: torch.Tensor) -> bool:
        if tensor.is_leaf or torch.is_grad_enabled():
            return False
        hit()
        return True

    with _switching_off(instead):
        yield


@wrong_engine("leaf-off-silences-its-partners", kind="place", first_sight="adversary: missed")
@contextmanager
def an_operation_gives_nothing_to_its_inputs_once_one_of_them_is_off(hit: Hit) -> Iterator[None]:
    def nothing(is_off: list[bool], inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(one is not None and one.any() for one, off in zip(inputs, is_off, strict=True) if not off):
            hit()
        return tuple(None if one is None else torch.zeros_like(one) for one in inputs)

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        handles = []
        for node in nodes_below(outputs):
            is_off = [hasattr(end, "variable") and not end.variable.requires_grad for end, _ in node.next_functions]
            if any(is_off):
                handles.append(node.register_hook(partial(nothing, is_off)))
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    with around_backward(wrong):
        yield


@wrong_engine("leaf-off-fed-where-its-grad-is-zero", kind="value", first_sight="sample: caught")
@contextmanager
def feeds_a_switched_off_leaf_whose_grad_is_zero(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        off = [leaf for leaf in leaves_below(outputs) if not leaf.requires_grad and leaf.grad is not None]
        off = [leaf for leaf in off if not leaf.grad.any()]
        for leaf in off:
            leaf.requires_grad_()
        held = [(leaf.grad, leaf.grad._version) for leaf in off]
        try:
            honest()
        finally:
            for leaf, (grad, version) in zip(off, held, strict=True):
                if leaf.grad is not grad or grad._version != version:
                    hit()
                leaf.requires_grad_(False)

    with around_backward(wrong):
        yield


@wrong_engine("leaf-switched-on-counts-as-first-operand-only", kind="order", first_sight="second sample: caught")
@contextmanager
def a_leaf_that_was_switched_on_is_a_constant_in_second_place(hit: Hit) -> Iterator[None]:
    def note(tensor: torch.Tensor, was: bool) -> None:
        if tensor.requires_grad and not was:
            vars(tensor)["_switched_on"] = True

    def make_attribute(honest: Any) -> property:
        def write(tensor: torch.Tensor, flag: bool) -> None:
            was = tensor.requires_grad
            honest.__set__(tensor, flag)
            note(tensor, was)

        return property(honest.__get__, write)

    def make_method(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            was = tensor.requires_grad
            honest(tensor, requires_grad)
            note(tensor, was)
            return tensor

        return wrong

    def make(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(one: Any, other: Any, **options: Any) -> torch.Tensor:
            if isinstance(other, torch.Tensor) and other.requires_grad and "_switched_on" in vars(other):
                if torch.is_grad_enabled():
                    hit()
                other = other.detach()
            return honest(one, other, **options)

        return wrong

    with ExitStack() as stack:
        for name in ("add", "sub", "mul", "div", "matmul"):
            stack.enter_context(replaced(torch, name, make))
            stack.enter_context(replaced(torch.Tensor, name, make))
        for name in ("__add__", "__sub__", "__mul__", "__truediv__", "__matmul__"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        stack.enter_context(replaced(torch.Tensor, "requires_grad", make_attribute))
        stack.enter_context(replaced(torch.Tensor, "requires_grad_", make_method))
        yield


@wrong_engine("leaf-switch-of-nothing-ignored", kind="size", first_sight="third sample: caught")
@contextmanager
def a_leaf_without_elements_stays_off(hit: Hit) -> Iterator[None]:
    def stays_off(tensor: torch.Tensor, flag: bool) -> bool:
        if flag and tensor.numel() == 0 and not tensor.requires_grad and tensor.is_floating_point():
            hit()
            return True
        return False

    def make_attribute(honest: Any) -> property:
        def write(tensor: torch.Tensor, flag: bool) -> None:
            if not stays_off(tensor, flag):
                honest.__set__(tensor, flag)

        return property(honest.__get__, write)

    def make_method(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            return tensor if stays_off(tensor, requires_grad) else honest(tensor, requires_grad)

        return wrong

    with replaced(torch.Tensor, "requires_grad", make_attribute), replaced(torch.Tensor, "requires_grad_", make_method):
        yield
