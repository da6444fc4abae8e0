"""spec/accumulation/non-leaves.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, routes, shapes
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

WRITES = (
    ("lambda x: x", 1),
    ("lambda x: x.mul_(2)", 2),
    ("lambda x: x.neg_()", -1),
    ("lambda x: x.view_as(x).mul_(2)", 2),
    ("lambda x: x[None][0].mul_(3)", 3),
    ("lambda x: x.view_as(x).add_(1)", 1),
    ("lambda x: x.__setitem__(..., 2)", 0),
    ("lambda x: x.zero_()", 0),
)
"""In-place operations that save nothing, some through a view, and their derivatives."""


# The numbers that are written and then cubed grow beyond what float16 and bfloat16 hold.
WIDE = st.sampled_from(["torch.float32", "torch.float64", "torch.complex64"])


DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


def writes():
    """One of these, or none, and its derivative."""
    return st.sampled_from(WRITES).map(lambda pair: (Expression(pair[0]), pair[1]))


@rule("accumulation.non-leaves.not-kept")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), operation=elementwise(), route=routes())
def test_a_non_leaf_keeps_no_grad_and_warns_who_reads_it(device, leaf, operation, route):
    function, _ = operation
    view = route(leaf.view_as(leaf))
    inner = function(view)
    row, turned = leaf[None][0], leaf.movedim(0, -1) if leaf.ndim > 0 else leaf[None]
    parts = inner[None].unbind()
    asked = inner * 1
    asked.retain_grad()
    written = torch.zeros_like(leaf).copy_(leaf)
    output = (
        parts[0].real.sum()
        + row.real.sum()
        + turned.real.sum()
        + (torch.ones_like(inner.detach()) + asked).real.sum()
        + written.real.sum()
    )
    for options in ({"retain_graph": True}, {"retain_graph": True, "inputs": [leaf, asked]}, {}):
        output.backward(**options)
        assert asked.grad is not None
        for non_leaf in (view, inner, row, turned, *parts, written, output):
            for recording in (True, False):
                with torch.set_grad_enabled(recording), pytest.warns(UserWarning, match="not a leaf Tensor"):
                    assert non_leaf.grad is None


@rule("accumulation.non-leaves.retained")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=DTYPES),
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
    data = torch.ones_like(leaf.detach())
    output = (later(inner) + data * inner).real.sum() if late else None
    for recording in (late, not late)[:asked]:
        with torch.set_grad_enabled(recording):
            inner.retain_grad()
    output = output if late else (later(inner) + data * inner).real.sum()
    output.retain_grad()
    for times in (1, 2, 1):
        if times == 1:
            leaf.grad = inner.grad = output.grad = None
        output.backward(retain_graph=True)
        assert inner.grad is not None
        assert numbers(inner.grad) == [times * (factor(value) + 1) for value in numbers(inner)]
        assert output.grad is not None
        assert numbers(output.grad) == [times]
        assert numbers(leaf.grad) == [
            times * derivative(value).conjugate() * (factor(value) + 1) for value in numbers(leaf)
        ]
    again = leaf.view_as(leaf)
    again.retain_grad()
    inner.grad.zero_()
    (again + inner).real.sum().backward()
    assert numbers(inner.grad) == [1] * inner.numel()
    assert numbers(again.grad) == [1] * again.numel()


@rule("accumulation.non-leaves.retained")
@also(*BACKWARD)
@given(leaf=leaves(shapes(min_dims=1, min_side=1)), operation=elementwise())
def test_several_results_of_one_operation_retain_a_gradient_each(device, leaf, operation):
    function, derivative = operation
    places = range(leaf.shape[0])
    factors = [place + 1 for place in places for _ in leaf[place].flatten()]
    for asked in (places, *([place] for place in places)):
        leaf.grad = None
        parts = function(leaf).unbind()
        for place in asked:
            parts[place].retain_grad()
        sum((place + 1) * part.real.sum() for place, part in enumerate(parts)).backward()
        for place in asked:
            assert parts[place].grad is not None
            assert numbers(parts[place].grad) == [place + 1] * parts[place].numel()
        assert numbers(leaf.grad) == [
            derivative(value).conjugate() * factor for value, factor in zip(numbers(leaf), factors, strict=True)
        ]


@rule("accumulation.non-leaves.retained-after-writes")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=WIDE),
    operation=elementwise(linear=True),
    write=writes(),
    again=writes(),
    later=elementwise(),
    asked=st.integers(1, 2),
)
def test_a_retained_gradient_is_that_of_the_last_value(device, leaf, operation, write, again, later, asked):
    (function, derivative), (change, factor), (further, slope) = operation, write, later
    inner, added = function(leaf) * 1, torch.nn.Parameter(leaf.detach().clone())
    inner.retain_grad()
    change(inner)
    if asked == 2:
        with torch.no_grad():
            inner.retain_grad()
        again[0](inner)
        factor = factor * again[1]
    else:
        inner[None][0].add_(added)
    output = further(inner).real.sum() + added.real.sum()
    for times in (1, 2, 1):
        if times == 1:
            leaf.grad = inner.grad = added.grad = None
        output.backward(retain_graph=True)
        slopes = [slope(value).conjugate() if asked == 1 else 0 for value in numbers(inner)]
        assert numbers(added.grad) == [times * (number + 1) for number in slopes]
        assert numbers(inner.grad) == [times * slope(value).conjugate() for value in numbers(inner)]
        assert numbers(leaf.grad) == [
            times * factor * derivative(0) * slope(value).conjugate() for value in numbers(inner)
        ]


@rule("accumulation.non-leaves.named")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(dtypes=WIDE, earlier_grad=True), operation=elementwise(), write=writes(), later=elementwise())
def test_a_non_leaf_that_inputs_names_gets_its_gradient_and_the_leaf_nothing(device, leaf, operation, write, later):
    (function, _), (change, _), (further, slope) = operation, write, later
    inner, view, other = function(leaf) * 1, leaf[None], leaf.detach().clone().requires_grad_()
    change(inner)
    before = state(leaf)
    for times, named in enumerate(([inner], (inner,), [inner]), 1):
        (further(inner) + 2 * view + other).real.sum().backward(inputs=named, retain_graph=True)
        assert inner.grad is not None
        assert numbers(inner.grad) == [times * slope(value).conjugate() for value in numbers(inner)]
        assert other.grad is None
        assert state(leaf) == before
    (further(inner) + 2 * view + other).real.sum().backward(inputs=[other, view, inner], retain_graph=True)
    assert numbers(inner.grad) == [4 * slope(value).conjugate() for value in numbers(inner)]
    assert numbers(view.grad) == [2] * view.numel()
    assert numbers(other.grad) == [1] * other.numel()
    assert state(leaf) == before
    inner.grad = None
    output = (further(inner) + view).real.sum()
    output.backward(inputs=[output, inner])
    assert numbers(output.grad) == [1]
    assert numbers(inner.grad) == [slope(value).conjugate() for value in numbers(inner)]
    assert state(leaf) == before
