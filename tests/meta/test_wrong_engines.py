"""Each wrong engine is reached, is caught by the rules that its item names, and comes off: every rule can fail."""

from __future__ import annotations

import pytest

from tests.harness.problems import ROOT, shown
from tests.harness.spec import NamedEngine, read_spec
from tests.meta.table import draws, runs
from tests.wrong_engines.engine import load_all

NAMED = [engine for item in read_spec(ROOT / "spec").items for engine in item.engines]


@pytest.fixture(scope="session")
def tests_of_rules() -> draws.Tests:
    return draws.load_tests()


@pytest.mark.parametrize("named", NAMED, ids=lambda named: f"{named.path.parent.name}-{named.name}")
def test_engine_is_reached_and_caught_by_its_rules_and_comes_off(
    named: NamedEngine, tests_of_rules: draws.Tests
) -> None:
    on_an_accelerator = not draws.about_accelerators().isdisjoint(named.caught_by)
    if on_an_accelerator and not draws.has_accelerator():
        pytest.skip("no accelerator can be made up in Python before torch 2.11")
    engine = load_all()[named.name]
    rules = [rule for rule in named.caught_by if rule in tests_of_rules]
    if on_an_accelerator:
        run = runs.run_alone(engine, rules)
    else:
        draws.record(tests_of_rules, rules)
        run = runs.run_engine(engine, rules, tests_of_rules, every_draw=True)
    place = f"{shown(named.path)}:{named.line}: wrong engine {named.name!r}"
    assert not run.broken, f"{place}: {run.broken}"
    for rule, cell in run.cells.items():
        assert cell.verdict == runs.CAUGHT, f"{place}: against {rule}: {cell.verdict}\n{cell.account}"
    assert not run.left_behind, f"{place} leaves torch changed: {run.left_behind}"
