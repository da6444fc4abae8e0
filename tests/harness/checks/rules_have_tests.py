"""A rule has a test."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class RulesHaveTests:
    """A sentence that nothing checks is a promise of the suite that it does not keep."""

    def problems(self, project: Project) -> Iterator[Problem]:
        bound = {binding.rule for binding in project.bindings}
        for rule in project.spec.rules.values():
            if rule.id not in bound:
                yield Problem(rule.path, rule.line, f'rule {rule.id} has no test: write one below @rule("{rule.id}")')
