"""Fills the table: every engine against every rule, on all cores, what is fresh already left out."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.pool import Pool

import torch

from tests.harness import profiles
from tests.harness.problems import ROOT
from tests.harness.spec import read_spec
from tests.inputs.expression import prepare
from tests.wrong_engines.engine import load_all

from . import bystanders, draws, reach, runs, store
from .draws import Arguments, Tests
from .reach import Place
from .runs import Cell
from .store import BY_SMOKE, BY_STANDARD, CAUGHT, UNRUN, Row, Table

ONLY_AGAINST_ITS_OWN = (
    "fits.broadcast-line.long-run",
    "fits.cubic.long-run",
    "fits.cubic.loss-falls",
    "fits.cubic.report",
    "fits.line-by-hand.long-run",
    "fits.line-module.long-run",
)
"""Long loops: against every engine these few would take longer than all other rules together."""

LETTER_OF = {
    runs.UNREACHED: ".",
    runs.SURVIVED: "s",
    runs.RAISED: "r",
    runs.UNEXPLAINED: "u",
    runs.DIED: "d",
    runs.HUNG: "h",
}


WORTH_WATCHING = 100
"""So many engines and more are told apart by the places that rules pass: watching all rules takes as long as a few."""


@dataclass
class _Work:
    """What the processes of a pool share, from the fork on.

    places: where each engine puts its defect in. passed: which of these places each rule passes. hidden: the rules to
    which each engine does not show itself, as it was seen with others in. All are empty where there are too few engines
    to be worth it.
    """

    order: tuple[str, ...]
    tests: Tests
    named: dict[str, tuple[str, ...]]
    places: dict[str, frozenset[Place]] = field(default_factory=dict)
    passed: dict[str, frozenset[Place]] = field(default_factory=dict)
    hidden: dict[str, set[str]] = field(default_factory=dict)

    def may_reach(self, engine: str, rule: str) -> bool:
        """Whether the engine can show itself to the rule in `smoke`."""
        places = self.places.get(engine)
        passes = not places or not places.isdisjoint(self.passed[rule])
        return passes and rule not in self.hidden.get(engine, ())

    def others(self, todo: Todo) -> list[str]:
        """The rules that are asked about an engine and that its item does not name."""
        apart = {*self.named[todo.engine], *ONLY_AGAINST_ITS_OWN}
        return [rule for rule in todo.rules if rule in self.tests and rule not in apart]


_work: list[_Work] = []


@dataclass(frozen=True)
class Todo:
    """The cells of an engine that are stale: all of them, or those of some rules."""

    engine: str
    digest: str
    rules: tuple[str, ...]
    before: Row | None


def fill(
    table: Table | None, engines: dict[str, str], fresh: Table, anew: bool = False
) -> Iterator[tuple[Row, list[str]]]:
    """Every row of the table as it is now, and what is wrong with its engine; rows that are fresh are not measured.

    table: an earlier one, or None. fresh: one without rows, with the digests of now. anew: measure fresh rows, too.
    """
    todo = list(stale_cells(None if anew else table, engines, fresh))
    for name in engines.keys() - {each.engine for each in todo}:
        yield table.rows[name], []  # type: ignore[union-attr]
    if todo:
        yield from measured(todo, tuple(fresh.rules), table)


def stale_cells(table: Table | None, engines: dict[str, str], fresh: Table) -> Iterator[Todo]:
    rules = tuple(fresh.rules)
    usable = table if table and table.everywhere == fresh.everywhere else Table(fresh.everywhere, {})
    columns = tuple(rule for rule in rules if usable.rules.get(rule) != fresh.rules[rule])
    for name, digest in engines.items():
        if not store.row_is(usable, name, digest):
            yield Todo(name, digest, rules, None)
        elif columns or usable.rules.keys() != fresh.rules.keys():
            row = usable.rows[name]
            cells = "".join(usable.cell(name, rule) for rule in rules)
            draws_left = {rule: drawn for rule, drawn in row.draws.items() if rule not in columns}
            yield Todo(name, digest, columns, replace(row, cells=cells, draws=draws_left))


def measured(todo: list[Todo], order: tuple[str, ...], earlier: Table | None = None) -> Iterator[tuple[Row, list[str]]]:
    """The rows of these engines, as they come.

    order: that of the cells. earlier: a table that, stale or not, says who is likely to show itself.

    Rules about accelerators meet the engines on the made-up device, all others in processes that do not know it. This
    process never runs a backward: a fork of one that did can run none on that device.
    """
    torch.set_num_threads(1)
    profiles.register()
    tests, elsewhere = draws.load_tests(), draws.about_accelerators()
    on_the_cpu = {rule: cases for rule, cases in tests.items() if rule not in elsewhere}
    load_all()
    many = (todo, earlier) if len(todo) >= WORTH_WATCHING else None
    with _meeting(order, on_the_cpu, many) as pool:
        rows = dict(_on_the_made_up_device(todo, order, {rule: tests[rule] for rule in elsewhere & tests.keys()}, many))
        waiting = [replace(each, before=rows[each.engine][0] if rows else each.before) for each in todo]
        for row, wrong in pool.imap_unordered(_row, waiting):
            yield row, [*(rows[row.engine][1] if rows else ()), *wrong]


Many = tuple[list[Todo], Table | None]
"""What is to be done, and an earlier table."""


def _on_the_made_up_device(
    todo: list[Todo], order: tuple[str, ...], tests: Tests, many: Many | None
) -> Iterator[tuple[str, tuple[Row, list[str]]]]:
    """The rows of these engines with the cells of rules about accelerators measured, if this torch can have one."""
    if draws.has_accelerator():
        importlib.import_module(draws.ITS_BACKEND)
        with _meeting(order, tests, many) as pool:
            for row, wrong in pool.imap_unordered(_row, todo, chunksize=16):
                yield row.engine, (row, wrong)


def _meeting(order: tuple[str, ...], tests: Tests, many: Many | None = None) -> Pool:
    """Processes for `_row` that have recorded what these tests draw.

    many: what is to be done and an earlier table, where there are so many engines that it is worth finding out first to
        which rules they do not show themselves.
    """
    items = read_spec(ROOT / "spec").items
    _work[:] = [_Work(order, tests, {engine.name: engine.caught_by for item in items for engine in item.engines})]
    _record_in_children(tests)
    if many:
        _watch_in_children(_work[0])
        _stand_by_in_children(_work[0], *many)
    return _pool()


def _pool() -> Pool:
    return multiprocessing.get_context("fork").Pool(os.cpu_count())


def _record_in_children(tests: Tests) -> None:
    asked = [
        (rule, at, profile) for rule in tests for at in range(len(tests[rule])) for profile in ("smoke", "standard")
    ]
    with _pool() as pool:
        for (rule, at, profile), drawn in pool.imap_unordered(_recorded, asked, chunksize=8):
            tests[rule][at].drawn[profile] = drawn
            for arguments in drawn if profile == "smoke" else ():
                for name, value in arguments.items():
                    prepare(name, value)


def _recorded(asked: tuple[str, int, str]) -> tuple[tuple[str, int, str], list[Arguments]]:
    rule, at, profile = asked
    return asked, _work[0].tests[rule][at].examples(profile)


def _watch_in_children(work: _Work) -> None:
    with _pool() as pool:
        work.places = pool.apply(_places)
    with _pool() as pool:  # forks anew, so that it knows the places
        work.passed = dict(pool.imap_unordered(_passed, work.tests))


def _places() -> dict[str, frozenset[Place]]:
    return reach.places_of(load_all().values())


def _passed(rule: str) -> tuple[str, frozenset[Place]]:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())  # torch's profiler has something to say, too
    work = _work[0]
    return rule, reach.passed(work.tests[rule], frozenset().union(*work.places.values()))


def _stand_by_in_children(work: _Work, todo: list[Todo], earlier: Table | None) -> None:
    asked = {each.engine: [rule for rule in work.others(each) if work.may_reach(each.engine, rule)] for each in todo}
    showing = {name: _showing(earlier, name) for name in asked}
    together = [
        {rule: [name for name in names if rule in asked[name] and rule not in showing[name]] for rule in work.tests}
        for names in bystanders.groups({name: work.places[name] for name in asked})
    ]
    with _pool() as pool:
        for found in pool.imap_unordered(_stood_by, together):
            for rule, names in found.items():
                for name in names:
                    work.hidden.setdefault(name, set()).add(rule)


def _showing(table: Table | None, engine: str) -> set[str]:
    """The rules to which an engine showed itself when the table was made, and so is likely to again."""
    cells = table.cells_of(engine) if table else {}
    return {rule for rule, letter in cells.items() if letter not in (LETTER_OF[runs.UNREACHED], UNRUN)}


def _stood_by(asked: dict[str, list[str]]) -> dict[str, list[str]]:
    engines = load_all()
    return bystanders.bystanders(
        {rule: [engines[name] for name in names] for rule, names in asked.items()}, _work[0].tests
    )


def _row(todo: Todo) -> tuple[Row, list[str]]:
    """The row of an engine with its stale cells measured, and what is wrong with the engine."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # warnings of torch about what is drawn on purpose
    work = _work[0]
    letters = dict(zip(work.order, todo.before.cells if todo.before else UNRUN * len(work.order), strict=True))
    own = [rule for rule in todo.rules if rule in work.tests and rule in work.named[todo.engine]]
    others = work.others(todo)
    letters.update(dict.fromkeys(others, LETTER_OF[runs.UNREACHED]))
    reached = [rule for rule in others if work.may_reach(todo.engine, rule)]
    meeting = _Meeting(todo.engine, letters)
    meeting.run(own + reached, "smoke", BY_SMOKE)
    cells = meeting.run(own, "standard", BY_STANDARD, every_draw=True)
    if others and not CAUGHT & set(letters.values()) and draws.about_accelerators().isdisjoint(others):
        meeting.run(others, "standard", BY_STANDARD)
    row = replace(todo.before) if todo.before else Row(todo.engine, todo.digest, "")
    row.cells = "".join(letters[rule] for rule in work.order)
    _note_draws(row, cells)
    missed = [rule for rule in own if letters[rule] not in CAUGHT]
    meeting.wrong += [f"against {rule}, which is said to catch it: {store.LETTERS[letters[rule]]}" for rule in missed]
    return row, [f"{todo.engine}: {text}" for text in meeting.wrong]


