"""Bystanders: with many engines in at once, those whose defect does not show are told, and never one that may show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import torch

from tests.meta import sample_engines
from tests.meta.sample_engines import Neg, negating
from tests.meta.table import runs
from tests.meta.table.bystanders import TOGETHER, bystanders, groups
from tests.meta.table.draws import DrawnTest
from tests.meta.table.reach import Place
from tests.wrong_engines.engine import Hit, Install, WrongEngine
from tests.wrong_engines.tools import OPERATORS, replaced

RULE, NEXT = "sample.negation.of-two", "sample.negation.next"


def negates_two(device: str) -> None:
    assert torch.tensor(2.0, device=device).neg().item() == -2


def adds_two(device: str) -> None:
    assert (torch.tensor(2.0, device=device) + 2).item() == 4


def drawn(test: Callable[..., None]) -> list[DrawnTest]:
    return [DrawnTest(test, {"device": "cpu"}, {"smoke": [{"device": "cpu"}]})]


def standing_by(*installs: Install, tests: tuple[Callable[..., None], ...] = (negates_two,)) -> list[str]:
    """Of these engines, named by their places from 0, those that stand by."""
    engines = [WrongEngine(str(at), install) for at, install in enumerate(installs)]
    every = {RULE: [each for test in tests for each in drawn(test)]}
    return bystanders({RULE: engines}, every).get(RULE, ["nothing told"])


def _rejects(neg: Neg, tensor: torch.Tensor, hit: Hit) -> torch.Tensor:
    hypothesis.reject()
    return neg(tensor)


def _of_another_number(hit: Hit) -> Any:
    def make(add: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda one, other: add(one, other) if other == 2 else (hit(), one)[1]

    return replaced(torch.Tensor, "__add__", make)


AT_NINE, AT_ANY, IN_SILENCE = (
    sample_engines.FORGETS_THE_SIGN_OF_NINE,
    sample_engines.FORGETS_THE_SIGN,
    sample_engines.FORGETS_THE_SIGN_IN_SILENCE,
)


def test_engines_whose_defect_does_not_show_stand_by() -> None:
    assert standing_by(AT_NINE, _of_another_number, AT_NINE, tests=(negates_two, adds_two)) == ["0", "1", "2"]


def test_one_that_shows_does_not_whatever_it_makes_of_the_others() -> None:
    assert standing_by(AT_NINE, AT_ANY, AT_NINE) == ["0", "2"]
    assert standing_by(AT_ANY, AT_ANY, sample_engines.IS_RIGHT) == []


@pytest.mark.parametrize("fails", [IN_SILENCE, sample_engines.RAISES, negating(_rejects)])
def test_one_with_which_a_test_does_not_pass_does_not_though_it_never_said_that_it_showed(fails: Install) -> None:
    for installs in ((fails, AT_NINE, AT_NINE), (AT_NINE, fails, AT_NINE), (AT_NINE, AT_NINE, fails)):
        assert standing_by(*installs) == [str(at) for at, install in enumerate(installs) if install is not fails]


def test_every_test_of_the_rule_counts() -> None:
    assert standing_by(AT_ANY, tests=(adds_two,)) == ["0"]
    assert standing_by(AT_ANY, tests=(adds_two, negates_two)) == []


def test_nothing_is_told_of_a_rule_at_which_the_process_ends_nor_of_later_ones() -> None:
    dies = [WrongEngine("dies", sample_engines.DIES), WrongEngine("nine", AT_NINE)]
    asked = {"sample.sum.of-two": dies, RULE: dies, NEXT: dies}
    tests = {"sample.sum.of-two": drawn(adds_two), RULE: drawn(negates_two), NEXT: drawn(adds_two)}
    assert bystanders(asked, tests) == {"sample.sum.of-two": ["dies", "nine"]}


def test_nor_of_one_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SECONDS", 1)
    assert standing_by(AT_NINE, sample_engines.HANGS) == ["nothing told"]


def test_this_process_never_meets_the_defects() -> None:
    neg = torch.Tensor.neg
    standing_by(AT_NINE, AT_ANY)
    assert torch.Tensor.neg is neg


SINE, ADD, MUL = ("torch", "sin"), (OPERATORS, "add"), (OPERATORS, "mul")


def places(**of: set[Place]) -> dict[str, frozenset[Place]]:
    return {name: frozenset(there) for name, there in of.items()}


def test_two_kernels_of_one_operator_are_never_in_together() -> None:
    here = places(a={SINE}, b={ADD}, c={ADD}, d={MUL}, e={MUL, SINE})
    found = groups(here)
    assert sorted(name for members in found for name in members) == ["a", "b", "c", "d", "e"]
    for members in found:
        operators = [place for name in members for place in here[name] if place[0] == OPERATORS]
        assert len(set(operators)) == len(operators)


def test_who_is_nowhere_and_who_would_be_alone_is_in_no_group() -> None:
    assert groups(places(a={ADD}, b=set(), c={SINE}, d={ADD})) == [["a", "c"]]


def test_a_group_does_not_grow_beyond_measure() -> None:
    found = groups({str(at): frozenset({SINE}) for at in range(2 * TOGETHER + 3)})
    assert [len(members) for members in found] == [TOGETHER, TOGETHER, 3]
