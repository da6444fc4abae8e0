"""Circumstances: an example runs in them as it would by itself, and what fails only there is shown there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import program, realise
from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, tensors
from tests.inputs import circumstances as here
from tests.inputs.circumstances import (
    AS_RESULTS,
    BACKWARD,
    NO_GRAD,
    SECOND_BACKWARD,
    UNRECORDED,
    UNRECORDED_BACKWARD,
    Circumstance,
    also,
    circumstances_of,
)

EVERY = (*UNRECORDED, AS_RESULTS, *BACKWARD)
MANY = settings(max_examples=60, derandomize=True, database=None)
FLOATS = Expression("torch.ones(2)", facts={"dtype": "torch.float32"})
INTEGERS = Expression("torch.tensor([1, 2])", facts={"dtype": "torch.int64"})
LEAF = Expression("torch.ones(2).requires_grad_()", facts={"dtype": "torch.float32"})
FUNCTION = Expression("lambda x: x")

seen: list[Any] = []


def run(test: Any) -> None:
    seen.clear()
    realise.begin()
    test(device="cpu")


@rule("sample.circumstances.looks")
@also(*UNRECORDED, AS_RESULTS)
@MANY
@given(x=tensors())
def looks_around(device: str, x: torch.Tensor) -> None:
    seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), x.requires_grad, x.is_leaf))


def test_every_example_runs_as_it_is_and_once_more_in_one_circumstance_after_the_other() -> None:
    run(looks_around)
    plain, elsewhere = Counter(seen[::2]), Counter(seen[1::2])
    assert plain.keys() == {(True, False, False, True)}
    no_grad, inference, results = (False, False, True, True), (False, True, False, True), (True, False, True, False)
    assert elsewhere.keys() >= {no_grad, inference, results}
    assert min(elsewhere[kind] for kind in (no_grad, inference, results)) >= 5


def test_the_circumstance_of_an_example_is_always_the_same() -> None:
    runs = []
    for _ in range(2):
        run(looks_around)
        runs.append(list(seen))
    assert runs[0] == runs[1]
    assert circumstances_of(looks_around, {"x": FLOATS}) == circumstances_of(looks_around, {"x": FLOATS})


def test_a_test_that_names_none_runs_once() -> None:
    assert circumstances_of(run, {"x": FLOATS}) == (here.AS_IT_IS,)


def test_an_example_counts_once() -> None:
    run(looks_around)
    assert realise.begin().examples == 0
    trial = realise.begin()
    looks_around(device="cpu")
    assert trial.examples == MANY.max_examples


@pytest.mark.parametrize("circumstance", [NO_GRAD, AS_RESULTS])
def test_only_what_can_require_grad_and_does_not_is_made_to(circumstance: Circumstance) -> None:
    drawn = {"x": (FLOATS, [INTEGERS]), "leaf": LEAF, "function": FUNCTION, "number": 2}
    changed = circumstance.arguments(drawn)
    assert changed["x"][0].then == circumstance.then
    assert changed["x"][1] == [INTEGERS]
    assert {name: changed[name] for name in ("leaf", "function", "number")} == {
        name: drawn[name] for name in ("leaf", "function", "number")
    }


@rule("sample.circumstances.backward")
@also(*BACKWARD)
@MANY
@given(leaf=leaves(), operation=elementwise(), alone=st.booleans())
def runs_backward(device: str, leaf: torch.Tensor, operation: Any, alone: bool) -> None:
    modes: list[bool] = []
    output = operation[0](leaf)
    output.register_hook(lambda gradient: modes.append(torch.is_grad_enabled()))
    before = None if leaf.grad is None else leaf.grad.clone()
    if alone:
        output.backward(torch.ones_like(output))
    else:
        torch.autograd.backward([output], [torch.ones_like(output)])
    expected = torch.full_like(leaf, 0) if before is None else before
    for value, was, now in zip(*(part.flatten().tolist() for part in (leaf, expected, leaf.grad)), strict=True):
        assert now == was + operation[1](value)
    seen.append(len(modes))


def test_a_backward_elsewhere_gives_what_it_gives_here() -> None:
    run(runs_backward)
    assert set(seen[::2]) == {1}
    assert set(seen[1::2]) == {1, 2}  # the second backward has been through the graph before


def test_nothing_of_a_circumstance_stays() -> None:
    before = torch.autograd.backward
    run(runs_backward)
    run(looks_around)
    assert torch.autograd.backward is before
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@rule("sample.circumstances.fails")
@also(NO_GRAD)
@MANY
@given(x=st.just(FLOATS))
def fails_where_nothing_is_recorded(device: str, x: torch.Tensor) -> None:
    assert x.requires_grad == (3 * x).requires_grad, "not recorded"


def test_what_fails_in_a_circumstance_is_remembered_and_printed_with_it() -> None:
    with pytest.raises(AssertionError, match="not recorded"):
        run(fails_where_nothing_is_recorded)
    failing = realise.last_failing()
    assert failing is not None
    assert failing.circumstance == NO_GRAD
    body = realise.body_of(fails_where_nothing_is_recorded)
    source = program.program(body, failing.arguments, block=failing.circumstance.block)
    assert (
        source
        == """\
import torch

with torch.no_grad():
    x = torch.ones(2)
    x.requires_grad_()

    assert x.requires_grad == (3 * x).requires_grad, "not recorded"
"""
    )


def body_with_backward(device: str, x: torch.Tensor) -> None:
    (3 * x).sum().backward()

    assert x.grad.tolist() == [4, 4]  # type: ignore[union-attr]  # which is wrong


@pytest.mark.parametrize("circumstance", EVERY)
def test_a_program_brings_along_what_its_circumstance_needs(circumstance: Circumstance) -> None:
    arguments = circumstance.arguments({"device": "cpu", "x": LEAF})
    source = program.program(body_with_backward, arguments, block=circumstance.block)
    assert "tests." not in source
    raised = RuntimeError if circumstance in UNRECORDED else AssertionError
    with pytest.raises(raised):
        exec(compile(source, "<program>", "exec"), {})


def test_a_program_that_goes_through_its_graph_twice_says_how() -> None:
    source = program.program(body_with_backward, {"device": "cpu", "x": LEAF}, block=SECOND_BACKWARD.block)
    assert "def backward_again(" in source
    assert "    (3 * x).sum().backward()\n\n    assert" in source
    assert source.count("with backward_again():\n    x = torch") == 1


@rule("sample.circumstances.lacks")
@also(UNRECORDED_BACKWARD)
@MANY
@given(x=tensors())
def lacks_an_operator_where_nothing_is_recorded(device: str, x: torch.Tensor) -> None:
    if hasattr(torch.autograd.backward, "__wrapped__"):
        raise NotImplementedError("Could not run 'aten::neg' with arguments from the 'Unheard' backend")


def test_what_a_device_lacks_in_a_circumstance_only_is_counted_and_the_example_too() -> None:
    trial = realise.begin()
    lacks_an_operator_where_nothing_is_recorded(device="cpu")
    assert trial.examples == MANY.max_examples
    assert sum(trial.lacking.values()) == MANY.max_examples
