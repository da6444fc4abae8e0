"""spec/backward/several-outputs.md"""

import itertools
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
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients) or leaf.grad,
    lambda outputs, gradients, leaf: torch.autograd.backward(tuple(outputs), tuple(gradients), True) or leaf.grad,
    lambda outputs, gradients, leaf: torch.autograd.grad(outputs, leaf, gradients)[0],
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients, inputs=[leaf]) or leaf.grad,
    lambda outputs, gradients, leaf: torch.no_grad()(torch.autograd.grad)(outputs, [leaf], gradients)[0],
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, grad_tensors=gradients) or leaf.grad,
)
"""Ways to run several outputs; each returns what the leaf gets."""

ORDERS = tuple(itertools.permutations(range(4)))

CALLS = (
    torch.autograd.backward,
    lambda outputs, gradients: torch.no_grad()(torch.autograd.backward)(outputs, gradients),
    lambda outputs, gradients: torch.autograd.grad(outputs, outputs[-1], gradients),
)
"""Ways to run several outputs, the last of which is a leaf."""

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
    turn=st.integers(0, 23),
    operation=elementwise(),
    route=routes(),
    other=WIDE.map(lambda name: Expression(name, dtypes=frozenset({name}))),
)
def test_outputs_that_are_repeated_or_computed_from_each_other_add_up(device, drawn, turn, operation, route, other):
    leaf, gradients = drawn
    function, derivative = operation
    leaves = [leaf, torch.zeros_like(leaf, requires_grad=True), torch.zeros_like(leaf, requires_grad=True)]
    values, weights = numbers(leaf), [numbers(gradient) for gradient in gradients]
    for number in range(turn % 2, len(RUNS), 2):
        order = ORDERS[(turn + 5 * number) % len(ORDERS)]
        for one in leaves:
            one.grad = None
        inner = route(function(leaf) - leaves[1])
        outer = (inner * 2).to(leaf.dtype if (number // 2 + turn // 2) % 2 else other)
        outputs = [inner, outer, inner, route(leaves[2] * 3)]
        given = [route(gradients[place % 3]).to(output.dtype) for place, output in enumerate(outputs)]
        result = RUNS[number]([outputs[place] for place in order], [given[place] for place in order], leaf)
        assert result.shape == leaf.shape
        sums = [one + 2 * two + three for one, two, three in zip(*weights, strict=True)]
        assert numbers(result) == [derivative(value) * by for value, by in zip(values, sums, strict=True)], number
        if number in (0, 1, 5):  # the others ask for the first leaf only
            assert leaves[1].grad is not None
            assert numbers(leaves[1].grad) == [-by for by in sums], number
            assert leaves[2].grad is not None
            assert numbers(leaves[2].grad) == [3 * by for by in weights[0]], number


PARTS = (
    "lambda x: list(x.unbind())",
    "lambda x: list(x.split(1, -1))",
    "lambda x: list(x.chunk(2))",
    "lambda x: [x[:1], x[1:]]",
)
"""Ways to cut a tensor into several, three of them results of one operation."""


@rule("backward.several-outputs.sum")
@also(AS_RESULTS, *BACKWARD)
@given(
    drawn=like(leaves(shapes(min_dims=1, min_side=1) | tails())),
    operation=elementwise(),
    cut=st.sampled_from(PARTS).map(Expression),
)
def test_several_results_of_one_operation_and_the_leaf_itself_add_up(device, drawn, operation, cut):
    leaf, gradient = drawn
    function, derivative = operation
    values, weights = numbers(leaf), numbers(gradient)
    for number, run in enumerate(RUNS):
        leaf.grad = None
        outputs, gradients = [*cut(function(leaf)), leaf], [*cut(gradient), gradient]
        step = 1 if number % 2 else -1
        result = run(outputs[::step], gradients[::step], leaf)
        assert result.shape == leaf.shape
        assert numbers(result) == [(derivative(value) + 1) * by for value, by in zip(values, weights, strict=True)]
    leaf.grad = None
    torch.autograd.backward([function(leaf), leaf], [gradient, -gradient])
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [(derivative(value) - 1) * by for value, by in zip(values, weights, strict=True)]


@rule("backward.several-outputs.none")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_one_element_and_any(), operation=elementwise(), route=routes())
def test_none_among_several_gradients_counts_as_one_for_an_output_of_one_element(device, drawn, operation, route):
    leaf, other, gradient = drawn
    only = torch.zeros(1, dtype=leaf.dtype, device=device, requires_grad=True)
    function, derivative = operation
    three = [leaf, other, only]
    slopes = [[derivative(value) for value in numbers(leaf)], [3 * weight for weight in numbers(gradient)], [1]]
    for order in itertools.permutations(range(3)):
        outputs, given = (route(function(leaf)), other * 3, only), (None, gradient, None)
        outputs, given = [outputs[place] for place in order], [given[place] for place in order]
        leaf.grad = other.grad = only.grad = None
        found = torch.autograd.grad(outputs, three, given, retain_graph=True)
        assert [numbers(gradient) for gradient in found] == slopes
        torch.autograd.backward(outputs, given)
        assert all(one.grad is not None for one in three)
        assert [numbers(one.grad) for one in three] == slopes


NONE = (
    lambda output, leaf: torch.autograd.backward(output, None),
    lambda output, leaf: torch.autograd.backward([output], [None]),
    lambda output, leaf: torch.autograd.backward(output, grad_tensors=(None,)),
    lambda output, leaf: output.backward(None),
    lambda output, leaf: output.backward(gradient=None, inputs=[leaf]),
    lambda output, leaf: torch.no_grad()(torch.autograd.backward)([output], (None,)),
)
"""Ways to run an output with None for its gradient."""

NONE_AMONG_SEVERAL = (
    lambda output, one: torch.autograd.backward([one, output], [None, None]),
    lambda output, one: torch.autograd.backward([output, one], [None, torch.ones_like(one)]),
    lambda output, one: torch.autograd.backward([one, output, one], [torch.ones_like(one), None, None]),
    lambda output, one: torch.autograd.backward([one, output]),
    lambda output, one: torch.autograd.grad([one, output], one, [None, None]),
    lambda output, one: torch.autograd.grad([output], one, None),
)
"""Ways to do so beside a leaf of one element."""


@rule("backward.several-outputs.none")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_one_element()), operation=elementwise())
def test_none_alone_counts_as_one_for_an_output_of_one_element(device, leaf, operation):
    function, derivative = operation
    slopes = [derivative(value) for value in numbers(leaf)]
    expected = 0
    for number, run in enumerate(NONE):
        if number % 3 == 0:
            leaf.grad, expected = None, 0
        run(leaf.view_as(leaf), leaf)
        run(function(leaf), leaf)
        expected += 1 + slopes[0]
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
        assert numbers(leaf.grad) == [expected]
    for none in (None, [None], (None,)):
        (found,) = torch.autograd.grad(function(leaf), leaf, none)
        assert numbers(found) == slopes


