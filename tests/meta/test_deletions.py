"""Nothing of this project can be lost unseen: whatever is taken out of a copy of it, the checks name."""

from __future__ import annotations

import ast
import shutil
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.harness import bindings
from tests.harness.checks import problems_of
from tests.harness.problems import ROOT, Problem
from tests.harness.project import Project, read_project
from tests.harness.spec import NamedEngine, read_item


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of this project that may be damaged. Only files that its checks read are there."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "spec", root / "spec")
    shutil.copytree(ROOT / "tests", root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    copied = read_project(root)
    assert problems_of(copied) == []
    return copied


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def problems_without(project: Project, path: Path, first: int, last: int) -> str:
    """What is told of the project when these lines (counted from 1) of one of its files are gone.

    Only that file is read again: to read all for each deletion would take minutes.
    """
    lines = lines_of(path)
    path.write_text("\n".join(lines[: first - 1] + lines[last:]), encoding="utf-8")
    try:
        return "\n".join(map(str, problems_of(read_again(project, path))))
    finally:
        path.write_text("\n".join(lines), encoding="utf-8")


def read_again(project: Project, path: Path) -> Project:
    if path.suffix == ".py":
        return replace(
            project,
            bindings=(*(other for other in project.bindings if other.path != path), *bindings.bindings_in(path)),
            engines=(*(other for other in project.engines if other.path != path), *bindings.engines_in(path)),
        )
    others = tuple(item for item in project.spec.items if item.path != path)
    try:
        spec = replace(project.spec, items=(*others, read_item(path)))
    except Problem as problem:
        spec = replace(project.spec, items=others, problems=(problem,))
    return replace(project, spec=spec)


@cache
def functions_in(path: Path) -> dict[str, tuple[int, int]]:
    """The first line, decorators included, and the last of each function of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: (min(line.lineno for line in (node, *node.decorator_list)), node.end_lineno or node.lineno)
        for node in functions
    }


def test_the_rule_of_a_deleted_test_is_named(project: Project) -> None:
    """Where a rule has another test, it is an engine that tells: the one which only the deleted test caught."""
    tests_of = Counter(binding.rule for binding in project.bindings)
    for binding in project.bindings:
        if tests_of[binding.rule] == 1:
            lines = functions_in(binding.path)[binding.test]
            assert f"rule {binding.rule} has no test" in problems_without(project, binding.path, *lines)


def test_a_deleted_rule_is_named(project: Project) -> None:
    for item in project.spec.items:
        for rule in item.rules:
            problems = problems_without(project, rule.path, rule.line, rule.line)
            if len(item.rules) > 1:
                assert f"bound to '{rule.id}', which no item in spec/ has" in problems
            else:
                assert f"{item.path}:1: no rule" in problems


def test_a_deleted_engine_is_named(project: Project) -> None:
    for engine in project.engines:
        lines = next(span for span in functions_in(engine.path).values() if span[0] == engine.line)
        problems = problems_without(project, engine.path, *lines)
        assert f"wrong engine {engine.name!r} does not exist" in problems


def test_an_engine_that_its_item_no_longer_names_is_named(project: Project) -> None:
    for item in project.spec.items:
        for engine in item.engines:
            problems = problems_without(project, engine.path, engine.line, last_line(engine))
            assert f"no item names wrong engine {engine.name!r}" in problems


def last_line(engine: NamedEngine) -> int:
    """The last line of the list entry that names the engine."""
    following = lines_of(engine.path)[engine.line :]
    entry = next((n for n, line in enumerate(following) if not line.startswith("  ")), len(following))
    return engine.line + entry
