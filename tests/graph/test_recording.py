"""spec/graph/recording.md"""

import contextlib
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, layouts, leaves, routes, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, also
from tests.oracles import numbers, state
from tests.oracles.graph import leaves_reached

COMPUTATIONS = (
    "lambda a, b, c: a * b + c",
    "lambda a, b, c: a - b - c",
    "lambda a, b, c: (a * 2 + b / 4) * c",
    "lambda a, b, c: torch.where(b.detach() > 0, a, b) * c",
    "lambda a, b, c: torch.cat([a.reshape(-1), b.reshape(-1), c.reshape(-1)])",
    "lambda a, b, c: torch.stack([a, b, c])",
    "lambda a, b, c: torch.addcmul(a, b, c)",
    "lambda a, b, c: torch.maximum(torch.minimum(a, b), c)",
    "lambda a, b, c: (a * b).sum() * c.exp()",
    "lambda a, b, c: a.sign() * b - c",
    "lambda a, b, c: torch.zeros_like(a).copy_(a).add_(b).mul_(c)",
    "lambda a, b, c: (-a).abs() / (b.clone() + 4) + c.mean()",
    "lambda a, b, c: torch.outer(a.reshape(-1), b.reshape(-1)).sum() - torch.cumsum(c, 0)",
)
MIXED = (
    "lambda a, b, c: torch.ones_like(a, dtype=torch.int64) * a + (2 + b) * c",
    "lambda a, b, c: (torch.ones_like(a, dtype=torch.int64) - a) + (b.detach().long() + b) / (4 + c)",
    "lambda a, b, c: torch.mul(a.detach() > 0, a) - b * (c.detach() > 0) + torch.add(c.detach() > 0, c)",
    "lambda a, b, c: a.detach().double() * a - b * c.detach().double() + (c.detach().double() + c)",
    "lambda a, b, c: torch.where(a.detach() > 0, 0, a) + torch.where(a.detach() > 0, b, 1) + c.pow(2)",
    "lambda a, b, c: ((a.double() + 1j) * (2j - b.double()) * (1j * c.double())).real",
)
"""Computations of which some operands, at first or at last, are of another dtype."""

LYING_OTHERWISE = tensors(shapes(min_dims=2, min_side=2), among=(layouts.transposed, layouts.stepped))
"""Tensors that are not contiguous."""

PLACES = ("lambda x: x", "lambda x: x * 1", "lambda x: x.view_as(x)")

DISCRETE = (
    "lambda x: x > 0",
    "lambda x: x == 1",
    "lambda x: x != x",
    "lambda x: x.ge(0)",
    "lambda x: x.bool()",
    "lambda x: x.long()",
    "lambda x: x.to(torch.int32)",
    "lambda x: torch.isnan(x)",
    "lambda x: torch.logical_not(x)",
    "lambda x: torch.signbit(x)",
)
"""Functions whose result is integer or boolean, element by element."""


def discrete_results(x, other):
    """Results of integer or boolean dtype of a tensor and another one like it."""
    yield from (x > other, other <= x, torch.ne(x, 0), x == other, x.lt(0), x >= 1, torch.isclose(x, other))
    yield from (x.int(), x.short(), x.char(), x.to(torch.int64), x.type(torch.int32), x.bool())
    yield from (
        x.isfinite(),
        torch.isinf(x),
        x.any(),
        x.all(),
        torch.count_nonzero(x),
        x.isnan().sum(),
        x.logical_and(x),
    )
    yield torch.zeros_like(x, dtype=torch.int64).copy_(x)


PLACE_OF_SOMETHING = (
    "lambda x: x.argmax()",
    "lambda x: x.argmin()",
    "lambda x: x.argsort()",
    "lambda x: x.sort().indices",
    "lambda x: x.max(0).indices",
    "lambda x: x.nonzero()",
    "lambda x: x > 0",
)
UNDERIVED = (
    "lambda x, y: x // 2",
    "lambda x, y: torch.floor_divide(x, y)",
    "lambda x, y: x.floor_divide(2.0)",
    "lambda x, y: x // y",
    "lambda x, y: torch.floor_divide(x, 3)",
)


def computations(count):
    """Functions of three tensors; their results are computed from each; after `count` comes one that mixes dtypes."""
    mixed = st.sampled_from(MIXED).map(
        lambda source: Expression(source, dtypes=frozenset({"torch.float64"} if "double" in source else ()))
    )
    return st.tuples(*[st.sampled_from(COMPUTATIONS).map(Expression)] * count, mixed)


