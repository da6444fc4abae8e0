"""spec/accumulation/failure.md"""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

RAISED = (RuntimeError, ZeroDivisionError, KeyError, TypeError)


def spoilers():
    """What makes a later backward through the square of a tensor, or through the tensor, raise."""
    return st.sampled_from(
        (
            Expression("lambda x: x.register_hook(lambda gradient: 1 / 0)"),
            Expression("lambda x: x.detach().add_(1)"),
            Expression("lambda x: (x * 0).real.sum().backward()"),
            Expression("lambda x: x.register_hook(lambda gradient: gradient[None])"),
            Expression("lambda x: x.register_hook(lambda gradient: {}['gradient'])"),
        )
    )


ANY = leaves(dtypes=dtypes.differentiable(), earlier_grad=True)
"""Leaves that hold anything, complex ones among them."""


@rule("accumulation.failure.behind-the-failure")
@also(*BACKWARD)
@given(leaf=ANY, operation=elementwise(), spoil=spoilers(), used_elsewhere=st.booleans())
def test_a_leaf_behind_the_operation_that_raises_keeps_its_grad(device, leaf, operation, spoil, used_elsewhere):
    function, _ = operation
    second = torch.nn.Parameter(torch.full_like(leaf.detach(), 2))
    doubled = leaf * second
    output = (doubled * doubled).real.sum()
    if used_elsewhere:
        output = output + (function(leaf) + second).real.sum()
    spoil(doubled)
    for held, options in (
        (leaf.grad, {}),
        (leaf.grad, {"retain_graph": True}),
        (None, {"inputs": [leaf, second]}),
        (torch.full_like(leaf, math.inf), {"create_graph": True}),
        (None, {}),
    ):
        leaf.grad, second.grad = held, None if held is None else held.clone()
        before = state(leaf, second)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
            with pytest.raises(RAISED):
                output.backward(**{"retain_graph": True, **options})
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
    third = torch.nn.Parameter(other.detach().clone())
    uses = (lambda: (function(other) - third).sum(), lambda: (3 * other + 2 * third).sum())
    doubled = leaf * 2
    # Backward begins with what was computed last, so some uses come before what raises, and some after.
    earlier = [use() for use in uses[:early]]
    squares = (doubled * doubled).sum()
    output = sum((use() for use in uses[early:]), sum(earlier, squares))
    spoil(doubled)
    gradients = [derivative(value) + 3 for value in numbers(other)], [1] * third.numel()
    for options in ({"retain_graph": True}, {"inputs": [third, leaf, other], "retain_graph": True}, {}):
        held = [None if x.grad is None else numbers(x.grad) for x in (other, third)]
        with pytest.raises(RAISED):
            output.backward(**options)
        for x, before, gradient in zip((other, third), held, gradients, strict=True):
            whole = [sum(pair) for pair in zip(before or [0] * x.numel(), gradient, strict=True)]
            assert (None if x.grad is None else numbers(x.grad)) in (before, whole)


@rule("accumulation.failure.works-after")
@also(*BACKWARD)
@given(
    leaf=ANY,
    other=leaves(),
    operation=elementwise(),
    spoil=spoilers(),
    recording=st.booleans(),
    cleared=st.booleans(),
)
def test_after_a_failure_the_next_backward_works_as_ever(device, leaf, other, operation, spoil, recording, cleared):
    function, derivative = operation
    twin, third = leaf.detach().clone().requires_grad_(), torch.nn.Parameter(leaf.detach().clone())
    none, many = leaf.detach().new_ones(0, 3).requires_grad_(), leaf.detach().new_full((17,), 2).requires_grad_()
    all_leaves = leaf, twin, other, third, none, many
    doubled = leaf * 2 + twin
    output = (doubled * doubled).real.sum() + (other * other).sum()
    output = output + (none * none).real.sum() + (many * many).real.sum()
    spoil(doubled)
    with torch.set_grad_enabled(recording), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for options in ({"retain_graph": True}, {"create_graph": True}, {}):
            with pytest.raises(RAISED):
                output.backward(**options)
            assert torch.is_grad_enabled() is recording
    for x in all_leaves if cleared else ():
        x.grad = None
    held = [[0] * x.numel() if x.grad is None else numbers(x.grad) for x in all_leaves]
    for times in (1, 2):
        outputs = function(leaf) - function(twin) + 2 * function(third)
        outputs = outputs.real.sum() - function(other).sum() + function(none).real.sum() - function(many).real.sum()
        outputs.backward()
        for x, factor, before in zip(all_leaves, (1, -1, -1, 2, 1, -1), held, strict=True):
            slopes = [times * factor * derivative(value).conjugate() for value in numbers(x)]
            assert numbers(x.grad) == [sum(pair) for pair in zip(before, slopes, strict=True)]
    assert torch.is_grad_enabled()
