"""Every item and every document's page can be read."""

from __future__ import annotations

from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class Readable:
    """Whatever could not be read is said first, because every other check builds on it."""

    def problems(self, project: Project) -> Iterator[Problem]:
        yield from project.spec.problems
        yield from project.documents.problems
