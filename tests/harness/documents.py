"""Reads `spec/documents/`: the tutorials' claims, our verdict on each, and the rules that settle it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .problems import Problem, read

VERDICTS = ("holds", "conditional", "refuted", "unsettleable")
ELSEWHERE = "not torch"
"""Follows the verdict of a claim about something else, such as Python, on which torches cannot differ."""
CELLS = ("id", "where", "claim", "verdict", "settled by", "as told")
ROW = re.compile(r"\|\s*[Dd]\d+\b")
CLAIM = re.compile(r"(D\d+)-\d+")
LINK = re.compile(r"\[[^\]]*\]\((?P<file>[^)#]+)#(?P<slug>[^)]+)\)")
CODE_LINK = re.compile(r"\[`(?P<name>[^`\]]*)`\]\((?P<file>[^)#]+)#wrong-engines\)")
QUALIFIERS = re.compile(r"(?:-observed)?(?:-since-\d+)?$")
"""What the qualifiers of a heading add to its anchor: `flag` (observed) is found at #flag-observed."""


@dataclass(frozen=True)
class Claim:
    """One row of a document's page.

    rules: those that settle it. reason: the words of that cell, where no rule does.
    engines: torches that behave as the document says, each with the id of the item that describes it.
    elsewhere: the claim is not about torch.
    """

    id: str
    verdict: str
    rules: tuple[str, ...]
    path: Path
    line: int
    reason: str = ""
    engines: tuple[tuple[str, str], ...] = ()
    elsewhere: bool = False

    @property
    def document(self) -> str:
        return self.id.partition("-")[0]

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[2])


@dataclass(frozen=True)
class Documents:
    """The claims of every page, and what could not be read."""

    claims: tuple[Claim, ...]
    problems: tuple[Problem, ...]


def read_documents(root: Path) -> Documents:
    """Read the tables of `spec/documents/*.md`; a row is `| id | where | claim | verdict | settled by | as told |`."""
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
    if len(cells) != len(CELLS):
        raise Problem(path, number, f"a row has {len(CELLS)} cells, this one {len(cells)}: {', '.join(CELLS)}")
    identifier, _, _, said, settled_by, as_told = (cell.replace("**", "") for cell in cells)
    name = CLAIM.fullmatch(identifier)
    if name is None or name[1] != path.stem:
        raise Problem(path, number, f"{identifier!r} is no claim of this page: its claims are {path.stem}-1, and so on")
    verdict, comma, qualifier = said.partition(", ")
    if verdict not in VERDICTS or (comma and qualifier != ELSEWHERE):
        choices = ", ".join(VERDICTS)
        raise Problem(path, number, f"verdict is {said!r}: say one of {choices}; then, if it applies, {ELSEWHERE!r}")
    folder = str(path.parent)
    rules = tuple(_rule_of(folder, path, number, match) for match in LINK.finditer(settled_by))
    engines = tuple(
        (match["name"], ".".join(_place_of(folder, path, number, match["file"])))
        for match in CODE_LINK.finditer(as_told)
    )
    if as_told and not engines:
        raise Problem(path, number, "the last cell names wrong engines: [`name`](../CHAPTER/ITEM.md#wrong-engines)")
    return Claim(identifier, verdict, rules, path, number, "" if rules else settled_by, engines, bool(qualifier))


def _rule_of(folder: str, path: Path, number: int, link: re.Match[str]) -> str:
    chapter, item = _place_of(folder, path, number, link["file"])
    return f"{chapter}.{item}.{QUALIFIERS.sub('', link['slug'])}"


def _place_of(folder: str, path: Path, number: int, file: str) -> list[str]:
    # Text, not paths: there are thousands of links.
    target = os.path.normpath(os.path.join(folder, file))
    if not os.path.isfile(target):
        raise Problem(path, number, f"the link {file} leads to no file")
    return target.removesuffix(".md").split(os.sep)[-2:]
