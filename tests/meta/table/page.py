"""The page of `spec/` that tells what the table says: how we know that a rule can fail."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from tests.harness.problems import ROOT
from tests.harness.spec import NamedEngine, Spec, read_spec
from tests.wrong_engines.engine import FirstSight, Kind, WrongEngine, load_all

from .catalogue import GAPS
from .store import BY_SMOKE, BY_STANDARD, LETTERS, Row, Table

PATH = ROOT / "spec" / "wrong-engines.md"
TEMPLATE = Path(__file__).with_name("page.md")
REBUILDS = re.compile(r"Rebuilds \[[^]]+\]\([^)]+\)(, \[[^]]+\]\([^)]+\))*\.\s*")
ISSUE = re.compile(r"\[(pytorch#\d+)\]\(([^)]+)\)")

HARD = 1 / 25
"""A rule that catches an engine by a smaller share of its draws than this is told with the draw that did it."""


def text(table: Table) -> str:
    """The page, as Markdown: the template beside this file, filled in."""
    spec, engines = read_spec(ROOT / "spec"), load_all()
    bugs = _real_bugs(spec)
    sights = {named.name: str(engines[named.name].first_sight) for named in _named(spec)}
    return TEMPLATE.read_text(encoding="utf-8").format(
        **_figures(table),
        kinds="\n".join(_kinds(spec, engines)),
        bugs=len({issue for _, issue, _, _ in bugs}),
        real_bugs=_list(f"[{issue}]({link}): {_told(engine)}" for _, issue, link, engine in bugs),
        first_sight="\n".join(_first_sight(sights)),
        missed=_list(_told(named) for named in _named(spec) if sights[named.name].endswith(("missed", "elsewhere"))),
        one_in=round(1 / HARD),
        hard="\n".join(_hard(table, spec)),
        rule_by_rule="\n".join(_rules(table, spec)),
    )


def _first_sight(sights: dict[str, str]) -> Iterator[str]:
    """A row for each group: its engines, and how many were caught at first sight by their rule, and by any."""
    told = get_args(FirstSight)
    for group in dict.fromkeys(sight.partition(": ")[0] for sight in told):
        found = [sight.partition(": ")[2] for sight in sights.values() if sight.startswith(f"{group}: ")]
        if found:
            caught, elsewhere = found.count("caught"), found.count("caught elsewhere")
            all_rules_met = f"{group}: caught elsewhere" in told
            by_any = _share(caught + elsewhere, len(found)) if all_rules_met else "not known"
            yield f"| {group} | {len(found)} | {_share(caught, len(found))} | {by_any} |"


def _share(part: int, of: int) -> str:
    return f"{part} ({part / of:.0%})"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def findings(table: Table) -> list[str]:
    """What a maintainer has to look at, for the terminal."""
    alone = _alone(table)
    return [
        *_lines("caught by no rule", (name for name in table.rows if not table.catching(name))),
        *_lines("caught by `standard` and not by `smoke`", _needing_standard(table)),
        *_lines("rules that catch nothing that another does not", (rule for rule in table.rules if not alone[rule])),
        *_lines("engines that no rule tells apart", (" = ".join(names) for names in _twins(table))),
        *(
            line
            for letter in "rudh"
            for line in _lines(
                f"tests that {LETTERS[letter]}" if letter == "r" else LETTERS[letter],
                (f"{name}: {_count(row, letter)}" for name, row in table.rows.items() if letter in row.cells),
            )
        ),
    ]


def _lines(title: str, found: Iterable[str]) -> list[str]:
    found = sorted(found)
    return [f"{title}: {len(found)}", *(f"  {each}" for each in found)]


def _count(row: Row, letter: str) -> str:
    return f"{row.cells.count(letter)} rules"


def _named(spec: Spec) -> list[NamedEngine]:
    return [engine for item in spec.items for engine in item.engines]


def _needing_standard(table: Table) -> list[str]:
    return [name for name, row in table.rows.items() if BY_SMOKE not in row.cells and BY_STANDARD in row.cells]


def _alone(table: Table) -> Counter[str]:
    """For each rule, the engines that it catches and no other rule does."""
    only = (table.catching(name) for name in table.rows)
    return Counter(rules[0] for rules in only if len(rules) == 1)


def _twins(table: Table) -> list[list[str]]:
    """Engines that the same rules catch by the same number of the same draws: perhaps one defect under two names."""
    groups: dict[object, list[str]] = defaultdict(list)
    for name, row in table.rows.items():
        groups[row.cells, tuple(sorted(row.draws.items())), row.hardest].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _figures(table: Table) -> dict[str, int]:
    letters = Counter("".join(row.cells for row in table.rows.values()))
    by_smoke = sum(BY_SMOKE in row.cells for row in table.rows.values())
    return {
        "engines": len(table.rows),
        "rules": len(table.rules),
        "by_smoke": by_smoke,
        "by_standard": len(table.rows) - by_smoke,
        "only_one": _alone(table).total(),
        "cells": letters.total(),
        "caught": letters[BY_SMOKE] + letters[BY_STANDARD],
        "survived": letters["s"],
        "unreached": letters["."],
        "raised": letters["r"],
        "unexplained": letters["u"],
        "died": letters["d"] + letters["h"],
        "unrun": letters["-"],
    }


def _kinds(spec: Spec, engines: dict[str, WrongEngine]) -> Iterator[str]:
    kinds = get_args(Kind)
    counts = kinds_by_chapter(spec, engines)
    yield f"| chapter | {' | '.join(kinds)} |"
    yield "| --- |" + " ---: |" * len(kinds)
    for chapter in sorted(counts):
        cells = (str(counts[chapter][kind] or "·") for kind in kinds)
        yield f"| [{chapter}]({chapter}) | {' | '.join(cells)} |"
    totals = (str(sum(count[kind] for count in counts.values())) for kind in kinds)
    yield f"| all | {' | '.join(totals)} |"
    if GAPS:
        yield ""
        yield "Where there is none:"
        yield ""
    for (chapter, kind), reason in sorted(GAPS.items()):
        yield f"- {chapter}, {kind}: {reason}"


def kinds_by_chapter(spec: Spec, engines: dict[str, WrongEngine]) -> dict[str, Counter[str]]:
    """How many engines of each kind each chapter has."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for named in _named(spec):
        counts[named.path.parent.name][str(engines[named.name].kind)] += 1
    return counts


