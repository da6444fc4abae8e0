"""spec/leaves/switching.md"""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, like, routes, tensors
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers, state

DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


SWITCHES = (
    "lambda x, flag: x.requires_grad_(flag)",
    "lambda x, flag: setattr(x, 'requires_grad', flag)",
    "lambda x, flag: x.requires_grad_() if flag else x.requires_grad_(requires_grad=False)",
)
ONLY_LEAVES = "you can only change requires_grad flags of leaf variables"


def switches():
    """A function that sets the flag of a tensor."""
    return st.sampled_from(SWITCHES).map(Expression)


@rule("leaves.switching.afterwards")
@given(
    made=tensors(dtypes=dtypes.differentiable()) | tensors(st.just(())),
    operation=elementwise(),
    drawn=st.permutations(SWITCHES).map(lambda sources: [Expression(source) for source in sources]),
    recording=st.booleans(),
)
def test_the_flag_of_a_leaf_counts_for_what_is_computed_afterwards(device, made, operation, drawn, recording):
    function, _ = operation
    with torch.no_grad():
        leaves = [made * 1, made.detach(), made.view_as(made), torch.nn.Parameter(made, False), made[None][:0]]
    for tensor in leaves:
        computations = [function, lambda x: torch.ones_like(x) * x, lambda x: torch.stack([x.detach(), x])]
        off, on = [], []
        for switch_on, switch_off in zip(drawn, reversed(drawn), strict=True):
            off += [compute(tensor) for compute in computations]
            with torch.set_grad_enabled(recording):
                switch_on(tensor, True)
                assert (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn) == (True, True, None)
            on += [compute(tensor) for compute in computations]
            with torch.set_grad_enabled(not recording):
                switch_off(tensor, False)
                assert (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn) == (False, True, None)
        off += [compute(tensor) for compute in computations]
        for flag, results in ((False, off), (True, on)):
            assert [result.requires_grad for result in results] == [flag] * len(results)
            assert [result.grad_fn is not None for result in results] == [flag] * len(results)
            assert [result.is_leaf for result in results] == [not flag] * len(results)


@rule("leaves.switching.non-leaves")
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), operation=elementwise(), route=routes())
def test_a_non_leaf_cannot_be_switched_off_and_stays_as_it_is(device, leaf, operation, route):
    function, _ = operation
    result, view, written = route(function(leaf)), route(leaf.view_as(leaf)), torch.zeros_like(leaf).copy_(leaf)
    part = torch.stack([leaf.detach(), leaf]).unbind()[1]
    results = [result, view, written, part, result.sum(), leaf.detach() * leaf, leaf[None][:0]]
    before = state(leaf, *results)
    switches = (
        lambda tensor: tensor.requires_grad_(False),
        lambda tensor: tensor.requires_grad_(requires_grad=False),
        lambda tensor: setattr(tensor, "requires_grad", False),
    )
    for switch, tensor, recording in itertools.product(switches, results, (True, False)):
        with torch.set_grad_enabled(recording), pytest.raises(RuntimeError, match=ONLY_LEAVES) as refusal:
            switch(tensor)
        assert refusal.type is RuntimeError
        assert state(leaf, *results) == before


@rule("leaves.switching.off-before-backward")
@also(*BACKWARD)
@given(
    pair=like(leaves(dtypes=DTYPES, earlier_grad=True)),
    operation=elementwise(),
    switch=switches(),
    recording=st.booleans(),
)
def test_a_leaf_that_was_switched_off_before_backward_gets_nothing(device, pair, operation, switch, recording):
    (leaf, other), (function, derivative) = pair, operation
    other.requires_grad_()
    output = (3 * leaf + function(other) + leaf * other + (leaf - other)).real.sum()
    output = output + torch.stack([leaf, other, other]).real.sum()
    alone, once_more = (leaf * 2).real.sum() + leaf.reshape(-1).real.sum(), (other + leaf).real.sum()
    with torch.set_grad_enabled(recording):
        switch(leaf, False)
    before = state(leaf)
    alone.backward()
    assert state(leaf) == before
    output.backward(retain_graph=True)
    assert state(leaf) == before
    other.grad = None
    output.backward()
    assert state(leaf) == before
    assert other.grad is not None
    pairs = zip(numbers(other), numbers(leaf), strict=True)
    assert numbers(other.grad) == [(derivative(value) + factor + 1).conjugate() for value, factor in pairs]
    leaf.grad = other.grad = None
    once_more.backward(inputs=[other])
    assert numbers(other.grad) == [1] * other.numel()
    (once_more + 0).backward()
    assert leaf.grad is None
    assert not leaf.requires_grad


@rule("leaves.switching.afterwards")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()), operation=elementwise(), switch_off=switches(), switch_on=switches()
)
def test_a_result_of_a_leaf_that_was_off_in_between_still_leads_to_it(device, leaf, operation, switch_off, switch_on):
    function, derivative = operation
    data = torch.ones_like(leaf.detach())
    output = function(leaf).real.sum()
    further = (torch.stack([data, leaf.view_as(leaf)]).sum(0) + data * leaf).real.sum()
    node = output.grad_fn
    for times in (1, 2):
        for switch, flag in ((switch_off, False), (switch_on, True)):
            with torch.set_grad_enabled(times == 1):
                switch(leaf, flag)
            assert output.requires_grad
            assert output.grad_fn is node
        output.backward(retain_graph=True)
        assert leaf.grad is not None
        slopes = [derivative(value).conjugate() for value in numbers(leaf)]
        assert numbers(leaf.grad) == [times * slope + 2 * (times - 1) for slope in slopes]
        further.backward(retain_graph=True)
