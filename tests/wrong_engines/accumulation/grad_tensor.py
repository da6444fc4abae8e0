"""spec/accumulation/grad-tensor.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced


def _without_grad(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return [leaf for leaf in leaves_below(outputs) if leaf.grad is None]


def _has_gaps(tensor: torch.Tensor) -> bool:
    slowest_first = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return all(tensor.stride()) and not tensor.permute(slowest_first).is_contiguous()


@wrong_engine("grad-of-bfloat16-is-float32", kind="dtype")
@contextmanager
def shows_the_grad_of_a_bfloat16_leaf_in_float32(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wide(leaf: torch.Tensor) -> Any:
            held = grad.__get__(leaf)
            if held is None or leaf.dtype != torch.bfloat16:
                return held
            hit()
            return held.float()

        return property(wide, grad.__set__, grad.__delete__)

    with replaced(torch.Tensor, "grad", make):
        yield


@wrong_engine("grad-requires-grad", kind="size")
@contextmanager
def a_new_grad_of_a_0d_leaf_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        for leaf in fresh:
            if leaf.ndim == 0 and leaf.grad is not None:
                hit()
                leaf.grad.requires_grad_()

    with around_backward(wrong):
        yield


@wrong_engine("grad-always-contiguous", kind="layout")
@contextmanager
def a_new_grad_is_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        for leaf in fresh:
            if leaf.grad is not None and not leaf.grad.is_contiguous():
                hit()
                leaf.grad = leaf.grad.contiguous()

    with around_backward(wrong):
        yield


@wrong_engine("grad-keeps-gaps", kind="layout")
@contextmanager
def a_new_grad_has_the_gaps_of_its_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        for leaf in fresh:
            if leaf.grad is not None and _has_gaps(leaf):
                hit()
                gaps = torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype)
                leaf.grad = gaps.copy_(leaf.grad)

    with around_backward(wrong):
        yield


@wrong_engine("sum-in-new-tensor", kind="dtype")
@contextmanager
def adds_half_precision_out_of_place(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and leaf.dtype in (torch.float16, torch.bfloat16):
                hit()
                leaf.grad = leaf.grad.clone()
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("strided-sum-moves", kind="layout")
@contextmanager
def moves_a_grad_that_is_not_contiguous_before_adding(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and not leaf.grad.is_contiguous():
                hit()
                leaf.grad.data = leaf.grad.contiguous()
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("create-graph-in-place", kind="aliasing")
@contextmanager
def adds_in_place_under_create_graph(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad) for leaf in leaves_below(outputs) if leaf.grad is not None]
        honest()
        for leaf, grad in held:
            if options.get("create_graph"):
                hit()
                leaf.grad = grad.copy_(leaf.grad.detach())

    with around_backward(wrong):
        yield


@wrong_engine("grad-is-the-argument", kind="aliasing")
@contextmanager
def a_new_grad_lies_in_the_memory_of_the_argument(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        given = options.get("grad_tensors")
        for leaf in fresh:
            if isinstance(given, torch.Tensor) and leaf.grad is not None and given.shape == leaf.shape:
                hit()
                leaf.grad = given.detach()
                break

    with around_backward(wrong):
        yield


@wrong_engine("leaves-share-a-grad", kind="aliasing", issue="pytorch#34082")
@contextmanager
def two_leaves_hold_one_memory(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        if len(fresh) == 2 and fresh[0].shape == fresh[1].shape and fresh[0].dtype == fresh[1].dtype:
            hit()
            fresh[1].grad = fresh[0].grad.detach()

    with around_backward(wrong):
        yield


@wrong_engine("grad-channels-last", kind="layout", issue="pytorch#127922")
@contextmanager
def a_new_grad_of_a_contiguous_picture_has_its_channels_last(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        for leaf in fresh:
            if leaf.grad is not None and leaf.ndim == 4 and leaf.is_contiguous():
                hit()
                leaf.grad = leaf.grad.contiguous(memory_format=torch.channels_last)

    with around_backward(wrong):
        yield


@wrong_engine("grad-of-another-layout-moves", kind="state")
@contextmanager
def lays_a_grad_put_there_by_hand_out_like_its_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and leaf.grad.stride() != leaf.stride() and all(leaf.stride()):
                hit()
                leaf.grad.data = torch.empty_like(leaf).copy_(leaf.grad).detach()
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("create-graph-forgets-the-old", kind="state")
@contextmanager
def create_graph_stores_its_gradient_alone(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            if options.get("create_graph") and leaf.grad is not None:
                hit()
                leaf.grad = None
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("grad-in-a-bucket-moves", kind="aliasing", first_sight="adversary: caught")
@contextmanager
def moves_a_grad_that_is_part_of_a_larger_buffer(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for leaf in leaves_below(outputs):
            grad = leaf.grad
            if grad is None or options.get("create_graph") or options.get("inputs") is not None:
                continue
            if grad.untyped_storage().nbytes() > grad.numel() * grad.element_size():
                hit()
                leaf.grad = grad.clone()
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("grad-of-empty-is-flat", kind="size", first_sight="adversary: caught")
@contextmanager
def a_new_grad_without_elements_has_one_dimension(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        for leaf in fresh:
            if leaf.grad is not None and leaf.numel() == 0 and leaf.ndim > 1:
                hit()
                leaf.grad.data = leaf.grad.detach().flatten()

    with around_backward(wrong):
        yield


@wrong_engine("grad-keeps-arriving-strides", kind="layout", first_sight="adversary: caught")
@contextmanager
def a_new_grad_is_stored_as_it_arrives(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        arrived: dict[int, tuple[int, ...]] = {}

        def remember(leaf: torch.Tensor) -> Any:
            return leaf.register_hook(lambda gradient: arrived.update({id(leaf): gradient.stride()}))

        fresh = [leaf for leaf in _without_grad(outputs) if leaf.requires_grad]
        handles = [remember(leaf) for leaf in fresh]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()
        for leaf in fresh:
            strides = arrived.get(id(leaf), (0,))
            if leaf.grad is None or not all(strides):
                continue
            pairs = zip(strides, leaf.grad.stride(), leaf.shape, strict=True)
            if leaf.numel() > 1 and any(one != other for one, other, size in pairs if size > 1):
                hit()
                leaf.grad.data = torch.empty_strided(leaf.shape, strides, dtype=leaf.dtype).copy_(leaf.grad)

    with around_backward(wrong):
        yield


@wrong_engine("create-graph-adds-constants-in-place", kind="place", first_sight="adversary: caught")
@contextmanager
def adds_in_place_under_create_graph_what_depends_on_no_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad) for leaf in leaves_below(outputs) if leaf.grad is not None]
        honest()
        for leaf, grad in held:
            if options.get("create_graph") and leaf.grad is not grad and not leaf.grad.requires_grad:
                hit()
                leaf.grad = grad.copy_(leaf.grad)

    with around_backward(wrong):
        yield


@wrong_engine("create-graph-writes-the-old-as-well", kind="aliasing", first_sight="sample: caught")
@contextmanager
def writes_the_sum_into_the_old_grad_too_under_create_graph(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad) for leaf in leaves_below(outputs) if leaf.grad is not None]
        honest()
        for leaf, grad in held:
            if options.get("create_graph") and leaf.grad is not grad and all(grad.stride()):
                if not torch.equal(leaf.grad, grad):
                    hit()
                grad.detach().copy_(leaf.grad.detach())

    with around_backward(wrong):
        yield


@wrong_engine("grad-is-the-argument-after-a-refusal", kind="error", first_sight="second sample: caught elsewhere")
@contextmanager
def a_new_grad_lies_in_the_memory_of_the_argument_after_a_refusal(hit: Hit) -> Iterator[None]:
    was_refused = False

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal was_refused
        fresh = _without_grad(outputs)
        try:
            honest()
        except RuntimeError:
            was_refused = True
            raise
        given = options.get("grad_tensors")
        for leaf in fresh if was_refused and isinstance(given, torch.Tensor) else ():
            if leaf.grad is not None and leaf.grad.dtype == given.dtype and torch.equal(leaf.grad, given):
                hit()
                leaf.grad = given.detach()
                break

    with around_backward(wrong):
        yield


@wrong_engine("grad-of-more-than-sixteen-is-the-argument", kind="size", first_sight="third sample: caught")
@contextmanager
def a_larger_new_grad_lies_in_the_memory_of_the_argument(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        fresh = _without_grad(outputs)
        honest()
        given = options.get("grad_tensors")
        for argument in [given] if isinstance(given, torch.Tensor) else given or ():
            for leaf in fresh if argument is not None and argument.numel() > 16 else ():
                if leaf.grad is not None and leaf.grad.dtype == argument.dtype and torch.equal(leaf.grad, argument):
                    hit()
                    leaf.grad = argument.detach()

    with around_backward(wrong):
        yield


@wrong_engine("sum-of-one-element-in-new-tensor", kind="size", first_sight="fourth sample: caught")
@contextmanager
def a_grad_of_one_element_is_added_to_out_of_place(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs) if options.get("inputs") is None and not options.get("create_graph") else []
        held = [(leaf, leaf.grad, leaf.grad.detach().clone()) for leaf in leaves if leaf.grad is not None]
        honest()
        for leaf, grad, before in held:
            if leaf.grad is grad and grad.numel() == 1:
                hit()
                leaf.grad = grad.detach().clone()
                grad.detach().copy_(before)

    with around_backward(wrong):
        yield
