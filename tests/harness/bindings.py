"""Binds tests to rules: the decorator, and a reading of the test files that needs no import.

The files are read as text so that every check holds when only a part of the suite is collected, and so that it
costs a few milliseconds: a binding is a line of a fixed form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])

RULE_OF = "conformance_rule"
NOT_CHAPTERS = ("meta", "benchmarks")

TEST_FILE = re.compile(r"test_.*|.*_test")
"""The stems of the files in which pytest looks for tests; it also looks for them in classes."""

BINDING = re.compile(r'^[ \t]*@rule\("([^"]*)"\)', re.MULTILINE)
DEFINITION = re.compile(r"^[ \t]*(?:async )?def (test_\w+)", re.MULTILINE)
ENGINE = re.compile(r'^@wrong_engine\(\s*"([^"]*)"', re.MULTILINE)


def rule(identifier: str) -> Callable[[Test], Test]:
    """Bind a test to the rule with this id; several tests may bind one rule. Stands above `@given`."""

    def bind(test: Test) -> Test:
        from . import realise  # imports torch, and without torch the harness still has to say so

        bound: Test = realise.realising(test)
        setattr(bound, RULE_OF, identifier)
        return bound

    return bind


@dataclass(frozen=True)
class Binding:
    """A test function and the rule it is bound to, if any."""

    test: str
    rule: str | None
    path: Path
    line: int


@dataclass(frozen=True)
class Engine:
    """A wrong engine where it is defined."""

    name: str
    path: Path
    line: int


def test_paths(tests: Path) -> list[Path]:
    """The test files of every chapter, and those that stand where no chapter is."""
    top = len(tests.parts)
    return sorted(
        path
        for path in tests.rglob("*test*.py")
        if TEST_FILE.fullmatch(path.stem) and path.parts[top] not in NOT_CHAPTERS
    )


def engine_paths(tests: Path) -> list[Path]:
    """The files of wrong engines."""
    return sorted((tests / "wrong_engines").glob("*/*.py"))


def bindings_in(path: Path) -> Iterator[Binding]:
    """Every test function of one file."""
    text = path.read_text(encoding="utf-8", errors="replace")  # what is not UTF-8 Python itself will refuse
    line, end_of_previous = 1, 0
    for definition in DEFINITION.finditer(text):
        line += text.count("\n", end_of_previous, definition.start())
        decorators = BINDING.findall(text, end_of_previous, definition.start())
        for identifier in decorators or [None]:
            yield Binding(definition[1], identifier, path, line)
        end_of_previous = definition.end()


def engines_in(path: Path) -> Iterator[Engine]:
    """Every wrong engine of one file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for match in ENGINE.finditer(text):
        yield Engine(match[1], path, text.count("\n", 0, match.start()) + 1)
