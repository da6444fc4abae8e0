"""A wrong engine is said to be caught by rules that exist."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class EnginesNameRules:
    """A slug after "Caught by" is a rule of the same item; a rule of another item is written with its whole id."""

    def problems(self, project: Project) -> Iterator[Problem]:
        for item in project.spec.items:
            for engine in item.engines:
                for rule in engine.caught_by:
                    if rule not in project.spec.rules:
                        yield Problem(
                            engine.path,
                            engine.line,
                            f"{engine.name!r} is said to be caught by {rule!r}, which is no rule",
                        )
