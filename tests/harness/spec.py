"""Reads `spec/`: Markdown files into items, rules and the wrong engines that they name, each with file and line.

Only block structure is read (front matter, headings, paragraphs, list items); inline text stays as written, because
nothing here depends on it but the code spans in a heading or in a list of engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.version import InvalidVersion, Version

from .problems import Problem, read

DEVICES = ("all", "cpu", "accelerator")
STATUSES = ("promised", "observed")
FIELDS = {"id", "title", "claims", "since", "status", "devices"}
REQUIRED = ("id", "title", "claims", "devices")
HEADING = re.compile(r"`(?P<slug>[a-z0-9]+(?:-[a-z0-9]+)*)`(?: \((?P<qualifiers>[^)]*)\))?")
CODE_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Rule:
    """One testable sentence about every input. Its id never changes and is never reused."""

    id: str
    sentence: str
    path: Path
    line: int
    observed: bool
    since: Version | None
    devices: str


@dataclass(frozen=True)
class NamedEngine:
    """A wrong engine as an item names it: what it breaks, and the rules that catch it."""

    name: str
    defect: str
    caught_by: tuple[str, ...]
    path: Path
    line: int


@dataclass(frozen=True)
class Item:
    """One Markdown file: a promise of autograd, its rules, and the engines that break them."""

    id: str
    title: str
    claims: tuple[str, ...]
    path: Path
    rules: tuple[Rule, ...]
    engines: tuple[NamedEngine, ...]

    @property
    def chapter(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Spec:
    """Every item of a `spec/` folder, and what could not be read of it."""

    root: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...]

    @cached_property
    def rules(self) -> dict[str, Rule]:
        return {rule.id: rule for item in self.items for rule in item.rules}


def read_spec(root: Path) -> Spec:
    """Read every item below `root`; README.md and the documents' pages are not items."""
    items: list[Item] = []
    problems: list[Problem] = []
    for path in item_paths(root):
        try:
            items.append(read_item(path))
        except Problem as problem:
            problems.append(problem)
    return Spec(root, tuple(items), tuple(problems))


def item_paths(root: Path) -> list[Path]:
    """The files of `spec/CHAPTER/ITEM.md`, in the order in which a reader meets them."""
    return sorted(path for path in root.glob("*/*.md") if path.parent.name != "documents" and path.name != "README.md")


def read_item(path: Path) -> Item:
    """Read one item. Raises Problem for the first thing that makes it unreadable."""
    header, body, first_line = _split_front_matter(path, read(path))
    sections = _sections(path, _blocks(body), first_line)
    rules = tuple(_rules(path, header, sections))
    engines = tuple(_engines(path, header["id"], sections))
    return Item(header["id"], header["title"], tuple(header["claims"]), path, rules, engines)


