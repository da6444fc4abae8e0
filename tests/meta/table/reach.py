"""Which places of torch the tests of a rule pass: a defect that is put in elsewhere cannot show itself there.

Most engines have nothing to do with most rules. To know that without running one against the other, each rule is run
once with everything watched where some engine puts a defect in: attributes by functions that pass on what they are
called with, operators by torch's own profiler. What cannot be watched counts as passed by every rule.
"""

from __future__ import annotations

import functools
import pkgutil
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import WrongEngine
from tests.wrong_engines.tools import OPERATORS, noting, replaced

from .draws import DrawnTest

Place = tuple[str, str]
"""A class or module as `pkgutil.resolve_name` takes it, and the name of an attribute; or OPERATORS and an operator."""

DESCRIPTORS = (property, types.GetSetDescriptorType, types.MemberDescriptorType)


def places_of(engines: Iterable[WrongEngine]) -> dict[str, frozenset[Place]]:
    """Where each engine puts its defect in; nowhere if that cannot be told. Puts every engine in and takes it off."""
    places: dict[str, frozenset[Place]] = {}
    for engine in engines:
        noted: list[tuple[Any, str]] = []
        with noting(lambda owner, attribute, noted=noted: noted.append((owner, attribute))):  # type: ignore[misc]
            try:
                with engine.installed():
                    pass
            except Exception:
                noted.clear()  # what is wrong with it will be told when it meets its rules
        owners = [_name(owner) for owner, _ in noted]
        known = (
            [] if None in owners else [(owner, attribute) for owner, (_, attribute) in zip(owners, noted, strict=True)]
        )
        places[engine.name] = frozenset(known)  # type: ignore[arg-type]
    return places


def _name(owner: Any) -> str | None:
    """What resolves to this class or module."""
    if owner is OPERATORS:
        return OPERATORS
    name = owner.__name__ if isinstance(owner, types.ModuleType) else f"{owner.__module__}:{owner.__qualname__}"
    try:
        return name if pkgutil.resolve_name(name) is owner else None
    except (ImportError, AttributeError, ValueError):
        return None


def passed(tests: Iterable[DrawnTest], places: frozenset[Place]) -> frozenset[Place]:
    """Those of these places that any example of these tests in `smoke` passes, and all that cannot be watched.

    All of them where a test does not pass while it is watched.
    """
    seen: set[Place] = set()
    with _watched(places, seen):
        for test in tests:
            if any(test.replay(arguments) for arguments in test.examples("smoke")):
                return places
    return frozenset(seen)


@contextmanager
def _watched(places: frozenset[Place], seen: set[Place]) -> Iterator[None]:
    """Note in `seen` what is passed while the block lasts."""
    with ExitStack() as stack:
        for place in places:
            owner, name = place
            if owner == OPERATORS:
                continue
            there = pkgutil.resolve_name(owner)
            if _watchable(getattr(there, name)):
                tell = functools.partial(seen.add, place)
                stack.enter_context(replaced(there, name, functools.partial(_telling, tell)))
            else:
                seen.add(place)
        profiler = stack.enter_context(_profiler())
        yield
    called = {event.name().removeprefix("aten::") for event in profiler.profiler.kineto_results.events()}
    seen.update((owner, name) for owner, name in places if owner == OPERATORS and name in called)


def _profiler() -> Any:
    """Records every operator that is dispatched, in any thread."""
    options = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], experimental_config=options)


def _watchable(found: object) -> bool:
    return isinstance(found, DESCRIPTORS) or (callable(found) and not isinstance(found, type))


def _telling(tell: Callable[[], None], original: Any) -> Any:
    """What tells whenever it is used, and then is the original."""
    if isinstance(original, DESCRIPTORS):

        def told(use: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args: (tell(), use(*args))[1]

        return property(told(original.__get__), told(original.__set__), told(original.__delete__))

    @functools.wraps(original)
    def telling(*args: Any, **kwargs: Any) -> Any:
        tell()
        return original(*args, **kwargs)

    return telling
