"""Where rules pass: no place where an engine could show itself is missed, what cannot be watched counts as passed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tests.harness.bindings import rule
from tests.meta.table import reach
from tests.meta.table.draws import DrawnTest
from tests.meta.table.fill import _Work
from tests.wrong_engines.engine import Hit, WrongEngine, load_all
from tests.wrong_engines.tools import OPERATORS, kernel, replaced

NEG, FLAG, SINE = ("torch:Tensor", "neg"), ("torch:Tensor", "requires_grad"), ("torch", "sin")
MATMUL, ADD = (OPERATORS, "matmul"), (OPERATORS, "add")
GENERATOR = ("torch", "Generator")
PLACES = frozenset({NEG, FLAG, SINE, MATMUL, ADD})


@rule("sample.reach.negates")
def negates(device: str) -> None:
    assert torch.ones(2, device=device).neg().tolist() == [-1, -1]


@rule("sample.reach.sets")
def sets_the_flag(device: str) -> None:
    x = torch.ones(2, device=device)
    x.requires_grad = True
    assert x.is_leaf


@rule("sample.reach.multiplies")
def multiplies_in_a_thread(device: str) -> None:
    products: list[torch.Tensor] = []
    square = torch.ones(2, 2, device=device)
    thread = threading.Thread(target=lambda: products.append(square @ square))
    thread.start()
    thread.join()
    assert products[0].tolist() == [[2, 2], [2, 2]]


@rule("sample.reach.adds")
def adds_in_backward(device: str) -> None:
    x = torch.ones(2, device=device).requires_grad_()
    torch.stack([x, x]).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]


@rule("sample.reach.fails")
def fails(device: str) -> None:
    assert torch.ones(2, device=device).neg().tolist() == [1, 1]


def passed(test: object, places: frozenset[reach.Place] = PLACES) -> frozenset[reach.Place]:
    drawn = DrawnTest(test, {"device": "cpu"}, {"smoke": [{"device": "cpu"}]})  # type: ignore[arg-type]
    return reach.passed([drawn], places)


@pytest.mark.parametrize(
    ("test", "places"),
    [(negates, {NEG}), (sets_the_flag, {FLAG}), (multiplies_in_a_thread, {MATMUL})],
)
def test_what_a_test_calls_is_passed_and_nothing_else(test: object, places: set[reach.Place]) -> None:
    assert passed(test) == places


def test_what_only_backward_calls_is_passed() -> None:
    expand = (OPERATORS, "expand")
    assert passed(adds_in_backward, frozenset({expand, SINE})) == {expand}


def test_a_class_cannot_be_watched_and_counts_as_passed() -> None:
    assert passed(negates, frozenset({GENERATOR, SINE})) == {GENERATOR}


def test_a_test_that_fails_counts_as_passing_everything() -> None:
    assert passed(fails) == PLACES


def test_afterwards_nothing_is_watched() -> None:
    before = [torch.Tensor.neg, torch.Tensor.requires_grad, torch.sin]
    passed(negates)
    assert [torch.Tensor.neg, torch.Tensor.requires_grad, torch.sin] == before


@contextmanager
def at_two_places(hit: Hit) -> Iterator[None]:
    with replaced(torch, "sin", lambda sin: sin), kernel("matmul", lambda below: below):
        yield


@contextmanager
def nowhere(hit: Hit) -> Iterator[None]:
    yield


@contextmanager
def at_what_has_no_name(hit: Hit) -> Iterator[None]:
    class Local:
        there = None

    with replaced(torch, "sin", lambda sin: sin), replaced(Local, "there", lambda there: there):
        yield


@contextmanager
def broken(hit: Hit) -> Iterator[None]:
    with replaced(torch, "sin", lambda sin: sin):
        raise ValueError
    yield


def test_an_engine_is_where_it_puts_its_defect_in() -> None:
    installs = {"two": at_two_places, "nowhere": nowhere, "nameless": at_what_has_no_name, "broken": broken}
    places = reach.places_of(WrongEngine(name, install) for name, install in installs.items())
    nothing: frozenset[reach.Place] = frozenset()
    assert places == {"two": {SINE, MATMUL}, "nowhere": nothing, "nameless": nothing, "broken": nothing}


def test_an_engine_may_reach_a_rule_that_passes_where_it_is_and_every_rule_if_that_cannot_be_told() -> None:
    places = {"here": frozenset({SINE, NEG}), "there": frozenset({MATMUL}), "anywhere": frozenset[reach.Place]()}
    work = _Work((), {}, {}, places, {"one.rule": frozenset({NEG, ADD})})
    assert [work.may_reach(engine, "one.rule") for engine in (*places, "new")] == [True, False, True, True]


def test_nearly_every_engine_of_the_project_is_somewhere() -> None:
    places = reach.places_of(load_all().values())
    assert sum(not there for there in places.values()) <= 5
