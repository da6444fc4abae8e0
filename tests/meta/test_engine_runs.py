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
from tests.harness.profiles import EXAMPLES
from tests.harness.spec import NamedEngine, read_spec
from tests.inputs import Expression, tensors
from tests.meta import sample_engines, test_wrong_engines
from tests.meta.table import draws, runs
from tests.meta.table.draws import DrawnTest, Tests
from tests.meta.table.runs import CAUGHT, DIED, HUNG, RAISED, SURVIVED, UNEXPLAINED, UNREACHED, EngineRun, run_engine
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
TESTS: Tests = {
    OPPOSITE: [DrawnTest(negating_gives_the_opposite, {"device": "cpu"})],
    SAME_SHAPE: [DrawnTest(negating_keeps_the_shape, {"device": "cpu"})],
    REFUSED: [DrawnTest(negating_a_truth_value_is_refused, {"device": "cpu"})],
}


def run(install: Install, *rules: str, refuses: str | None = None, every_draw: bool = True) -> EngineRun:
    asked = rules or (OPPOSITE,)
    draws.record(TESTS, asked)
    return run_engine(WrongEngine("sample", install, refuses=refuses), asked, TESTS, every_draw=every_draw)


def verdicts(told: EngineRun) -> dict[str, str]:
    return {rule: cell.verdict for rule, cell in told.cells.items()}


def test_an_engine_that_an_assertion_catches_is_caught_with_an_account_of_it() -> None:
    told = run(sample_engines.FORGETS_THE_SIGN)
    assert verdicts(told) == {OPPOSITE: CAUGHT}
    assert (told.left_behind, told.broken) == ("", "")
    assert "assert numbers(x.neg()) == [-value for value in numbers(x)]" in told.cells[OPPOSITE].account


def test_the_draws_that_catch_are_counted_and_the_first_is_told() -> None:
    cell = run(sample_engines.FORGETS_THE_SIGN).cells[OPPOSITE]
    assert (cell.drawn, 0 < cell.catching < 10) == (10, True)  # some tensors are empty, or all zeros
    assert cell.draw.startswith("x = torch.tensor(")


def test_where_it_is_enough_that_one_draw_catches_no_more_are_replayed() -> None:
    every, one = (run(sample_engines.FORGETS_THE_SIGN, every_draw=every).cells[OPPOSITE] for every in (True, False))
    assert (one.verdict, one.catching, one.draw) == (CAUGHT, 1, every.draw)
    assert one.drawn < every.drawn


def test_each_rule_has_its_own_verdict() -> None:
    told = run(sample_engines.FORGETS_THE_SIGN, OPPOSITE, SAME_SHAPE)
    assert verdicts(told) == {OPPOSITE: CAUGHT, SAME_SHAPE: SURVIVED}


def test_an_engine_that_is_never_reached_is_told_so() -> None:
    assert verdicts(run(sample_engines.FORGETS_THE_SIGN_OF_NINE)) == {OPPOSITE: UNREACHED}


def test_an_engine_that_is_reached_and_not_caught_survives() -> None:
    assert verdicts(run(sample_engines.IS_RIGHT)) == {OPPOSITE: SURVIVED}


def test_a_failure_with_an_engine_that_never_showed_its_defect_is_no_catch() -> None:
    assert verdicts(run(sample_engines.FORGETS_THE_SIGN_IN_SILENCE)) == {OPPOSITE: UNEXPLAINED}


def test_a_rule_without_tests_catches_nothing() -> None:
    assert verdicts(run(sample_engines.FORGETS_THE_SIGN, "sample.negation.unknown")) == {
        "sample.negation.unknown": UNREACHED
    }


@pytest.mark.parametrize("install", [sample_engines.RAISES, sample_engines.ASSERTS], ids=["raises", "asserts"])
def test_an_engine_that_only_crashes_a_test_is_not_caught(install: Install) -> None:
    told = run(install)
    assert verdicts(told) == {OPPOSITE: RAISED}
    assert "sample_engines.py" in told.cells[OPPOSITE].account


