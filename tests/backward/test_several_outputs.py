"""spec/backward/several-outputs.md"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import (
    Expression,
    elementwise,
    leaves,
    like,
    routes,
    shapes,
    shapes_of_one_element,
    shapes_of_other_sizes,
    tails,
    tensors,
)
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

# Not bfloat16: what three outputs add up to here can be larger than the integers that it holds.
WIDE = st.sampled_from(["torch.float32", "torch.float64", "torch.float16"])

RUNS = (
    "lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients) or leaf.grad",
    "lambda outputs, gradients, leaf: torch.autograd.grad(outputs, leaf, gradients)[0]",
)
"""The two ways to run several outputs; each returns what the leaf gets."""

UNFIT = (
    lambda good, bad: [good, good, bad],
    lambda good, bad: [bad, good, good],
    lambda good, bad: (good, bad, good),
    lambda good, bad: [good, None, good],
    lambda good, bad: [None, good, good],
    lambda good, bad: (good, good, None),
    lambda good, bad: [good, good],
    lambda good, bad: [good],
    lambda good, bad: [],
    lambda good, bad: good,
)
"""Gradients for three outputs, of which one does not fit or is missing."""


@st.composite
def with_three_gradients(draw):
    """A leaf, and three tensors of its shape and dtype."""
    leaf = draw(leaves(dtypes=WIDE))
    return leaf, [draw(like(st.just(leaf)))[1] for _ in range(3)]


@st.composite
def with_one_element_and_any(draw):
    """A leaf of one element; another leaf of any shape, and a tensor of that shape."""
    return draw(leaves(shapes_of_one_element())), *draw(like(leaves()))


@st.composite
def with_a_fit_and_a_misfit(draw):
    """A leaf, a tensor of its shape and one of another shape, all of one dtype."""
    leaf, good = draw(like(leaves(shapes_of_other_sizes(), WIDE, earlier_grad=True)))
    shape = leaf.facts["shape"]
    of_as_many = sorted({(1, *shape), (*shape, 1), shape[::-1], (math.prod(shape),)} - {shape})
    other = st.sampled_from(of_as_many) | shapes().filter(lambda drawn: drawn != shape)
    return leaf, good, draw(tensors(other, st.just(leaf.facts["dtype"])))


@rule("backward.several-outputs.sum")
@also(AS_RESULTS)
@given(
    drawn=with_three_gradients(),
    order=st.permutations(range(3)),
    operation=elementwise(),
    route=routes(),
    other=WIDE.map(lambda name: Expression(name, dtypes=frozenset({name}))),
    run=st.sampled_from(RUNS).map(Expression),
)
def test_outputs_that_are_repeated_or_computed_from_each_other_add_up(
    device, drawn, order, operation, route, other, run
):
    leaf, gradients = drawn
    function, derivative = operation
    second = torch.zeros_like(leaf, requires_grad=True)
    inner = route(function(leaf) - second)
    outer = (inner * 2).to(other)
    gradients[1] = gradients[1].to(other)
    outputs = [inner, outer, inner]
    result = run([outputs[place] for place in order], [route(gradients[place]) for place in order], leaf)
    assert result.shape == leaf.shape
    parts = list(zip(numbers(leaf), *(numbers(gradient) for gradient in gradients), strict=True))
    assert numbers(result) == [derivative(value) * (one + 2 * two + three) for value, one, two, three in parts]
    if second.grad is not None:  # which it is where only the first leaf was asked for
        assert numbers(second.grad) == [-(one + 2 * two + three) for _, one, two, three in parts]


PARTS = (
    "lambda x: list(x.unbind())",
    "lambda x: list(x.split(1, -1))",
    "lambda x: list(x.chunk(2))",
    "lambda x: [x[:1], x[1:]]",
)
"""Ways to cut a tensor into several, three of them results of one operation."""


@rule("backward.several-outputs.sum")
@also(AS_RESULTS)
@given(
    drawn=like(leaves(shapes(min_dims=1, min_side=1) | tails())),
    operation=elementwise(),
    cut=st.sampled_from(PARTS).map(Expression),
    step=st.sampled_from((1, -1)),
    run=st.sampled_from(RUNS).map(Expression),
)
def test_several_results_of_one_operation_and_the_leaf_itself_add_up(device, drawn, operation, cut, step, run):
    leaf, gradient = drawn
    function, derivative = operation
    outputs, gradients = [*cut(function(leaf)), leaf], [*cut(gradient), gradient]
    result = run(outputs[::step], gradients[::step], leaf)
    assert result.shape == leaf.shape
    pairs = zip(numbers(leaf), numbers(gradient), strict=True)
    assert numbers(result) == [(derivative(value) + 1) * weight for value, weight in pairs]


@rule("backward.several-outputs.none")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_one_element_and_any(), operation=elementwise(), route=routes())
def test_none_among_several_gradients_counts_as_one_for_an_output_of_one_element(device, drawn, operation, route):
    leaf, other, gradient = drawn
    only = torch.zeros(1, dtype=leaf.dtype, device=device, requires_grad=True)
    function, derivative = operation
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)):
        leaf.grad = other.grad = only.grad = None
        outputs, given = (route(function(leaf)), other * 3, only), (None, gradient, None)
        torch.autograd.backward([outputs[place] for place in order], [given[place] for place in order])
        assert leaf.grad is not None
        assert only.grad is not None
        assert numbers(only.grad) == [1]
        assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
        assert other.grad is not None
        assert numbers(other.grad) == [3 * weight for weight in numbers(gradient)]


@rule("backward.several-outputs.none")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_one_element()), operation=elementwise(), none=st.sampled_from([None, [None], (None,)]))
def test_none_alone_counts_as_one_for_an_output_of_one_element(device, leaf, operation, none):
    function, derivative = operation
    for times in (1, 2, 3):
        torch.autograd.backward(leaf.view_as(leaf), none)
        torch.autograd.backward(function(leaf), none)
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [times * (1 + derivative(value)) for value in numbers(leaf)]


@rule("backward.several-outputs.none")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(shapes_of_other_sizes(), earlier_grad=True),
    operation=elementwise(),
    none=st.sampled_from([None, [None], (None,)]),
)
def test_none_for_any_other_output_is_refused_and_nothing_changes(device, leaf, operation, none):
    function, _ = operation
    for output in (function(leaf), leaf):
        before = state(leaf, output)
        for block in (torch.enable_grad, torch.no_grad):
            with block(), pytest.raises(RuntimeError, match="implicitly created only for scalar outputs") as refusal:
                torch.autograd.backward(output, none)
            assert refusal.type is RuntimeError
            assert state(leaf, output) == before


@rule("backward.several-outputs.refused-whole")
@also(AS_RESULTS)
@given(drawn=with_a_fit_and_a_misfit(), operation=elementwise())
def test_one_gradient_that_does_not_fit_stops_all_outputs(device, drawn, operation):
    leaf, good, bad = drawn
    function, derivative = operation
    outputs = [function(leaf), leaf * 2, leaf]
    before = state(leaf, *outputs)
    for backward in (torch.autograd.backward, torch.no_grad()(torch.autograd.backward)):
        for unfit in UNFIT:
            with pytest.raises(RuntimeError) as refusal:
                backward(outputs, unfit(good, bad))
            assert refusal.type is RuntimeError
            assert state(leaf, *outputs) == before
    leaf.grad = None
    torch.autograd.backward(outputs, [good, good, good])
    pairs = zip(numbers(leaf), numbers(good), strict=True)
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [(derivative(value) + 3) * weight for value, weight in pairs]


@rule("backward.several-outputs.too-many")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=like(leaves(earlier_grad=True)), extra=tensors(), operation=elementwise())
def test_gradients_beyond_the_number_of_outputs_are_ignored(device, drawn, extra, operation):
    leaf, gradient = drawn
    function, derivative = operation
    expected = numbers(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
    weights = numbers(gradient)
    again = gradient.clone()  # a `.grad` may share the first one's memory, and then both grow
    more = gradient.clone()
    for block, gradients in (
        (torch.enable_grad, [gradient, extra]),
        (torch.no_grad, (again, extra, extra)),
        (torch.enable_grad, [more, None]),
    ):
        output = function(leaf)
        with block():
            torch.autograd.backward([output], gradients)
        triples = zip(expected, numbers(leaf), weights, strict=True)
        expected = [held + derivative(value) * weight for held, value, weight in triples]
        assert leaf.grad is not None
        assert numbers(leaf.grad) == expected
