"""Binds tests to rules: the decorator, and a reading of the test files that needs no import.

The files are read as text so that every check holds when only a part of the suite is collected, and so that it
costs a few milliseconds: a binding is a line of a fixed form at the start of a line.
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

BINDING = re.compile(r'^@rule\("([^"]*)"\)', re.MULTILINE)
DEFINITION = re.compile(r"^def (test_\w+)", re.MULTILINE)
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
    """The test files of every chapter."""
    return sorted(path for path in tests.glob("*/test_*.py") if path.parent.name not in NOT_CHAPTERS)


def read_bindings(tests: Path) -> list[Binding]:
    """Every test function of every chapter."""
    return [binding for path in test_paths(tests) for binding in _bindings_of(path)]


def _bindings_of(path: Path) -> Iterator[Binding]:
    text = path.read_text(encoding="utf-8")
    end_of_previous = 0
    for definition in DEFINITION.finditer(text):
        decorators = BINDING.findall(text, end_of_previous, definition.start())
        line = text.count("\n", 0, definition.start()) + 1
        for identifier in decorators or [None]:
            yield Binding(definition[1], identifier, path, line)
        end_of_previous = definition.end()


def read_engines(tests: Path) -> list[Engine]:
    """Every wrong engine that is defined below `tests/wrong_engines`."""
    return [
        Engine(match[1], path, text.count("\n", 0, match.start()) + 1)
        for path in sorted((tests / "wrong_engines").glob("*/*.py"))
        for text in [path.read_text(encoding="utf-8")]
        for match in ENGINE.finditer(text)
    ]
