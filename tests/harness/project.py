"""The project as its checks see it: what `spec/` says and what `tests/` has, read without importing either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .bindings import Binding, Engine, bindings_in, engine_paths, engines_in, test_paths
from .documents import Documents, read_documents
from .spec import Spec, read_spec

RETIRED = re.compile(r"^- `([^`]+)`", re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """One checkout."""

    root: Path
    spec: Spec
    documents: Documents
    test_files: tuple[Path, ...]
    bindings: tuple[Binding, ...]
    engines: tuple[Engine, ...]

    @property
    def tests(self) -> Path:
        return self.root / "tests"

    @cached_property
    def retired(self) -> frozenset[str]:
        """Ids of rules that once were, listed in spec/retired.md."""
        page = self.root / "spec" / "retired.md"
        return frozenset(RETIRED.findall(page.read_text(encoding="utf-8"))) if page.is_file() else frozenset()


def read_project(root: Path) -> Project:
    """Read the checkout whose top is `root`."""
    test_files = tuple(test_paths(root / "tests"))
    return Project(
        root,
        read_spec(root / "spec"),
        read_documents(root / "spec"),
        test_files,
        tuple(binding for path in test_files for binding in bindings_in(path)),
        tuple(engine for path in engine_paths(root / "tests") for engine in engines_in(path)),
    )
