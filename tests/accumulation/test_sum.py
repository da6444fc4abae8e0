"""spec/accumulation/sum.md"""

import threading

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import (
    Expression,
    broadcasting_pairs,
    dtypes,
    elementwise,
    layouts,
    leaves,
    like,
    routes,
    shapes,
    tensors,
)
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

# Three terms at most: the sums stay exact in bfloat16.
UP_TO_THREE = {"min_size": 1, "max_size": 3}


LONG = st.sampled_from([(17,), (33,), (5, 7), (3, 3, 3)])
"""Shapes of more elements than a vectorised kernel takes at once, and no multiple of them."""

TRIPLE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))
SQUARE = (Expression("lambda x: x * x"), Expression("lambda v: 2 * v"))

FLAT = Expression("torch.zeros(2, device=device).requires_grad_()")
"""A leaf at which the derivative of a square is zero."""

BEYOND_SINGLE = Expression(
    "torch.ones(2, dtype=torch.float64, device=device).requires_grad_()",
    then=("{it}.grad = torch.full_like({it}, 2.0**24)",),
    dtypes=frozenset({"torch.float64"}),
)
"""A leaf whose gradient is so large that float32 has no odd numbers there."""


DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


CALLS = (
    "lambda y: y.backward()",
    "lambda y: y.backward(torch.ones_like(y))",
    "lambda y: torch.autograd.backward([y], [torch.ones_like(y)])",
)
"""Ways to run an output of one element backward."""


@rule("accumulation.sum.over-calls")
@given(
    leaf=leaves(dtypes=DTYPES, earlier_grad=True) | leaves(LONG, earlier_grad=True),
    operations=st.lists(elementwise(), **UP_TO_THREE),
    call=st.sampled_from(CALLS).map(Expression),
    recording=st.booleans(),
)
@example(leaf=BEYOND_SINGLE, operations=[TRIPLE], call=Expression(CALLS[0]), recording=True)
@example(leaf=FLAT, operations=[SQUARE], call=Expression(CALLS[0]), recording=True)
def test_each_backward_adds_to_what_grad_holds(device, leaf, operations, call, recording):
    expected = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    for function, derivative in operations:
        output = function(leaf).real.sum()
        with torch.set_grad_enabled(recording):
            returned = call(output)
        assert returned is None
        assert leaf.grad is not None
        expected = [held + derivative(value).conjugate() for held, value in zip(expected, numbers(leaf), strict=True)]
        assert numbers(leaf.grad) == expected


SEVERAL_ORDERS = shapes(min_dims=2, min_side=2) | LONG
"""Shapes whose elements can lie in memory in more than one order."""


def turned(tensor):
    """A copy in which the first dimension is the fastest."""
    return tensor.movedim(0, -1).contiguous().clone().movedim(-1, 0) if tensor.ndim > 0 else tensor.clone()


@rule("accumulation.sum.over-calls")
@also(AS_RESULTS, *BACKWARD)
@given(pair=like(leaves() | leaves(SEVERAL_ORDERS), among=layouts.WRITABLE), operation=elementwise())
def test_a_backward_adds_to_a_tensor_put_there_by_hand_however_it_lies(device, pair, operation):
    function, derivative = operation
    leaf, by_hand = pair
    other = by_hand.detach().clone().requires_grad_()
    pairs = list(zip(numbers(by_hand), numbers(leaf), strict=True))
    expected = [held + derivative(value) + 2 * value for held, value in pairs]
    infinite = by_hand.detach() / 0  # here and there also nan, which stays nan
    for held in (turned(by_hand), by_hand.clone(), by_hand):
        leaf.grad, other.grad = held, turned(held)
        (function(leaf) + leaf * leaf - other * leaf.detach()).sum().backward()
        assert numbers(leaf.grad) == expected
        assert numbers(other.grad) == [held - value for held, value in pairs]
    leaf.grad = infinite.clone()
    function(leaf).sum().backward()
    assert str(numbers(leaf.grad)) == str(numbers(infinite))


@rule("accumulation.sum.over-calls")
@also(*BACKWARD)
@given(pair=like(leaves(dtypes=dtypes.differentiable())), options=st.sampled_from(({}, {"retain_graph": True})))
def test_each_backward_adds_its_gradient_to_every_leaf(device, pair, options):
    leaf, gradient = pair
    other, parameter, still = (torch.nn.Parameter(gradient.clone()) for _ in range(3))
    gradient = gradient * (1 + 2**-40)  # what is double has more digits than single precision
    times = 0
    for added, scale in ((1, -1), (3, 1), (-1, 1)):
        (3 * leaf - other + parameter.view_as(parameter) * 2 + still * 0).backward(gradient * added, **options)
        times += added
        for x, factor in ((leaf, 3), (other, -1), (parameter, 2), (still, 0)):
            assert x.grad is not None
            assert numbers(x.grad) == [times * factor * number for number in numbers(gradient)]
            # The next comes after it was written to, and after a refusal.
            with torch.no_grad():
                x.grad.mul_(scale)
        times *= scale
        with pytest.raises(RuntimeError):
            (leaf + other).backward(gradient[None])


