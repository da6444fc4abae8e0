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
    "lambda x: x[-1] if x.ndim and len(x) else x[...]",
    "lambda x: x.narrow(0, 0, len(x)) if x.ndim else x[...]",
    "lambda x: x.chunk(2, -1)[-1] if x.ndim and x.numel() else x[...]",
    "lambda x: x.split(1)[-1] if x.ndim and len(x) else x[...]",
    "lambda x: x.diagonal() if x.ndim == 2 else x.unsqueeze(-1)",
    "lambda x: x.transpose(0, -1) if x.ndim else x[...]",
    "lambda x: x.view_as(x)[None][0]",
)
BASES = (
    "lambda x: x.detach().clone().requires_grad_()",
    "lambda x: x.detach().clone().requires_grad_()[None]",
    "lambda x: x * 1",
    "lambda x: (x * 1)[...]",
)
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


def some_updates(count):
    return st.lists(updates(idle=True), min_size=count, max_size=count)


@rule("modes.views.changed-inside")
@also(NO_GRAD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    origin=origins(),
    looks=st.tuples(looks(), looks()),
    updates=some_updates(3),
)
def test_a_view_made_inside_is_written_inside(device, leaf, origin, looks, updates):
    first = origin(leaf)
    whole = torch.arange(first.numel(), device=device).reshape(first.shape).clone()
    places = torch.arange(first.numel()).reshape(first.shape)
    for base, look in ((first, looks[0]), (first, looks[1]), (whole, looks[0]), (first.detach(), looks[1])):
        with torch.no_grad(), torch.no_grad():
            view = look(base)
            second = look(view.view_as(view)[...])
        written = look(places)
        again = look(written)
        for target, at in ((view, set(numbers(written))), (second, set(numbers(again)))):
            for change, value in (
                *updates,
                (lambda x: x.fill_(7), lambda v: 7),
                (lambda x: torch.add(x, 1, out=x), lambda v: v + 1),
                (lambda x: x.masked_fill_(x == x, 2), lambda v: 2),
                (lambda x: x.add_(x), lambda v: 2 * v),
            ):
                version = base._version
                expected = [value(v) if place in at else v for place, v in enumerate(numbers(base))]
                with torch.enable_grad(), torch.no_grad():
                    change(target)
                assert numbers(base) == expected
                assert [expected[place] for place in numbers(written)] == numbers(view)
                assert [expected[place] for place in numbers(again)] == numbers(second)
                assert base._version > version
                assert view._version == base._version == second._version
            with torch.no_grad():
                base.fill_(1)


@rule("modes.views.changed-outside")
@given(
    pair=st.tuples(
        leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
        leaves(dtypes=st.sampled_from(("torch.float64", "torch.float32")), among=layouts.WRITABLE),
    ),
    origin=bases(),
    look=looks(),
    again=looks_again(),
    block=blocks(recording=False),
    updates=some_updates(7),
)
def test_a_view_made_inside_is_not_changed_in_grad_mode(device, pair, origin, look, again, block, updates):
    switch_off, _ = block
    for leaf in pair:
        base = origin(leaf)
        with switch_off():
            view = look(base)
            inside = [view, view, again(view), view[...], view.unsqueeze(0)[0].view_as(view)]
            with torch.enable_grad(), torch.no_grad():
                deep = look(base)
        outside = [again(view), view[...]]
        for second, (change, _) in zip(inside + outside, updates, strict=True):
            before = state(leaf, base, view, second)
            with pytest.raises(RuntimeError, match=CREATED_INSIDE) as refusal:
                change(second)
            assert refusal.type is RuntimeError
            assert state(leaf, base, view, second) == before
        change, _ = updates[0]
        for target in (deep, deep[None], view):
            with torch.no_grad(), torch.enable_grad(), pytest.raises(RuntimeError, match=CREATED_INSIDE):
                change(target)
        with pytest.raises(RuntimeError, match=CREATED_INSIDE):
            view.add_(torch.ones_like(view, requires_grad=True))
        assert state(leaf, base, view, second) == before
        with torch.no_grad():
            view.fill_(2)  # which counts for nothing in grad mode
        before = (numbers(base), base._version)
        for target in (view, deep):
            with pytest.raises(RuntimeError, match=CREATED_INSIDE):
                change(target)
            assert (numbers(base), base._version) == before


INTEGERS = st.sampled_from(("torch.int64", "torch.int32", "torch.int16", "torch.int8"))


