"""The judge of wrong engines: what an engine does or does not do is told as just that, and only a catch as a catch."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.harness.problems import ROOT
from tests.harness.spec import NamedEngine, read_spec
from tests.inputs import Expression, tensors
from tests.meta import engine_runs, sample_engines, test_wrong_engines
from tests.meta.engine_runs import CAUGHT, CRASHED, SURVIVED, EngineRun, run_engine
from tests.oracles import numbers
from tests.wrong_engines.engine import Install, WrongEngine

FEW = settings(max_examples=10)


@rule("sample.negation.opposite")
@FEW
@given(x=tensors())
def negating_gives_the_opposite(device: str, x: torch.Tensor) -> None:
    assert numbers(x.neg()) == [-value for value in numbers(x)]


@rule("sample.negation.same-shape")
@FEW
@given(x=tensors())
def negating_keeps_the_shape(device: str, x: torch.Tensor) -> None:
    assert x.neg().shape == x.shape


@rule("sample.negation.refused")
@FEW
@given(x=st.just(Expression("torch.tensor(True)")))
def negating_a_truth_value_is_refused(device: str, x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="Negation, the `-` operator, on a bool tensor is not supported"):
        x.neg()


OPPOSITE, SAME_SHAPE, REFUSED = "sample.negation.opposite", "sample.negation.same-shape", "sample.negation.refused"
TESTS: dict[str, list[engine_runs.Case]] = {
    OPPOSITE: [(negating_gives_the_opposite, {"device": "cpu"})],
    SAME_SHAPE: [(negating_keeps_the_shape, {"device": "cpu"})],
    REFUSED: [(negating_a_truth_value_is_refused, {"device": "cpu"})],
}


def run(install: Install, *rules: str, refuses: str | None = None) -> EngineRun:
    return run_engine(WrongEngine("sample", install, refuses=refuses), rules or [OPPOSITE], TESTS)


def test_an_engine_that_an_assertion_catches_is_caught_with_an_account_of_it() -> None:
    told = run(sample_engines.FORGETS_THE_SIGN)
    assert told.rules == {OPPOSITE: CAUGHT}
    assert told.hits > 0
    assert (told.left_behind, told.died) == ("", "")
    assert "assert numbers(x.neg()) == [-value for value in numbers(x)]" in told.accounts[OPPOSITE]


def test_each_rule_has_its_own_verdict() -> None:
    assert run(sample_engines.FORGETS_THE_SIGN, OPPOSITE, SAME_SHAPE).rules == {OPPOSITE: CAUGHT, SAME_SHAPE: SURVIVED}


def test_an_engine_that_is_never_reached_has_no_hits_and_survives() -> None:
    told = run(sample_engines.FORGETS_THE_SIGN_OF_NINE)
    assert told == EngineRun(hits=0, rules={OPPOSITE: SURVIVED}, accounts={OPPOSITE: ""})


def test_an_engine_that_is_reached_and_not_caught_survives() -> None:
    told = run(sample_engines.IS_RIGHT)
    assert told.hits > 0
    assert told.rules == {OPPOSITE: SURVIVED}


def test_a_rule_without_tests_catches_nothing() -> None:
    assert run(sample_engines.FORGETS_THE_SIGN, "sample.negation.unknown").rules == {
        "sample.negation.unknown": SURVIVED
    }


@pytest.mark.parametrize("install", [sample_engines.RAISES, sample_engines.ASSERTS], ids=["raises", "asserts"])
def test_an_engine_that_only_crashes_a_test_is_not_caught(install: Install) -> None:
    told = run(install)
    assert told.hits > 0
    assert told.rules == {OPPOSITE: CRASHED}
    assert "sample_engines.py" in told.accounts[OPPOSITE]


def test_a_refusal_that_the_engine_owns_up_to_is_a_catch_and_no_other() -> None:
    assert run(sample_engines.RAISES, refuses="neg is not here").rules == {OPPOSITE: CAUGHT}
    assert run(sample_engines.RAISES, refuses="neg is nowhere").rules == {OPPOSITE: CRASHED}


def test_where_an_error_is_expected_none_another_text_and_another_type_are_catches() -> None:
    for install in (
        sample_engines.FORGETS_THE_SIGN,
        sample_engines.RAISES,
        sample_engines.negating(lambda neg, tensor, hit: neg(tensor, tensor)),
    ):
        assert run(install, REFUSED).rules == {REFUSED: CAUGHT}


def test_an_engine_that_is_wrong_only_once_is_judged_by_what_it_did_then() -> None:
    assert run(sample_engines.once(None)).rules == {OPPOSITE: CAUGHT}
    assert run(sample_engines.once(RuntimeError("neg is not here yet"))).rules == {OPPOSITE: CRASHED}


def test_one_test_that_catches_is_enough_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(device: str) -> None:
        assert torch.ones(1).neg().no_such_attribute == 1

    both = [(rule(OPPOSITE)(crashes), {"device": "cpu"}), *TESTS[OPPOSITE]]
    for cases in (both, both[::-1]):
        monkeypatch.setitem(TESTS, OPPOSITE, cases)
        assert run(sample_engines.FORGETS_THE_SIGN).rules == {OPPOSITE: CAUGHT}


def test_tests_for_which_nothing_can_be_drawn_catch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    @FEW
    @given(x=st.nothing())
    def draws_nothing(device: str, x: Any) -> None:
        raise AssertionError

    monkeypatch.setitem(TESTS, OPPOSITE, [(rule(OPPOSITE)(draws_nothing), {"device": "cpu"})])
    assert run(sample_engines.FORGETS_THE_SIGN).rules == {OPPOSITE: SURVIVED}


@pytest.mark.parametrize(
    ("install", "told"),
    [
        (sample_engines.STAYS, "Tensor.neg is not what it was"),
        (sample_engines.STAYS_AS_ANOTHER_FUNCTION, "Tensor.neg is not what it was"),
        (sample_engines.LEAVES_ITS_KERNEL, f"{OPPOSITE} fails without the engine: "),
        (sample_engines.LEAVES_ANOTHER_DEFAULT_DTYPE, "default dtype is not what it was"),
    ],
    ids=["defect", "attribute", "kernel", "setting"],
)
def test_an_engine_that_leaves_torch_changed_is_told_with_what_it_changed(install: Install, told: str) -> None:
    left = run(install)
    assert left.rules == {OPPOSITE: CAUGHT}
    assert left.left_behind.startswith(told)


@pytest.mark.parametrize(
    ("install", "status"), [(sample_engines.DIES, -9), (sample_engines.CANNOT_BE_PUT_IN, 1)], ids=["dies", "raises"]
)
def test_an_engine_that_ends_the_process_is_told_and_judged_no_further(install: Install, status: int) -> None:
    assert run(install) == EngineRun(died=f"the process ended with status {status}")


def test_an_engine_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runs, "SECONDS", 1)
    assert run(sample_engines.HANGS) == EngineRun(died="the process ended with status -14")


def test_this_process_never_meets_the_defect() -> None:
    engine, neg = WrongEngine("sample", sample_engines.STAYS), torch.Tensor.neg
    assert run_engine(engine, [OPPOSITE], TESTS).hits > 0
    assert torch.Tensor.neg is neg
    assert engine.hits == 0


NAMED = NamedEngine("sample", "forgets the sign.", (OPPOSITE,), ROOT / "spec" / "sample" / "negation.md", 7)
PLACE = "spec/sample/negation.md:7: wrong engine 'sample'"


@pytest.mark.parametrize(
    ("install", "line"),
    [
        (sample_engines.FORGETS_THE_SIGN_OF_NINE, f"{PLACE} is never reached by the tests of {OPPOSITE}"),
        (sample_engines.IS_RIGHT, f"{PLACE}: against {OPPOSITE} it survived"),
        (sample_engines.RAISES, f"{PLACE}: against {OPPOSITE} it crashed"),
        (sample_engines.STAYS, f"{PLACE} leaves torch changed: Tensor.neg is not what it was"),
        (sample_engines.DIES, f"{PLACE}: the process ended with status -9"),
    ],
    ids=["never reached", "survives", "crashes a test", "leaves torch changed", "crashes the process"],
)
def test_the_test_of_an_engine_fails_with_a_line_that_names_it(
    install: Install, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = test_wrong_engines.test_engine_is_reached_and_caught_by_its_rules_and_comes_off
    monkeypatch.setattr(test_wrong_engines, "load_all", lambda: {"sample": WrongEngine("sample", install)})
    with pytest.raises(AssertionError, match=f"^{re.escape(line)}"):
        judge(NAMED, TESTS)


def test_the_test_of_an_engine_passes_one_that_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = WrongEngine("sample", sample_engines.FORGETS_THE_SIGN)
    monkeypatch.setattr(test_wrong_engines, "load_all", lambda: {"sample": engine})
    test_wrong_engines.test_engine_is_reached_and_caught_by_its_rules_and_comes_off(NAMED, TESTS)


def test_every_rule_has_tests_for_its_engines_to_meet() -> None:
    known = (ROOT / "known_failures.toml").read_text(encoding="utf-8")
    without_tests = read_spec(ROOT / "spec").rules.keys() - engine_runs.load_tests().keys()
    assert all(f'rule = "{rule}"' in known for rule in without_tests)


def test_a_test_that_names_a_dtype_meets_each_that_the_cpu_has() -> None:
    @rule(OPPOSITE)
    def per_dtype(device: str, dtype: torch.dtype) -> None: ...

    cases = list(engine_runs._cases(per_dtype))
    assert {case["dtype"] for case in cases} >= {torch.float32, torch.bfloat16, torch.complex128}
    assert all(case["device"] == "cpu" for case in cases)
