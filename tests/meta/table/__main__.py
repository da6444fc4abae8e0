"""`python3 -m tests.meta.table`: every wrong engine against every rule, and the page that tells readers of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from tests.harness.problems import Problem, shown

from . import fill, page, store
from .store import Table


def main() -> int:
    """0: the table is whole and no engine is amiss. 1: an engine is, or `--check` has found a difference. 2: usage."""
    arguments = _arguments()
    try:
        before: Table | None = store.load()
    except Problem as problem:
        if arguments.check or arguments.of:
            print(problem, file=sys.stderr)
            return 2
        before = None
    if before and arguments.of:
        return _show(before, arguments.of)
    fresh, engines = store.current()
    table, wrong = _filled(before, engines, fresh, arguments.anew)
    for line in (*page.findings(table), *wrong):
        print(line)
    if arguments.check:
        return int(bool(wrong) | _differs(before, table))
    store.save(table)
    page.PATH.write_text(page.text(table), encoding="utf-8")
    print(f"written: {shown(store.PATH)}, {shown(page.PATH)}")
    return int(bool(wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.meta.table", description=__doc__)
    parser.add_argument("--anew", action="store_true", help="measure every cell, not only those that are stale")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if what is written differs")
    parser.add_argument(
        "--of", metavar="NAME", help="measure nothing; show the row of an engine or the column of a rule"
    )
    return parser.parse_args()


def _show(table: Table, name: str) -> int:
    if name in table.rows:
        cells: Iterable[tuple[str, str]] = table.cells_of(name).items()
    elif name in table.rules:
        cells = ((engine, table.cell(engine, name)) for engine in table.rows)
    else:
        print(f"{name}: the table has no such engine and no such rule", file=sys.stderr)
        return 2
    for other, letter in cells:
        if letter != ".":
            print(f"{store.LETTERS[letter]:40}{other}")
    return 0


def _filled(before: Table | None, engines: dict[str, str], fresh: Table, anew: bool) -> tuple[Table, list[str]]:
    start, wrong = time.monotonic(), []
    table = Table(fresh.everywhere, fresh.rules)
    for number, (row, amiss) in enumerate(fill.fill(before, engines, fresh, anew), 1):
        table.rows[row.engine] = row
        wrong += amiss
        if sys.stderr.isatty() or number % 50 == 0:
            print(f"\r{number} of {len(engines)} engines", end="", file=sys.stderr, flush=True)
    print(
        f"\n{len(table.rows)} engines x {len(table.rules)} rules in {time.monotonic() - start:.0f} s", file=sys.stderr
    )
    return table, sorted(wrong)


def _differs(before: Table | None, table: Table) -> bool:
    if before == table and page.PATH.is_file() and page.PATH.read_text(encoding="utf-8") == page.text(table):
        return False
    print(f"{shown(store.PATH)} or {shown(page.PATH)} is not what was measured: run python3 -m tests.meta.table")
    return True


if __name__ == "__main__":
    sys.exit(main())
