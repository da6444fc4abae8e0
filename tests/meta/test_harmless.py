"""No rule trips over a torch that is right and only looks different."""

from __future__ import annotations

import pytest

from tests.meta.harmless import HARMLESS
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


@pytest.mark.parametrize("name", HARMLESS)
def test_what_changes_nothing_changes_no_verdict(name: str, all_tests: draws.Tests) -> None:
    run = runs.run_engine(HARMLESS[name], [rule for rule in all_tests if (name, rule) not in BUT_FOR], all_tests)
    assert not run.broken
    assert not run.left_behind
    tripped = {rule: cell for rule, cell in run.cells.items() if cell.verdict not in (runs.SURVIVED, runs.UNREACHED)}
    accounts = "\n".join(f"{rule}: {cell.verdict}\n{cell.account}" for rule, cell in tripped.items())
    assert not tripped, f"{name}, which is right, trips {', '.join(tripped)}\n{accounts}"
    assert runs.SURVIVED in {cell.verdict for cell in run.cells.values()}, f"{name} is never reached"
