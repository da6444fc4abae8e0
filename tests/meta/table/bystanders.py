"""Which engines stand by while a rule runs: with many of them in at once, those whose defect does not show.

Most engines never show themselves to most rules, and running one against the other says just that, at the price of the
rule's whole tests. While no defect shows, torch is honest, however many defects are in; so a run of the rule with many
engines in, in which none of them showed and nothing failed, speaks for them all. Those that show are left out and the
rest is run again; where a test fails without any, because of the way that one is put in, the halves are tried. What is
left over is an engine that has to meet the rule by itself.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from tests.wrong_engines.engine import WrongEngine
from tests.wrong_engines.tools import OPERATORS

from . import runs
from .draws import DrawnTest, Tests
from .reach import Place

TOGETHER = 48
"""So many engines are in at once: of more, too many show."""


def groups(places: dict[str, frozenset[Place]]) -> list[list[str]]:
    """Engines that can be in at once, those at the same places together where they can be.

    An operator has one kernel, so of two engines that replace it only one would be in. An engine of which it is not
    known where it is put in is in no group, and none is alone in one.
    """
    together: list[tuple[list[str], set[Place]]] = []
    for name in sorted(places, key=lambda name: (sorted(places[name]), name)):
        if not places[name]:
            continue
        operators = {place for place in places[name] if place[0] == OPERATORS}
        for members, taken in together:
            if len(members) < TOGETHER and taken.isdisjoint(operators):
                members.append(name)
                taken |= operators
                break
        else:
            together.append(([name], set(operators)))
    return [members for members, _ in together if len(members) > 1]


def bystanders(asked: dict[str, list[WrongEngine]], tests: Tests) -> dict[str, list[str]]:
    """For each rule, which of these engines do not show themselves to it; found in a child process.

    asked: for each rule the engines that may. Nothing is told of a rule at which the child ends, and of those after it.
    """
    found: dict[str, list[str]] = {}

    def work(tell: runs.Tell) -> None:
        gc.freeze()
        for rule, engines in asked.items():
            signal.alarm(runs.SECONDS)
            tell(rule, [engine.name for engine in _hidden(engines, tests[rule])])

    runs.in_a_child(found.__setitem__, work)
    return found


def _hidden(engines: Sequence[WrongEngine], tests: list[DrawnTest]) -> Iterator[WrongEngine]:
    """Those of the engines that can all be in while the tests pass, and none shows itself."""
    if not engines:
        return
    before = [engine.hits for engine in engines]
    failures = _failures_with(engines, tests)
    hidden = [engine for engine, hits in zip(engines, before, strict=True) if engine.hits == hits]
    if len(hidden) < len(engines):
        yield from _hidden(hidden, tests)
    elif not failures:
        yield from engines
    elif len(engines) > 1:
        middle = len(engines) // 2
        yield from _hidden(engines[:middle], tests)
        yield from _hidden(engines[middle:], tests)


def _failures_with(engines: Iterable[WrongEngine], tests: list[DrawnTest]) -> int:
    """How many examples of the tests do not pass with all of these engines in."""
    with ExitStack() as stack:
        for engine in engines:
            stack.enter_context(engine.installed())
        failures = sum(test.failures("smoke") for test in tests)
        if failures:
            gc.collect()  # what a failed test left open ends before the engines come off
    return failures