@rule("accumulation.sum.over-calls")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), first=elementwise(), second=elementwise())
def test_a_backward_in_another_thread_adds_too(device, leaf, first, second):
    (function, derivative), (later, later_derivative) = first, second
    for sums in ([0] * leaf.numel(), [derivative(value).conjugate() for value in numbers(leaf)]):
        thread = threading.Thread(target=later(leaf).real.sum().backward)
        thread.start()
        thread.join()
        assert numbers(leaf.grad) == [
            held + later_derivative(value).conjugate() for held, value in zip(sums, numbers(leaf), strict=True)
        ]
        leaf.grad = None
        function(leaf).real.sum().backward()


@rule("accumulation.sum.over-uses")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), uses=st.lists(st.tuples(elementwise(), routes(), st.booleans()), **UP_TO_THREE))
def test_one_backward_adds_up_views_and_intermediate_results(device, leaf, uses):
    data = torch.ones_like(leaf.detach())
    output = leaf.view_as(leaf).real.sum() + leaf[None].real.sum() + torch.stack([leaf, data, leaf]).real.sum()
    output = output + torch.add(leaf, leaf, alpha=2).real.sum() + (data * leaf).real.sum()
    for (function, _), route, route_first in uses:
        output = output + (function(route(leaf)) if route_first else route(function(leaf))).real.sum()
    output.backward()
    slopes = [sum(derivative(value).conjugate() for (_, derivative), _, _ in uses) for value in numbers(leaf)]
    assert numbers(leaf.grad) == [8 + slope for slope in slopes]


@st.composite
def broadcast(draw):
    """A leaf and a tensor that broadcast together."""
    one, other = draw(broadcasting_pairs())
    dtype = draw(dtypes.floating())
    return draw(leaves(st.just(one), st.just(dtype))), draw(tensors(st.just(other), st.just(dtype)))


COMBINATIONS = (
    ("lambda x, y: x + y", 1),
    ("lambda x, y: y + x", 1),
    ("lambda x, y: y - x", -1),
)
"""A function of two tensors whose derivative by y is 1, and the one by x."""


def combinations():
    """One of these."""
    return st.sampled_from(COMBINATIONS).map(lambda drawn: (Expression(drawn[0]), drawn[1]))


