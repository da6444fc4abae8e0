"""The failing program: a test's own body, with what was drawn written in, that needs nothing of ours.

The body is copied as its author wrote it. Names that it takes from its module are brought along: an import as the
import, a constant or an oracle of ours as its definition.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.inputs import circumstances
from tests.inputs.expression import statements

from .problems import ROOT

OURS = "tests."
RAISED = re.compile(r"[\w.]*(Error|Exception|Failed)\b")
SECONDS = 120
"""How long a program may take to fail by itself: the import of torch on a busy machine, mostly."""


def program(body: Callable[..., Any], arguments: dict[str, Any], backends: Iterable[str] = (), block: str = "") -> str:
    """The source of a program that does what `body(**arguments)` did; block: source of a context manager around it."""
    carried = _Carried()
    lines = _body_lines(body, carried)
    if block:
        _carry(_taken(ast.parse(block)), circumstances, carried)
    drawn = [
        line
        for name, value in arguments.items()
        if name in _names(lines) or _later(name, arguments)
        for line in _statements(name, value)
    ]
    for name in sorted(_names([*drawn, *lines])):
        if name in _MODULES:
            carried.imports.add(_MODULES[name])
    carried.imports.add("import torch")
    carried.imports.update(f"import {module}" for module in backends)
    done = "\n\n".join(part for part in ("\n".join(drawn), "\n".join(lines)) if part)
    if block:
        done = f"with {block}:\n" + textwrap.indent(done, " " * 4)
    parts = ["\n".join(_ordered(carried.imports)), *carried.definitions, done]
    return "\n\n".join(part for part in parts if part) + "\n"


_MODULES = {"np": "import numpy as np", "math": "import math"}


def _statements(name: str, value: Any) -> list[str]:
    if name == "device":
        return [f'device = "{value}"']
    return statements(name, value)


def _later(name: str, arguments: dict[str, Any]) -> bool:
    """Whether what was drawn for other arguments uses this one."""
    return any(
        name in _names(statements(other, value))
        for other, value in arguments.items()
        if other != name and other != "device"
    )


def _names(lines: list[str]) -> set[str]:
    return {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}


def _ordered(imports: Iterable[str]) -> list[str]:
    return sorted(imports, key=lambda line: (not _is_stdlib(line), line.startswith("from "), line))


def _is_stdlib(line: str) -> bool:
    return line.split()[1].partition(".")[0] in sys.stdlib_module_names


@dataclass
class _Carried:
    """What a body needs from its module."""

    imports: set[str] = field(default_factory=set)
    definitions: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)


def _body_lines(body: Callable[..., Any], carried: _Carried) -> list[str]:
    source = textwrap.dedent(inspect.getsource(body))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    lines = source.splitlines()[first.lineno - 1 :]
    if isinstance(first, ast.With | ast.FunctionDef) and getattr(first, "decorator_list", None):
        lines = source.splitlines()[first.decorator_list[0].lineno - 1 :]  # type: ignore[union-attr]
    own = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    _carry(_taken(ast.Module(function.body, [])) - own, sys.modules[body.__module__], carried)
    return textwrap.dedent("\n".join(lines)).splitlines()


def _taken(code: ast.AST) -> set[str]:
    """The names that code takes from around it: a local name may be that of something global."""
    names = [node for node in ast.walk(code) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(code) if isinstance(node, ast.arg)}
    return {node.id for node in names} - own


def _carry(names: set[str], module: types.ModuleType, carried: _Carried) -> None:
    """Bring along what defines these global names of a module."""
    for name in sorted(names):
        statement = _top_level(module).get(name)
        if statement is None or (module.__name__, name) in carried.seen:
            continue
        carried.seen.add((module.__name__, name))
        if isinstance(statement, ast.Import | ast.ImportFrom):
            alias = next(alias for alias in statement.names if (alias.asname or alias.name.partition(".")[0]) == name)
            if isinstance(statement, ast.ImportFrom) and f"{_home(statement, module)}.".startswith(OURS):
                _carry({alias.name}, importlib.import_module(_home(statement, module)), carried)
                carried.definitions += [f"{name} = {alias.name}"] if name != alias.name else []
            else:
                carried.imports.add(_import_line(statement, alias))
        else:
            _carry(_taken(statement), module, carried)
            segment = _segment(module, statement)
            if segment not in carried.definitions:  # one statement may bind two of the names
                carried.definitions.append(segment)


def _home(statement: ast.ImportFrom, module: types.ModuleType) -> str:
    """The module that an import statement of a module imports from."""
    return importlib.util.resolve_name("." * statement.level + (statement.module or ""), module.__package__)


def _import_line(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    renamed = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
    return f"from {statement.module} import {renamed}" if isinstance(statement, ast.ImportFrom) else f"import {renamed}"


@cache
def _top_level(module: types.ModuleType) -> dict[str, ast.stmt]:
    """The statement that binds each global name of a module."""
    bound: dict[str, ast.stmt] = {}
    for statement in ast.parse(inspect.getsource(module)).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            bound[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            bound[statement.target.id] = statement
        elif isinstance(statement, ast.Assign):
            targets = [node for target in statement.targets for node in ast.walk(target)]
            bound.update((node.id, statement) for node in targets if isinstance(node, ast.Name))
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                bound[alias.asname or alias.name.partition(".")[0]] = statement
    return bound


def _segment(module: types.ModuleType, statement: ast.stmt) -> str:
    lines = inspect.getsource(module).splitlines()
    decorators = getattr(statement, "decorator_list", [])
    start = decorators[0].lineno if decorators else statement.lineno
    return "\n".join(lines[start - 1 : statement.end_lineno])


def run(source: str) -> str:
    """Run the program in a process of its own; one line that says whether it fails there too, and how."""
    # Backends beside the checkout are found as they were found by this process.
    paths = os.pathsep.join(entry for entry in sys.path if entry and Path(entry) != ROOT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.py")
        path.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, path.name],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except subprocess.TimeoutExpired:
            return f"Run by itself it was still running after {SECONDS} s."
    if done.returncode == 0:
        return "Run by itself it does not fail: the failure needs something that happened earlier in the run."
    if done.returncode < 0:
        return f"Run by itself it dies of signal {-done.returncode}."
    raised = [line for line in done.stderr.splitlines() if RAISED.match(line)] or [f"exit status {done.returncode}"]
    return f"Run by itself it fails too: {raised[-1]}"
