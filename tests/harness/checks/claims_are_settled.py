"""A claim that a program can settle is settled by rules that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class ClaimsAreSettled:
    """A row of a document's page links its rules, unless its verdict is that no program can decide."""

    def problems(self, project: Project) -> Iterator[Problem]:
        rows = Counter(claim.id for claim in project.documents.claims)
        for claim in project.documents.claims:
            if rows[claim.id] > 1:
                yield Problem(claim.path, claim.line, f"claim {claim.id} has more than one row")
            if not claim.rules and claim.verdict != "unsettleable":
                yield Problem(
                    claim.path, claim.line, f"no rule settles claim {claim.id}: link one, or say unsettleable"
                )
            for rule in claim.rules:
                if rule not in project.spec.rules:
                    yield Problem(claim.path, claim.line, f"claim {claim.id} links {rule}, which is no rule")
