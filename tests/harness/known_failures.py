"""Known failures: rules that a named torch on a named device is known to break, each with a reason and a link.

An entry carries the smallest example, and only that is run, so that a known failure is the same in every run. When
the example passes, the entry is out of date and the run fails until it is removed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from tests.inputs.expression import IT, Expression

from .problems import Problem, read
from .spec import Spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEADER = re.compile(r"\s*\[\[\s*failure\s*\]\]")
LINE = re.compile(r"at line (\d+)")
ANY = "any"
REQUIRED = ("rule", "device", "torch", "reason", "link", "example")
OPTIONAL = ("test",)


@dataclass(frozen=True)
class KnownFailure:
    """One entry: `device` is a kind ("cuda"), a device ("cuda:1") or "any"; `test` names one of several tests."""

    rule: str
    device: str
    torch: SpecifierSet
    reason: str
    link: str
    example: dict[str, Expression]
    test: str | None
    path: Path
    line: int

    def covers(self, rule: str, test: str, device: str, version: Version) -> bool:
        """Whether this entry is about this test of the rule, here."""
        return (
            rule == self.rule
            and test == (self.test or test)
            and self.device in (ANY, device, device.partition(":")[0])
            and self.torch.contains(version.base_version, prereleases=True)
        )


def read_known_failures(path: Path, spec: Spec) -> list[KnownFailure]:
    """Read the entries. Raises Problem for the first that is not whole; no file means none."""
    if not path.is_file():
        return []
    text = read(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = LINE.search(str(error))  # else it says: at end of document
        raise Problem(path, int(at[1]) if at else len(text.splitlines()), f"not TOML: {error}") from None
    entries = document.pop("failure", [])
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if HEADER.match(line)]
    if document or not isinstance(entries, list) or len(entries) != len(lines):
        raise Problem(path, 1, f"{next(iter(document), 'failure')!r} is not read: begin each entry with [[failure]]")
    return [_read(path, line, entry, spec) for line, entry in zip(lines, entries, strict=True)]


def _read(path: Path, line: int, entry: dict[str, Any], spec: Spec) -> KnownFailure:
    missing = [field for field in REQUIRED if field not in entry or not str(entry[field]).strip()]
    if missing:
        raise Problem(path, line, f"a known failure needs {', '.join(REQUIRED)}: this one lacks {', '.join(missing)}")
    if unknown := sorted(set(entry) - set(REQUIRED) - set(OPTIONAL)):
        raise Problem(
            path, line, f"a known failure has no field {unknown[0]!r}: it has {', '.join(REQUIRED + OPTIONAL)}"
        )
    for field, value in entry.items():
        if not isinstance(value, dict if field == "example" else str):
            kind = "a table, [failure.example]" if field == "example" else "a text: put it between quotes"
            raise Problem(path, line, f"{field} of a known failure is not {kind}")
    if entry["rule"] not in spec.rules:
        raise Problem(path, line, f"{entry['rule']!r} is no rule of spec/")
    try:
        torch_range = SpecifierSet(entry["torch"])
    except InvalidSpecifier:
        raise Problem(path, line, f'torch is {entry["torch"]!r}: write a range such as ">=2.4,<2.6"') from None
    example = {name: _expression(path, line, name, source) for name, source in entry["example"].items()}
    return KnownFailure(
        rule=entry["rule"],
        device=entry["device"],
        torch=torch_range,
        reason=entry["reason"],
        link=entry["link"],
        example=example,
        test=entry.get("test"),
        path=path,
        line=line,
    )


def _expression(path: Path, line: int, name: str, source: Any) -> Expression:
    """A value as one expression, or as a list: the expression, then statements in which {it} is its name."""
    value, *then = source if isinstance(source, list) and source else [source]
    try:
        compile(value, name, "eval")
        compile("\n".join(then).replace(IT, name), name, "exec")
    except (SyntaxError, TypeError) as error:
        raise Problem(path, line, f"{name} of the example is not Python, or not a text: {error}") from None
    return Expression(value, tuple(then))
