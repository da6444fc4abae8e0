"""spec/accumulation/failure.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

RAISED = (RuntimeError, ZeroDivisionError)


def spoilers():
    """What makes a later backward through the square of a tensor, or through the tensor, raise."""
    return st.sampled_from(
        (
            Expression("lambda x: x.register_hook(lambda gradient: 1 / 0)"),
            Expression("lambda x: x.detach().add_(1)"),
            Expression("lambda x: (x * 0).sum().backward()"),
        )
    )


@rule("accumulation.failure.behind-the-failure")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), spoil=spoilers(), used_elsewhere=st.booleans())
def test_a_leaf_behind_the_operation_that_raises_keeps_its_grad(device, leaf, operation, spoil, used_elsewhere):
    function, _ = operation
    doubled = leaf * 2
    output = (doubled * doubled).sum()
    if used_elsewhere:
        output = output + function(leaf).sum()
    spoil(doubled)
    before = state(leaf)
    with pytest.raises(RAISED):
        output.backward()
    assert state(leaf) == before


@rule("accumulation.failure.whole-or-nothing")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(),
    other=leaves(earlier_grad=True),
    operation=elementwise(),
    spoil=spoilers(),
    first=st.booleans(),
)
def test_another_leaf_has_the_whole_gradient_or_nothing_of_it(device, leaf, other, operation, spoil, first):
    function, derivative = operation
    apart = function(other).sum() + (3 * other).sum()
    doubled = leaf * 2
    squares = (doubled * doubled).sum()
    output = apart + squares if first else squares + function(other).sum() + (3 * other).sum()
    spoil(doubled)
    held = [0] * other.numel() if other.grad is None else numbers(other.grad)
    before = None if other.grad is None else held
    whole = [number + derivative(value) + 3 for number, value in zip(held, numbers(other), strict=True)]
    with pytest.raises(RAISED):
        output.backward()
    after = None if other.grad is None else numbers(other.grad)
    assert after in (before, whole)


@rule("accumulation.failure.works-after")
@also(*BACKWARD)
@given(
    leaf=leaves(earlier_grad=True),
    other=leaves(),
    operation=elementwise(),
    spoil=spoilers(),
    recording=st.booleans(),
)
def test_after_a_failure_the_next_backward_works_as_ever(device, leaf, other, operation, spoil, recording):
    function, derivative = operation
    doubled = leaf * 2
    output = (doubled * doubled).sum() + (other * other).sum()
    spoil(doubled)
    with torch.set_grad_enabled(recording):
        with pytest.raises(RAISED):
            output.backward()
        assert torch.is_grad_enabled() is recording
    leaf.grad = other.grad = None
    (function(leaf).sum() + function(other).sum()).backward()
    assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    assert numbers(other.grad) == [derivative(value) for value in numbers(other)]
