"""spec/accumulation/failure.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below


@wrong_engine("failure-allocates-grad", kind="error")
@contextmanager
def a_failed_backward_leaves_zeros_where_there_was_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                if leaf.grad is None:
                    hit()
                    leaf.grad = torch.zeros_like(leaf)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-clears-grad", kind="error")
@contextmanager
def a_failed_backward_sets_grad_to_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                if leaf.grad is not None:
                    hit()
                    leaf.grad = None
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-takes-back-half", kind="error")
@contextmanager
def a_failed_backward_takes_back_half_of_what_it_added(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, 0 if leaf.grad is None else leaf.grad.clone()) for leaf in leaves_below(outputs)]
        try:
            honest()
        except Exception:
            for leaf, before in held:
                if leaf.grad is not None:
                    hit()
                    leaf.grad.add_(before).div_(2)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-keeps-grad-mode", kind="mode")
@contextmanager
def grad_mode_stays_off_after_a_failed_backward(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            hit()
            torch._C._set_grad_enabled(False)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-poisons-leaves", kind="state")
@contextmanager
def the_first_backward_after_a_failed_one_adds_nothing_to_its_leaves(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        poisoned = [leaf for leaf in leaves_below(outputs) if vars(leaf).pop("_poisoned", False)]
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                leaf._poisoned = True  # type: ignore[attr-defined]
            raise
        for leaf in poisoned:
            hit()
            leaf.grad.zero_()

    with around_backward(wrong):
        yield


@wrong_engine("failure-serves-what-arrived", kind="error", first_sight="adversary: caught")
@contextmanager
def a_failed_backward_gives_leaves_what_had_arrived_of_their_gradient(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        uses: dict[Any, int] = {}
        arrived: dict[Any, list[torch.Tensor]] = {}
        handles = []

        def remember(node: Any) -> None:
            def hook(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
                for one, (following, _) in zip(inputs, node.next_functions, strict=False):
                    if following in uses and one is not None:
                        arrived.setdefault(following, []).append(one.detach())

            handles.append(node.register_hook(hook))

        for node in nodes_below(outputs):
            ends = [end for end, _ in node.next_functions if hasattr(end, "variable")]
            for end in ends:
                uses[end] = uses.get(end, 0) + 1
            if ends:
                remember(node)
        try:
            honest()
        except Exception:
            for end, gradients in arrived.items():
                if len(gradients) < uses[end]:
                    hit()
                    leaf, total = end.variable, sum(gradients[1:], gradients[0])
                    leaf.grad = total.clone() if leaf.grad is None else leaf.grad.detach() + total
            raise
        finally:
            for handle in handles:
                handle.remove()

    with around_backward(wrong):
        yield


@wrong_engine("failure-switches-mode-on", kind="mode", first_sight="adversary: caught")
@contextmanager
def grad_mode_is_on_after_a_backward_that_raised(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            if not torch.is_grad_enabled():
                hit()
                torch._C._set_grad_enabled(True)
            raise

    with around_backward(wrong):
        yield


BLOCK = 8


"""Elements of a gradient that are added in one go."""


@wrong_engine("failure-loses-the-tail-of-the-next", kind="size", first_sight="sample: caught")
@contextmanager
def the_backward_after_a_failed_one_adds_one_block_only(hit: Hit) -> Iterator[None]:
    has_failed = False

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal has_failed
        before = [(leaf, None if leaf.grad is None else leaf.grad.clone()) for leaf in leaves_below(outputs)]
        try:
            honest()
        except Exception:
            has_failed = True
            raise
        for leaf, grad in before:
            if not has_failed or leaf.numel() <= BLOCK or leaf.grad is None:
                continue
            in_block = torch.arange(leaf.numel()).reshape(leaf.shape) < BLOCK
            kept = torch.zeros_like(leaf.grad) if grad is None else grad
            cut = torch.where(in_block, leaf.grad, kept).detach()
            if not torch.equal(cut, leaf.grad):
                hit()
            leaf.grad.data.copy_(cut)
        has_failed = False

    with around_backward(wrong):
        yield


@wrong_engine("failure-of-another-type-leaves-zeros", kind="error", first_sight="sample: caught")
@contextmanager
def a_backward_that_raises_another_error_leaves_zeros(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception as error:
            if not isinstance(error, RuntimeError):
                for leaf in leaves_below(outputs):
                    hit()
                    leaf.grad = torch.zeros_like(leaf)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("failure-copies-what-was-there", kind="state", first_sight="second sample: caught")
@contextmanager
def a_failed_backward_puts_copies_in_the_place_of_earlier_gradients(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except Exception:
            for leaf in leaves_below(outputs):
                if leaf.grad is not None:
                    hit()
                    leaf.grad = leaf.grad.clone()
            raise

    with around_backward(wrong):
        yield


@wrong_engine(
    "failure-gives-the-next-gradients-one-memory", kind="aliasing", first_sight="third sample: caught elsewhere"
)
@contextmanager
def leaves_of_one_shape_share_a_gradient_after_a_failure(hit: Hit) -> Iterator[None]:
    has_failed = False

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal has_failed
        without = [leaf for leaf in leaves_below(outputs) if leaf.grad is None]
        try:
            honest()
        except Exception:
            has_failed = True
            raise
        shared: dict[Any, torch.Tensor] = {}
        for leaf in without if has_failed else ():
            if leaf.grad is None or leaf.grad.layout != torch.strided:
                continue
            kind = (leaf.shape, leaf.dtype)
            if kind in shared:
                hit()
                with torch.no_grad():
                    shared[kind].copy_(leaf.grad)
                leaf.grad = shared[kind]
            else:
                shared[kind] = leaf.grad
        has_failed = False

    with around_backward(wrong):
        yield
