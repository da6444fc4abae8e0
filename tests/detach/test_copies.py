"""spec/detach/copies.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, tensors, updates
from tests.inputs.circumstances import BACKWARD, NO_GRAD, UNRECORDED, also
from tests.oracles import numbers

COPIES = st.sampled_from(["lambda x: x.clone().detach()", "lambda x: x.detach().clone()"]).map(Expression)

EXTREMES = "[math.inf, -math.inf, math.nan, -0., torch.finfo({0}).max, 1 + torch.finfo({0}).eps]"

COMPLEX = Expression(
    "torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex64, device=device, requires_grad=True)",
    dtypes=frozenset({"torch.complex64"}),
)
ZEROED = (Expression("lambda x: x.zero_()"), Expression("lambda v: 0"))


def extremes():
    """A leaf with the values that a copy by way of another dtype, or of arithmetic, would lose."""
    source = f"torch.tensor({EXTREMES}, dtype={{0}}, device=device, requires_grad=True)"
    return dtypes.floating().map(lambda dtype: Expression(source.format(dtype), dtypes=frozenset({dtype})))


@rule("detach.copies.nothing-shared")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=dtypes.differentiable()), copying=COPIES, update=updates(idle=True))
@example(leaf=COMPLEX, copying=Expression("lambda x: x.detach().clone()"), update=ZEROED)
@example(leaf=COMPLEX, copying=Expression("lambda x: x.clone().detach()"), update=ZEROED)
def test_a_write_to_the_copy_disturbs_neither_the_original_nor_its_backward(device, leaf, copying, update):
    change, value = update
    expected = [2 * v.conjugate() for v in numbers(leaf)]
    version = leaf._version
    parameter = torch.nn.Parameter(leaf.detach())
    wide = leaf.detach()[None].expand(2, *leaf.shape)
    copy = copying(wide)
    change(copy)
    assert numbers(copy) == [value(v) for v in numbers(leaf)] * 2
    assert numbers(wide) == numbers(leaf) * 2
    for original in (leaf, leaf.conj(), leaf.unsqueeze(0), leaf * 1, torch.stack([-leaf, leaf]).unbind()[1], parameter):
        values = numbers(original)
        output = original * original
        with torch.no_grad():
            first = copying(original)
        copy = copying(original)
        with torch.inference_mode():
            third = copying(original)
            assert numbers(third) == values
            change(third)
        assert (copy.requires_grad, copy.grad_fn, copy.is_leaf, copy.grad) == (False, None, True, None)
        assert numbers(copy) == values
        assert leaf.numel() == 0 or copy.data_ptr() != original.data_ptr()
        counted = original._version
        change(copy)
        assert original._version == counted
        assert numbers(first) == values
        assert numbers(copy) == [value(v) for v in values]
        assert numbers(original) == values
        assert leaf._version == version
        behind = original if original is parameter else leaf
        (gradient,) = torch.autograd.grad(output, behind, torch.ones_like(output))
        assert numbers(gradient) == expected


@rule("detach.copies.nothing-shared")
@also(NO_GRAD)
@given(leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE), copying=COPIES, update=updates(idle=True))
@example(leaf=COMPLEX, copying=Expression("lambda x: x.detach().clone()"), update=ZEROED)
@example(leaf=COMPLEX, copying=Expression("lambda x: x.clone().detach()"), update=ZEROED)
def test_a_write_to_the_original_is_not_seen_by_the_copy(device, leaf, copying, update):
    change, _ = update
    plain = leaf.detach()
    conjugate = plain.conj()
    others = (conjugate.imag, plain.real) if leaf.is_complex() else (plain.unsqueeze(0), plain.view_as(plain)[...])
    for original in (leaf, conjugate, *others):
        values = numbers(original)
        copy = copying(original)
        version = copy._version
        with torch.no_grad():
            change(leaf)
        assert numbers(copy) == values
        assert copy._version == version
        # And it is no copy from before that is given once the original has changed.
        latest = copying(original)
        assert str(numbers(latest)) == str(numbers(original))
        with torch.inference_mode():
            change(leaf.detach())
        assert numbers(copy) == values
        assert copy._version == version
        before = numbers(leaf)
        copy.zero_()
        latest.zero_()
        assert numbers(leaf) == before


@rule("detach.copies.nothing-shared")
@also(*UNRECORDED)
@given(leaf=extremes(), copying=COPIES)
def test_a_copy_has_every_value_that_a_float_can_have(device, leaf, copying):
    assert str(copying(leaf).cpu().tolist()) == str(leaf.cpu().tolist())


@rule("detach.copies.nothing-shared")
@also(*UNRECORDED)
@given(plain=tensors(dtypes=dtypes.integral(), among=layouts.WRITABLE), copying=COPIES)
def test_a_copy_of_whole_numbers_or_flags_shares_nothing_either(device, plain, copying):
    largest = torch.full((3,), 1 if plain.dtype == torch.bool else torch.iinfo(plain.dtype).max, dtype=plain.dtype)
    for original in (plain, plain[None], largest.to(device)):
        values = numbers(original)
        copy, second = copying(original), copying(original)
        assert (copy.dtype, numbers(copy)) == (original.dtype, values)
        copy.zero_()
        assert numbers(original) == values
        assert numbers(second) == values
        original.zero_()
        assert numbers(second) == values
        original.copy_(second)
