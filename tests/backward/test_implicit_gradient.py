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
)
"""Ways to call backward() without a gradient."""

PICKS = (
    "lambda x: x.reshape(-1)[0]",
    "lambda x: x.reshape(-1)[:1]",
    "lambda x: x.reshape(-1, 1)[:1]",
    "lambda x: x.clone().flatten()[:1].sum()",
)
"""The first element of a tensor, in different shapes."""

TIMES_THREE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))
AS_IT_IS = Expression("lambda x: x")


@rule("backward.implicit-gradient.one-element")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_one_element()), operation=elementwise(), route=routes())
@example(
    leaf=Expression("torch.full((), float('nan'), device=device).requires_grad_()"),
    operation=TIMES_THREE,
    route=AS_IT_IS,
)
@example(
    leaf=Expression("torch.full((1,), float('inf'), device=device).requires_grad_()"),
    operation=TIMES_THREE,
    route=AS_IT_IS,
)
@example(
    leaf=Expression("torch.full((1, 1), -0.0, device=device).requires_grad_()"), operation=TIMES_THREE, route=AS_IT_IS
)
def test_an_output_of_one_element_needs_no_gradient(device, leaf, operation, route):
    function, derivative = operation
    result = function(route(leaf))
    for output in (result, torch.stack([result, result])[1]):
        leaf.grad = None
        output.backward(retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    leaf.grad = None
    for times in (1, 2, 3):
        leaf.view_as(leaf).backward()
        result.backward(retain_graph=True)
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [times * (1 + derivative(value)) for value in numbers(leaf)]


@rule("backward.implicit-gradient.one-element")
@also(*BACKWARD)
@given(
    leaf=leaves(shapes(min_side=1) | tails()),
    operation=elementwise(),
    pick=st.sampled_from(PICKS).map(Expression),
)
def test_an_output_of_one_element_gives_every_leaf_its_derivative(device, leaf, operation, pick):
    function, derivative = operation
    other, only = (torch.ones((), dtype=leaf.dtype, device=device, requires_grad=True) for _ in range(2))
    (pick(function(leaf)) - 2 * other).backward()
    only.backward()
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [derivative(numbers(leaf)[0])] + [0] * (leaf.numel() - 1)
    assert other.grad is not None
    assert numbers(other.grad) == [-2]
    assert only.grad is not None
    assert numbers(only.grad) == [1]


@rule("backward.implicit-gradient.other-sizes")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(shapes_of_other_sizes() | tails(), dtypes.differentiable(), earlier_grad=True),
    operation=elementwise(),
    route=routes(),
)
def test_any_other_number_of_elements_is_refused_and_nothing_changes(device, leaf, operation, route):
    function, _ = operation
    result = function(route(leaf))
    for output in (result, result.sum().expand(2), result.sum().expand(1, 3), leaf):
        before = state(leaf, output)
        for call in CALLS:
            with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR) as refusal:
                call(output, leaf)
            assert refusal.type is RuntimeError
            assert state(leaf, output) == before
        output.backward(torch.ones_like(output), retain_graph=True)
        before = state(leaf, output)
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            output.backward()
        assert state(leaf, output) == before


@rule("backward.implicit-gradient.graph-survives-refusal")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_other_sizes()), operation=elementwise(), route=routes())
def test_after_a_refusal_the_same_output_can_still_be_run_backward(device, leaf, operation, route):
    function, derivative = operation
    output = function(route(leaf))
    for backward in (
        lambda: output.backward(torch.ones_like(output), retain_graph=True),
        lambda: output.sum().backward(),
    ):
        leaf.grad = None
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            output.backward()
        backward()
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
