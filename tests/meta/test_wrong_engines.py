"""Each wrong engine is reached, is caught by the rules that its item names, and comes off: every rule can fail."""

from __future__ import annotations

import pytest

from tests.harness.problems import ROOT, shown
from tests.harness.spec import NamedEngine, read_spec
from tests.meta import engine_runs
from tests.wrong_engines.engine import load_all

NAMED = [engine for item in read_spec(ROOT / "spec").items for engine in item.engines]


@pytest.fixture(scope="session")
def tests_of_rules() -> dict[str, list[engine_runs.Case]]:
    return engine_runs.load_tests()


@pytest.mark.parametrize("named", NAMED, ids=lambda named: f"{named.path.parent.name}-{named.name}")
def test_engine_is_reached_and_caught_by_its_rules_and_comes_off(
    named: NamedEngine, tests_of_rules: dict[str, list[engine_runs.Case]]
) -> None:
    if engine_runs.lacks_a_device_for(named.caught_by):
        pytest.skip("no accelerator can be made up in Python before torch 2.11")
    engine = load_all()[named.name]
    run = engine_runs.run_engine(engine, [rule for rule in named.caught_by if rule in tests_of_rules], tests_of_rules)
    place = f"{shown(named.path)}:{named.line}: wrong engine {named.name!r}"
    assert not run.died, f"{place}: {run.died}"
    assert run.hits, f"{place} is never reached by the tests of {', '.join(named.caught_by)}"
    for rule, verdict in run.rules.items():
        assert verdict == engine_runs.CAUGHT, f"{place}: against {rule} it {verdict}\n{run.accounts[rule]}"
    assert not run.left_behind, f"{place} leaves torch changed: {run.left_behind}"
