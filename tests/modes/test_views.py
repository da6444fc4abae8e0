"""spec/modes/views.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, layouts, leaves, tensors, updates
from tests.inputs.circumstances import BACKWARD, INFERENCE, NO_GRAD, also
from tests.oracles import numbers, state

LOOKS = (
    "lambda x: x[...]",
    "lambda x: x[None]",
    "lambda x: x[0] if x.ndim and len(x) else x[...]",
    "lambda x: x[1:] if x.ndim else x[...]",
    "lambda x: x[..., ::2] if x.ndim else x[...]",
    "lambda x: x.view_as(x)",
    "lambda x: x.unsqueeze(0)",
    "lambda x: x.squeeze()",
    "lambda x: x.movedim(0, -1) if x.ndim > 1 else x[...]",
    "lambda x: x.unsqueeze(0).unbind()[0]",
)
BASES = (
    "lambda x: x.detach().clone().requires_grad_()",
    "lambda x: x.detach().clone().requires_grad_()[None]",
    "lambda x: x * 1",
    "lambda x: (x * 1)[...]",
)
USES = ("lambda x: x * 2", "lambda x: x.sum()", "lambda x: x.clone()", "lambda x: x + torch.ones_like(x)")
CREATED_INSIDE = "created in no_grad mode"


def looks():
    """A function that returns a view of some or all elements, of any shape that fits."""
    return st.sampled_from(LOOKS).map(Expression)


def looks_again():
    """A function that returns the tensor itself, or a view of all of it."""
    return st.sampled_from(("lambda x: x", "lambda x: x.view_as(x)", "lambda x: x[None]")).map(Expression)


def bases():
    """A function that gives a leaf, a result, or a view of one; the tensor that owns the memory requires grad."""
    return st.sampled_from(BASES).map(Expression)


def origins():
    """What `bases` draws, or the drawn leaf itself: a view, in most layouts, of a tensor that does not require grad."""
    return st.just(Expression("lambda x: x")) | bases()


@rule("modes.views.changed-inside")
@also(NO_GRAD)
@given(leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE), origin=origins(), look=looks())
def test_a_view_made_inside_is_written_inside(device, leaf, origin, look):
    base = origin(leaf)
    version = base._version
    with torch.no_grad():
        view = look(base)
        second = look(view.view_as(view)[...])
        view.fill_(7)
    assert numbers(look(base.detach())) == [7] * view.numel()
    assert numbers(base).count(7) == view.numel()
    assert base._version > version
    assert view._version == base._version == second._version
    version = base._version
    with torch.no_grad():
        second.fill_(8)
    assert numbers(look(look(base.detach()))) == [8] * second.numel()
    assert numbers(base).count(8) == second.numel()
    assert base._version > version
    assert view._version == base._version == second._version


@rule("modes.views.changed-outside")
@given(
    leaf=leaves(among=layouts.WRITABLE),
    origin=bases(),
    look=looks(),
    again=looks_again(),
    block=blocks(recording=False),
    update=updates(),
)
def test_a_view_made_inside_is_not_changed_in_grad_mode(device, leaf, origin, look, again, block, update):
    change, _ = update
    switch_off, _ = block
    base = origin(leaf)
    with switch_off():
        view = look(base)
        inside = [view, again(view), view[...], view.unsqueeze(0)[0].view_as(view)]
    for second in (*inside, again(view), view[...]):
        before = state(leaf, base, view, second)
        with pytest.raises(RuntimeError, match=CREATED_INSIDE) as refusal:
            change(second)
        assert refusal.type is RuntimeError
        assert state(leaf, base, view, second) == before


@rule("modes.views.free-base")
@also(INFERENCE)
@given(
    base=tensors(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    look=looks(),
    updates=st.tuples(updates(), updates()),
)
def test_a_view_of_a_base_without_grad_is_changed_in_any_mode(device, base, look, updates):
    with torch.no_grad():
        view = look(base)
    for change, value in updates:
        expected = [value(number) for number in numbers(view)]
        change(view)
        assert numbers(view) == expected
        assert numbers(look(base)) == expected
    view.fill_(200)
    assert numbers(base).count(200) == view.numel()
    assert not view.requires_grad
    assert not base.requires_grad


@rule("modes.views.flag")
@also(*BACKWARD)
@given(leaf=leaves(), origin=origins(), look=looks())
def test_a_view_made_inside_has_the_flag_of_its_base_and_no_way_back(device, leaf, origin, look):
    tensor = origin(leaf)
    base = tensor if tensor._base is None else tensor._base
    flags = (base.requires_grad, tensor.requires_grad)
    with torch.no_grad():
        view = look(tensor)
    assert (base.requires_grad, tensor.requires_grad) == flags
    assert view.requires_grad == base.requires_grad
    assert view.grad_fn is None
    assert view.is_leaf
    weight = torch.full_like(view, 2, requires_grad=True)
    (view * weight).sum().backward()
    assert numbers(weight.grad) == numbers(view)
    assert view.grad is None
    assert leaf.grad is None
    assert not tensor.is_leaf or tensor.grad is None


@rule("modes.views.stale")
@given(
    leaf=leaves(among=layouts.WRITABLE),
    origin=bases(),
    look=looks(),
    update=updates(),
    by_view=st.booleans(),
    use=st.sampled_from(USES).map(Expression),
)
def test_a_view_made_inside_is_of_no_use_to_autograd_once_its_base_has_changed(
    device, leaf, origin, look, update, by_view, use
):
    change, _ = update
    base = origin(leaf)
    with torch.no_grad():
        view = look(base)
        change(view if by_view else base)
    with pytest.raises(RuntimeError, match=CREATED_INSIDE) as refusal:
        use(view)
    assert refusal.type is RuntimeError
    with torch.no_grad():
        assert not use(view).requires_grad
    assert numbers(view) == numbers(look(base.detach()))
