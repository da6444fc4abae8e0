"""A test names a rule that exists."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class RulesExist:
    """An id that no item has is a typing error, or a rule whose heading was lost."""

    def problems(self, project: Project) -> Iterator[Problem]:
        for binding in project.bindings:
            if binding.rule is not None and binding.rule not in project.spec.rules:
                yield Problem(
                    binding.path,
                    binding.line,
                    f"{binding.test} is bound to {binding.rule!r}, which no item in spec/ has",
                )
