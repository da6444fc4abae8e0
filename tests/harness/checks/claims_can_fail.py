"""Where a document is not right, the rules tell its torch from the real one."""

from __future__ import annotations

from collections.abc import Iterator

from ..documents import Claim
from ..problems import Problem
from ..project import Project


class ClaimsCanFail:
    """The row of a refuted or conditional claim names a torch that behaves as told, and one of its rules catches it.

    That the engine is caught indeed is shown by `tests/meta/test_wrong_engines.py`.
    """

    def problems(self, project: Project) -> Iterator[Problem]:
        engines = {(engine.name, item.id): engine for item in project.spec.items for engine in item.engines}
        for claim in project.documents.claims:
            for name, item in claim.engines:
                if (name, item) not in engines:
                    yield _problem(claim, f"names the engine {name!r}, which {item} does not have")
                elif not set(engines[name, item].caught_by) & set(claim.rules):
                    yield _problem(claim, f"names the engine {name!r}, which none of the rules that settle it catches")
            if claim.verdict in ("refuted", "conditional") and claim.rules and not claim.engines:
                yield _problem(claim, f"is {claim.verdict}, but names no wrong engine that behaves as the text says")


def _problem(claim: Claim, text: str) -> Problem:
    return Problem(claim.path, claim.line, f"claim {claim.id} {text}")
