"""spec/accumulation/non-leaves.md"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import elementwise, leaves, routes
from tests.oracles import numbers


@rule("accumulation.non-leaves.not-kept")
@given(leaf=leaves(), operation=elementwise(), route=routes())
def test_a_non_leaf_keeps_no_grad_and_warns_who_reads_it(device, leaf, operation, route):
    function, _ = operation
    view = route(leaf.view_as(leaf))
    inner = function(view)
    output = inner.sum()
    output.backward()
    for non_leaf in (view, inner, output):
        with pytest.warns(UserWarning, match="not a leaf Tensor"):
            assert non_leaf.grad is None


@rule("accumulation.non-leaves.retained")
@given(
    leaf=leaves(),
    first=elementwise(),
    second=elementwise(linear=True),
    leaf_too=st.booleans(),
)
def test_retain_grad_keeps_and_adds_up_a_gradient_and_changes_no_other(device, leaf, first, second, leaf_too):
    (function, derivative), (later, factor) = first, second
    if leaf_too:
        leaf.retain_grad()
    inner = function(leaf)
    inner.retain_grad()
    output = later(inner).sum()
    for times in (1, 2):
        output.backward(retain_graph=True)
        assert numbers(inner.grad) == [times * factor(value) for value in numbers(inner)]
        assert numbers(leaf.grad) == [times * derivative(value) * factor(value) for value in numbers(leaf)]
