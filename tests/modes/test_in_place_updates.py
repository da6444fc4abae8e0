"""spec/modes/in-place-updates.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, routes, shapes, tails, updates
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.inputs.updates import UPDATES
from tests.oracles import numbers, state

REFUSED = "leaf Variable that requires grad is being used in an in-place operation"
MODIFIED = "has been modified by an inplace operation"


def nodes():
    """A function whose result has a grad_fn and three times the values."""
    return st.sampled_from(("lambda x: x * 3", "lambda x: x + 2 * x", "lambda x: (x * 3).view_as(x)")).map(Expression)


EXTREME = leaves(st.sampled_from(((), (0,), (2, 0))), among=layouts.WRITABLE, earlier_grad=True)
"""Leaves of no dimension or of no element."""

OPERANDS = (
    ("lambda x: x.add_(x)", "lambda v: 2 * v"),
    ("lambda x: x.mul_(x)", "lambda v: v * v"),
    ("lambda x: x.addcmul_(x, x)", "lambda v: v + v * v"),
    ("lambda x: x.masked_fill_(x == x, 2)", "lambda v: 2"),
    ("lambda x: x.copy_(torch.ones_like(x, dtype=torch.int32))", "lambda v: 1"),
    ("lambda x: x.add_(torch.ones_like(x), alpha=-2)", "lambda v: v - 2"),
    ("lambda x: x.__isub__(1)", "lambda v: v - 1"),
    ("lambda x: x.__imul__(2)", "lambda v: 2 * v"),
    ("lambda x: x.__itruediv__(2)", "lambda v: v / 2"),
    ("lambda x: x.addcdiv_(torch.ones_like(x), torch.ones_like(x), value=-1)", "lambda v: v - 1"),
    ("lambda x: x.pow_(2)", "lambda v: v * v"),
    ("lambda x: x.__setitem__(x == x, 2)", "lambda v: 2"),
    ("lambda x: torch.neg_(x)", "lambda v: -v"),
    ("lambda x: x.mul_(torch.tensor(2, device=x.device))", "lambda v: 2 * v"),
    ("lambda x: x.add_(0)", "lambda v: v"),
)


CHANGES = [
    (Expression(change, dtypes=frozenset({"torch.int32"} if "int32" in change else ())), Expression(value))
    for change, value in (*UPDATES, *OPERANDS)
]
"""As `updates`, and some by an operand that requires grad or is of another dtype."""


MORE = (
    lambda x: x.square_(),
    lambda x: x.sgn_(),
    lambda x: x.sub_(x),
    lambda x: x.index_fill_(0, torch.zeros(1, dtype=torch.int64, device=x.device), 1) if x.numel() else x.zero_(),
    lambda x: x.masked_scatter_(x == x, torch.ones_like(x)),
    lambda x: x.addcmul_(torch.ones_like(x), torch.ones_like(x)),
    lambda x: x.reciprocal_(),
    lambda x: x.exp_(),
    lambda x: x.addcdiv_(torch.ones_like(x), torch.ones_like(x)),
    lambda x: x.sqrt_(),
    lambda x: x.lerp_(torch.ones_like(x), 0.5),
)
"""In-place operations whose values are left to other rules."""


def some(count):
    """So many of them."""
    return st.lists(st.sampled_from(CHANGES), min_size=count, max_size=count)


PARTS = (
    "lambda x: x[0]",
    "lambda x: x[-1]",
    "lambda x: x[0][...]",
    "lambda x: x[:1].unsqueeze(0)",
    "lambda x: x.view_as(x)[0]",
    "lambda x: x[..., ::2]",
    "lambda x: x[..., -1:]",
    "lambda x: x.movedim(0, -1)[..., -1]",
    "lambda x: x.narrow(0, len(x) - 1, 1)",
    "lambda x: x[:0]",
)
"""Views of a part of a tensor, or of all of it, taken one of the other."""


@rule("modes.in-place-updates.inside")
@given(
    drawn=st.tuples(
        leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True),
        leaves(dtypes=st.sampled_from(("torch.bfloat16", "torch.float16")), among=layouts.WRITABLE),
        EXTREME,
    ),
    updates=some(8),
)
@example(
    drawn=(Expression("torch.tensor([0., 2., 3.], device=device)[1:].requires_grad_()"),),
    updates=((Expression(OPERANDS[-1][0]), Expression(OPERANDS[-1][1])),),
)
def test_a_leaf_updated_inside_remains_the_leaf_that_it_was(device, drawn, updates):
    for leaf in (*drawn, torch.nn.Parameter(drawn[0].detach())):
        alias, grad, memory = leaf.detach(), leaf.grad, (leaf.data_ptr(), leaf.stride(), leaf.dtype)
        held = None if grad is None else (numbers(grad), grad._version)
        start = alias.clone()
        with pytest.raises(RuntimeError):
            updates[0][0](leaf)  # refused outside, done inside
        for change, value in updates:
            alias.copy_(start)
            version = leaf._version
            expected = [value(number) for number in numbers(leaf)]
            with torch.no_grad():
                change(leaf)
            assert numbers(leaf) == expected
            assert numbers(alias) == expected
            assert (leaf.data_ptr(), leaf.stride(), leaf.dtype) == memory
            assert leaf._version > version
            assert leaf.is_leaf
            assert leaf.requires_grad
            assert leaf.grad_fn is None
            assert leaf.grad is grad
        assert grad is None or (numbers(grad), grad._version) == held
    leaf = drawn[0]
    for change in MORE:
        version = leaf._version
        with torch.enable_grad(), torch.no_grad():
            change(leaf)
        assert leaf._version > version
        assert (leaf.is_leaf, leaf.requires_grad, leaf.grad_fn) == (True, True, None)
        assert leaf.data_ptr() == leaf.detach().data_ptr()


@rule("modes.in-place-updates.inside")
@given(leaf=leaves(tails(), among=layouts.WRITABLE), update=updates())
def test_every_element_of_a_long_leaf_is_updated_inside(device, leaf, update):
    change, value = update
    expected = [value(number) for number in numbers(leaf)]
    with torch.no_grad():
        change(leaf)
    assert numbers(leaf) == expected


@rule("modes.in-place-updates.inside")
@given(
    leaf=leaves(
        shapes(min_dims=1, min_side=1) | tails(),
        dtypes=dtypes.differentiable(),
        among=layouts.WRITABLE,
        earlier_grad=True,
    ),
    parts=st.permutations(PARTS).map(lambda drawn: [Expression(part) for part in drawn[:5]]),
    updates=some(5),
)
def test_a_part_of_a_leaf_can_be_updated_inside(device, leaf, parts, updates):
    places = torch.arange(leaf.numel()).reshape(leaf.shape)
    alias, grad, memory = leaf.detach(), leaf.grad, (leaf.data_ptr(), leaf.stride(), leaf.dtype)
    start = alias.clone()
    for part, (change, value) in zip(parts, updates, strict=True):
        alias.copy_(start)
        version = leaf._version
        written = set(numbers(part(places)))
        expected = [value(number) if place in written else number for place, number in enumerate(numbers(leaf))]
        with torch.no_grad():
            change(part(leaf))
        assert numbers(leaf) == expected
        assert numbers(alias) == expected
        assert (leaf.data_ptr(), leaf.stride(), leaf.dtype) == memory
        assert leaf._version > version
        assert leaf.is_leaf
        assert leaf.requires_grad
        assert leaf.grad_fn is None
        assert leaf.grad is grad


@rule("modes.in-place-updates.inside")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE))
def test_a_step_of_gradient_descent_changes_the_leaf_itself(device, leaf):
    (leaf * leaf).sum().backward()
    same, was = leaf, numbers(leaf)
    with torch.no_grad():
        leaf -= 0.25 * leaf.grad
    assert leaf is same
    assert numbers(leaf) == [number / 2 for number in was]
    assert (leaf * 2).requires_grad
    (leaf * leaf).sum().backward()
    assert numbers(leaf.grad) == [3 * number for number in was]
    with torch.no_grad():
        leaf.sub_(leaf.grad, alpha=0.5)
    assert numbers(leaf) == [-number for number in was]


@rule("modes.in-place-updates.outside")
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True) | EXTREME,
    updates=some(9),
)
@example(
    leaf=Expression("torch.tensor([1., 2.], device=device, requires_grad=True)"),
    updates=((Expression("lambda x: x.mul_(2)"), Expression("lambda v: 2 * v")),),
)
def test_a_leaf_is_not_updated_in_grad_mode(device, leaf, updates):
    output = leaf * leaf
    before = state(leaf)
    for change, _ in updates:
        with pytest.raises(RuntimeError, match=REFUSED) as refusal:
            change(leaf)
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    change, _ = updates[0]
    for another in MORE:
        with pytest.raises(RuntimeError, match=REFUSED):
            another(leaf)
    assert state(leaf) == before
    with torch.no_grad(), torch.enable_grad(), pytest.raises(RuntimeError, match=REFUSED):
        change(leaf)
    parameter = torch.nn.Parameter(leaf.detach())
    with pytest.raises(RuntimeError, match=REFUSED):
        change(parameter)
    assert state(leaf) == before
    (grad,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
    assert numbers(grad) == [2 * number.conjugate() for number in numbers(leaf)]
    with torch.no_grad():
        leaf.fill_(2)  # what was changed inside is refused outside as before
    before = state(leaf)
    with pytest.raises(RuntimeError, match=REFUSED):
        change(leaf)
    assert state(leaf) == before


@rule("modes.in-place-updates.outside")
@given(
    leaf=leaves(shapes(min_dims=1, min_side=1), dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True),
    parts=st.permutations((*PARTS, "lambda x: x.view_as(x)")).map(
        lambda drawn: [Expression(part) for part in drawn[:6]]
    ),
    updates=some(6),
)
def test_a_part_of_a_leaf_is_not_updated_in_grad_mode(device, leaf, parts, updates):
    output = leaf * leaf
    before = state(leaf)
    for part, (change, _) in zip(parts, updates, strict=True):
        with pytest.raises(RuntimeError, match=REFUSED) as refusal:
            change(part(leaf))
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    (grad,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
    assert numbers(grad) == [2 * number.conjugate() for number in numbers(leaf)]


@rule("modes.in-place-updates.not-recorded")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), node=nodes())
def test_the_operand_of_a_change_made_inside_gets_no_gradient(device, leaf, node):
    for change in (
        lambda x, operand: x.add_(operand),
        lambda x, operand: x.sub_(operand, alpha=2),
        lambda x, operand: x.__imul__(operand),
        lambda x, operand: x.copy_(operand),
        lambda x, operand: x.__setitem__(..., operand),
    ):
        operand = torch.full_like(leaf, 2, requires_grad=True)
        tensor = node(leaf)
        with torch.no_grad():
            change(tensor, operand)
        tensor.backward(torch.ones_like(tensor))
        assert operand.grad is None


@rule("modes.in-place-updates.not-recorded")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()),
    node=nodes(),
    updates=some(2),
)
def test_a_change_made_inside_has_no_part_in_the_derivative(device, leaf, node, updates):
    operand = torch.full_like(leaf, 2, requires_grad=True)
    by_operand = (
        (lambda x: x.add_(operand), lambda v: v + 2),
        (lambda x: x.mul_(operand), lambda v: 2 * v),
        (lambda x: x.copy_(operand), lambda v: 2),
        (lambda x: x.__setitem__(..., operand), lambda v: 2),
    )
    for change, value in (*updates, *by_operand):
        tensor = node(leaf)
        earlier = tensor * 2
        with torch.no_grad():
            change(tensor)
        now = [value(3 * number) for number in numbers(leaf)]
        assert tensor.grad_fn is not None
        assert tensor.requires_grad
        assert not tensor.is_leaf
        assert numbers(tensor) == now
        assert numbers(earlier) == [6 * number for number in numbers(leaf)]
        later = tensor * tensor
        for output, expected in (
            (tensor, [3] * leaf.numel()),
            (earlier, [6] * leaf.numel()),
            (later, [6 * number.conjugate() for number in now]),
        ):
            (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output), retain_graph=True)
            assert numbers(gradient) == expected


@rule("modes.in-place-updates.old-values")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True),
    route=routes(),
    updates=some(5),
)
def test_a_backward_pass_that_needs_the_old_values_is_refused(device, leaf, route, updates):
    uses = (
        lambda tensor, other: tensor * tensor,
        lambda tensor, other: tensor.square(),
        lambda tensor, other: other * tensor,
        lambda tensor, other: tensor * other,
        lambda tensor, other: torch.addcmul(other, other, tensor),
    )
    tensor = route(leaf)
    other = torch.ones_like(tensor, requires_grad=True)
    for use, (change, _) in zip(uses, updates, strict=True):
        output = use(tensor, other)
        output.backward(torch.zeros_like(output), retain_graph=True)
        with torch.no_grad():
            change(tensor)
        before = state(leaf, tensor, other)
        with pytest.raises(RuntimeError, match=MODIFIED) as refusal:
            output.backward(torch.ones_like(output))
        assert refusal.type is RuntimeError
        assert state(leaf, tensor, other) == before


@rule("modes.in-place-updates.old-values")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE, earlier_grad=True), updates=some(4))
def test_a_backward_pass_that_needs_an_old_result_is_refused(device, leaf, updates):
    uses = (torch.exp, torch.sigmoid, torch.tanh, torch.sqrt)
    for use, (change, _) in zip(uses, updates, strict=True):
        result = use(leaf)
        with torch.no_grad():
            change(result)
        before = state(leaf)
        for output in (result, result * 2):
            with pytest.raises(RuntimeError, match=MODIFIED) as refusal:
                output.backward(torch.ones_like(output))
            assert refusal.type is RuntimeError
            assert state(leaf) == before
