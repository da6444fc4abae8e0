"""An id that was retired is never used again."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class RetiredStayRetired:
    """Old reports name retired ids; a new rule under an old id would be compared with another sentence."""

    def problems(self, project: Project) -> Iterator[Problem]:
        for rule in project.spec.rules.values():
            if rule.id in project.retired:
                yield Problem(rule.path, rule.line, f"{rule.id} is retired (spec/retired.md): give the rule a new slug")