def test_a_refusal_that_the_engine_owns_up_to_is_a_catch_and_no_other() -> None:
    assert verdicts(run(sample_engines.RAISES, refuses="neg is not here")) == {OPPOSITE: CAUGHT}
    assert verdicts(run(sample_engines.RAISES, refuses="neg is nowhere")) == {OPPOSITE: RAISED}


def test_where_an_error_is_expected_none_another_text_and_another_type_are_catches() -> None:
    for install in (
        sample_engines.FORGETS_THE_SIGN,
        sample_engines.RAISES,
        sample_engines.TAKES_NO_TENSOR,
    ):
        assert verdicts(run(install, REFUSED)) == {REFUSED: CAUGHT}


def test_an_engine_that_is_wrong_only_once_is_judged_by_what_it_did_then() -> None:
    assert verdicts(run(sample_engines.once(None))) == {OPPOSITE: CAUGHT}
    assert verdicts(run(sample_engines.once(RuntimeError("neg is not here yet")))) == {OPPOSITE: RAISED}


def test_one_test_that_catches_is_enough_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    @FEW
    @given(x=tensors())
    def needs_a_tensor_with_a_mark(device: str, x: torch.Tensor) -> None:
        assert not hasattr(x.neg(), "wrong") or x.no_such_attribute == 1

    both = [DrawnTest(rule(OPPOSITE)(needs_a_tensor_with_a_mark), {"device": "cpu"}), *TESTS[OPPOSITE]]
    for cases in (both, both[::-1]):
        monkeypatch.setitem(TESTS, OPPOSITE, cases)
        assert verdicts(run(sample_engines.FORGETS_THE_SIGN_AND_LEAVES_A_MARK)) == {OPPOSITE: CAUGHT}


def test_tests_for_which_nothing_can_be_drawn_catch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    @FEW
    @given(x=st.nothing())
    def draws_nothing(device: str, x: Any) -> None:
        raise AssertionError

    monkeypatch.setitem(TESTS, OPPOSITE, [DrawnTest(rule(OPPOSITE)(draws_nothing), {"device": "cpu"})])
    assert verdicts(run(sample_engines.FORGETS_THE_SIGN)) == {OPPOSITE: UNREACHED}


def test_a_test_that_fails_on_an_honest_torch_is_no_judge() -> None:
    @rule(OPPOSITE)
    def fails(device: str) -> None:
        raise AssertionError("always")

    with pytest.raises(draws.NotHonest, match=r"^fails fails without an engine: AssertionError: always$"):
        DrawnTest(fails, {"device": "cpu"}).examples("standard")


def test_what_is_replayed_is_what_pytest_draws() -> None:
    seen: list[torch.Tensor] = []

    @rule(OPPOSITE)
    @given(x=tensors())
    def remembers(device: str, x: torch.Tensor) -> None:
        seen.append(x)

    remembers(device="cpu")
    drawn, replayed = list(seen), DrawnTest(remembers, {"device": "cpu"})
    seen.clear()
    for arguments in replayed.examples("standard"):
        replayed.replay(arguments)
    assert len(drawn) == EXAMPLES["standard"]
    assert list(map(repr, seen[len(drawn) :])) == list(map(repr, drawn))
    assert len(replayed.examples("smoke")) == EXAMPLES["smoke"]


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
    assert verdicts(left) == {OPPOSITE: CAUGHT}
    assert left.left_behind.startswith(told)


@pytest.mark.parametrize(
    ("install", "told"),
    [
        (sample_engines.CANNOT_BE_PUT_IN, "it cannot be put in: RuntimeError: no such operator"),
        (sample_engines.DOES_NOT_COME_OFF, "it does not come off: RuntimeError: it sticks"),
        (sample_engines.DIES_WHEN_PUT_IN, "the process ended with status -9"),
    ],
    ids=["not put in", "not taken off", "dies"],
)
def test_what_cannot_be_put_in_or_taken_off_is_no_engine(install: Install, told: str) -> None:
    assert run(install).broken == told


