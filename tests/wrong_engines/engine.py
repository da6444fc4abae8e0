"""The register of wrong engines."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Install = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Puts the defect in and takes it out; calls its argument, `hit`, each time that the defect shows itself."""


@dataclass
class WrongEngine:
    """One defect.

    refuses: where the defect is that torch refuses what it has to do, the text of that refusal; a test that fails
        with it has caught the engine, although no assertion of its own was reached.
    """

    name: str
    install: Install
    refuses: str | None = None
    hits: int = field(default=0, init=False)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Torch with the defect, for as long as the block lasts."""

        def hit() -> None:
            self.hits += 1

        with self.install(hit):
            yield


ENGINES: dict[str, WrongEngine] = {}


def wrong_engine(name: str, *, refuses: str | None = None) -> Callable[[Install], Install]:
    """Register a context manager `install(hit)` under the name that its item in spec/ gives it."""

    def register(install: Install) -> Install:
        ENGINES[name] = WrongEngine(name, install, refuses)
        return install

    return register


def load_all() -> dict[str, WrongEngine]:
    """Import every file of engines; the register by name."""
    package = Path(__file__).parent
    for path in sorted(package.glob("*/*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"{__package__}.{path.parent.name}.{path.stem}")
    return ENGINES