class _Meeting:
    """An engine and the rules that meet it, with what comes of it as letters."""

    def __init__(self, engine: str, letters: dict[str, str]) -> None:
        self.engine, self.letters = load_all()[engine], letters
        self.wrong: list[str] = []

    def run(self, rules: list[str], profile: str, caught: str, every_draw: bool = False) -> dict[str, Cell]:
        """Note what each rule makes of the engine, unless it has caught it already."""
        told = runs.run_engine(self.engine, rules, _work[0].tests, profile, every_draw)
        self.wrong += [text for text in (told.broken, told.left_behind) if text and text not in self.wrong]
        for rule, cell in told.cells.items():
            if self.letters[rule] not in CAUGHT or caught == BY_SMOKE:
                self.letters[rule] = caught if cell.verdict == runs.CAUGHT else LETTER_OF[cell.verdict]
        return told.cells


def _note_draws(row: Row, cells: dict[str, Cell]) -> None:
    caught = {rule: cell for rule, cell in cells.items() if cell.verdict == runs.CAUGHT}
    row.draws = {**row.draws, **{rule: (cell.catching, cell.drawn) for rule, cell in caught.items()}}
    if caught:
        rule = min(caught, key=lambda rule: caught[rule].catching / caught[rule].drawn)
        row.hardest = f"{rule}: {caught[rule].draw}"
