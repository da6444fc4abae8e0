"""No claim of a document goes missing from its page."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class ClaimsAreComplete:
    """The claims of a page are numbered from 1 without a gap: a claim that has once been made keeps its row."""

    def problems(self, project: Project) -> Iterator[Problem]:
        due: dict[str, int] = {}
        for claim in sorted(project.documents.claims, key=lambda claim: (claim.document, claim.number)):
            if claim.number > due.setdefault(claim.document, 1):
                missing = f"{claim.document}-{due[claim.document]:02}"
                yield Problem(claim.path, claim.line, f"claim {missing} has no row, and this is {claim.id}")
            due[claim.document] = claim.number + 1
