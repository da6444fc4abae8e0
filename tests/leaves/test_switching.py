"""spec/leaves/switching.md"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, like, routes, tensors
from tests.oracles import numbers, state

SWITCHES = (
    "lambda x, flag: x.requires_grad_(flag)",
    "lambda x, flag: setattr(x, 'requires_grad', flag)",
)
ONLY_LEAVES = "you can only change requires_grad flags of leaf variables"


def switches():
    """A function that sets the flag of a tensor."""
    return st.sampled_from(SWITCHES).map(Expression)


@rule("leaves.switching.afterwards")
@given(
    tensor=tensors(dtypes=dtypes.differentiable()),
    operation=elementwise(),
    switch_on=switches(),
    switch_off=switches(),
)
def test_the_flag_of_a_leaf_counts_for_what_is_computed_afterwards(device, tensor, operation, switch_on, switch_off):
    function, _ = operation
    before = function(tensor)
    switch_on(tensor, True)
    assert (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn) == (True, True, None)
    during = function(tensor)
    switch_off(tensor, False)
    assert (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn) == (False, True, None)
    after = function(tensor)
    assert [result.requires_grad for result in (before, during, after)] == [False, True, False]
    assert [result.grad_fn is None for result in (before, during, after)] == [True, False, True]


@rule("leaves.switching.non-leaves")
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), route=routes(), switch=switches())
def test_a_non_leaf_cannot_be_switched_off_and_stays_as_it_is(device, leaf, operation, route, switch):
    function, _ = operation
    result = route(function(leaf))
    before = state(leaf, result)
    with pytest.raises(RuntimeError, match=ONLY_LEAVES) as refusal:
        switch(result, False)
    assert refusal.type is RuntimeError
    assert state(leaf, result) == before


@rule("leaves.switching.off-before-backward")
@given(pair=like(leaves()), operation=elementwise(), switch=switches())
def test_a_leaf_that_was_switched_off_before_backward_gets_nothing(device, pair, operation, switch):
    (leaf, other), (function, derivative) = pair, operation
    other.requires_grad_()
    output = (3 * leaf + function(other)).sum()
    switch(leaf, False)
    output.backward()
    assert leaf.grad is None
    assert numbers(other.grad) == [derivative(value) for value in numbers(other)]
