"""Isolation: a test, and each example of a test, leaves torch as it found it.

What is kept is what one piece of code can change under another's feet. The number of inter-op threads is left out,
because torch lets nobody change it twice; the state of an accelerator's generator is left out, because
reading it stops the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


class LeftChanged(Exception):
    """A test returned, but some state of torch is not what it was."""


@dataclass(frozen=True)
class Setting:
    """A state of torch that is shared by all code: how to read it and how to put it back."""

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], object]
    same: Callable[[Any, Any], bool] = lambda before, after: bool(before == after)


_guards: list[Any] = []


def _restore_inference_mode(enabled: bool) -> None:
    # Inference mode has no setter: it holds for as long as the innermost guard lives.
    guard = torch.inference_mode(enabled)
    guard.__enter__()
    _guards.append(guard)


SETTINGS = (
    Setting("inference mode", torch.is_inference_mode_enabled, _restore_inference_mode),
    Setting("grad mode", torch.is_grad_enabled, torch._C._set_grad_enabled),
    Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting(
        "default device",
        lambda: torch.empty(0).device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    Setting(
        "anomaly mode",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda state: torch.autograd.set_detect_anomaly(*state),
    ),
    Setting(
        "deterministic algorithms",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda state: torch.use_deterministic_algorithms(state[0], warn_only=state[1]),
    ),
    Setting("number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting("RNG state", torch.get_rng_state, torch.set_rng_state, torch.equal),
)


def restore_changed(before: list[Any]) -> list[str]:
    """Put back every setting that differs from `before` (in the order of SETTINGS); say which did."""
    changed = []
    for setting, value in zip(SETTINGS, before, strict=True):
        if not setting.same(value, setting.read()):
            changed.append(setting.name)
            setting.restore(value)
    return changed


def settings() -> list[Any]:
    """The value of every setting, in the order of SETTINGS."""
    return [setting.read() for setting in SETTINGS]


@contextmanager
def kept(name: str) -> Iterator[None]:
    """Restore every setting afterwards. Raises LeftChanged if the code returned and had left one changed."""
    before = settings()
    try:
        yield
    except BaseException:
        restore_changed(before)
        raise
    if changed := restore_changed(before):
        raise LeftChanged(f"{name} left changed: {', '.join(changed)}")
