"""spec/devices/accelerator.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from tests.wrong_engines.devices.to import Hit
from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced


def _asked(question: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> AbstractContextManager[None]:
    """Replace a function of `torch.accelerator`, which torch has since 2.6."""
    accelerator = getattr(torch, "accelerator", None)
    return nullcontext() if accelerator is None else replaced(accelerator, question, make)


@wrong_engine("device-accelerator-counts", kind="plain")
@contextmanager
def answers_with_the_number_of_devices(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], int]:
        def wrong() -> int:
            hit()
            return torch.accelerator.device_count()

        return wrong

    with _asked("is_available", make):
        yield


@wrong_engine("device-accelerator-of-the-build", kind="plain")
@contextmanager
def answers_for_the_build(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            hit()
            return True

        return wrong

    with _asked("is_available", make):
        yield


@wrong_engine("device-accelerator-cpu", kind="plain")
@contextmanager
def calls_the_cpu_an_accelerator(hit: Hit) -> Iterator[None]:
    def make(current: Callable[..., Any]) -> Callable[..., Any]:
        is_there = torch.accelerator.is_available()

        def wrong(*args: Any, **kwargs: Any) -> torch.device:
            hit()
            return current(*args, **kwargs) if is_there else torch.device("cpu")

        return wrong

    with _asked("current_accelerator", make):
        yield


@wrong_engine("device-accelerator-there-once-asked-for", kind="state", first_sight="third sample: caught")
@contextmanager
def is_available_once_the_accelerator_was_asked_for(hit: Hit) -> Iterator[None]:
    was_asked = asking = False

    def current(honest: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **kwargs: Any) -> Any:
            nonlocal was_asked
            was_asked = was_asked or not asking
            return honest(*args, **kwargs)

        return wrong

    def available(honest: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            nonlocal asking
            asking = True
            try:
                right = honest()
            finally:
                asking = False
            if was_asked and not right:
                hit()
            return was_asked or right

        return wrong

    with _asked("current_accelerator", current), _asked("is_available", available):
        yield


NO_ACCELERATOR = "this build has no accelerator to ask for"


@wrong_engine(
    "device-accelerator-query-refused-without-one",
    kind="error",
    refuses=NO_ACCELERATOR,
    first_sight="fourth sample: caught",
)
@contextmanager
def refuses_the_question_where_there_is_none(hit: Hit) -> Iterator[None]:
    def make(is_available: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            if not is_available():
                hit()
                raise RuntimeError(NO_ACCELERATOR)
            return True

        return wrong

    with _asked("is_available", make):
        yield
