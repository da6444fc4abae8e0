"""A document's page and an item agree on which claims the item settles."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class ClaimsAgree:
    """An item's `claims` are the claims whose rows link one of its rules, no more and no fewer."""

    def problems(self, project: Project) -> Iterator[Problem]:
        linked = {
            (claim.id, rule.rpartition(".")[0]): claim for claim in project.documents.claims for rule in claim.rules
        }
        listed = {(claim, item.id) for item in project.spec.items for claim in item.claims}
        known = {claim.id for claim in project.documents.claims}
        for item in project.spec.items:
            for claim in item.claims:
                if claim not in known:
                    yield Problem(item.path, 1, f"claims lists {claim}, which is on no document's page")
                elif (claim, item.id) not in linked:
                    yield Problem(item.path, 1, f"claims lists {claim}, whose row links no rule of this item")
        items = {item.id for item in project.spec.items}
        for (claim, owner), row in linked.items():
            if owner in items and (claim, owner) not in listed:
                yield Problem(row.path, row.line, f"claim {claim} links a rule of {owner}, whose claims do not list it")
