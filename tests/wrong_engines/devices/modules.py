"""spec/devices/modules.md"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.devices.to import Hit
from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced

Move = Callable[[], torch.nn.Module]


def _with_buffers(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The submodules that have buffers of their own."""
    return [inner for inner in module.modules() if inner is not module and inner._buffers]


def _moving(wrong: Callable[[torch.nn.Module, Move], torch.nn.Module]) -> AbstractContextManager[None]:
    """Replace `module.to(...)` by `wrong(module, move)`; `move()` does what was asked for."""

    def make(to: Any) -> Any:
        def replacement(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
            return wrong(module, lambda: to(module, *args, **kwargs))

        return replacement

    return replaced(torch.nn.Module, "to", make)


@wrong_engine("device-module-is-copied", kind="aliasing")
@contextmanager
def moves_a_copy(hit: Hit) -> Iterator[None]:
    def make(to: Any) -> Any:
        def wrong(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
            hit()
            return to(copy.deepcopy(module), *args, **kwargs)

        return wrong

    with replaced(torch.nn.Module, "to", make):
        yield


@wrong_engine("device-module-forgets-buffers", kind="place")
@contextmanager
def leaves_the_buffers_of_submodules(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        before = [dict(inner.named_buffers(recurse=False)) for inner in _with_buffers(module)]
        moved = move()
        for inner, buffers in zip(_with_buffers(module), before, strict=True):
            hit()
            inner._buffers.update(buffers)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-converts-counts", kind="dtype")
@contextmanager
def converts_integers_too(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        for inner in _with_buffers(module):
            hit()
            inner._buffers["count"] = inner.count.to(inner.weight.dtype)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-unfreezes", kind="order")
@contextmanager
def has_every_parameter_require_grad(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        for parameter in module.parameters():
            if not parameter.requires_grad:
                hit()
                parameter.requires_grad_()
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-drops-grads", kind="state")
@contextmanager
def clears_every_grad(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        for parameter in module.parameters():
            if parameter.grad is not None:
                hit()
                parameter.grad = None
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-freezes-0d", kind="size")
@contextmanager
def freezes_parameters_without_dimensions(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        for parameter in module.parameters():
            if parameter.ndim == 0 and parameter.requires_grad:
                hit()
                parameter.requires_grad_(False)
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-leaves-grads-behind", kind="state")
@contextmanager
def leaves_every_grad_in_its_dtype(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        before = [(p, p.grad.data, p.dtype) for p in module.parameters() if p.grad is not None]
        moved = move()
        for parameter, gradient, dtype in before:
            if parameter.dtype != dtype and parameter.grad is not None:
                hit()
                parameter.grad.data = gradient
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-detaches-strided", kind="layout")
@contextmanager
def detaches_parameters_that_are_not_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        for inner in _with_buffers(module):
            for name, parameter in list(inner.named_parameters(recurse=False)):
                if not parameter.is_contiguous():
                    hit()
                    inner._parameters[name] = parameter.detach()  # type: ignore[assignment]
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-forgets-what-is-not-saved", kind="state", first_sight="adversary: caught")
@contextmanager
def leaves_buffers_that_are_not_persistent(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        passing = [
            (inner, name, inner._buffers[name])
            for inner in module.modules()
            for name in inner._non_persistent_buffers_set
        ]
        moved = move()
        for inner, name, buffer in passing:
            if buffer is not None and inner._buffers[name] is not buffer:
                hit()
                inner._buffers[name] = buffer
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-forgets-grads-of-frozen", kind="state", first_sight="adversary: missed")
@contextmanager
def leaves_the_grad_of_what_does_not_require_grad_any_more(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        before = [
            (one, one.grad.detach().clone())
            for one in module.parameters()
            if one.grad is not None and not one.requires_grad
        ]
        moved = move()
        for one, grad in before:
            if one.grad is not None and (one.grad.dtype, one.grad.device) != (grad.dtype, grad.device):
                hit()
                one.grad.data = grad
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-forgets-dtype-beside-device", kind="plain", first_sight="second sample: caught")
@contextmanager
def converts_nothing_that_it_moves(hit: Hit) -> Iterator[None]:
    def make(to: Any) -> Any:
        def wrong(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
            device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
            if device is None or dtype is None:
                return to(module, *args, **kwargs)
            tensors = [*module.parameters(), *module.buffers()]
            if any(one.is_floating_point() and one.dtype != dtype for one in tensors):
                hit()
            return to(module, device)

        return wrong

    with replaced(torch.nn.Module, "to", make):
        yield


@wrong_engine("device-module-grads-of-one-shape-share", kind="aliasing", first_sight="third sample: caught")
@contextmanager
def the_moved_grads_of_one_shape_are_one_memory(hit: Hit) -> Iterator[None]:
    def kind(grad: torch.Tensor) -> Any:
        return grad.shape, grad.dtype, grad.device

    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        before = {name: kind(p.grad) for name, p in module.named_parameters() if p.grad is not None}
        moved = move()
        first: dict[Any, torch.Tensor] = {}
        for name, parameter in moved.named_parameters():
            if parameter.grad is None or before.get(name) == kind(parameter.grad):
                continue
            grad = first.setdefault(kind(parameter.grad), parameter.grad)
            if grad is not parameter.grad:
                hit()
                parameter.grad = grad.detach()
        return moved

    with _moving(wrong):
        yield


@wrong_engine("device-module-freezes-after-a-frozen-one", kind="order", first_sight="fourth sample: caught")
@contextmanager
def freezes_what_comes_after_a_frozen_parameter(hit: Hit) -> Iterator[None]:
    def wrong(module: torch.nn.Module, move: Move) -> torch.nn.Module:
        moved = move()
        frozen = False
        for parameter in moved.parameters():
            if frozen and parameter.requires_grad:
                hit()
                parameter.requires_grad_(False)
            frozen = frozen or not parameter.requires_grad
        return moved

    with _moving(wrong):
        yield
