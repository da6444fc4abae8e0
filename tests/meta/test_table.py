"""The table engine x rule: it is fresh, every engine in it is caught, and what is no table is refused in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.harness.problems import ROOT, Problem
from tests.harness.spec import read_spec
from tests.meta.table import fill, page, store
from tests.meta.table.catalogue import GAPS
from tests.meta.table.store import Row, Table
from tests.wrong_engines.engine import Kind, load_all

SPEC = read_spec(ROOT / "spec")
NAMED = [engine for item in SPEC.items for engine in item.engines]
AGAIN = "run python3 -m tests.meta.table"


def test_the_table_is_fresh() -> None:
    stale = store.stale(store.load())
    assert not stale, f"{AGAIN}; {len(stale)} stale, the first: {stale[0]}"


def test_the_page_says_what_the_table_says() -> None:
    assert page.PATH.read_text(encoding="utf-8") == page.text(store.load()), AGAIN


def test_some_rule_catches_every_engine_and_all_that_name_it_do() -> None:
    table = store.load()
    for named in NAMED:
        known = {rule for rule in named.caught_by if table.cell(named.name, rule) == "-"}
        assert set(named.caught_by) - known <= set(table.catching(named.name)), named.name
        assert table.catching(named.name), named.name


def test_every_engine_says_where_its_defect_hides() -> None:
    assert [name for name, engine in load_all().items() if engine.kind not in get_args(Kind)] == []


def test_an_engine_that_rebuilds_a_bug_links_to_it_in_its_item_and_no_other_does() -> None:
    engines = load_all()
    for named in NAMED:
        linked = {issue[1]: issue[2] for issue in page.ISSUE.finditer(named.defect)}
        assert ", ".join(linked) == (engines[named.name].issue or ""), named.name
        for issue, link in linked.items():
            assert link == f"https://github.com/pytorch/pytorch/issues/{issue.partition('#')[2]}"


def test_every_chapter_has_engines_of_every_kind_or_a_reason() -> None:
    counts = page.kinds_by_chapter(SPEC, load_all())
    empty = {(chapter, kind) for chapter, count in counts.items() for kind in get_args(Kind) if not count[kind]}
    assert empty == GAPS.keys()


RULES = {"one.rule": "aaa", "other.rule": "bbb"}
ROW = Row("engine", "111", "Cs", {"one.rule": (1, 32)}, "one.rule: x = 1")


def table(*rows: Row) -> Table:
    return Table("everywhere", dict(RULES), {row.engine: row for row in rows})


def test_a_table_that_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    store.save(table(ROW, replace(ROW, engine="another")), path)
    assert store.load(path) == table(ROW, replace(ROW, engine="another"))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("spoil", "line", "text"),
    [
        (lambda whole: "", 1, "there is no table"),
        (lambda whole: "\x00\x01", 1, "not the header of a table"),
        (lambda whole: whole.replace('"table": 1', '"table": 2'), 1, "not the header of a table"),
        (lambda whole: whole[: whole.rindex("\n", 0, -1)], 1, "not the header of a table"),
        (lambda whole: whole[:-9], 2, "not a row of the table"),
        (lambda whole: whole.replace('"Cs"', '"C"'), 2, "not a row of the table"),
        (lambda whole: whole.replace('"Cs"', '"Cx"'), 2, "not a row of the table"),
        (lambda whole: whole.replace('"draws"', '"drawn"'), 2, "not a row of the table"),
    ],
    ids=["empty", "binary", "schema", "cut at a line", "cut in a line", "short", "letter", "field"],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, spoil: object, line: int, text: str) -> None:
    path = tmp_path / "table.jsonl"
    store.save(table(ROW), path)
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    with pytest.raises(Problem, match=rf"^{re.escape(str(path))}:{line}: {text}.*--anew$"):
        store.load(path)


def now(**changed: str) -> tuple[Table, dict[str, str]]:
    return Table("everywhere", {**RULES, **changed}), {"engine": "111"}


def test_a_table_of_other_sources_is_stale_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "current", now)
    assert store.stale(table(ROW)) == []
    assert store.stale(table()) == ["engine: is not in it"]
    assert store.stale(table(replace(ROW, digest="222"))) == ["engine: its file has changed"]
    assert store.stale(table(ROW, replace(ROW, engine="gone"))) == ["gone: there is no such engine any more"]
    assert store.stale(replace(table(ROW), rules={"one.rule": "ccc"})) == [
        "one.rule: its file has changed",
        "other.rule: is not in it",
    ]
    assert len(store.stale(replace(table(ROW), everywhere="elsewhere"))) == 1


def todo(before: Table, **changed: str) -> list[tuple[str, tuple[str, ...], str]]:
    fresh, engines = now(**changed)
    found = fill.stale_cells(before, {**engines, "new": "333"}, fresh)
    return [(each.engine, each.rules, each.before.cells if each.before else "") for each in found]


def test_only_rows_and_columns_that_are_stale_are_measured() -> None:
    both = ("one.rule", "other.rule")
    assert todo(table(ROW)) == [("new", both, "")]
    assert todo(table(replace(ROW, digest="222"))) == [("engine", both, ""), ("new", both, "")]
    assert todo(table(ROW), **{"one.rule": "ccc"}) == [("engine", ("one.rule",), "Cs"), ("new", both, "")]
    added = todo(table(ROW), **{"third.rule": "ddd"})
    assert added == [("engine", ("third.rule",), "Cs "), ("new", (*both, "third.rule"), "")]
    assert todo(replace(table(ROW), everywhere="elsewhere")) == [("engine", both, ""), ("new", both, "")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.meta.table", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_shows_who_catches_an_engine_and_what_a_rule_catches() -> None:
    engine, rule = "implicit-gradient-of-ones", "backward.implicit-gradient.other-sizes"
    assert re.search(rf"^caught by `smoke` +{re.escape(rule)}$", run(f"--of={engine}").stdout, re.MULTILINE)
    assert re.search(rf"^caught by `smoke` +{engine}$", run(f"--of={rule}").stdout, re.MULTILINE)


def test_the_command_refuses_a_name_that_the_table_does_not_have() -> None:
    told = run("--of=no-such-thing")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "no-such-thing: the table has no such engine and no such rule\n"