def test_an_engine_that_ends_the_process_loses_one_rule_and_the_next_ones_are_judged() -> None:
    told = run(sample_engines.DIES, OPPOSITE, SAME_SHAPE, REFUSED)
    assert verdicts(told) == {OPPOSITE: DIED, SAME_SHAPE: DIED, REFUSED: DIED}
    told = run(sample_engines.DIES_ON_NUMBERS, OPPOSITE, REFUSED)
    assert verdicts(told) == {OPPOSITE: DIED, REFUSED: UNREACHED}
    assert (told.cells[OPPOSITE].account, told.broken) == ("status -9", "")


@pytest.mark.parametrize(
    ("install", "where"),
    [(sample_engines.HANGS, "in _hangs\n"), (sample_engines.HANGS_IN_C, "in _hangs_in_c\n")],
    ids=["sleeps", "holds the GIL"],
)
def test_an_engine_that_hangs_is_stopped_and_it_is_told_where(
    install: Install, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "SECONDS", 1)
    told = run(install)
    assert verdicts(told) == {OPPOSITE: HUNG}
    assert told.cells[OPPOSITE].account.startswith("no end in 1 seconds\n")
    assert where in told.cells[OPPOSITE].account


def test_this_process_never_meets_the_defect() -> None:
    engine, neg = WrongEngine("sample", sample_engines.STAYS), torch.Tensor.neg
    assert verdicts(run_engine(engine, [OPPOSITE], TESTS)) == {OPPOSITE: CAUGHT}
    assert torch.Tensor.neg is neg
    assert engine.hits == 0


NAMED = NamedEngine("sample", "forgets the sign.", (OPPOSITE,), ROOT / "spec" / "sample" / "negation.md", 7)
PLACE = "spec/sample/negation.md:7: wrong engine 'sample'"


@pytest.mark.parametrize(
    ("install", "line"),
    [
        (sample_engines.FORGETS_THE_SIGN_OF_NINE, f"{PLACE}: against {OPPOSITE}: not reached"),
        (sample_engines.IS_RIGHT, f"{PLACE}: against {OPPOSITE}: survived"),
        (sample_engines.RAISES, f"{PLACE}: against {OPPOSITE}: raised"),
        (sample_engines.STAYS, f"{PLACE} leaves torch changed: Tensor.neg is not what it was"),
        (sample_engines.DIES, f"{PLACE}: against {OPPOSITE}: died"),
        (sample_engines.CANNOT_BE_PUT_IN, f"{PLACE}: it cannot be put in: RuntimeError: no such operator"),
    ],
    ids=["never reached", "survives", "crashes a test", "leaves torch changed", "crashes the process", "not put in"],
)
def test_the_test_of_an_engine_fails_with_a_line_that_names_it(install: Install, line: str) -> None:
    with pytest.raises(AssertionError, match=f"^{re.escape(line)}"):
        test_wrong_engines.check(NAMED, run(install))


def test_the_test_of_an_engine_passes_one_that_is_caught() -> None:
    test_wrong_engines.check(NAMED, run(sample_engines.FORGETS_THE_SIGN))


def test_every_rule_has_tests_for_its_engines_to_meet() -> None:
    known = (ROOT / "known_failures.toml").read_text(encoding="utf-8")
    without_tests = read_spec(ROOT / "spec").rules.keys() - draws.load_tests().keys()
    assert all(f'rule = "{rule}"' in known for rule in without_tests)


def test_a_test_that_names_a_dtype_meets_each_that_the_cpu_has() -> None:
    @rule(OPPOSITE)
    def per_dtype(device: str, dtype: torch.dtype) -> None: ...

    cases = list(draws.cases_of(per_dtype))
    assert {case["dtype"] for case in cases} >= {torch.float32, torch.bfloat16, torch.complex128}
    assert all(case["device"] == "cpu" for case in cases)
