"""spec/accumulation/non-leaves.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, routes, shapes
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

WRITES = (
    ("lambda x: x", 1),
    ("lambda x: x.mul_(2)", 2),
    ("lambda x: x.neg_()", -1),
    ("lambda x: x.view_as(x).mul_(2)", 2),
    ("lambda x: x[None][0].mul_(3)", 3),
)
"""In-place operations that save nothing, some through a view, and their derivatives."""


# The numbers that are written and then cubed grow beyond what float16 and bfloat16 hold.
WIDE = st.sampled_from(["torch.float32", "torch.float64"])


def writes():
    """One of these, or none, and its derivative."""
    return st.sampled_from(WRITES).map(lambda pair: (Expression(pair[0]), pair[1]))


@rule("accumulation.non-leaves.not-kept")
@also(*BACKWARD)
@given(leaf=leaves(), operation=elementwise(), route=routes())
def test_a_non_leaf_keeps_no_grad_and_warns_who_reads_it(device, leaf, operation, route):
    function, _ = operation
    view = route(leaf.view_as(leaf))
    inner = function(view)
    output = inner.sum()
    output.backward()
    for non_leaf in (view, inner, output):
        for recording in (True, False):
            with torch.set_grad_enabled(recording), pytest.warns(UserWarning, match="not a leaf Tensor"):
                assert non_leaf.grad is None


@rule("accumulation.non-leaves.retained")
@also(*BACKWARD)
@given(
    leaf=leaves(),
    first=elementwise(),
    second=elementwise(linear=True),
    leaf_too=st.booleans(),
    asked=st.integers(1, 2),
    late=st.booleans(),
)
def test_retain_grad_keeps_and_adds_up_a_gradient_and_changes_no_other(
    device, leaf, first, second, leaf_too, asked, late
):
    (function, derivative), (later, factor) = first, second
    if leaf_too:
        leaf.retain_grad()
    inner = function(leaf)
    output = later(inner).sum() if late else None
    for _ in range(asked):
        inner.retain_grad()
    output = output if late else later(inner).sum()
    output.retain_grad()
    for times in (1, 2):
        output.backward(retain_graph=True)
        assert inner.grad is not None
        assert numbers(inner.grad) == [times * factor(value) for value in numbers(inner)]
        assert output.grad is not None
        assert numbers(output.grad) == [times]
        assert numbers(leaf.grad) == [times * derivative(value) * factor(value) for value in numbers(leaf)]


@rule("accumulation.non-leaves.retained")
@also(*BACKWARD)
@given(leaf=leaves(shapes(min_dims=1, min_side=1)), operation=elementwise())
def test_several_results_of_one_operation_retain_a_gradient_each(device, leaf, operation):
    function, derivative = operation
    parts = function(leaf).unbind()
    for part in parts:
        part.retain_grad()
    sum((place + 1) * part.sum() for place, part in enumerate(parts)).backward()
    factors = []
    for place, part in enumerate(parts):
        assert part.grad is not None
        assert numbers(part.grad) == [place + 1] * part.numel()
        factors += numbers(part.grad)
    assert numbers(leaf.grad) == [
        derivative(value) * factor for value, factor in zip(numbers(leaf), factors, strict=True)
    ]


@rule("accumulation.non-leaves.retained-after-writes")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=WIDE), operation=elementwise(linear=True), write=writes(), later=elementwise())
def test_a_retained_gradient_is_that_of_the_last_value(device, leaf, operation, write, later):
    (function, derivative), (change, factor), (further, slope) = operation, write, later
    inner = function(leaf) * 1
    inner.retain_grad()
    change(inner)
    further(inner).sum().backward()
    assert numbers(inner.grad) == [slope(value) for value in numbers(inner)]
    assert numbers(leaf.grad) == [factor * derivative(0) * slope(value) for value in numbers(inner)]


@rule("accumulation.non-leaves.named")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(dtypes=WIDE, earlier_grad=True), operation=elementwise(), write=writes(), later=elementwise())
def test_a_non_leaf_that_inputs_names_gets_its_gradient_and_the_leaf_nothing(device, leaf, operation, write, later):
    (function, _), (change, _), (further, slope) = operation, write, later
    inner = function(leaf) * 1
    change(inner)
    before = state(leaf)
    further(inner).sum().backward(inputs=[inner])
    assert inner.grad is not None
    assert numbers(inner.grad) == [slope(value) for value in numbers(inner)]
    assert state(leaf) == before
