"""spec/devices/cuda-queries.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.devices.to import Hit
from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("device-cuda-counts", kind="plain")
@contextmanager
def answers_with_the_number_of_devices(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], int]:
        def wrong() -> int:
            hit()
            return torch.cuda.device_count()

        return wrong

    with replaced(torch.cuda, "is_available", make):
        yield


@wrong_engine("device-cuda-of-the-build", kind="plain")
@contextmanager
def answers_for_the_build(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            hit()
            return True

        return wrong

    with replaced(torch.cuda, "is_available", make):
        yield


@wrong_engine("device-cuda-has-a-name-for-nothing", kind="error")
@contextmanager
def names_no_device(hit: Hit) -> Iterator[None]:
    def make(name: Callable[..., str]) -> Callable[..., str]:
        def wrong(*args: Any, **kwargs: Any) -> str:
            hit()
            return name(*args, **kwargs) if torch.cuda.device_count() else ""

        return wrong

    with replaced(torch.cuda, "get_device_name", make):
        yield


@wrong_engine("device-cuda-unknown", kind="error")
@contextmanager
def raises_another_error(hit: Hit) -> Iterator[None]:
    def make(name: Callable[..., str]) -> Callable[..., str]:
        def wrong(device: Any = None) -> str:
            try:
                return name(device)
            except (AssertionError, RuntimeError):
                hit()
                raise KeyError(device) from None

        return wrong

    with replaced(torch.cuda, "get_device_name", make):
        yield


@wrong_engine("device-cuda-there-inside-no-grad", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def answers_for_the_build_inside_no_grad(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            right = is_available()
            if right or torch.is_grad_enabled():
                return right
            hit()
            return True

        return wrong

    with replaced(torch.cuda, "is_available", make):
        yield
