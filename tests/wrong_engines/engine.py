"""The register of wrong engines."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Hit = Callable[[], None]
Install = Callable[[Hit], AbstractContextManager[None]]
"""Puts the defect in and takes it out; calls its argument, `hit`, each time that the defect shows itself."""

Kind = Literal["plain", "size", "layout", "dtype", "state", "place", "order", "error", "mode", "aliasing", "value"]
"""Where a defect hides: what it takes for a torch that is right in the easy case to be wrong.

plain: nothing, it is wrong whenever it is asked. size: a number of elements or of dimensions, a side of 0 or 1, the end
of a vectorised kernel. layout: strides or offset, of a tensor or of a gradient. dtype: one dtype, or promotion between
two. state: what happened before: an earlier backward, exception, block or thread, what `.grad` holds. place: where a
tensor stands in the graph: leaf, view, result, used twice, written in place. order: which of several inputs, outputs or
arguments, and which of them need a gradient. error: what is refused, how, and what was done before it was. mode: which
mode holds where, and when it ends. aliasing: what shares memory, and what counts as a write. value: some numbers only:
ties, zero, signs, infinities, NaN.
"""

FirstSight = Literal[
    "adversary: caught",
    "adversary: missed",
    "sample: caught",
    "sample: missed",
    "second sample: caught",
    "second sample: caught elsewhere",
    "second sample: missed",
    "third sample: caught",
    "third sample: caught elsewhere",
    "third sample: missed",
    "fourth sample: caught",
    "fourth sample: caught elsewhere",
    "fourth sample: missed",
]


@dataclass
class WrongEngine:
    """One defect.

    kind: where it hides.
    issue: the bug that it rebuilds, as "pytorch#34082"; its line in spec/ links there.
    refuses: where the defect is that torch refuses what it has to do, the text of that refusal; a test that fails
        with it has caught the engine, although no assertion of its own was reached.
    first_sight: of an engine that was written from the rules' sentences alone, without a look at the tests, by an
        adversary or as a sample: whether the rule that it was written against caught it when it was first run, or
        another did (elsewhere), or none (missed; of the first sample and the adversaries it is not known whether
        another did).
    """

    name: str
    install: Install
    kind: Kind | None = None
    issue: str | None = None
    refuses: str | None = None
    first_sight: FirstSight | None = None
    hits: int = field(default=0, init=False)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Torch with the defect, for as long as the block lasts."""

        def hit() -> None:
            self.hits += 1

        with self.install(hit):
            yield


ENGINES: dict[str, WrongEngine] = {}


def wrong_engine(
    name: str,
    *,
    kind: Kind,
    issue: str | None = None,
    refuses: str | None = None,
    first_sight: FirstSight | None = None,
) -> Callable[[Install], Install]:
    """Register a context manager `install(hit)` under the name that its item in spec/ gives it."""

    def register(install: Install) -> Install:
        ENGINES[name] = WrongEngine(name, install, kind, issue, refuses, first_sight)
        return install

    return register


def load_all() -> dict[str, WrongEngine]:
    """Import every file of engines; the register by name."""
    package = Path(__file__).parent
    for path in sorted(package.glob("*/*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"{__package__}.{path.parent.name}.{path.stem}")
    return ENGINES