@rule("accumulation.sum.over-uses")
@also(*BACKWARD)
@given(pair=broadcast(), combination=combinations(), both=st.booleans())
@example(
    pair=(Expression("torch.tensor(2., device=device).requires_grad_()"), Expression("torch.ones(3, device=device)")),
    combination=(Expression("lambda x, y: x + y"), 1),
    both=False,
)
def test_a_broadcast_leaf_collects_from_all_its_copies(device, pair, combination, both):
    (leaf, other), (combine, slope) = pair, combination
    other.requires_grad_(both)
    output = combine(leaf, other)
    (output.sum() + leaf.sum()).backward()
    assert leaf.grad.shape == leaf.shape
    assert numbers(leaf.grad) == [slope * (output.numel() // leaf.numel()) + 1 for _ in numbers(leaf)]
    if both:
        assert other.grad.shape == other.shape
        assert numbers(other.grad) == [output.numel() // other.numel() for _ in numbers(other)]


@rule("accumulation.sum.over-uses")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), copies=st.integers(1, 3), operation=elementwise())
def test_a_row_of_an_expanded_leaf_counts_once(device, leaf, copies, operation):
    function, derivative = operation
    function(leaf.expand(copies, *leaf.shape)[copies - 1]).real.sum().backward()
    assert numbers(leaf.grad) == [derivative(value).conjugate() for value in numbers(leaf)]


def other_dtypes():
    """A dtype to compute in."""
    return dtypes.differentiable().map(lambda name: Expression(name, dtypes=frozenset({name})))


@rule("accumulation.sum.over-uses")
@also(*BACKWARD)
@given(leaf=leaves(), others=st.lists(other_dtypes(), **UP_TO_THREE))
def test_uses_in_other_dtypes_are_added_up(device, leaf, others):
    output = leaf.sum()
    for other in others:
        output = output + (leaf.to(other) * 2).real.sum() + (torch.zeros_like(leaf, dtype=other) - leaf).real.sum()
    output.backward()
    assert leaf.grad.dtype == leaf.dtype
    assert numbers(leaf.grad) == [1 + len(others)] * leaf.numel()


@rule("accumulation.sum.over-outputs")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=DTYPES, earlier_grad=True),
    operations=st.lists(elementwise(), **UP_TO_THREE),
    listed=st.lists(st.integers(0, 2), **UP_TO_THREE),
    other=other_dtypes(),
    place=st.integers(0, 3),
)
def test_one_backward_of_several_outputs_adds_all_their_gradients(device, leaf, operations, listed, other, place):
    before = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    chosen = [operations[number % len(operations)] for number in listed]
    named = {function: function(leaf).real.sum() for function, _ in chosen}
    outputs = [named[function] for function, _ in chosen]
    outputs.insert(place, leaf.real.to(other).real.sum())
    only_here = leaf.detach().clone().requires_grad_()
    outputs.insert(len(outputs) - place, (2 * only_here).real.sum())
    torch.autograd.backward(outputs)
    spread = leaf - only_here
    one, inner = leaf.real.sum(), leaf.clone()
    with_gradients = (
        ((leaf * 2).real.sum(), None),
        (spread, torch.ones_like(spread)),
        (spread, torch.full_like(spread, 2)),
        (inner[None][0], torch.ones_like(spread)),
    )
    torch.autograd.backward(*zip(*with_gradients, strict=True))
    torch.autograd.backward([one, one, inner.real.sum(), one.view(1)])
    assert numbers(leaf.grad) == [
        held + sum(derivative(value).conjugate() for _, derivative in chosen) + 1 + 6 + 4
        for held, value in zip(before, numbers(leaf), strict=True)
    ]
    assert numbers(only_here.grad) == [2 - 3] * leaf.numel()


@rule("accumulation.sum.untouched")
@given(leaf=leaves(dtypes=DTYPES, earlier_grad=True), operation=elementwise())
def test_computing_and_autograd_grad_leave_grad_alone(device, leaf, operation):
    function, derivative = operation
    other = leaf.detach().clone().requires_grad_()
    before = state(leaf, other)
    inner = leaf * 1
    output = function(inner).real.sum() + function(other).real.sum()
    with pytest.raises(RuntimeError):
        torch.autograd.grad(output, [leaf, torch.ones_like(leaf, requires_grad=True)], retain_graph=True)
    assert state(leaf, other) == before
    for options in ({"retain_graph": True}, {"create_graph": True}, {"allow_unused": True}):
        of_leaf, of_inner = torch.autograd.grad(output, [leaf, inner], **options)
        assert numbers(of_leaf) == [derivative(value).conjugate() for value in numbers(leaf)]
        assert numbers(of_inner) == numbers(of_leaf)
        assert state(leaf, other) == before


@rule("accumulation.sum.untouched")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(dtypes=DTYPES, earlier_grad=True), reached=leaves(dtypes=DTYPES), operation=elementwise())
def test_a_backward_that_does_not_reach_or_name_a_leaf_leaves_its_grad_alone(device, leaf, reached, operation):
    function, derivative = operation
    before = state(leaf)
    (function(leaf).detach().real.sum() + function(reached).real.sum()).backward()
    (function(leaf).real.sum() + function(reached).real.sum()).backward(inputs=[reached])
    assert numbers(reached.grad) == [2 * derivative(value).conjugate() for value in numbers(reached)]
    assert state(leaf) == before
    inner = function(leaf) * 1
    (inner.real.sum() + function(reached).real.sum()).backward(inputs=[inner, reached])
    assert numbers(inner.grad) == [1] * inner.numel()
    assert numbers(reached.grad) == [3 * derivative(value).conjugate() for value in numbers(reached)]
    assert state(leaf) == before
    twin = torch.nn.Parameter(leaf.detach().clone())
    ((leaf * twin - leaf).real.sum() + torch.stack([leaf, twin]).real.sum()).backward(inputs=[twin])
    assert numbers(twin.grad) == [value.conjugate() + 1 for value in numbers(leaf)]
    assert state(leaf) == before
    for other in (leaf.detach(), leaf.data, leaf.detach().unsqueeze(0), leaf.detach().clone()):
        function(other.requires_grad_()).real.sum().backward()
        assert numbers(other.grad) == [derivative(value).conjugate() for value in numbers(leaf)]
        assert state(leaf) == before
