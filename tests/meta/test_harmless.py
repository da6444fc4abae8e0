"""No rule trips over a torch that is right and only looks different."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.meta.harmless import HARMLESS, together
from tests.meta.table import draws, runs

UNCOUNTED = "under any dispatch mode what view_as() and its like make in inference mode counts no write to the base"
BUT_FOR = {
    ("operators-watched", "nn.sgd.same-leaf"): "under any dispatch mode torch's own foreach updates count no version",
    ("operators-watched", "detach.shared-memory.version-shared"): UNCOUNTED,
    ("operators-watched", "detach.writes-and-the-graph.saved-write-raises"): UNCOUNTED,
}
"""What a torch that is watched does otherwise by its own doing."""


@pytest.fixture(scope="session")
def all_tests() -> draws.Tests:
    tests = {rule: cases for rule, cases in draws.load_tests().items() if rule not in draws.about_accelerators()}
    draws.record(tests, tests)
    return tests


WRAPPED = tuple(name for name in HARMLESS if name.endswith("-wrapped"))
SETTINGS = ("deterministic-algorithms", "anomalies-looked-for", "every-warning-shown", "other-matmul-library")
GROUPS = (WRAPPED, SETTINGS, *((name,) for name in HARMLESS if name not in (*WRAPPED, *SETTINGS)))
"""Those that hold in all tests or in nearly all meet them at once: each run through all of them takes its time."""


def tripped(names: tuple[str, ...], rules: Iterable[str], tests: draws.Tests) -> dict[str, runs.Cell]:
    """What these torches, at once, make of rules that they are to leave alone."""
    asked = [rule for rule in rules if not any((name, rule) in BUT_FOR for name in names)]
    run = runs.run_engine(together(*names), asked, tests)
    assert not run.broken
    assert not run.left_behind
    assert runs.SURVIVED in {cell.verdict for cell in run.cells.values()}, f"one of {', '.join(names)} is never reached"
    return {rule: cell for rule, cell in run.cells.items() if cell.verdict not in (runs.SURVIVED, runs.UNREACHED)}


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0] if len(names) == 1 else f"{len(names)} at once")
def test_what_changes_nothing_changes_no_verdict(names: tuple[str, ...], all_tests: draws.Tests) -> None:
    found = tripped(names, all_tests, all_tests)
    accounts = "\n".join(f"{rule}: {cell.verdict}\n{cell.account}" for rule, cell in found.items())
    assert not found, f"{', '.join(names)}: right, and trips {', '.join(found)}\n{accounts}"


def test_one_that_is_never_reached_is_told(all_tests: draws.Tests) -> None:
    some = [rule for rule in all_tests if rule.startswith("leaves.flag.")]
    with pytest.raises(AssertionError, match="one of optimizer-wrapped, factories-wrapped is never reached"):
        tripped(("optimizer-wrapped", "factories-wrapped"), some, all_tests)
