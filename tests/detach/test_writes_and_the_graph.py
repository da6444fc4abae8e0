"""spec/detach/writes-and-the-graph.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, routes, tensors, updates
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers, state

NOTICED = "modified by an inplace operation"
REFUSED = "requires grad is being used in an in-place operation"

NAMES = st.sampled_from(
    [
        "lambda t: t.detach()",
        "lambda t: t.detach().detach()",
        "lambda t: t.view_as(t).detach()",
        "lambda t: t.detach().unsqueeze(0)",
        "lambda t: t.detach().unsqueeze(0)[..., :1]",
    ]
).map(Expression)

SAVING_THE_RESULT = st.sampled_from(["lambda x: x.exp()", "lambda x: x.sigmoid()", "lambda x: x.tanh()"]).map(
    Expression
)

SAVING_THE_OPERAND = st.sampled_from(
    ["lambda x: x.square()", "lambda x: x.pow(3)", "lambda x: x.sin()", "lambda x: x * torch.ones_like(x) * x"]
).map(Expression)

PRODUCTS = [
    "lambda a, b: a.mm(b)",
    "lambda a, b: a @ b.t()",
    "lambda a, b: a.mv(b[0])",
    "lambda a, b: a[0].dot(b[:, 0])",
    "lambda a, b: a.unsqueeze(0).bmm(b.unsqueeze(0))",
    "lambda a, b: torch.addmm(torch.ones_like(a), a, b)",
    "lambda a, b: a[0].outer(b[0])",
]
"""Products of square matrices, or of rows and columns of them: the derivative for one operand needs the other."""

COMBINING = st.sampled_from(
    [
        ("lambda t, operand: t.add_(operand)", "lambda v: v + 2"),
        ("lambda t, operand: t.mul_(operand)", "lambda v: v * 2"),
        ("lambda t, operand: t.copy_(operand)", "lambda v: 2"),
    ]
).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


@st.composite
def square_matrices(draw):
    """Two leaves, square matrices of one size and dtype that every device multiplies."""
    side = draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["torch.float32", "torch.float64", "torch.complex64"]))
    one = leaves(st.just((side, side)), st.just(dtype), among=layouts.WRITABLE)
    return draw(one), draw(one)


def leaves_with_memory_of_their_own():
    return tensors(dtypes=dtypes.differentiable()).map(
        lambda tensor: Expression(f"{tensor.source}.clone().requires_grad_()", dtypes=tensor.dtypes)
    )


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    leaf=st.one_of(
        leaves(among=layouts.WRITABLE, earlier_grad=True), leaves(dtypes=dtypes.complex_(), among=layouts.WRITABLE)
    ),
    route=routes(),
    operation=SAVING_THE_OPERAND,
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_to_an_operand_that_was_saved(device, leaf, route, operation, name, update):
    change, _ = update
    saved = route(leaf)
    outputs = [saved * saved, operation(saved)]
    change(name(saved))
    before = state(leaf)
    for output in outputs:
        with pytest.raises(RuntimeError, match=NOTICED) as refusal:
            output.backward(torch.ones_like(output))
        assert refusal.type is RuntimeError
        assert state(leaf) == before


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    pair=square_matrices(),
    products=st.permutations(PRODUCTS).map(lambda drawn: [Expression(product) for product in drawn[:2]]),
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_to_a_factor_of_a_product(device, pair, products, name, update):
    change, _ = update
    for product in products:
        for written in (0, 1):
            factors = [leaf.view_as(leaf) for leaf in pair]
            output = product(*factors)
            change(name(factors[written]))
            before = state(*pair)
            with pytest.raises(RuntimeError, match=NOTICED) as refusal:
                output.backward(torch.ones_like(output))
            assert refusal.type is RuntimeError
            assert state(*pair) == before


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    leaf=leaves(among=layouts.WRITABLE, earlier_grad=True),
    operation=SAVING_THE_RESULT,
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_to_a_result_that_was_saved(device, leaf, operation, name, update):
    change, _ = update
    saved = operation(leaf)
    output = saved.sum()
    change(name(saved))
    before = state(leaf)
    with pytest.raises(RuntimeError, match=NOTICED) as refusal:
        output.backward()
    assert refusal.type is RuntimeError
    assert state(leaf) == before


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    route=routes(),
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_through_the_original_when_the_detached_tensor_was_saved(
    device, leaf, route, name, update
):
    change, _ = update
    original = route(leaf)
    detached = name(original)
    weight = torch.ones_like(detached, requires_grad=True)
    output = weight * detached
    with torch.no_grad():
        change(original)
    with pytest.raises(RuntimeError, match=NOTICED) as refusal:
        output.backward(torch.ones_like(output))
    assert refusal.type is RuntimeError
    assert weight.grad is None


@rule("detach.writes-and-the-graph.other-writes-harmless")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE), operation=elementwise(linear=True), name=NAMES, update=updates())
def test_a_write_to_an_operand_that_was_not_saved_leaves_the_gradient_alone(device, leaf, operation, name, update):
    function, derivative = operation
    change, _ = update
    values = numbers(leaf)
    output = function(leaf).sum()
    change(name(leaf))
    output.backward()
    assert numbers(leaf.grad) == [derivative(v) for v in values]


@rule("detach.writes-and-the-graph.other-writes-harmless")
@given(leaf=leaves(among=layouts.WRITABLE), name=NAMES, update=updates(idle=True))
def test_a_write_leaves_the_gradient_of_what_moves_and_adds_elements_alone(device, leaf, name, update):
    change, _ = update
    constant = torch.full_like(leaf.detach(), 2).unsqueeze(0)
    outputs = [
        (leaf.sum(), 1),
        (leaf.unsqueeze(0).sum(-1), 1),
        (leaf.unsqueeze(0).sum(0, keepdim=True), 1),
        (leaf.unsqueeze(0).expand(2, *leaf.shape).clone(), 2),
        (torch.cat([leaf.flatten().clone(), leaf.flatten()]), 2),
        (torch.stack([leaf, leaf], -1), 2),
        (leaf.unsqueeze(0).flip(0), 1),
        (leaf.flatten().roll(1), 1),
        (leaf.flatten().repeat(3), 3),
        (leaf.unsqueeze(-1).movedim(0, -1) / 2, 0.5),
        (leaf.unsqueeze(0) + constant, 1),
        (constant - leaf, -1),
        (leaf.unsqueeze(0) * constant, 2),
        (torch.where(constant > 0, leaf, constant), 1),
    ]
    change(name(leaf))
    for output, slope in outputs:
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
        assert numbers(gradient) == [slope] * leaf.numel()


@rule("detach.writes-and-the-graph.other-writes-harmless")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE), operation=elementwise(), name=NAMES, update=updates())
def test_a_write_to_a_result_that_was_not_saved_leaves_the_gradient_alone(device, leaf, operation, name, update):
    function, derivative = operation
    change, _ = update
    values = numbers(leaf)
    result = function(leaf)
    output = result.sum()
    change(name(result))
    output.backward()
    assert numbers(leaf.grad) == [derivative(v) for v in values]


@rule("detach.writes-and-the-graph.other-writes-harmless")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE), operation=elementwise(), update=updates())
def test_after_a_write_the_gradient_is_that_of_the_new_values(device, leaf, operation, update):
    function, derivative = operation
    change, value = update
    values = numbers(leaf)
    change(leaf.detach())
    function(leaf).sum().backward()
    assert numbers(leaf.grad) == [derivative(value(v)) for v in values]


def views():
    """A function that gives a view of all elements."""
    return st.sampled_from(["lambda x: x.unsqueeze(0)", "lambda x: x.view_as(x)", "lambda x: x[...]"]).map(Expression)


@rule("detach.writes-and-the-graph.earlier-views")
@also(*BACKWARD)
@given(leaf=leaves_with_memory_of_their_own(), view=views(), update=updates(idle=True))
def test_a_view_taken_before_a_write_still_leads_to_its_leaf(device, leaf, view, update):
    change, _ = update
    earlier = view(leaf)
    change(leaf.detach())
    earlier.backward(torch.ones_like(earlier))
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [1] * leaf.numel()


@rule("detach.writes-and-the-graph.earlier-views")
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=(layouts.picked, layouts.offset, layouts.stepped)),
    view=views(),
    update=updates(idle=True),
)
def test_a_view_taken_before_a_write_still_leads_to_a_leaf_that_is_a_view_of_a_plain_tensor(device, leaf, view, update):
    change, _ = update
    earlier = view(leaf)
    change(leaf.detach())
    earlier.backward(torch.ones_like(earlier))
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [1] * leaf.numel()


@rule("detach.writes-and-the-graph.graph-unaware")
@also(*BACKWARD)
@given(
    leaf=leaves_with_memory_of_their_own(),
    view=st.sampled_from(["lambda x: x", "lambda x: x.view_as(x)", "lambda x: x.unsqueeze(0)"]).map(Expression),
    update=COMBINING,
    recorded=st.booleans(),
)
def test_a_write_that_the_original_refuses_passes_through_the_detached_tensor_and_joins_no_graph(
    device, leaf, view, update, recorded
):
    change, value = update
    original = view(leaf)
    operand = torch.full_like(original, 2, requires_grad=recorded)
    with pytest.raises(RuntimeError, match=REFUSED):
        change(original, operand)
    expected = [value(v) for v in numbers(leaf)]
    is_leaf = original.is_leaf
    change(original.detach(), operand)
    assert numbers(leaf) == expected
    assert (original.requires_grad, original.is_leaf) == (True, is_leaf)
    output = original * 3
    output.backward(torch.ones_like(output))
    assert numbers(leaf.grad) == [3] * leaf.numel()
    assert operand.grad is None
