"""spec/detach/writes-and-the-graph.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, layouts, leaves, routes, shapes, tensors, updates
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

SAVING_THE_RESULT = [
    "lambda x: x.exp()",
    "lambda x: x.sigmoid()",
    "lambda x: x.tanh()",
    "lambda x: x.sqrt()",
    "lambda x: x.reciprocal()",
    "lambda x: x.relu()",
    "lambda x: x.softmax(-1)",
    "lambda x: x.log_softmax(-1)",
]

SAVING_THE_OPERAND = [
    "lambda x: x.square()",
    "lambda x: x.pow(3)",
    "lambda x: x.sin()",
    "lambda x: x * torch.ones_like(x) * x",
    "lambda x: torch.ones_like(x) / x",
    "lambda x: x.abs()",
    "lambda x: x.prod()",
    "lambda x: x.cos()",
    "lambda x: torch.addcmul(x, x, x)",
    "lambda x: x.log()",
    "lambda x: x.atan()",
    "lambda x: x / x",
    "lambda x: (x.unsqueeze(0) * x).sum(0)",
    "lambda x: x.norm()",
]

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

COMBINING = [
    ("lambda t, operand: t.add_(operand)", "lambda v: v + 2"),
    ("lambda t, operand: t.mul_(operand)", "lambda v: v * 2"),
    ("lambda t, operand: t.copy_(operand)", "lambda v: 2"),
    ("lambda t, operand: t.__setitem__(..., operand)", "lambda v: 2"),
    ("lambda t, operand: t.sub_(operand)", "lambda v: v - 2"),
    ("lambda t, operand: t.__iadd__(operand)", "lambda v: v + 2"),
    ("lambda t, operand: t.add_(operand, alpha=2)", "lambda v: v + 4"),
    ("lambda t, operand: t.div_(operand)", "lambda v: v / 2"),
]


def some(sources, count):
    """So many of these, none of them twice."""
    return st.permutations(sources).map(lambda drawn: [Expression(source) for source in drawn[:count]])


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


def others():
    """Names for the memory of a tensor that are not detached: itself, views of it and the base of all."""
    return st.sampled_from(
        [
            "lambda t: t",
            "lambda t: t.view_as(t)",
            "lambda t: t.unsqueeze(0)[..., :1]",
            "lambda t: t if t._base is None else t._base",
        ]
    ).map(Expression)


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True),
    route=routes(),
    way=st.one_of(
        st.tuples(others(), blocks(recording=False)),
        st.tuples(NAMES, blocks()),
        st.tuples(NAMES | others(), st.just((Expression("torch.inference_mode"), False))),
    ),
    update=updates(idle=True),
    before_it=st.booleans(),
)
def test_backward_notices_a_write_to_either_factor_in_any_mode_even_after_an_earlier_backward(
    device, leaf, route, way, update, before_it
):
    change, _ = update
    name, (block, _) = way
    saved = route(leaf)
    weight = torch.ones_like(saved, requires_grad=True)
    constant = torch.ones_like(saved)
    outputs = [
        saved * weight,
        weight * saved,
        torch.addcmul(constant, weight, saved),
        saved * saved * constant,
        weight * saved.detach(),
    ]
    if before_it:
        for output in outputs:
            output.backward(torch.ones_like(output), retain_graph=True)
    with block():
        change(name(saved))
    before = state(leaf, weight)
    for output in (*outputs, outputs[0]):  # refused once, it is refused again
        with pytest.raises(RuntimeError, match=NOTICED) as refusal:
            output.backward(torch.ones_like(output), retain_graph=True)
        assert refusal.type is RuntimeError
        assert state(leaf, weight) == before


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(leaf=leaves(shapes(min_dims=1, min_side=1), earlier_grad=True), idle=st.booleans())
def test_backward_notices_a_write_to_indices_and_flags_that_were_saved(device, leaf, idle):
    uses = (
        (lambda x, at: x.index_select(0, at), lambda at: at.add_(0)),
        (lambda x, at: x[at], lambda at: at.detach().zero_()),
        (lambda x, at: x.flatten().gather(0, at), lambda at: at[:1].mul_(1)),
        (lambda x, at: x.take(at), lambda at: at.copy_(at.clone())),
    )
    for use, write in uses:
        places = torch.zeros(2, dtype=torch.int64, device=device)
        output = use(leaf, places)
        write(places)
        before = state(leaf)
        with pytest.raises(RuntimeError, match=NOTICED) as refusal:
            output.backward(torch.ones_like(output))
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    for use in (lambda x, flags: torch.where(flags, x, 2 * x), lambda x, flags: x.masked_fill(flags, 2)):
        flags = leaf.detach() > 0
        output = use(leaf, flags)
        flags.detach().logical_and_(flags) if idle else flags.logical_not_()
        before = state(leaf)
        with pytest.raises(RuntimeError, match=NOTICED) as refusal:
            output.backward(torch.ones_like(output))
        assert refusal.type is RuntimeError
        assert state(leaf) == before


@rule("detach.writes-and-the-graph.saved-write-raises")
@also(*BACKWARD)
@given(
    leaf=st.one_of(
        leaves(among=layouts.WRITABLE, earlier_grad=True), leaves(dtypes=dtypes.complex_(), among=layouts.WRITABLE)
    ),
    route=routes(),
    operations=some(SAVING_THE_OPERAND, 4),
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_to_an_operand_that_was_saved(device, leaf, route, operations, name, update):
    change, _ = update
    saved = route(leaf)
    outputs = [saved * saved, *(operation(saved) for operation in operations)]
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
    products=some(PRODUCTS, 2),
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
    operations=some(SAVING_THE_RESULT, 3),
    name=NAMES,
    update=updates(idle=True),
)
def test_backward_notices_a_write_to_a_result_that_was_saved(device, leaf, operations, name, update):
    change, _ = update
    before = state(leaf)
    for operation in operations:
        saved = operation(leaf)
        output = saved.sum()
        change(name(saved))
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
    weight, plain = torch.ones_like(leaf, requires_grad=True), torch.full_like(leaf, 2)
    outputs = [
        (leaf + weight, 1),
        (weight - leaf, -1),
        (plain * leaf, 2),
        (torch.addcmul(leaf, plain, plain), 1),
        (leaf.unsqueeze(0).unbind()[0] * 3, 3),
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
        (torch.stack([plain.clone(), leaf]), 1),
        (leaf.clone().mul_(2), 2),
    ]
    change(name(leaf))
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
@given(leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE), operation=elementwise(), update=updates())
def test_after_a_write_the_gradient_is_that_of_the_new_values(device, leaf, operation, update):
    function, derivative = operation
    change, value = update
    values = numbers(leaf)
    earlier = function(leaf)
    earlier.backward(torch.zeros_like(earlier))
    change(leaf.detach())
    output = function(leaf)
    output.backward(torch.ones_like(output))
    assert numbers(leaf.grad) == [derivative(value(v)).conjugate() for v in values]


def views():
    """A function that gives a view of all elements."""
    return st.sampled_from(
        [
            "lambda x: x.unsqueeze(0)",
            "lambda x: x.view_as(x)",
            "lambda x: x[...]",
            "lambda x: x.transpose(0, -1) if x.ndim else x[None]",
            "lambda x: x.flatten()[None]",
            "lambda x: x[None].expand(1, *x.shape)",
        ]
    ).map(Expression)


@rule("detach.writes-and-the-graph.earlier-views")
@also(*BACKWARD)
@given(leaf=leaves_with_memory_of_their_own(), view=views(), update=updates(idle=True), block_and_mode=blocks())
def test_a_view_taken_before_a_write_still_leads_to_its_leaf(device, leaf, view, update, block_and_mode):
    change, _ = update
    block, _ = block_and_mode
    earlier, again = view(leaf), view(leaf).view_as(view(leaf))
    part = leaf.unsqueeze(0)[0].unsqueeze(-1)
    used = view(leaf) * 2
    with block():
        change(leaf.detach())
    for output, expected in ((earlier, 1), (again, 2), (part, 3), (used, 5)):
        output.backward(torch.ones_like(output))
        assert leaf.grad is not None
        assert numbers(leaf.grad) == [expected] * leaf.numel()


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
    name=st.sampled_from(["lambda t: t.detach()", "lambda t: torch.detach(t)", "lambda t: t.detach().detach()"]).map(
        Expression
    ),
    updates=st.permutations(COMBINING).map(
        lambda drawn: [(Expression(change), Expression(value)) for change, value in drawn[:3]]
    ),
    recorded=st.booleans(),
)
def test_a_write_that_the_original_refuses_passes_through_the_detached_tensor_and_joins_no_graph(
    device, leaf, view, name, updates, recorded
):
    times = 0
    unwritten = leaf * 5
    for change, value in updates:
        original = view(leaf)
        operand = torch.full_like(original, 2, requires_grad=recorded)
        with pytest.raises(RuntimeError, match=REFUSED):
            change(original, operand)
        expected = [value(v) for v in numbers(leaf)]
        is_leaf = original.is_leaf
        detached = name(original)
        change(detached, operand)
        assert numbers(leaf) == expected
        assert (original.requires_grad, original.is_leaf) == (True, is_leaf)
        assert (leaf.requires_grad, leaf.is_leaf, leaf.grad_fn) == (True, True, None)
        for output in (original * 3, leaf * 3):
            times += 1
            output.backward(torch.ones_like(output))
            assert numbers(leaf.grad) == [3 * times] * leaf.numel()
            assert operand.grad is None
        if recorded:  # what the write joins is the graph of the detached tensor, and there alone
            for reached in (leaf * 3, unwritten):
                assert torch.autograd.grad(reached.abs().sum(), operand, retain_graph=True, allow_unused=True) == (
                    None,
                )
            assert detached.requires_grad
