"""The table engine x rule as a file: what each rule made of each engine, and the sources that this was measured with.

A header, then a line for each engine. A cell is a letter; a digest tells when a line, a column or all of it is stale,
because what an engine or a test is written in has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from tests.harness import bindings
from tests.harness.problems import ROOT, Problem, read
from tests.harness.spec import Spec, read_spec

PATH = ROOT / "tests" / "wrong_engines" / "table.jsonl"
SCHEMA = 1

BY_SMOKE, BY_STANDARD = "C", "c"
CAUGHT = frozenset({BY_SMOKE, BY_STANDARD})
UNRUN = "-"
LETTERS = {
    BY_SMOKE: "caught by `smoke`",
    BY_STANDARD: "caught by `standard` and not by `smoke`",
    ".": "not reached",
    "s": "survived",
    "r": "raised",
    "u": "unexplained",
    "d": "died",
    "h": "hung",
    UNRUN: "not run",
}

EVERYWHERE = (
    "tests/inputs/*.py",
    "tests/oracles/*.py",
    "tests/wrong_engines/*.py",
    "tests/harness/realise.py",
    "tests/harness/isolation.py",
    "tests/harness/profiles.py",
    "tests/meta/table/bystanders.py",
    "tests/meta/table/draws.py",
    "tests/meta/table/fill.py",
    "tests/meta/table/judge.py",
    "tests/meta/table/reach.py",
    "tests/meta/table/runs.py",
    "tests/meta/backends/unheard.py",
    "constraints.txt",
)
"""What every cell depends on."""


@dataclass
class Row:
    """One engine.

    cells: a letter for each rule, in the header's order.
    draws: for each rule that its item names, how many of the examples that `standard` draws catch it, of how many.
    hardest: the first of them, for the rule with the smallest share.
    """

    engine: str
    digest: str
    cells: str
    draws: dict[str, tuple[int, int]] = field(default_factory=dict)
    hardest: str = ""


@dataclass
class Table:
    """rules: each with the digest of its tests, in the order of the cells. everywhere: the digest of what all share."""

    everywhere: str
    rules: dict[str, str]
    rows: dict[str, Row] = field(default_factory=dict)

    def cell(self, engine: str, rule: str) -> str:
        """The letter, or a blank if there is none."""
        return self.cells_of(engine).get(rule, " ")

    def cells_of(self, engine: str) -> dict[str, str]:
        """The letter for each rule; none for an engine that has no row."""
        return dict(zip(self.rules, self.rows[engine].cells, strict=True)) if engine in self.rows else {}

    def catching(self, engine: str) -> list[str]:
        """The rules that catch an engine."""
        return [rule for rule, letter in self.cells_of(engine).items() if letter in CAUGHT]


def current() -> tuple[Table, dict[str, str]]:
    """A table of no rows with the digests that the sources have now, and the digest of each engine."""
    spec = read_spec(ROOT / "spec")
    files: dict[str, list[Path]] = {}
    for path in bindings.test_paths(ROOT / "tests"):
        for binding in bindings.bindings_in(path):
            if binding.rule in spec.rules:
                files.setdefault(binding.rule, []).append(path)
    everywhere = _digest(path for pattern in EVERYWHERE for path in sorted(ROOT.glob(pattern)))
    return Table(everywhere, {rule: _digest(sorted(set(files[rule]))) for rule in sorted(spec.rules)}), _engines(spec)


def _engines(spec: Spec) -> dict[str, str]:
    named = {engine.name: ",".join(engine.caught_by) for item in spec.items for engine in item.engines}
    return {
        engine.name: _digest([path], named[engine.name])
        for path in bindings.engine_paths(ROOT / "tests")
        for engine in bindings.engines_in(path)
    }


def _digest(paths: Iterable[Path], more: str = "") -> str:
    whole = "".join(map(_of_file, paths)) + more
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


@cache
def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stale(table: Table) -> list[str]:
    """What of a table is not of the sources as they are now, a line each; empty if it is fresh."""
    now, engines = current()
    if table.everywhere != now.everywhere:
        return ["what every cell depends on has changed (strategies, oracles, tools of engines, or pins)"]
    return [
        *(
            f"{rule}: {_how(rule in table.rules)}"
            for rule, digest in now.rules.items()
            if table.rules.get(rule) != digest
        ),
        *(f"{rule}: there is no such rule any more" for rule in table.rules if rule not in now.rules),
        *(f"{name}: {_how(name in table.rows)}" for name, digest in engines.items() if not row_is(table, name, digest)),
        *(f"{name}: there is no such engine any more" for name in table.rows if name not in engines),
    ]


def row_is(table: Table, engine: str, digest: str) -> bool:
    """Whether the table has a row for an engine with this digest."""
    return engine in table.rows and table.rows[engine].digest == digest


def _how(is_in_it: bool) -> str:
    return "its file has changed" if is_in_it else "is not in it"


def load(path: Path = PATH) -> Table:
    """The table of a file. Raises Problem, with the line, if it is none."""
    lines = read(path).splitlines() if path.is_file() else []
    again = "make it anew: python3 -m tests.meta.table --anew"
    if not lines:
        raise Problem(path, 1, f"there is no table: {again}")
    try:
        header = json.loads(lines[0])
        if header["table"] != SCHEMA or header["rows"] != len(lines) - 1:
            raise ValueError
        table = Table(header["everywhere"], header["rules"])
    except (ValueError, KeyError, TypeError):
        raise Problem(
            path, 1, f"not the header of a table of this schema with as many rows as follow: {again}"
        ) from None
    for number, line in enumerate(lines[1:], 2):
        try:
            row = Row(**json.loads(line))
            row.draws = {rule: (catching, drawn) for rule, (catching, drawn) in row.draws.items()}
            if len(row.cells) != len(table.rules) or set(row.cells) - LETTERS.keys():
                raise ValueError
        except (ValueError, TypeError, AttributeError):
            raise Problem(path, number, f"not a row of the table: {again}") from None
        table.rows[row.engine] = row
    return table


def save(table: Table, path: Path = PATH) -> None:
    """Write the table, whole or not at all."""
    header = {"table": SCHEMA, "everywhere": table.everywhere, "rows": len(table.rows), "rules": table.rules}
    rows = [json.dumps(asdict(table.rows[name])) for name in sorted(table.rows)]
    half = path.with_suffix(".half")
    half.write_text("\n".join([json.dumps(header), *rows, ""]), encoding="utf-8")
    half.replace(path)
