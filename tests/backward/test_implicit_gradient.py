"""spec/backward/implicit-gradient.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import (
    Expression,
    dtypes,
    elementwise,
    leaves,
    routes,
    shapes,
    shapes_of_one_element,
    shapes_of_other_sizes,
    tails,
)
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

NEEDS_A_SCALAR = "grad can be implicitly created only for scalar outputs"


CALLS = (
    lambda output, leaf: output.backward(),
    lambda output, leaf: output.backward(None),
    lambda output, leaf: torch.no_grad()(output.backward)(),
    lambda output, leaf: output.backward(retain_graph=True),
    lambda output, leaf: output.backward(create_graph=True),
    lambda output, leaf: output.backward(inputs=[leaf]),
    lambda output, leaf: torch.autograd.backward(output),
    lambda output, leaf: output.backward(gradient=None),
    lambda output, leaf: torch.autograd.backward([output], inputs=(leaf,)),
)
"""Ways to call backward() without a gradient."""

PICKS = (
    lambda x: x.reshape(-1)[0],
    lambda x: x.reshape(-1)[:1],
    lambda x: x.reshape(-1, 1)[:1],
    lambda x: x.clone().flatten()[:1].sum(),
    lambda x: x.T.T.flatten()[0] if x.ndim == 2 else x.flatten().unbind()[0],
)
"""The first element of a tensor, in different shapes."""

TIMES_THREE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))
AS_IT_IS = Expression("lambda x: x")


@rule("backward.implicit-gradient.one-element")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_one_element()), operation=elementwise(), route=routes(), turn=st.integers(0, 1))
@example(
    leaf=Expression("torch.full((), float('nan'), device=device).requires_grad_()"),
    operation=TIMES_THREE,
    route=AS_IT_IS,
    turn=0,
)
@example(
    leaf=Expression("torch.full((1,), float('inf'), device=device).requires_grad_()"),
    operation=TIMES_THREE,
    route=AS_IT_IS,
    turn=1,
)
@example(
    leaf=Expression("torch.full((1, 1), -0.0, device=device).requires_grad_()"),
    operation=TIMES_THREE,
    route=AS_IT_IS,
    turn=0,
)
def test_an_output_of_one_element_needs_no_gradient(device, leaf, operation, route, turn):
    function, derivative = operation
    result = function(route(leaf))
    slope = derivative(numbers(leaf)[0])
    for output in (result, torch.stack([result, result])[1], result[None].expand(3, *result.shape)[2]):
        output.backward(torch.full_like(output, 2), retain_graph=True)
        leaf.grad = None
        output.backward(retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert numbers(leaf.grad) == [slope]
    leaf.grad = None
    for times in (1, 2):
        leaf.view_as(leaf).backward()
        result.backward(retain_graph=True)
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [times * (1 + slope)]
    for call in CALLS[turn::2]:
        leaf.grad = None
        call(leaf, leaf)
        call(function(leaf), leaf)
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
        assert numbers(leaf.grad) == [1 + slope]


@rule("backward.implicit-gradient.one-element")
@also(*BACKWARD)
@given(leaf=leaves(shapes(min_side=1) | tails()), operation=elementwise())
def test_an_output_of_one_element_gives_every_leaf_its_derivative(device, leaf, operation):
    function, derivative = operation
    other, only = (torch.ones((), dtype=leaf.dtype, device=device, requires_grad=True) for _ in range(2))
    parameter = torch.nn.Parameter(torch.ones(1, 1, dtype=leaf.dtype, device=device))
    slopes = [derivative(value) for value in numbers(leaf)]
    for number, pick in enumerate(PICKS):
        leaf.grad = other.grad = only.grad = parameter.grad = None
        (pick(function(leaf)) - 2 * other).backward()
        (only if number % 2 else parameter).backward()
        assert leaf.grad is not None
        assert numbers(leaf.grad) == slopes[:1] + [0] * (leaf.numel() - 1), number
        assert other.grad is not None
        assert numbers(other.grad) == [-2]
        assert [one.grad is None for one in (parameter, only)] == [number % 2 == 1, number % 2 == 0]
        assert numbers((only if number % 2 else parameter).grad) == [1]
    leaf.grad = None
    function(leaf).sum().backward()
    assert leaf.grad is not None
    assert numbers(leaf.grad) == slopes


@rule("backward.implicit-gradient.other-sizes")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(shapes_of_other_sizes() | tails(), dtypes.differentiable(), earlier_grad=True),
    operation=elementwise(),
    route=routes(),
)
def test_any_other_number_of_elements_is_refused_and_nothing_changes(device, leaf, operation, route):
    function, _ = operation
    other = torch.ones(1, dtype=leaf.dtype, device=device, requires_grad=True)
    result = function(route(leaf))
    total = result.sum() - other
    outputs = [
        result,
        total.expand(2),
        total.expand(2, 9),
        leaf,
        total[:0],
        torch.cat([total, total])[None],
        total[None, :0],
    ]
    for turn, output in enumerate(outputs, leaf.ndim):
        before = state(leaf, other, output)
        for call in (CALLS[0], CALLS[1 + turn % (len(CALLS) - 1)]):
            with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR) as refusal:
                call(output, leaf)
            assert refusal.type is RuntimeError
        assert state(leaf, other, output) == before
        output.backward(torch.ones_like(output), retain_graph=True)
        before = state(leaf, other, output)
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            output.backward()
        assert state(leaf, other, output) == before


@rule("backward.implicit-gradient.graph-survives-refusal")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_other_sizes() | tails()), operation=elementwise(), route=routes(), turn=st.integers(0, 1))
def test_after_a_refusal_the_same_output_can_still_be_run_backward(device, leaf, operation, route, turn):
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    output = function(route(leaf)) - route(2 * other)
    slopes = [derivative(value) for value in numbers(leaf)]
    for number, call in enumerate(CALLS[::2]):
        leaf.grad = other.grad = None
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            call(output, leaf)
        if number % 2:
            output.backward(torch.ones_like(output), retain_graph=True)
        else:
            output.sum().backward(retain_graph=True)
        assert leaf.grad is not None
        assert numbers(leaf.grad) == slopes
        assert other.grad is not None
        assert numbers(other.grad) == [-2] * leaf.numel()
    for number, call in enumerate(CALLS[1 + 2 * turn :: 4], turn):
        leaf.grad = None
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            call(leaf, leaf)
        leaf.sum().backward()
        fresh = function(leaf)
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            call(fresh, leaf)
        (fresh.backward if number % 2 else fresh.view_as(fresh).backward)(torch.ones_like(fresh))
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [1 + slope for slope in slopes]
