"""What is drawn: Python source that builds a value and, unchanged, prints it.

A test draws text, the harness runs the text, and a failure shows the text, so a failing program cannot differ
from what was run. The source may name `torch`, `np`, `math`, and the targets `device` and `dtype`; nothing else.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

LONGEST_LINE = 100
"""A tuple or list that would be printed longer gets a line for each member."""

IT = "{it}"
"""Stands, in a statement of `Expression.then`, for the name that the value is bound to."""


@dataclass(frozen=True)
class Expression:
    """Source of one value, and the statements that put it into an earlier state.

    source: a Python expression.
    then: statements run once the value has its name; `{it}` stands for that name.
    dtypes: the dtypes that the source names outright, as text ("torch.float64"); a device that lacks one cannot
        run this expression.
    facts: what a strategy knows about the value (its shape, say) and other strategies build upon.
    """

    source: str
    then: tuple[str, ...] = ()
    dtypes: frozenset[str] = frozenset()
    facts: dict[str, Any] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return "; ".join((self.source, *(statement.replace(IT, "_") for statement in self.then)))


def expressions_in(value: object) -> Iterator[Expression]:
    """Every expression in a drawn value: itself, or the members of a tuple or list."""
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, tuple | list):
        for member in value:
            yield from expressions_in(member)


def statements(name: str, value: object) -> list[str]:
    """The lines of Python that bind `name` to a drawn value."""
    if isinstance(value, Expression):
        return [f"{name} = {value.source}", *(line.replace(IT, name) for line in value.then)]
    if isinstance(value, tuple | list) and any(expression.then for expression in expressions_in(value)):
        names = [f"{name}_{position}" for position in range(len(value))]
        lines = [line for part, member in zip(names, value, strict=True) for line in statements(part, member)]
        return [*lines, f"{name} = {_bracketed(value, names)}"]
    line = f"{name} = {source_of(value)}"
    if len(line) > LONGEST_LINE and isinstance(value, tuple | list):
        return [f"{name} = {_bracketed(value, [source_of(member) for member in value], one_a_line=True)}"]
    return [line]


def source_of(value: object) -> str:
    """The Python expression for a drawn value that is in no earlier state."""
    if isinstance(value, Expression):
        return value.source
    if isinstance(value, tuple | list):
        return _bracketed(value, [source_of(member) for member in value])
    if isinstance(value, float | complex) and not cmath.isfinite(value):
        return f'{type(value).__name__}("{value}")'
    return repr(value)


def _bracketed(value: tuple[object, ...] | list[object], members: list[str], one_a_line: bool = False) -> str:
    if one_a_line:
        opening, closing = "[]" if isinstance(value, list) else "()"
        return "\n".join([opening, *(f"    {member}," for member in members), closing])
    if isinstance(value, list):
        return f"[{', '.join(members)}]"
    return f"({', '.join(members)}{',' if len(members) == 1 else ''})"


def build(namespace: dict[str, Any], name: str, value: object) -> Any:
    """Run the lines that bind `name` in `namespace` and return what it is bound to."""
    if not any(True for _ in expressions_in(value)):
        return value
    for statement in statements(name, value):  # one by one, because many examples share some of theirs
        exec(_compiled(statement), namespace)
    return namespace[name]


def prepare(name: str, value: object) -> None:
    """Compile what `build` will run, so that processes forked from this one need not."""
    if any(True for _ in expressions_in(value)):
        for statement in statements(name, value):
            _compiled(statement)


@lru_cache(maxsize=2**14)
def _compiled(source: str) -> CodeType:
    return compile(source, "<drawn>", "exec")
