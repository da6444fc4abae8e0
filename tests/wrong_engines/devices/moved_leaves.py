"""spec/devices/moved-leaves.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.devices.to import Hit, To, asked_to
from tests.wrong_engines.engine import wrong_engine


def _moving(wrong: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> AbstractContextManager[None]:
    """Let `wrong(tensor, moved)` change what comes out of each move that changes a tensor that requires grad."""

    def replacement(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        return wrong(tensor, moved) if tensor.requires_grad and moved is not tensor else moved

    return asked_to(replacement)


@wrong_engine("device-move-makes-leaves", kind="place")
@contextmanager
def what_is_moved_starts_a_graph_of_its_own(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if not tensor.is_leaf or not moved.requires_grad:
            return moved
        hit()
        return moved.detach().requires_grad_()

    with _moving(wrong):
        yield


@wrong_engine("device-move-back-in-memory-order", kind="layout")
@contextmanager
def brings_the_gradient_back_as_it_lies(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 2 and not tensor.is_contiguous() and tensor.t().is_contiguous() and moved.requires_grad:
            hit()
            moved.register_hook(lambda gradient: gradient.t().reshape(gradient.shape))
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-move-back-once", kind="place")
@contextmanager
def passes_nothing_on_through_a_second_move(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.numel() == 1 and not tensor.is_leaf and moved.requires_grad:
            hit()
            moved.register_hook(torch.zeros_like)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-integers-straight-through", kind="dtype")
@contextmanager
def passes_the_gradient_of_integers_on(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.dtype.is_floating_point or moved.dtype.is_complex or moved.dtype is torch.bool:
            return moved
        hit()
        return tensor * 1

    with _moving(wrong):
        yield


@wrong_engine("device-bool-keeps-dtype", kind="dtype")
@contextmanager
def makes_zeros_and_ones_with_a_graph(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.dtype is not torch.bool:
            return moved
        hit()
        return tensor * 0 + (tensor != 0)

    with _moving(wrong):
        yield


@wrong_engine("device-move-back-replaces", kind="state")
@contextmanager
def forgets_what_the_leaf_had_collected(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        def forget(gradient: torch.Tensor) -> None:
            if tensor.is_leaf and tensor.grad is not None:
                hit()
                tensor.grad = None

        if moved.requires_grad:
            moved.register_hook(forget)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-gradient-of-complex-copy-is-its-modulus", kind="dtype", first_sight="adversary: missed")
@contextmanager
def brings_the_modulus_back_to_a_leaf_that_was_made_complex(hit: Hit) -> Iterator[None]:
    def modulus(gradient: torch.Tensor) -> torch.Tensor:
        result = gradient.abs().to(gradient.dtype)
        if not torch.equal(result.real, gradient.real):
            hit()
        return result

    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved.requires_grad and moved.is_complex() and not tensor.is_complex():
            moved.register_hook(modulus)
        return moved

    with asked_to(wrong):
        yield


@wrong_engine("device-expanded-gradient-comes-back-once", kind="aliasing", first_sight="sample: missed")
@contextmanager
def brings_back_what_an_expanded_gradient_has_in_memory(hit: Hit) -> Iterator[None]:
    def once(gradient: torch.Tensor) -> torch.Tensor:
        first = tuple(slice(1) if stride == 0 else slice(None) for stride in gradient.stride())
        found = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        found[first] = gradient[first]
        if not torch.equal(found, gradient):
            hit()
        return found

    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.requires_grad and not moved.is_meta:
            moved.register_hook(once)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-integers-of-a-leaf-with-grad-straight-through", kind="state", first_sight="second sample: caught")
@contextmanager
def the_gradient_of_integers_reaches_a_leaf_that_has_one(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        ends = not moved.dtype.is_floating_point and not moved.dtype.is_complex
        if not ends or not tensor.is_leaf or tensor.grad is None:
            return moved
        hit()
        return tensor + (moved.to(tensor.device, tensor.dtype) - tensor.detach())

    with _moving(wrong):
        yield


@wrong_engine(
    "device-move-of-a-part-is-not-recorded",
    kind="place",
    refuses="does not require grad and does not have a grad_fn",
    first_sight="fourth sample: caught elsewhere",
)
@contextmanager
def a_leaf_that_is_a_view_is_moved_unrecorded(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if not tensor.is_leaf or not tensor._is_view() or not moved.requires_grad:
            return moved
        hit()
        return moved.detach()

    with _moving(wrong):
        yield


@wrong_engine("device-int8-is-a-simulated-quantisation", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def rounds_to_int8_and_passes_the_gradient_on(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.dtype is not torch.int8:
            return moved
        hit()
        return tensor + (moved.to(tensor.device, tensor.dtype) - tensor.detach())

    with _moving(wrong):
        yield
