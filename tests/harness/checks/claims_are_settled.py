"""A claim that a program can settle is settled by rules that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..documents import ELSEWHERE
from ..problems import Problem
from ..project import Project


class ClaimsAreSettled:
    """A row of a document's page links its rules; or it says in words why no rule can settle it."""

    def problems(self, project: Project) -> Iterator[Problem]:
        rows = Counter(claim.id for claim in project.documents.claims)
        for claim in project.documents.claims:
            if rows[claim.id] > 1:
                yield Problem(claim.path, claim.line, f"claim {claim.id} has more than one row")
            if not claim.rules and not (claim.verdict == "unsettleable" or claim.elsewhere):
                text = f"no rule settles claim {claim.id}: link one, or say unsettleable, or {ELSEWHERE!r}"
                yield Problem(claim.path, claim.line, text)
            elif not claim.rules and not claim.reason:
                text = f"no rule settles claim {claim.id}, and nothing says why: write the reason in that cell"
                yield Problem(claim.path, claim.line, text)
            for rule in claim.rules:
                if rule not in project.spec.rules:
                    yield Problem(claim.path, claim.line, f"claim {claim.id} links {rule}, which is no rule")
