"""Each wrong engine is reached, is caught by the rules that its item names, and comes off: every rule can fail."""

from __future__ import annotations

import pytest

from tests.harness.problems import ROOT, shown
from tests.harness.spec import NamedEngine, read_spec
from tests.meta.table import draws, runs
from tests.wrong_engines.engine import load_all

NAMED = [engine for item in read_spec(ROOT / "spec").items for engine in item.engines]


def on_an_accelerator(named: NamedEngine) -> bool:
    return not draws.about_accelerators().isdisjoint(named.caught_by)


@pytest.fixture(scope="session")
def tests_of_rules() -> draws.Tests:
    return draws.load_tests()


@pytest.fixture(scope="session")
def runs_on_an_accelerator() -> dict[str, runs.EngineRun]:
    return runs.run_on_the_made_up_device(
        {named.name: list(named.caught_by) for named in NAMED if on_an_accelerator(named)}
    )


@pytest.mark.parametrize("named", NAMED, ids=lambda named: f"{named.path.parent.name}-{named.name}")
def test_engine_is_reached_and_caught_by_its_rules_and_comes_off(
    named: NamedEngine,
    tests_of_rules: draws.Tests,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("CI", "BUILD_NUMBER"):  # with them pytest compares long lists line by line, which takes minutes
        monkeypatch.delenv(variable, raising=False)
    if not on_an_accelerator(named):
        rules = [rule for rule in named.caught_by if rule in tests_of_rules]
        draws.record(tests_of_rules, rules)
        engine = load_all()[named.name]
        run = runs.run_engine(engine, rules, tests_of_rules)
        if runs.UNEXPLAINED in {cell.verdict for cell in run.cells.values()}:
            # The first example may fail because of the way in which the defect is put in: what do all of them say?
            run = runs.run_engine(engine, rules, tests_of_rules, every_draw=True)
        check(named, run)
    elif draws.has_accelerator():
        check(named, request.getfixturevalue("runs_on_an_accelerator")[named.name])
    else:
        pytest.skip("no accelerator can be made up in Python before torch 2.11")


def check(named: NamedEngine, run: runs.EngineRun) -> None:
    """Fail, with the engine's place and name, unless the engine was caught by every rule and nothing else was amiss."""
    place = f"{shown(named.path)}:{named.line}: wrong engine {named.name!r}"
    assert not run.broken, f"{place}: {run.broken}"
    for rule, cell in run.cells.items():
        assert cell.verdict == runs.CAUGHT, f"{place}: against {rule}: {cell.verdict}\n{cell.account}"
    assert not run.left_behind, f"{place} leaves torch changed: {run.left_behind}"
