"""Reads `spec/documents/`: the tutorials' claims, our verdict on each, and the rules that settle it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .problems import Problem, read

VERDICTS = ("holds", "conditional", "refuted", "unsettleable")
ROW = re.compile(r"\|\s*[Dd]\d+\b")
CLAIM = re.compile(r"(D\d+)-\d+")
LINK = re.compile(r"\[[^\]]*\]\((?P<file>[^)#]+)#(?P<slug>[^)]+)\)")
QUALIFIERS = re.compile(r"(?:-observed)?(?:-since-\d+)?$")
"""What the qualifiers of a heading add to its anchor: `flag` (observed) is found at #flag-observed."""


@dataclass(frozen=True)
class Claim:
    """One row of a document's page."""

    id: str
    verdict: str
    rules: tuple[str, ...]
    path: Path
    line: int


@dataclass(frozen=True)
class Documents:
    """The claims of every page, and what could not be read."""

    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]


def read_documents(root: Path) -> Documents:
    """Read the tables of `spec/documents/*.md`; a row is `| id | where | claim | verdict | settled by |`."""
    claims: list[Claim] = []
    problems: list[Problem] = []
    for path in sorted((root / "documents").glob("*.md")):
        try:
            lines = read(path).splitlines()
        except Problem as problem:
            problems.append(problem)
            lines = []
        for number, line in enumerate(lines, start=1):
            if ROW.match(line):
                try:
                    claims.append(_read_row(path, number, line))
                except Problem as problem:
                    problems.append(problem)
    return Documents(tuple(claims), tuple(problems))


def _read_row(path: Path, number: int, line: str) -> Claim:
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    if len(cells) != 5:
        raise Problem(
            path, number, f"a row has five cells, this one {len(cells)}: id, where, claim, verdict, settled by"
        )
    identifier, _, _, verdict, settled_by = cells
    name = CLAIM.fullmatch(identifier)
    if name is None or name[1] != path.stem:
        raise Problem(path, number, f"{identifier!r} is no claim of this page: its claims are {path.stem}-1, and so on")
    verdict = verdict.strip("*")
    if verdict not in VERDICTS:
        raise Problem(path, number, f"verdict is {verdict!r}: say one of {', '.join(VERDICTS)}")
    folder = str(path.parent)
    rules = tuple(_rule_of(folder, path, number, match) for match in LINK.finditer(settled_by))
    return Claim(identifier, verdict, rules, path, number)


def _rule_of(folder: str, path: Path, number: int, link: re.Match[str]) -> str:
    # Text, not paths: there are thousands of links.
    target = os.path.normpath(os.path.join(folder, link["file"]))
    if not os.path.isfile(target):
        raise Problem(path, number, f"the link {link['file']} leads to no file")
    chapter, item = target.split(os.sep)[-2:]
    return f"{chapter}.{item.removesuffix('.md')}.{QUALIFIERS.sub('', link['slug'])}"
