"""The shape of a check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..problems import Problem
from ..project import Project


class Check(Protocol):
    """Looks at the whole project and names what is wrong, with file, line and what to do."""

    def problems(self, project: Project) -> Iterator[Problem]: ...
