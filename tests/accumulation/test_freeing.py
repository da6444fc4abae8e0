"""spec/accumulation/freeing.md"""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers, state

SECOND_TIME = "Trying to backward through the graph a second time"


def saving():
    """A function that saves its argument for backward, and its derivative."""
    return elementwise().filter(lambda operation: operation[1].source.endswith(("* v", "* v + 1")))


def saving_nothing():
    """A function that saves no tensor for backward, and its derivative."""
    return st.sampled_from(
        (
            (Expression("lambda x: x + x"), 2),
            (Expression("lambda x: -x"), -1),
            (Expression("lambda x: x.clone()"), 1),
            (Expression("lambda x: x.unsqueeze(0) - 1"), 1),
            (Expression("lambda x: x.expand(3, *x.shape)"), 3),
        )
    )


@rule("accumulation.freeing.retained")
@also(*BACKWARD)
@given(
    leaf=leaves(),
    operation=elementwise(),
    keep=st.sampled_from(({"retain_graph": True}, {"create_graph": True})),
    times=st.integers(1, 3),
)
def test_a_retained_graph_adds_the_same_gradient_each_time(device, leaf, operation, keep, times):
    function, derivative = operation
    output = function(leaf).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
        for held, earlier in ((None, 0), (None, 0), (torch.zeros_like(leaf), 0), (torch.full_like(leaf, 2), 2)):
            leaf.grad = held
            for _ in range(times):
                output.backward(**keep)
            assert numbers(leaf.grad) == [earlier + times * derivative(value) for value in numbers(leaf)]
        leaf.grad = None
        output.backward()
    assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    leaf.grad = None


@rule("accumulation.freeing.freed")
@also(*BACKWARD)
@given(leaf=leaves(), operation=saving())
def test_a_second_backward_is_refused_and_takes_nothing_from_another_graph(device, leaf, operation):
    function, derivative = operation
    output, other = function(leaf).sum(), function(leaf).sum()
    output.backward()
    before = state(leaf)
    for again in (output.backward, lambda: torch.autograd.grad(output, leaf)):
        with pytest.raises(RuntimeError, match=SECOND_TIME) as refusal:
            again()
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    other.backward()
    assert numbers(leaf.grad) == [2 * derivative(value) for value in numbers(leaf)]


@rule("accumulation.freeing.freed")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=saving(), later=elementwise())
def test_a_second_backward_through_what_two_outputs_share_is_refused(device, leaf, operation, later):
    function, further = operation[0], later[0]
    shared = function(leaf)
    one, other = (2 * shared).sum(), further(shared).sum()
    one.backward()
    before = state(leaf)
    with pytest.raises(RuntimeError, match=SECOND_TIME):
        other.backward()
    assert state(leaf) == before


@rule("accumulation.freeing.nothing-saved")
@also(*BACKWARD)
@given(leaf=leaves(), operation=saving_nothing(), times=st.integers(2, 3))
def test_a_graph_that_saved_nothing_can_be_run_again(device, leaf, operation, times):
    function, derivative = operation
    output = function(leaf).sum()
    for _ in range(times):
        output.backward()
    assert numbers(leaf.grad) == [times * derivative] * leaf.numel()