def _split_front_matter(path: Path, text: str) -> tuple[dict[str, Any], str, int]:
    lines = text.split("\n")
    if lines[0] != "---" or "---" not in lines[1:]:
        raise Problem(path, 1, "no front matter: start the file with a block between two lines of ---")
    end = lines.index("---", 1)
    try:
        header = yaml.load("\n".join(lines[1:end]), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 2
        raise Problem(path, line, f"front matter is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML forbids, a date that no calendar has
        raise Problem(path, 1, f"front matter is not YAML: {' '.join(str(error).split())}") from None
    _check_header(path, header, lines[:end])
    return header, "\n".join(lines[end + 1 :]), end + 1


def _check_header(path: Path, header: object, lines: list[str]) -> None:
    def problem(field: str, text: str) -> Problem:
        line = next((number for number, line in enumerate(lines, start=1) if line.startswith(f"{field}:")), 1)
        return Problem(path, line, text)

    if not isinstance(header, dict):
        raise Problem(path, 1, "front matter is not a list of `field: value` lines")
    if missing := [field for field in REQUIRED if field not in header]:
        raise Problem(path, 1, f"front matter lacks {', '.join(missing)}")
    if unknown := sorted(str(field) for field in set(header) - FIELDS):
        raise problem(
            unknown[0], f"front matter has an unknown field {unknown[0]}: the fields are {', '.join(sorted(FIELDS))}"
        )
    expected = f"{path.parent.name}.{path.stem}"
    if header["id"] != expected:
        raise problem("id", f"id is {header['id']!r}, but in this place it is {expected!r}")
    if not isinstance(header["title"], str):
        raise problem("title", "title is not a text: put it between quotes")
    claims = header["claims"]
    if not isinstance(claims, list) or not all(isinstance(claim, str) for claim in claims):
        raise problem("claims", "claims is not a list of claim ids such as [D1-30]; use [] for none")
    if header["devices"] not in DEVICES:
        raise problem("devices", f"devices is {header['devices']!r}: say one of {', '.join(DEVICES)}")
    if header.get("status", "promised") not in STATUSES:
        raise problem("status", f"status is {header['status']!r}: say one of {', '.join(STATUSES)}")
    _version(path, problem("since", "").line, header.get("since"))


def _version(path: Path, line: int, since: object) -> Version | None:
    if since is None:
        return None
    try:
        return Version(since)  # type: ignore[arg-type]  # a number, where quotes were forgotten, is a TypeError
    except (InvalidVersion, TypeError):
        raise Problem(path, line, f'since is {since!r}: write a version of torch in quotes, such as "2.2"') from None


_MARKDOWN = MarkdownIt("commonmark")
_MARKDOWN.core.ruler.enableOnly(["normalize", "block"])
# An item is made of these; to look for anything else on each line would cost as much again. HTML may be a comment.
_MARKDOWN.block.ruler.enableOnly(["heading", "paragraph", "list", "fence", "code", "html_block"])


def _blocks(body: str) -> list[Token]:
    return _MARKDOWN.parse(body)


@dataclass
class _Section:
    level: int
    heading: str
    line: int
    texts: list[tuple[int, str]]


def _sections(path: Path, blocks: list[Token], first_line: int) -> list[_Section]:
    """The document as headings, each with the paragraphs (of lists too) that follow it."""
    sections: list[_Section] = []
    heading_level = 0
    for block in blocks:
        if block.type == "heading_open":
            heading_level = int(block.tag[1])
        elif block.type == "inline" and block.map:
            line = block.map[0] + first_line + 1
            if heading_level:
                sections.append(_Section(heading_level, block.content, line, []))
                heading_level = 0
            elif sections:
                sections[-1].texts.append((line, " ".join(block.content.split())))
    return sections


def _under(sections: list[_Section], title: str) -> Iterator[_Section]:
    """The section of that name, then its subsections."""
    inside = False
    for section in sections:
        if section.level <= 2:
            inside = section.heading == title
        if inside:
            yield section


def _rules(path: Path, header: dict[str, Any], sections: list[_Section]) -> Iterator[Rule]:
    seen: set[str] = set()
    for section in _under(sections, "Rules"):
        if section.level != 3:
            continue
        heading = HEADING.fullmatch(section.heading)
        if heading is None:
            raise Problem(path, section.line, "a rule's heading is ### `slug`, or ### `slug` (observed, since 2.2)")
        slug = heading["slug"]
        if slug in seen:
            raise Problem(path, section.line, f"a second rule `{slug}`: an id names one rule")
        seen.add(slug)
        if not section.texts:
            raise Problem(path, section.line, f"rule `{slug}` has no sentence below its heading")
        observed, since = _qualifiers(path, section.line, heading["qualifiers"])
        yield Rule(
            id=f"{header['id']}.{slug}",
            sentence=section.texts[0][1],
            path=path,
            line=section.line,
            observed=observed or header.get("status") == "observed",
            since=since or _version(path, 1, header.get("since")),
            devices=str(header["devices"]),
        )
    if not seen:
        raise Problem(path, 1, "no rule: write a section ## Rules with a heading ### `slug` and a sentence")


def _qualifiers(path: Path, line: int, text: str | None) -> tuple[bool, Version | None]:
    observed, since = False, None
    for qualifier in (text or "").split(", ") if text else []:
        if qualifier == "observed":
            observed = True
        elif qualifier.startswith("since "):
            since = _version(path, line, qualifier.removeprefix("since "))
        else:
            raise Problem(path, line, f"({qualifier}) is no qualifier of a rule: say observed, or since 2.2")
    return observed, since


def _engines(path: Path, item: object, sections: list[_Section]) -> Iterator[NamedEngine]:
    for section in _under(sections, "Wrong engines"):
        for line, text in section.texts:
            before, caught, after = text.partition("Caught by ")
            name = CODE_SPAN.match(before)
            slugs = CODE_SPAN.findall(after)
            if name is None or not caught or not slugs:
                raise Problem(path, line, "a wrong engine reads - `name`: its defect. Caught by `slug`.")
            rules = tuple(slug if "." in slug else f"{item}.{slug}" for slug in slugs)
            yield NamedEngine(name[1], before[name.end() :].strip(" :"), rules, path, line)
