"""spec/modes/no-grad.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, places, routes, shapes, tensors
from tests.oracles import numbers, state

COMPUTATIONS = (
    ("lambda x: x * 3", "lambda v: 3 * v"),
    ("lambda x: x * x", "lambda v: v * v"),
    ("lambda x: x * x * x", "lambda v: v * v * v"),
    ("lambda x: (x + 1) * x", "lambda v: (v + 1) * v"),
    ("lambda x: -x", "lambda v: -v"),
    ("lambda x: torch.ones_like(x) * x", "lambda v: v"),
    ("lambda x: x / 4", "lambda v: v / 4"),
    ("lambda x: x.clone()", "lambda v: v"),
    ("lambda x: x.square()", "lambda v: v * v"),
    ("lambda x: 2 * x.view_as(x) - x", "lambda v: v"),
    ("lambda x: torch.mul(x, x, out=torch.empty_like(x))", "lambda v: v * v"),
    ("lambda x: torch.stack([x, x])[0].clone()", "lambda v: v"),
    ("lambda x: x.unsqueeze(-1).sum(-1)", "lambda v: v"),
    ("lambda x: torch.where(x == x, x, -x)", "lambda v: v"),
)
DOES_NOT_REQUIRE_GRAD = "element 0 of tensors does not require grad and does not have a grad_fn"

FACTORIES = (
    "lambda: torch.tensor(2., dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.zeros({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.full({shape}, 2., dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.empty({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.zeros_like(torch.ones({shape}, dtype={dtype}, device=device), requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_zeros({shape}, requires_grad=True)",
    "lambda: torch.arange(5, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.nn.Parameter(torch.ones({shape}, dtype={dtype}, device=device))",
)
EXPANDED = leaves(shapes(min_dims=1, min_side=2), among=(layouts.expanded,))
"""Leaves whose rows are the same memory."""

SWITCHES = (
    "lambda x: x.requires_grad_()",
    "lambda x: setattr(x, 'requires_grad', True)",
)


def computations():
    """(function, value): function(x) has memory of its own and holds value(v) where x holds v."""
    return st.sampled_from(COMPUTATIONS).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


@st.composite
def factories(draw):
    """A function without arguments that makes a leaf which is to require grad."""
    tensor = draw(tensors())
    source = draw(st.sampled_from(FACTORIES)).format(**tensor.facts)
    return Expression(source, dtypes=tensor.dtypes)


@rule("modes.no-grad.results")
@given(
    leaf=leaves(dtypes=dtypes.differentiable()) | EXPANDED,
    place=places(),
    computations=st.lists(computations(), min_size=4, max_size=4),
)
@example(
    leaf=Expression(
        "torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex64, device=device, requires_grad=True)",
        dtypes=frozenset({"torch.complex64"}),
    ),
    place=Expression("lambda x: x"),
    computations=[(Expression("lambda x: x * x"), Expression("lambda v: v * v"))],
)
def test_a_result_has_its_values_and_no_history(device, leaf, place, computations):
    tensor = place(leaf)
    operands = numbers(tensor)
    for function, value in computations:
        with torch.no_grad():
            result = function(tensor)
        assert numbers(result) == [value(number) for number in operands]
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.is_leaf


@rule("modes.no-grad.constants")
@given(leaf=leaves(earlier_grad=True), route=routes(), computation=computations())
def test_a_result_is_a_constant_afterwards(device, leaf, route, computation):
    function, _ = computation
    with torch.no_grad():
        constant = function(route(leaf))
    weight = torch.full_like(constant, 2, requires_grad=True)
    before = state(leaf, constant)
    (constant * weight).sum().backward()
    assert numbers(weight.grad) == numbers(constant)
    assert state(leaf, constant) == before


@rule("modes.no-grad.constants")
@given(leaf=leaves(earlier_grad=True), route=routes(), computation=computations())
def test_backward_from_a_result_alone_is_refused(device, leaf, route, computation):
    function, _ = computation
    with torch.no_grad():
        constant = function(route(leaf))
    before = state(leaf, constant)
    with pytest.raises(RuntimeError, match=DOES_NOT_REQUIRE_GRAD) as refusal:
        constant.sum().backward()
    assert refusal.type is RuntimeError
    assert state(leaf, constant) == before


@rule("modes.no-grad.nothing-saved")
@given(leaf=leaves(), route=routes(), computation=computations())
def test_nothing_is_saved_for_a_backward_pass(device, leaf, route, computation):
    function, _ = computation
    tensor = route(leaf)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed), torch.no_grad():
        function(tensor)
    assert len(saved) == 0


@rule("modes.no-grad.earlier-graph")
@given(leaf=leaves(), route=routes(), operation=elementwise())
def test_an_earlier_graph_runs_backward_inside(device, leaf, route, operation):
    function, derivative = operation
    output = function(route(leaf)).sum()
    grad_fn = output.grad_fn
    with torch.no_grad():
        assert leaf.requires_grad
        assert output.requires_grad
        assert output.grad_fn is grad_fn
        output.backward()
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    assert not leaf.grad.requires_grad


@rule("modes.no-grad.asked-for")
@given(make=factories())
def test_a_tensor_made_inside_requires_grad_if_asked_to(device, make):
    with torch.no_grad():
        made = make()
        inside = made * 3
    assert made.requires_grad
    assert made.is_leaf
    assert not inside.requires_grad
    (made * 3).sum().backward()
    assert numbers(made.grad) == [3] * made.numel()


@rule("modes.no-grad.asked-for")
@given(tensor=tensors(dtypes=dtypes.differentiable()), switch=st.sampled_from(SWITCHES).map(Expression))
def test_a_flag_set_inside_counts(device, tensor, switch):
    with torch.no_grad():
        switch(tensor)
        inside = tensor * 3
    assert tensor.requires_grad
    assert tensor.is_leaf
    assert not inside.requires_grad
    outside = tensor * 3
    outside.backward(torch.ones_like(outside))
    assert numbers(tensor.grad) == [3] * tensor.numel()
