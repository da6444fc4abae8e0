"""A test has a rule."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class TestsHaveRules:
    """A test that no sentence explains cannot be judged; tests of the suite itself stand in tests/meta."""

    __test__ = False  # the name is a sentence, not a class of tests

    def problems(self, project: Project) -> Iterator[Problem]:
        for binding in project.bindings:
            if binding.rule is None:
                yield Problem(
                    binding.path, binding.line, f'{binding.test} is bound to no rule: put @rule("...") above it'
                )
