"""A rule has a wrong engine that its tests catch."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class RulesHaveEngines:
    """A rule that nothing can make fail says nothing; `pytest tests/meta` runs the engines that are named here."""

    def problems(self, project: Project) -> Iterator[Problem]:
        caught = {rule for item in project.spec.items for engine in item.engines for rule in engine.caught_by}
        for rule in project.spec.rules.values():
            if rule.id not in caught:
                yield Problem(
                    rule.path,
                    rule.line,
                    f"no wrong engine is caught by rule {rule.id}: name one under ## Wrong engines",
                )