@rule("graph.recording.when")
@also(AS_RESULTS)
@given(
    tensor=tensors() | LYING_OTHERWISE,
    places=st.tuples(*[st.sampled_from(PLACES).map(Expression)] * 3),
    computations=computations(2),
    drawn=st.tuples(blocks(recording=False), blocks(recording=True)),
)
def test_an_operation_is_recorded_in_grad_mode_if_an_input_requires_grad(device, tensor, places, computations, drawn):
    for compute, flags in itertools.product(computations, itertools.product((False, True), repeat=3)):
        inputs = [place(tensor.detach().requires_grad_(flag)) for place, flag in zip(places, flags, strict=True)]
        results = [(compute(*inputs), any(flags)), (torch.stack(inputs), any(flags))]
        results.append((inputs[0][None][:0] * inputs[1][None][:0], any(flags[:2])))
        results.append((inputs[0].sum() * inputs[1].sum(), any(flags[:2])))
        with contextlib.suppress(ZeroDivisionError), torch.no_grad():
            1 / 0  # noqa: B018
        for block, grad_mode in drawn:
            with block():
                results.append((compute(*inputs), any(flags) and grad_mode))
                results.append((inputs[0] * inputs[1], any(flags[:2]) and grad_mode))
                results.append((inputs[1] - inputs[2], any(flags[1:]) and grad_mode))
            results.append((compute(*inputs), any(flags)))
        for result, recorded in results:
            assert result.requires_grad is recorded
            assert (result.grad_fn is not None) is recorded
            assert result.is_leaf is not recorded


@rule("graph.recording.others-get-nothing")
@also(AS_RESULTS, *BACKWARD)
@given(tensor=tensors(), computations=computations(2))
def test_only_inputs_that_require_grad_are_in_the_graph_and_get_a_gradient(device, tensor, computations):
    for compute, flags in itertools.product(computations, itertools.product((False, True), repeat=3)):
        inputs = [tensor.detach().requires_grad_(flag) for flag in flags]
        output = compute(*inputs).sum()
        reached = leaves_reached(output.grad_fn)
        assert [any(leaf is value for leaf in reached) for value in inputs] == list(flags)
        assert len(reached) == sum(flags)
        for several in (torch.stack(inputs), torch.cat([value.reshape(-1)[:0] for value in inputs])):
            reached = leaves_reached(several.grad_fn)
            assert [any(leaf is value for leaf in reached) for value in inputs] == list(flags)
        if any(flags):
            output.backward()
        assert [value.grad is not None for value in inputs] == list(flags)


@rule("graph.recording.discrete")
@also(*BACKWARD)
@given(leaf=leaves(), place=st.sampled_from(PLACES).map(Expression), discrete=st.sampled_from(DISCRETE).map(Expression))
def test_a_comparison_adds_nothing_to_the_graph_and_its_result_is_a_constant_in_it(device, leaf, place, discrete):
    tensor = place(leaf)
    mask = discrete(tensor)
    for result in (mask, *discrete_results(tensor, leaf), *discrete_results(leaf.detach(), tensor)):
        assert not result.dtype.is_floating_point
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.is_leaf
    with torch.no_grad():
        inside = [discrete(tensor), tensor > 0, tensor.eq(1)]
    total = mask.sum()
    for factor in (mask, *inside):
        product, reversed_product = leaf * factor, factor * leaf
        assert product.requires_grad
        assert reversed_product.requires_grad
        assert [node is None for node, _ in product.grad_fn.next_functions] == [False, True]
        assert [node is None for node, _ in reversed_product.grad_fn.next_functions] == [True, False]
        total = total + (product + reversed_product * 2 + factor).sum()
    total.backward()
    factors = zip(*(numbers(factor) for factor in (mask, *inside)), strict=True)
    assert numbers(leaf.grad) == [3 * sum(map(int, each)) for each in factors]


@rule("graph.recording.discrete")
@also(*BACKWARD)
@given(
    leaf=leaves(shapes(min_dims=1, max_dims=1, min_side=1)), index=st.sampled_from(PLACE_OF_SOMETHING).map(Expression)
)
def test_the_place_of_an_element_is_not_recorded_and_what_it_picks_is(device, leaf, index):
    place = index(leaf)
    for found in (
        place,
        index(leaf * 1),
        index(leaf.view_as(leaf)),
        leaf.min(0)[1],
        leaf.topk(1).indices,
        leaf.argmin(0),
    ):
        assert not found.requires_grad
        assert found.grad_fn is None
        assert found.is_leaf
    chosen = torch.arange(leaf.numel(), device=device)[place].reshape(-1)
    (leaf[place].sum() + 2 * leaf.index_select(0, chosen).sum() + leaf[leaf > 0].sum()).backward()
    picked = chosen.tolist()
    positive = [value > 0 for value in numbers(leaf)]
    assert numbers(leaf.grad) == [3 * picked.count(position) + above for position, above in enumerate(positive)]


@rule("graph.recording.underived")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), route=routes(), divide=st.sampled_from(UNDERIVED).map(Expression))
def test_floor_division_is_recorded_and_refuses_to_be_run_backward(device, leaf, route, divide):
    tensor = route(leaf)
    result = divide(tensor, tensor.detach().abs() + 1)
    assert result.requires_grad
    assert result.grad_fn is not None
    assert not result.is_leaf
    other = leaf.detach().clone().requires_grad_()
    before = state(leaf)
    for output in (result.sum(), (leaf + other).sum() + result.sum(), (result - tensor).sum() + (leaf * other).sum()):
        for options in ({"retain_graph": True}, {"inputs": [leaf]}):
            with pytest.raises(RuntimeError, match="derivative for aten::floor_divide is not implemented"):
                output.backward(**options)
            assert state(leaf) == before
