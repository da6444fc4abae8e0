"""spec/modes/no-grad.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, places, routes, shapes, tensors
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
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
PRODUCTS = (
    "lambda x: x.reshape(-1, 1) @ x.new_ones(1, 1)",
    "lambda x: x.new_ones(1, 1) @ x.reshape(1, -1)",
    "lambda x: x.reshape(1, -1, 1).bmm(x.new_ones(1, 1, 1))",
    "lambda x: x.reshape(-1, 1).mv(x.new_ones(1))",
    "lambda x: torch.nn.functional.linear(x.reshape(-1, 1), x.new_ones(1, 1))",
    "lambda x: torch.addmm(x.new_zeros(1), x.reshape(-1, 1), x.new_ones(1, 1))",
    "lambda x: torch.outer(x.reshape(-1), x.new_ones(1))",
    "lambda x: torch.einsum('i,j->ij', x.reshape(-1), x.new_ones(1))",
)
"""Products of matrices that have the elements of x, as they are."""

SAVING = (
    "lambda x: x.exp()",
    "lambda x: x.sigmoid()",
    "lambda x: x.relu()",
    "lambda x: x.abs()",
    "lambda x: x.pow(2)",
    "lambda x: x.prod()",
    "lambda x: x.softmax(-1)",
    "lambda x: x.cumprod(-1)",
    "lambda x: x.max(-1).values",
    "lambda x: x.sort(-1).values",
    "lambda x: x.norm()",
    "lambda x: x[x > 0]",
    "lambda x: torch.where(x > 0, x, -x)",
    "lambda x: torch.maximum(x, -x)",
    "lambda x: torch.addcmul(x, x, x)",
    "lambda x: x.reshape(-1).dot(x.reshape(-1))",
    "lambda x: x.reshape(1, -1) @ x.reshape(-1, 1)",
    "lambda x: torch.nn.functional.mse_loss(x, 2 * x)",
)
"""Operations that, recorded, keep operands, results or indices for their derivatives."""

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


def some(sources):
    return st.lists(st.sampled_from(sources).map(Expression), min_size=4, max_size=4)


WHOLE = shapes(min_dims=1, min_side=1)
COMMON = st.sampled_from(("torch.float32", "torch.float64"))
"""Dtypes in which every torch multiplies matrices on every device."""

OTHER_DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.int64", "torch.int32", "torch.uint8")).map(
    lambda dtype: Expression(dtype, dtypes=frozenset({dtype}))
)
PAIRWISE = (
    ("lambda a, b: a * b", "lambda v: 2 * v"),
    ("lambda a, b: a + b", "lambda v: v + 2"),
    ("lambda a, b: torch.mul(a, b)", "lambda v: 2 * v"),
    ("lambda a, b: torch.stack(torch.broadcast_tensors(a, b)).sum(0)", "lambda v: v + 2"),
)


@st.composite
def factories(draw):
    """A function without arguments that makes a leaf which is to require grad."""
    tensor = draw(tensors())
    source = draw(st.sampled_from(FACTORIES)).format(**tensor.facts)
    return Expression(source, dtypes=tensor.dtypes)


@rule("modes.no-grad.results")
@also(*UNRECORDED)
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


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(leaf=leaves(dtypes=COMMON), place=places(), products=some(PRODUCTS))
def test_a_product_of_matrices_has_its_values_and_no_history(device, leaf, place, products):
    tensor = place(leaf)
    for function in products:
        with torch.no_grad():
            result = function(tensor)
        assert numbers(result) == numbers(leaf)
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.is_leaf


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()),
    other=OTHER_DTYPES,
    operation=st.sampled_from(PAIRWISE).map(lambda pair: (Expression(pair[0]), Expression(pair[1]))),
)
def test_a_result_of_two_dtypes_has_the_dtype_that_it_has_outside(device, leaf, other, operation):
    function, value = operation
    second, scalar = (torch.full(shape, 2, dtype=other, device=device) for shape in (leaf.shape, ()))
    for operands in ((leaf, second), (second, leaf), (leaf, scalar), (scalar, leaf)):
        outside = function(*operands)
        with torch.no_grad():
            result = function(*operands)
        assert numbers(result) == [value(number) for number in numbers(leaf)]
        assert (result.dtype, result.shape, result.device) == (outside.dtype, outside.shape, outside.device)
        assert not result.requires_grad
        assert result.grad_fn is None


@rule("modes.no-grad.constants")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), route=routes(), functions=some([source for source, _ in COMPUTATIONS]))
def test_a_result_is_a_constant_afterwards(device, leaf, route, functions):
    for function in functions:
        with torch.no_grad():
            constant = function(route(leaf))
        weight = torch.full_like(constant, 2, requires_grad=True)
        before = state(leaf, constant)
        (constant * weight).sum().backward()
        assert numbers(weight.grad) == numbers(constant)
        assert state(leaf, constant) == before


@rule("modes.no-grad.constants")
@also(*BACKWARD)
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
@also(*UNRECORDED)
@given(leaf=leaves(), route=routes(), functions=some([source for source, _ in COMPUTATIONS]))
def test_nothing_is_saved_for_a_backward_pass(device, leaf, route, functions):
    tensor = route(leaf)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed), torch.no_grad():
        for function in functions:
            function(tensor)
    assert len(saved) == 0


@rule("modes.no-grad.nothing-saved")
@also(*UNRECORDED)
@given(leaf=leaves(WHOLE, COMMON), place=places(), functions=some(SAVING), products=some(PRODUCTS))
def test_nothing_is_saved_by_operations_that_would_keep_much(device, leaf, place, functions, products):
    tensor = place(leaf)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed), torch.no_grad():
        for function in functions + products:
            function(tensor)
    assert len(saved) == 0


@rule("modes.no-grad.earlier-graph")
@also(*BACKWARD)
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
@also(*BACKWARD)
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
@also(*BACKWARD)
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
