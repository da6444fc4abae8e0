"""Targets: the devices that torch reports or a person names, and the dtypes that each of them has.

No device is known by name here. Torch is asked which kinds of device its builds know, the backend's module how many
there are, and the device itself, by a small computation, whether it can be used.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch

CPU = "cpu"


class NoSuchDevice(Exception):
    """A device that was asked for is not here."""


def default_devices() -> list[str]:
    """The CPU and every accelerator that torch reports, each by the name that `--device` takes."""
    return [CPU, *_accelerators()]


def check_device(name: str) -> str:
    """The name, if the device is here and can hold a number. Raises NoSuchDevice, with the reason, otherwise."""
    try:
        torch.device(name)
    except RuntimeError as error:
        raise NoSuchDevice(f"torch knows no device {name!r}: {_first_line(error)}") from None
    if reason := _unusable(name):
        raise NoSuchDevice(f"device {name!r} is not here: {reason}")
    return name


def describe(name: str) -> str:
    """What the device calls itself, or its name where its backend does not say."""
    device = torch.device(name)
    module: Any = _module(device.type)
    ask = getattr(module, "get_device_name", None)
    try:
        return str(ask(device)) if ask else name
    except Exception:  # a backend's own function, of which nothing is known
        return name


def _accelerators() -> Iterator[str]:
    for kind in _kinds():
        if kind == CPU or not _reported(kind):
            continue
        count = _count(kind)
        names = [kind] if count == 1 else [f"{kind}:{index}" for index in range(count)]
        yield from (name for name in names if not _unusable(name))


def _kinds() -> list[str]:
    """Every kind of device that this torch knows, in its own words; a backend of its own gives one a new name."""
    try:
        torch.device("nonsense")
    except RuntimeError as error:
        listed = re.search(r"Expected one of (.*) device type", str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of names that it is about to forget
        return [torch.device(name).type for name in listed[1].split(", ")] if listed else [CPU]


def _module(kind: str) -> object:
    return getattr(torch, kind, None)


def _reported(kind: str) -> bool:
    """Whether the backend of this kind says that it has a device. Some say so only in `torch.backends`."""
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is not None and accelerator.is_available():
        current = accelerator.current_accelerator()
        if current is not None and current.type == kind:
            return True
    answers = [getattr(module, "is_available", None) for module in (_module(kind), getattr(torch.backends, kind, None))]
    return any(answer() for answer in answers if answer is not None)


def _count(kind: str) -> int:
    ask = getattr(_module(kind), "device_count", None)
    return int(ask()) if ask else 1


def _unusable(name: str) -> str | None:
    """Why a number cannot be put on the device and read back; None if it can. Runs no backward."""
    try:
        there = torch.tensor([3.0], dtype=torch.float32).to(name)
        return None if there.to(CPU).tolist() == [3.0] else "it does not give back the number that was put there"
    except Exception as error:  # whatever a backend raises is the answer
        return _first_line(error)


def differentiable_dtypes() -> list[torch.dtype]:
    """Every dtype of this torch that may require gradients."""
    named = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    return sorted((dtype for dtype in named if dtype.is_floating_point or dtype.is_complex), key=str)


@cache
def lacks(device: str, dtype: str) -> str | None:
    """Why the device cannot compute with the dtype ("torch.float16"); None if it can.

    Asked of the device: put numbers there, multiply and add them, read them back. No backward is needed, so that
    a device that computes but differentiates wrongly is tested, not passed over.
    """
    try:
        there = torch.tensor([1, 0, 1]).to(getattr(torch, dtype.removeprefix("torch."))).to(device)
        back: object = (there * there + there).sum().to(CPU).tolist()
        expected = 2 if there.dtype == torch.bool else 4  # a sum counts what is true
        return None if back == expected else f"1*1 + 1 twice gives {back}"
    except Exception as error:  # whatever a backend raises is the answer
        return _first_line(error)


def target_name(device: str, dtype: torch.dtype | None = None) -> str:
    """The name of a target in reports: the device, and the dtype where the test asks for one."""
    return device if dtype is None else f"{device}/{str(dtype).removeprefix('torch.')}"


def device_of(target: str) -> str:
    """The device in a target's name."""
    return target.partition("/")[0]


def for_devices(devices: Iterable[str], wanted: str) -> list[str]:
    """Those devices that an item of this kind (all, cpu, accelerator) is about."""
    return [device for device in devices if wanted in ("all", "cpu" if is_cpu(device) else "accelerator")]


def is_cpu(device: str) -> bool:
    """Whether this names the CPU, the one device that torch always has."""
    return torch.device(device).type == CPU


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
