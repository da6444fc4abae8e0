"""Items, tests and wrong engines mirror each other: who has one knows where the others are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..problems import Problem
from ..project import Project
from ..spec import Item


class Mirrored:
    """spec/chapter/one-item.md, tests/chapter/test_one_item.py, tests/wrong_engines/chapter/one_item.py."""

    def problems(self, project: Project) -> Iterator[Problem]:
        tests = {item.path: self._test_of(project, item.path) for item in project.spec.items}
        mirrors, there = set(tests.values()), set(project.test_files)
        for item, test in tests.items():
            if test not in there:
                yield Problem(item, 1, f"the item has no mirror: its tests belong in {_from(project, test)}")
        for test in project.test_files:
            if test.parent.parent != project.tests or not test.name.startswith("test_"):
                yield Problem(test, 1, "the tests have no place: write tests/CHAPTER/test_ITEM.py")
            elif test not in mirrors:
                item = project.root / "spec" / test.parent.name / f"{_kebab(test.stem.removeprefix('test_'))}.md"
                yield Problem(test, 1, f"the tests have no mirror: their item belongs in {_from(project, item)}")
        rules = project.spec.rules
        for binding in project.bindings:
            rule = rules.get(binding.rule or "")
            if rule is not None and tests[rule.path] != binding.path:
                yield Problem(
                    binding.path, binding.line, f"{binding.test} belongs in {_from(project, tests[rule.path])}"
                )
        yield from self._engines(project)

    def _test_of(self, project: Project, item: Path) -> Path:
        return project.tests / item.parent.name / f"test_{item.stem.replace('-', '_')}.py"

    def _engines(self, project: Project) -> Iterator[Problem]:
        homes: dict[str, Path] = {}
        for item in project.spec.items:
            homes.update(dict.fromkeys((engine.name for engine in item.engines), self._engines_of(project, item)))
        for engine in project.engines:
            home = homes.get(engine.name)
            if home is not None and engine.path != home:
                yield Problem(engine.path, engine.line, f"engine {engine.name!r} belongs in {_from(project, home)}")

    def _engines_of(self, project: Project, item: Item) -> Path:
        return project.tests / "wrong_engines" / item.path.parent.name / f"{item.path.stem.replace('-', '_')}.py"


def _from(project: Project, path: Path) -> str:
    return path.relative_to(project.root).as_posix()


def _kebab(name: str) -> str:
    return name.replace("_", "-")
