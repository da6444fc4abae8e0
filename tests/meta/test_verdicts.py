"""Verdicts: what several tests of one rule come to, and when a rule's verdict on a target is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.verdicts import EXECUTED, WORST_FIRST, Outcome, Tally, combined

VERDICTS = {"pass", "fail", "known", "fixed", "not-applicable", "not-run", "crash", "hang"}
outcomes = st.builds(
    Outcome,
    rule=st.just("chapter.item.rule"),
    target=st.just("cpu"),
    verdict=st.sampled_from(WORST_FIRST),
    examples=st.integers(0, 9),
    seconds=st.integers(0, 9).map(float),
    message=st.text(max_size=3),
    lacking=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
)


def outcome(verdict: str, rule: str = "chapter.item.rule", target: str = "cpu", of: int = 1) -> Outcome:
    return Outcome(rule, target, verdict, of, message=f"because {verdict}")


def test_the_verdicts_are_those_that_the_design_names() -> None:
    assert set(WORST_FIRST) == VERDICTS
    assert len(WORST_FIRST) == len(VERDICTS)


def test_a_verdict_rests_on_code_that_ran_unless_it_says_not() -> None:
    assert {"not-run", "not-applicable"} == VERDICTS - EXECUTED


def test_whatever_ran_outweighs_what_did_not() -> None:
    assert max(WORST_FIRST.index(verdict) for verdict in EXECUTED) < WORST_FIRST.index("not-run")


@pytest.mark.parametrize("worst", ["fail", "crash", "hang", "fixed"])
def test_no_pass_hides_what_fails_the_run(worst: str) -> None:
    assert combined([outcome("pass"), outcome(worst), outcome("known")]).verdict == worst


def test_rules_that_did_not_run_never_pass() -> None:
    for verdicts in product(("not-run", "not-applicable"), repeat=2):
        assert combined([outcome(verdict) for verdict in verdicts]).verdict in ("not-run", "not-applicable")


@given(told=st.lists(outcomes, min_size=1, max_size=4), data=st.data())
def test_the_worst_verdict_is_the_rules_in_whatever_order_they_come(told: list[Outcome], data: st.DataObject) -> None:
    together = combined(told)
    assert together.verdict == min((one.verdict for one in told), key=WORST_FIRST.index)
    assert combined(data.draw(st.permutations(told))).verdict == together.verdict


@given(told=st.lists(outcomes, min_size=1, max_size=4))
def test_what_was_counted_adds_up_and_what_was_said_is_the_worst_ones(told: list[Outcome]) -> None:
    together = combined(told)
    assert together.examples == sum(one.examples for one in told)
    assert together.seconds == sum(one.seconds for one in told)
    assert together.lacking == {
        reason: sum(one.lacking.get(reason, 0) for one in told) for one in told for reason in one.lacking
    }
    assert together.message == next(one.message for one in told if one.verdict == together.verdict)


@given(told=outcomes)
def test_an_outcome_travels_between_processes_as_plain_data(told: Outcome) -> None:
    assert Outcome(**json.loads(json.dumps(asdict(told)))) == told


def test_a_verdict_is_told_once_when_every_test_of_the_rule_has_spoken() -> None:
    tally = Tally()
    assert tally.add(outcome("pass", of=3)) is None
    assert tally.add(outcome("fail", of=3)) is None
    told = tally.add(outcome("pass", of=3))
    assert told is not None
    assert (told.verdict, told.message) == ("fail", "because fail")


def test_rules_and_targets_are_told_apart() -> None:
    tally = Tally()
    assert tally.add(outcome("pass", of=2)) is None
    assert tally.add(outcome("pass", of=2, target="cuda")) is None
    assert tally.add(outcome("pass", of=2, rule="chapter.item.other")) is None
    assert tally.add(outcome("fail", of=2, target="cuda")) is not None


def test_verdicts_come_in_the_order_in_which_they_first_spoke_complete_or_not() -> None:
    tally = Tally()
    tally.add(outcome("pass", "chapter.item.b", of=2))
    tally.add(outcome("not-run", "chapter.item.a"))
    tally.add(outcome("fail", "chapter.item.b", of=2))
    tally.add(outcome("pass", "chapter.item.c", of=9))
    assert [(told.rule, told.verdict) for told in tally.verdicts()] == [
        ("chapter.item.b", "fail"),
        ("chapter.item.a", "not-run"),
        ("chapter.item.c", "pass"),
    ]


def test_rules_on_targets_are_counted_by_verdict_the_worst_first() -> None:
    tally = Tally()
    for number, verdict in enumerate(("pass", "not-run", "fail", "pass", "crash")):
        tally.add(outcome(verdict, f"chapter.item.{number}"))
    tally.add(outcome("pass", "chapter.item.0"))
    assert list(tally.counts().items()) == [("crash", 1), ("fail", 1), ("pass", 2), ("not-run", 1)]
    assert Tally().counts() == {}
