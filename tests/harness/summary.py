"""The end of a run in the terminal: one line an item, then what was not checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest

from . import targets
from .problems import shown
from .spec import Item, Spec
from .verdicts import EXECUTED, FAIL, FIXED, KNOWN, NOT_APPLICABLE, NOT_RUN, WORST_FIRST, Outcome, Tally

COLOURS = {"pass": {"green": True}, KNOWN: {"yellow": True}, NOT_RUN: {"yellow": True}, NOT_APPLICABLE: {}}


def write(
    terminal: pytest.TerminalReporter, spec: Spec, devices: list[str], tally: Tally, idle_devices: list[str]
) -> None:
    """Write the summary, devices in the order of the run, unless nothing of the conformance suite was run."""
    order = {device: position for position, device in enumerate(devices)}
    verdicts = sorted(tally.verdicts(), key=lambda outcome: order.get(targets.device_of(outcome.target), len(order)))
    if verdicts:
        terminal.section("conformance", sep="=")
        _items(terminal, spec, verdicts)
        _not_checked(terminal, verdicts)
        _special(terminal, verdicts)
        _total(terminal, verdicts)
    for device in idle_devices:
        terminal.write_line(f"FAILED: nothing was executed on {device}", red=True)


def idle(devices: Iterable[str], verdicts: list[Outcome]) -> list[str]:
    """The devices among these on which nothing was executed."""
    busy = {targets.device_of(outcome.target) for outcome in verdicts if outcome.verdict in EXECUTED}
    return [device for device in devices if device not in busy]


def _items(terminal: pytest.TerminalReporter, spec: Spec, verdicts: list[Outcome]) -> None:
    by_item: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in verdicts:
        by_item[outcome.rule.rpartition(".")[0]].append(outcome)
    width = max(len(shown(item.path)) for item in spec.items if item.id in by_item)
    for item in spec.items:
        if item.id in by_item:
            _item(terminal, item, by_item[item.id], width)


def _item(terminal: pytest.TerminalReporter, item: Item, verdicts: list[Outcome], width: int) -> None:
    """One line: the item's file, then for each device how many rules have each verdict, dtypes told together."""
    by_device: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in verdicts:
        by_device[targets.device_of(outcome.target)].append(outcome)
    told = "; ".join(f"{device} {_counted(outcomes)}" for device, outcomes in by_device.items())
    worst = min((outcome.verdict for outcome in verdicts), key=WORST_FIRST.index)
    terminal.write_line(f"{shown(item.path):<{width}}  {told}", **COLOURS.get(worst, {"red": True}))


def _counted(verdicts: list[Outcome]) -> str:
    counted = Counter(outcome.verdict for outcome in verdicts)
    return ", ".join(f"{counted[verdict]} {verdict}" for verdict in WORST_FIRST if counted[verdict])


def _not_checked(terminal: pytest.TerminalReporter, verdicts: list[Outcome]) -> None:
    """What this run says nothing about: rules not run, by reason, and examples that a target could not run."""
    unchecked: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    lacking: Counter[tuple[str, str]] = Counter()
    for outcome in verdicts:
        if outcome.verdict in (NOT_RUN, NOT_APPLICABLE):
            unchecked[outcome.target, outcome.message].append(outcome)
        for reason, count in outcome.lacking.items():
            lacking[outcome.target, reason] += count
    if unchecked or lacking:
        terminal.write_line("")
        terminal.write_line("Not checked:")
    for (target, reason), outcomes in unchecked.items():
        rules = outcomes[0].rule if len(outcomes) == 1 else f"{len(outcomes)} rules"
        terminal.write_line(f"  {rules} on {target}: {reason}")
    for (target, reason), count in lacking.items():
        terminal.write_line(f"  {count} examples on {target}: {reason}")


def _special(terminal: pytest.TerminalReporter, verdicts: list[Outcome]) -> None:
    """Failures that do not make a target non-conformant, and entries that are out of date."""
    told = [
        outcome
        for outcome in verdicts
        if outcome.verdict in (KNOWN, FIXED) or (outcome.verdict == FAIL and outcome.observed)
    ]
    if told:
        terminal.write_line("")
    for outcome in told:
        kind = "observed, not promised" if outcome.verdict == FAIL else outcome.verdict
        terminal.write_line(f"{kind}: {outcome.rule} on {outcome.target}: {outcome.message}", yellow=True)


def _total(terminal: pytest.TerminalReporter, verdicts: list[Outcome]) -> None:
    terminal.write_line("")
    for device in dict.fromkeys(targets.device_of(outcome.target) for outcome in verdicts):
        here = [outcome for outcome in verdicts if targets.device_of(outcome.target) == device]
        examples = sum(outcome.examples for outcome in here)
        rules = len({outcome.rule for outcome in here})
        terminal.write_line(f"{device}: {rules} rule{'' if rules == 1 else 's'}, {_counted(here)}, {examples} examples")
