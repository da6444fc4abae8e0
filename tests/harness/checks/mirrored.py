"""Items, tests and wrong engines mirror each other: who has one knows where the others are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bindings import NOT_CHAPTERS, test_paths
from ..problems import Problem
from ..project import Project


class Mirrored:
    """spec/chapter/one-item.md, tests/chapter/test_one_item.py, tests/wrong_engines/chapter/one_item.py."""

    def problems(self, project: Project) -> Iterator[Problem]:
        rules = project.spec.rules
        expected = {item.path: self._test_of(project, item.path) for item in project.spec.items}
        for item, test in expected.items():
            if not test.is_file():
                yield Problem(item, 1, f"the item has no mirror: its tests belong in {_from(project, test)}")
        for test in test_paths(project.tests):
            if test not in expected.values() and test.parent.name not in NOT_CHAPTERS:
                item = project.root / "spec" / test.parent.name / f"{_kebab(test.stem.removeprefix('test_'))}.md"
                yield Problem(test, 1, f"the tests have no mirror: their item belongs in {_from(project, item)}")
        for binding in project.bindings:
            rule = rules.get(binding.rule or "")
            if rule is not None and expected[rule.path] != binding.path:
                yield Problem(
                    binding.path, binding.line, f"{binding.test} belongs in {_from(project, expected[rule.path])}"
                )
        yield from self._engines(project)

    def _test_of(self, project: Project, item: Path) -> Path:
        return project.tests / item.parent.name / f"test_{item.stem.replace('-', '_')}.py"

    def _engines(self, project: Project) -> Iterator[Problem]:
        homes = {engine.name: item.path for item in project.spec.items for engine in item.engines}
        for engine in project.engines:
            home = homes.get(engine.name)
            if home is None:
                continue
            place = project.tests / "wrong_engines" / home.parent.name / f"{home.stem.replace('-', '_')}.py"
            if engine.path != place:
                yield Problem(engine.path, engine.line, f"engine {engine.name!r} belongs in {_from(project, place)}")


def _from(project: Project, path: Path) -> str:
    return path.relative_to(project.root).as_posix()


def _kebab(name: str) -> str:
    return name.replace("_", "-")