def _real_bugs(spec: Spec) -> list[tuple[int, str, str, NamedEngine]]:
    """(number, issue, link, engine) of every engine that rebuilds a bug, by number."""
    return sorted(
        (
            (int(issue[1].partition("#")[2]), issue[1], issue[2], engine)
            for engine in _named(spec)
            for issue in ISSUE.finditer(engine.defect)
        ),
        key=lambda bug: (bug[0], bug[3].name),
    )


def _told(engine: NamedEngine) -> str:
    return f"{_link(engine)}: {REBUILDS.sub('', engine.defect).strip()}"


def _hard(table: Table, spec: Spec) -> Iterator[str]:
    named = {engine.name: engine for engine in _named(spec)}
    yield "| engine | rule | examples that catch it | one of them |"
    yield "| --- | --- | ---: | --- |"
    for name, row in sorted(table.rows.items()):
        rule, _, draw = row.hardest.partition(": ")
        catching, drawn = row.draws.get(rule, (1, 1))
        if catching / drawn < HARD:
            line = " ".join(draw.split()).replace("|", "\\|")
            shown = f"`{line}`" if line and "`" not in line else ""
            yield f"| {_link(named[name])} | `{rule}` | {catching} of {drawn} | {shown} |"


def _rules(table: Table, spec: Spec) -> Iterator[str]:
    alone, catches = _alone(table), Counter(rule for name in table.rows for rule in table.catching(name))
    named = Counter(rule for engine in _named(spec) for rule in engine.caught_by)
    for chapter in sorted({item.path.parent.name for item in spec.items}):
        yield ""
        yield f"### {chapter}"
        yield ""
        yield "| rule | named | caught | alone |"
        yield "| --- | ---: | ---: | ---: |"
        for rule in (rule for rule in table.rules if rule.startswith(f"{chapter}.")):
            _, item, slug = rule.split(".")
            yield f"| [{item}]({chapter}/{item}.md) `{slug}` | {named[rule]} | {catches[rule]} | {alone[rule]} |"


def _link(engine: NamedEngine) -> str:
    path = os.path.relpath(engine.path, PATH.parent).replace(os.sep, "/")
    return f"[`{engine.name}`]({path}#wrong-engines)"