@rule("modes.views.free-base")
@also(INFERENCE)
@given(
    bases=st.tuples(
        tensors(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
        tensors(dtypes=INTEGERS, among=layouts.WRITABLE),
    ),
    looks=st.tuples(looks(), looks()),
    updates=some_updates(3),
)
def test_a_view_of_a_base_without_grad_is_changed_in_any_mode(device, bases, looks, updates):
    result = torch.ones_like(bases[0], requires_grad=True) * bases[0]
    for base in (*bases, bases[0] * 1, result.detach()):
        for look in looks:
            with torch.no_grad():
                view = look(base)
                second = view.view_as(view)
            for target in (view, second, view[...]):
                for change, value in updates[: 3 if target is view else 1]:
                    expected = [value(number) for number in numbers(view)]
                    change(target)
                    assert numbers(target) == expected
                    assert numbers(view) == expected
                    assert numbers(look(base)) == expected
            for change, value in (
                (lambda x: x.add_(torch.ones_like(x)), lambda v: v + 1),
                (lambda x: x.mul_(x), lambda v: v * v),
                (lambda x: x.copy_(torch.full_like(x, 3)), lambda v: 3),
                (lambda x: x.__setitem__(..., torch.full_like(x, 2)), lambda v: 2),
                (lambda x: torch.sub(x, 1, out=x), lambda v: v - 1),
            ):
                view.fill_(2)
                with torch.enable_grad():
                    change(view)
                assert numbers(view) == numbers(look(base)) == [value(2)] * view.numel()
            view.fill_(100)
            assert numbers(base).count(100) == view.numel()
            assert not view.requires_grad
            assert not base.requires_grad
            base.fill_(1)


@rule("modes.views.flag")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), origin=origins(), looks=st.tuples(looks(), looks())
)
def test_a_view_made_inside_has_the_flag_of_its_base_and_no_way_back(device, leaf, origin, looks):
    tensor = origin(leaf)
    base = tensor if tensor._base is None else tensor._base
    flags = (base.requires_grad, tensor.requires_grad, tensor.grad_fn, tensor.is_leaf)
    before = state(leaf)
    for look in looks:
        with torch.no_grad(), torch.no_grad():
            deep = look(tensor)
            with torch.enable_grad(), torch.no_grad():
                deeper = look(deep)
        with torch.enable_grad(), torch.set_grad_enabled(False):
            again = look(tensor)
        with torch.no_grad():
            made = look(tensor)
            for view in (made, made.view_as(made), deep, deeper, again):
                assert view.requires_grad == base.requires_grad
                assert view.grad_fn is None
        assert (base.requires_grad, tensor.requires_grad, tensor.grad_fn, tensor.is_leaf) == flags
        assert made.requires_grad == base.requires_grad
        assert made.grad_fn is None
        assert made.is_leaf
        weight = torch.full_like(made, 2, requires_grad=True)
        output = made * weight + weight * made
        output.backward(torch.ones_like(output))
        assert numbers(weight.grad) == [2 * number.conjugate() for number in numbers(made)]
        assert made.grad is None
        assert state(leaf) == before
        assert tensor is leaf or not tensor.is_leaf or tensor.grad is None


@rule("modes.views.stale")
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    origin=bases(),
    look=looks(),
    update=updates(idle=True),
    writer=st.sampled_from(
        (
            "lambda base, view: base",
            "lambda base, view: view",
            "lambda base, view: base.detach()",
            "lambda base, view: view.detach()",
            "lambda base, view: base.view_as(base)",
        )
    ).map(Expression),
)
def test_a_view_made_inside_is_of_no_use_to_autograd_once_its_base_has_changed(
    device, leaf, origin, look, update, writer
):
    change, _ = update
    base = origin(leaf)
    with torch.no_grad():
        made = look(base)
        with torch.no_grad():
            parts = (base[..., ::2], base[1:], base[..., 1:], base[-1:]) if base.ndim else (base[None], base[...])
            views = (made, made.view_as(made), look(base), *parts)
        change(writer(base, made))
    uses = (
        lambda x: x * 2,
        lambda x: x.sum(),
        lambda x: x.clone(),
        lambda x: x + torch.ones_like(x),
        lambda x: torch.ones_like(x) * x,
        lambda x: x[None],
        lambda x: torch.stack([torch.ones_like(x), x]),
        lambda x: torch.where(x == x, torch.ones_like(x), x),
        lambda x: torch.ones_like(x).add_(x),
        lambda x: torch.ones_like(x) - x,
        lambda x: x.exp(),
        lambda x: x.mean(),
        lambda x: torch.zeros_like(x).copy_(x),
        lambda x: torch.addcmul(torch.ones_like(x), x.detach(), x),
    )
    for view in views:
        for use in uses if view is made else uses[:3]:
            with pytest.raises(RuntimeError, match=CREATED_INSIDE) as refusal:
                use(view)
            assert refusal.type is RuntimeError
        with torch.no_grad():
            assert not (view * 2).requires_grad
    assert numbers(made) == numbers(look(base.detach()))
