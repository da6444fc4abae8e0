"""A test speaks for one rule, under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class TestsSpeakForOneRule:
    """Of two rules above a test only one would get its verdict; of two tests of one name only one would run."""

    __test__ = False  # the name is a sentence, not a class of tests

    def problems(self, project: Project) -> Iterator[Problem]:
        seen = {(binding.path, binding.test): binding for binding in reversed(project.bindings)}
        for binding in project.bindings:
            first = seen[binding.path, binding.test]
            if binding is first:
                continue
            if binding.line == first.line:
                yield Problem(
                    binding.path, binding.line, f"{binding.test} is bound to two rules: write a test for each"
                )
            else:
                yield Problem(
                    binding.path, binding.line, f"a second {binding.test}, which hides the first: give it another name"
                )