@rule("backward.several-outputs.none")
@also(UNRECORDED_BACKWARD, AS_RESULTS)
@given(
    leaf=leaves(shapes_of_other_sizes() | tails(), earlier_grad=True), operation=elementwise(), turn=st.integers(0, 1)
)
def test_none_for_any_other_output_is_refused_and_nothing_changes(device, leaf, operation, turn):
    function, _ = operation
    one = torch.ones(1, dtype=leaf.dtype, device=device, requires_grad=True)
    for place, output in enumerate((function(leaf), leaf, one[0].expand(2), one[:0]), turn):
        before = state(leaf, output, one)
        runs = [(run, leaf) for run in NONE] + [(run, one) for run in NONE_AMONG_SEVERAL]
        for run, reached in runs[place % 2 :: 2]:
            with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs") as refusal:
                run(output, reached)
            assert refusal.type is RuntimeError
            assert state(leaf, output, one) == before


@rule("backward.several-outputs.refused-whole")
@also(AS_RESULTS)
@given(drawn=with_a_fit_and_a_misfit(), operation=elementwise(), turn=st.integers(0, len(CALLS) - 1))
def test_one_gradient_that_does_not_fit_stops_all_outputs(device, drawn, operation, turn):
    leaf, good, bad = drawn
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    outputs = [function(leaf) - other, leaf * 2, leaf]
    bads = [good[None], bad, good[..., None], good.sum(), bad, good.flatten()]
    bads = [wrong for wrong in bads if wrong.shape != good.shape]
    before = state(leaf, other, *outputs)
    for number, unfit in enumerate(UNFIT):
        with pytest.raises(RuntimeError) as refusal:
            CALLS[(number + turn) % len(CALLS)](outputs, unfit(good, bads[number % len(bads)]))
        assert refusal.type is RuntimeError
        assert state(leaf, other, *outputs) == before
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
    values, weights = numbers(leaf), numbers(gradient)
    learning = extra.detach().clone().requires_grad_()
    before = state(extra, learning)
    for number, beyond in enumerate(([extra], [learning, extra], [None], [gradient], [extra.sum(), None, extra])):
        if number == 2:
            leaf.grad, expected = None, [0] * len(values)
        outputs = [function(leaf), leaf * 1][: 1 + number % 2]
        given = [gradient.clone() for _ in outputs] + beyond  # a `.grad` may share a gradient's memory
        with torch.set_grad_enabled(number != 1):
            torch.autograd.backward(outputs, given if number else tuple(given))
        slopes = [derivative(value) + number % 2 for value in values]
        expected = [held + slope * by for held, slope, by in zip(expected, slopes, weights, strict=True)]
        assert leaf.grad is not None
        assert numbers(leaf.grad) == expected
        assert state(extra, learning) == before
        assert learning.grad is None
