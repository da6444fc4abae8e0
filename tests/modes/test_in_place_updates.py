"""spec/modes/in-place-updates.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, routes, shapes, tails, updates
from tests.inputs.circumstances import BACKWARD, NO_GRAD, also
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
)


def changes():
    """As `updates`, and some by an operand that requires grad or is of another dtype."""
    by_operands = st.sampled_from(OPERANDS).map(
        lambda pair: (Expression(pair[0], dtypes=frozenset({"torch.int32"})), Expression(pair[1]))
    )
    return updates() | by_operands


@rule("modes.in-place-updates.inside")
@given(
    drawn=st.tuples(
        leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE, earlier_grad=True),
        leaves(dtypes=st.sampled_from(("torch.bfloat16", "torch.float16")), among=layouts.WRITABLE),
        EXTREME,
    ),
    updates=st.tuples(changes(), changes()),
)
@example(
    drawn=(Expression("torch.tensor([0., 2., 3.], device=device)[1:].requires_grad_()"),),
    updates=((Expression(OPERANDS[-1][0]), Expression(OPERANDS[-1][1])),),
)
def test_a_leaf_updated_inside_remains_the_leaf_that_it_was(device, drawn, updates):
    for leaf in drawn:
        alias, grad, memory = leaf.detach(), leaf.grad, (leaf.data_ptr(), leaf.stride(), leaf.dtype)
        for change, value in updates:
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


@rule("modes.in-place-updates.inside")
@given(leaf=leaves(tails(), among=layouts.WRITABLE), update=updates())
def test_every_element_of_a_long_leaf_is_updated_inside(device, leaf, update):
    change, value = update
    expected = [value(number) for number in numbers(leaf)]
    with torch.no_grad():
        change(leaf)
    assert numbers(leaf) == expected


@rule("modes.in-place-updates.inside")
@also(NO_GRAD)
@given(leaf=leaves(shapes(min_dims=1, min_side=1), among=layouts.WRITABLE), update=updates())
def test_a_part_of_a_leaf_can_be_updated_inside(device, leaf, update):
    change, value = update
    row = leaf.numel() // len(leaf)
    parts = (lambda x: x[0], lambda x: x[0][...], lambda x: x[:1].unsqueeze(0), lambda x: x.view_as(x)[0])
    for part in parts:
        version = leaf._version
        was = numbers(leaf)
        with torch.no_grad():
            change(part(leaf))
        assert numbers(leaf) == [value(number) for number in was[:row]] + was[row:]
        assert leaf._version > version
        assert leaf.is_leaf
        assert leaf.requires_grad
        assert leaf.grad_fn is None


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


@rule("modes.in-place-updates.outside")
@given(
    leaf=leaves(dtypes=dtypes.floating(), among=layouts.WRITABLE, earlier_grad=True) | EXTREME,
    updates=st.tuples(changes(), changes(), changes()),
)
@example(
    leaf=Expression("torch.tensor([1., 2.], device=device, requires_grad=True)"),
    updates=((Expression("lambda x: x.mul_(2)"), Expression("lambda v: 2 * v")),),
)
def test_a_leaf_is_not_updated_in_grad_mode(device, leaf, updates):
    output = (leaf * leaf).sum()
    before = state(leaf)
    for change, _ in updates:
        with pytest.raises(RuntimeError, match=REFUSED) as refusal:
            change(leaf)
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    (grad,) = torch.autograd.grad(output, leaf)
    assert numbers(grad) == [2 * number for number in numbers(leaf)]


@rule("modes.in-place-updates.outside")
@given(leaf=leaves(shapes(min_dims=1, min_side=1), among=layouts.WRITABLE, earlier_grad=True), update=updates())
def test_a_part_of_a_leaf_is_not_updated_in_grad_mode(device, leaf, update):
    change, _ = update
    before = state(leaf)
    outside = (leaf[0], leaf[0][...], leaf[:1].unsqueeze(0)[0], leaf.view_as(leaf), leaf.unsqueeze(0)[..., :1])
    for part in outside:
        with pytest.raises(RuntimeError, match=REFUSED) as refusal:
            change(part)
        assert refusal.type is RuntimeError
        assert state(leaf) == before


@rule("modes.in-place-updates.not-recorded")
@given(leaf=leaves(), node=nodes(), updates=st.tuples(changes(), changes()))
def test_a_change_made_inside_has_no_part_in_the_derivative(device, leaf, node, updates):
    for change, value in updates:
        tensor = node(leaf)
        with torch.no_grad():
            change(tensor)
        assert tensor.grad_fn is not None
        assert numbers(tensor) == [value(3 * number) for number in numbers(leaf)]
        (gradient,) = torch.autograd.grad(tensor.sum(), leaf)
        assert numbers(gradient) == [3] * leaf.numel()


@rule("modes.in-place-updates.old-values")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE, earlier_grad=True), route=routes(), update=updates())
def test_a_backward_pass_that_needs_the_old_values_is_refused(device, leaf, route, update):
    change, _ = update
    tensor = route(leaf)
    output = (tensor * tensor).sum()
    with torch.no_grad():
        change(tensor)
    before = state(leaf)
    with pytest.raises(RuntimeError, match=MODIFIED) as refusal:
        output.backward()
    assert refusal.type is RuntimeError
    assert state(leaf) == before
