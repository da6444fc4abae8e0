"""spec/accumulation/sum.md"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, broadcasting_pairs, dtypes, elementwise, leaves, routes, tensors
from tests.oracles import numbers, state

# Three terms at most: the sums stay exact in bfloat16.
UP_TO_THREE = {"min_size": 1, "max_size": 3}


@rule("accumulation.sum.over-calls")
@given(leaf=leaves(earlier_grad=True), operations=st.lists(elementwise(), **UP_TO_THREE), recording=st.booleans())
def test_each_backward_adds_to_what_grad_holds(device, leaf, operations, recording):
    expected = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    for function, derivative in operations:
        output = function(leaf).sum()
        with torch.set_grad_enabled(recording):
            returned = output.backward()
        assert returned is None
        assert leaf.grad is not None
        expected = [held + derivative(value) for held, value in zip(expected, numbers(leaf), strict=True)]
        assert numbers(leaf.grad) == expected


@rule("accumulation.sum.over-uses")
@given(leaf=leaves(), uses=st.lists(st.tuples(elementwise(), routes(), st.booleans()), **UP_TO_THREE))
def test_one_backward_adds_up_views_and_intermediate_results(device, leaf, uses):
    output = 0
    for (function, _), route, route_first in uses:
        output = output + (function(route(leaf)) if route_first else route(function(leaf))).sum()
    output.backward()
    assert numbers(leaf.grad) == [sum(derivative(value) for (_, derivative), _, _ in uses) for value in numbers(leaf)]


@st.composite
def broadcast(draw):
    """A leaf and a tensor that broadcast together."""
    one, other = draw(broadcasting_pairs())
    dtype = draw(dtypes.floating())
    return draw(leaves(st.just(one), st.just(dtype))), draw(tensors(st.just(other), st.just(dtype)))


@rule("accumulation.sum.over-uses")
@given(pair=broadcast())
def test_a_broadcast_leaf_collects_from_all_its_copies(device, pair):
    leaf, other = pair
    output = leaf + other
    (output.sum() + leaf.sum()).backward()
    copies = output.numel() // leaf.numel() if leaf.numel() else 0
    assert numbers(leaf.grad) == [copies + 1] * leaf.numel()


def other_dtypes():
    """A dtype to compute in."""
    return dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name})))


@rule("accumulation.sum.over-uses")
@given(leaf=leaves(), others=st.lists(other_dtypes(), **UP_TO_THREE))
def test_uses_in_other_dtypes_are_added_up(device, leaf, others):
    output = leaf.sum()
    for other in others:
        output = output + (leaf.to(other) * 2).sum()
    output.backward()
    assert numbers(leaf.grad) == [1 + 2 * len(others)] * leaf.numel()


@rule("accumulation.sum.over-outputs")
@given(
    leaf=leaves(earlier_grad=True),
    operations=st.lists(elementwise(), **UP_TO_THREE),
    listed=st.lists(st.integers(0, 2), **UP_TO_THREE),
)
def test_one_backward_of_several_outputs_adds_all_their_gradients(device, leaf, operations, listed):
    before = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    chosen = [operations[number % len(operations)] for number in listed]
    outputs = {function: function(leaf).sum() for function, _ in chosen}
    torch.autograd.backward([outputs[function] for function, _ in chosen])
    assert numbers(leaf.grad) == [
        held + sum(derivative(value) for _, derivative in chosen)
        for held, value in zip(before, numbers(leaf), strict=True)
    ]


@rule("accumulation.sum.untouched")
@given(leaf=leaves(earlier_grad=True), operation=elementwise())
def test_computing_and_autograd_grad_leave_grad_alone(device, leaf, operation):
    function, derivative = operation
    before = state(leaf)
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    assert numbers(gradient) == [derivative(value) for value in numbers(leaf)]
    assert state(leaf) == before


@rule("accumulation.sum.untouched")
@given(leaf=leaves(earlier_grad=True), reached=leaves(), operation=elementwise())
def test_a_backward_that_does_not_reach_or_name_a_leaf_leaves_its_grad_alone(device, leaf, reached, operation):
    function, derivative = operation
    before = state(leaf)
    (function(leaf).detach().sum() + function(reached).sum()).backward()
    (function(leaf).sum() + function(reached).sum()).backward(inputs=[reached])
    assert numbers(reached.grad) == [2 * derivative(value) for value in numbers(reached)]
    assert state(leaf) == before
