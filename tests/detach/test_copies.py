"""spec/detach/copies.md"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, updates
from tests.oracles import numbers

COPIES = st.sampled_from(["lambda x: x.clone().detach()", "lambda x: x.detach().clone()"]).map(Expression)

EXTREMES = "[math.inf, -math.inf, math.nan, -0., torch.finfo({0}).max, 1 + torch.finfo({0}).eps]"


def extremes():
    """A leaf with the values that a copy by way of another dtype, or of arithmetic, would lose."""
    source = f"torch.tensor({EXTREMES}, dtype={{0}}, device=device, requires_grad=True)"
    return dtypes.floating().map(lambda dtype: Expression(source.format(dtype), dtypes=frozenset({dtype})))


@rule("detach.copies.nothing-shared")
@given(leaf=leaves(), copying=COPIES, update=updates(idle=True))
def test_a_write_to_the_copy_disturbs_neither_the_original_nor_its_backward(device, leaf, copying, update):
    change, value = update
    values = numbers(leaf)
    version = leaf._version
    output = leaf * leaf
    copy = copying(leaf)
    assert (copy.requires_grad, copy.grad_fn) == (False, None)
    assert numbers(copy) == values
    assert leaf.numel() == 0 or copy.data_ptr() != leaf.data_ptr()
    change(copy)
    assert numbers(copy) == [value(v) for v in values]
    assert numbers(leaf) == values
    assert leaf._version == version
    output.sum().backward()
    assert numbers(leaf.grad) == [2 * v for v in values]


@rule("detach.copies.nothing-shared")
@given(leaf=leaves(among=layouts.WRITABLE), copying=COPIES, update=updates(idle=True))
def test_a_write_to_the_original_is_not_seen_by_the_copy(device, leaf, copying, update):
    change, _ = update
    values = numbers(leaf)
    copy = copying(leaf)
    version = copy._version
    with torch.no_grad():
        change(leaf)
    assert numbers(copy) == values
    assert copy._version == version


@rule("detach.copies.nothing-shared")
@given(leaf=extremes(), copying=COPIES)
def test_a_copy_has_every_value_that_a_float_can_have(device, leaf, copying):
    assert str(copying(leaf).cpu().tolist()) == str(leaf.cpu().tolist())
