"""spec/devices/moved-leaves.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, on_the_cpu, routes, shapes, telling_shapes
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers

INTEGRAL = ("torch.int64", "torch.int32", "torch.int16", "torch.int8", "torch.bool")


@st.composite
def journeys(draw):
    """A leaf, here or on the CPU, where it goes, and what is computed at the end.

    The stations are pairs of a device and a dtype, and the first dtype is not the leaf's. Complex numbers are only
    multiplied with constants: a young device may not know how to conjugate.
    """
    is_complex = draw(st.booleans())
    kind = dtypes.COMPLEX if is_complex else dtypes.FLOATING
    dtype = st.sampled_from(kind)
    leaf = draw(
        leaves(dtypes=dtype, earlier_grad=True) | leaves(shapes(min_dims=2, min_side=2), dtype, (layouts.transposed,))
    )
    leaf = draw(st.sampled_from((leaf, on_the_cpu(leaf))))
    first = draw(st.sampled_from([other for other in kind if other != leaf.facts["dtype"]]))
    later = draw(st.lists(st.sampled_from(kind), max_size=2))
    stations = [
        Expression(f"({draw(st.sampled_from(('device', repr('cpu'))))}, {dtype})", dtypes=frozenset({dtype}))
        for dtype in (first, *later)
    ]
    return leaf, stations, draw(elementwise(linear=is_complex))


@rule("devices.moved-leaves.gradient-returns")
@also(*BACKWARD)
@given(journey=journeys(), route=routes())
@example(
    journey=(
        Expression("torch.tensor(3.0, device=device, requires_grad=True)"),
        [Expression(f"(device, {dtype})", dtypes=frozenset({dtype})) for dtype in ("torch.float16", "torch.bfloat16")],
        (Expression("lambda x: x * x"), Expression("lambda v: 2 * v")),
    ),
    route=Expression("lambda x: x"),
)
@example(
    journey=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).T.requires_grad_()"),
        [Expression("(device, torch.float16)", dtypes=frozenset({"torch.float16"}))],
        (Expression("lambda x: x * x"), Expression("lambda v: 2 * v")),
    ),
    route=Expression("lambda x: x"),
)
def test_a_moved_leaf_is_no_leaf_and_the_leaf_gets_the_gradient(device, journey, route):
    leaf, stations, (function, derivative) = journey
    earlier = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    moved = leaf
    for station in stations:
        moved = moved.to(*station)
    output = function(route(moved))
    output.backward(torch.ones_like(output), retain_graph=True)
    assert not moved.is_leaf
    assert moved.requires_grad
    assert leaf.grad is not None
    assert (leaf.grad.device, leaf.grad.dtype) == (leaf.device, leaf.dtype)
    assert numbers(leaf.grad) == [old + derivative(value) for old, value in zip(earlier, numbers(leaf), strict=True)]
    with torch.no_grad():
        assert not leaf.to(*stations[0]).requires_grad
    leaf.grad = None
    first, second = leaf.to(*stations[0]), leaf.to(device=stations[0][0], dtype=stations[0][1])
    outputs = [first * 2, second * -1, first.to(stations[0][1]) * 3]
    torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    assert numbers(leaf.grad) == [4] * leaf.numel()
    two, counted = torch.tensor(2).to(moved), torch.arange(leaf.numel()).to(moved).reshape(leaf.shape[::-1])
    for gradient in (two.expand(leaf.shape), counted.permute([*range(leaf.ndim)][::-1])):
        leaf.grad = None
        moved.backward(gradient, retain_graph=True)
        assert numbers(leaf.grad) == numbers(gradient)


@rule("devices.moved-leaves.gradient-returns")
@also(*BACKWARD)
@pytest.mark.filterwarnings("ignore:Casting complex values to real discards the imaginary part")
@given(
    leaf=leaves(earlier_grad=True),
    station=st.sampled_from(dtypes.COMPLEX).map(lambda dtype: Expression(dtype, dtypes=frozenset({dtype}))),
    factors=st.permutations((-3, 2 - 1j, -1 + 2j, 1j)),
)
def test_a_leaf_that_was_made_complex_gets_the_real_part_of_the_gradient(device, leaf, station, factors):
    expected = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    for factor in factors:
        moved = leaf.to(station)
        output = moved * factor
        output.backward(torch.ones_like(output))
        assert not moved.is_leaf
        assert (leaf.grad.device, leaf.grad.dtype) == (leaf.device, leaf.dtype)
        expected = [old + complex(factor).real for old in expected]
        assert numbers(leaf.grad) == expected


@rule("devices.moved-leaves.integers-end-the-graph")
@also(*BACKWARD)
@given(
    leaf=leaves(telling_shapes()),
    operation=elementwise(),
    dtypes=st.permutations(INTEGRAL).map(
        lambda drawn: [Expression(dtype, dtypes=frozenset({dtype})) for dtype in drawn[:3]]
    ),
)
def test_what_is_moved_to_integers_is_a_constant(device, leaf, operation, dtypes):
    function, _ = operation
    for dtype in dtypes:
        for moved in (leaf, function(leaf), leaf[None], leaf.expand(2, *leaf.shape)[1]):
            like = torch.empty(0, dtype=dtype, device=moved.device)
            with torch.no_grad():
                moved.to(dtype)
            ways = moved.to(dtype), moved.to(moved.device, dtype), moved.to(dtype=dtype, copy=True), moved.to(like)
            for constant in ways:
                assert constant.dtype == dtype
                assert not constant.requires_grad
                assert constant.is_leaf
                assert not constant.to(leaf.dtype).requires_grad
                assert not constant.clone().requires_grad
            for output in (leaf * constant, constant * leaf):
                leaf.grad = None
                output.backward(torch.ones_like(output))
                assert numbers(leaf.grad) == numbers(constant)
