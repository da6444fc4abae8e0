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
    second = torch.full_like(leaf.detach(), 2).requires_grad_()
    doubled = leaf * second
    output = (doubled * doubled).sum()
    if used_elsewhere:
        output = output + function(leaf).sum() + second.sum()
    spoil(doubled)
    before = state(leaf, second)
    for options in ({"retain_graph": True}, {"inputs": [leaf, second], "retain_graph": True}, {}):
        with pytest.raises(RAISED):
            output.backward(**options)
        assert state(leaf, second) == before


@rule("accumulation.failure.whole-or-nothing")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(),
    other=leaves(earlier_grad=True),
    operation=elementwise(),
    spoil=spoilers(),
    early=st.integers(0, 2),
)
def test_another_leaf_has_the_whole_gradient_or_nothing_of_it(device, leaf, other, operation, spoil, early):
    function, derivative = operation
    third = other.detach().clone().requires_grad_()
    uses = (lambda: (function(other) - third).sum(), lambda: (3 * other + 2 * third).sum())
    doubled = leaf * 2
    # Backward begins with what was computed last, so some uses come before what raises, and some after.
    earlier = [use() for use in uses[:early]]
    squares = (doubled * doubled).sum()
    output = sum((use() for use in uses[early:]), sum(earlier, squares))
    spoil(doubled)
    held = [0] * other.numel() if other.grad is None else numbers(other.grad)
    before = None if other.grad is None else held
    whole = [number + derivative(value) + 3 for number, value in zip(held, numbers(other), strict=True)]
    with pytest.raises(RAISED):
        output.backward()
    assert (None if other.grad is None else numbers(other.grad)) in (before, whole)
    assert third.grad is None or numbers(third.grad) == [1] * third.numel()


@rule("accumulation.failure.works-after")
@also(*BACKWARD)
@given(
    leaf=leaves(earlier_grad=True),
    other=leaves(),
    operation=elementwise(),
    spoil=spoilers(),
    recording=st.booleans(),
    cleared=st.booleans(),
)
def test_after_a_failure_the_next_backward_works_as_ever(device, leaf, other, operation, spoil, recording, cleared):
    function, derivative = operation
    doubled = leaf * 2
    output = (doubled * doubled).sum() + (other * other).sum()
    spoil(doubled)
    with torch.set_grad_enabled(recording):
        with pytest.raises(RAISED):
            output.backward()
        assert torch.is_grad_enabled() is recording
    if cleared:
        leaf.grad = other.grad = None
    held = [[0] * x.numel() if x.grad is None else numbers(x.grad) for x in (leaf, other)]
    for times in (1, 2):
        (function(leaf).sum() - function(other).sum()).backward()
        for x, factor, before in zip((leaf, other), (times, -times), held, strict=True):
            pairs = zip(before, numbers(x), strict=True)
            assert numbers(x.grad) == [number + factor * derivative(value) for number, value in pairs]
    assert torch.is_grad_enabled()
