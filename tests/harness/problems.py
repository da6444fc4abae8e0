"""What is wrong with the project's own files: one line each, with the place and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_CONFORMANCE = (ROOT / "tests" / "meta", ROOT / "tests" / "benchmarks")
"""Tests of the suite itself and benchmarks: neither is part of a conformance run."""


@dataclass(order=True, unsafe_hash=True)
class Problem(Exception):
    """A file of the project breaks one of its rules."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{shown(self.path)}:{self.line}: {self.text}"


def shown(path: Path) -> str:
    """The path as a reader would type it: from the top of the checkout, with forward slashes."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()


def read(path: Path) -> str:
    """The text of a file. Raises Problem if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Problem(path, line, "not UTF-8: save the file in that encoding") from None
