"""spec/operations/reshape.md"""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.expression import build
from tests.inputs.shapes import PICTURES
from tests.oracles import array, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL)
WIDE = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:5])
"""Dtypes of numbers to which another may be added."""

LAYOUTS = (layouts.contiguous, layouts.transposed, layouts.offset, layouts.stepped)
SMALL = ((), (1,), (2,), (1, 1), (1, 2), (3, 1), (17,), (2, 9))
SHAPES = ((2, 2), (2, 3), (3, 2), (2, 1, 2), (2, 2, 3), (3, 2, 2), (1, 4), (4, 1), (4,), (6,), (2, 2, 2))

RESHAPE = {
    "x.reshape(shape)": lambda x, shape: x.reshape(shape),
    "torch.reshape(x, shape)": lambda x, shape: torch.reshape(x, shape),
    "x.reshape(*shape)": lambda x, shape: x.reshape(*shape or [shape]),
    "x.reshape(list(shape))": lambda x, shape: x.reshape(list(shape)),
}
VIEW = {
    "x.view(shape)": lambda x, shape: x.view(shape),
    "x.view(*shape)": lambda x, shape: x.view(*shape or [shape]),
    "x.view(list(shape))": lambda x, shape: x.view(list(shape)),
}
"""A shape may be written out, but none without a size."""


@cache
def shapes_of(count):
    """The shapes of up to three dimensions with this many elements."""
    sides = [side for side in range(1, count + 1) if count % side == 0] if count else [0, 1, 2, 3]
    every = (shape for dims in range(4) for shape in itertools.product(sides, repeat=dims))
    return [shape for shape in every if math.prod(shape) == count]


def matrices_of(count):
    """The shapes of a matrix with this many elements, tall, wide and square, and of a stack of two matrices."""
    sides = [side for side in range(1, 8) if count and count % side == 0]
    return [(side, count // side) for side in sides] + [
        (2, side // 2, count // side) for side in sides if side % 2 == 0
    ]


@st.composite
def reshapings(draw):
    """A tensor, a shape to ask for, in which one size may be -1, and the shape that is meant."""
    x = draw(tensors(shapes() | st.sampled_from([(2, 3, 4), (12,), (4, 6), *PICTURES]), DTYPES))
    meant = draw(st.sampled_from(shapes_of(math.prod(x.facts["shape"]))))
    if not draw(st.booleans()):
        return x, meant, meant
    places = [place for place in range(len(meant)) if math.prod(meant[:place] + meant[place + 1 :])]
    if not places:
        return x, meant, meant
    left_out = draw(st.sampled_from(places))
    return x, (*meant[:left_out], -1, *meant[left_out + 1 :]), meant


def expressible(x, shape):
    """Whether some strides give the elements of `x`, in row-major order, in this shape."""
    places = [sum(map(math.prod, zip(index, x.stride(), strict=True))) for index in np.ndindex(tuple(x.shape))]
    strides = [places[math.prod(shape[dim + 1 :])] if size > 1 else 0 for dim, size in enumerate(shape)]
    return places == [sum(map(math.prod, zip(index, strides, strict=True))) for index in np.ndindex(shape)]


@cache
def placements(fitting):
    """(shape, layout, another shape) in which the layout can, or cannot, be viewed."""
    found = []
    for shape in SHAPES + SMALL:
        for layout in (layout for layout in LAYOUTS if layouts.fits(layout, shape)):
            source = layout([0] * math.prod(shape), shape, "torch.int64")
            x = build({"torch": torch, "device": "cpu"}, "x", Expression(source))
            wanted = [other for other in shapes_of(x.numel()) if expressible(x, other) is fitting]
            found += [(shape, layout, other) for other in wanted]
    return st.sampled_from(found)


LARGER = st.sampled_from([(5, 17), (17, 5), (9, 2), (4, 4), (33, 1), (1, 8)])


def spelled(shape):
    """The shape, and with each of its sizes left out in turn."""
    return [shape, *((*shape[:dim], -1, *shape[dim + 1 :]) for dim in range(len(shape)))]


@st.composite
def viewings(draw, fitting):
    """A tensor, and a shape of as many elements that its memory can express, or cannot."""
    shape, layout, other = draw(placements(fitting))
    return draw(tensors(st.just(shape), WIDE, (layout,))), other


@st.composite
def impossible_shapes(draw):
    """A tensor, and shapes that no tensor of as many elements has."""
    x = draw(tensors(dtypes=DTYPES))
    count = math.prod(x.facts["shape"])
    asked = [(count + 1,), (count - 1,), (2, count), (-1, count + 1), (-count - 1,), (-2, -count), (count, -2)]
    asked = asked if count else [(1,), (), (2, 1), (0, -1), (0, -2), (-2, 0)]
    return x, [*asked, (-1, 0), (-1, -1), (-1, 1, -1), (-2,), (-2, -1)]


@rule("operations.reshape.row-major")
@also(*UNRECORDED, AS_RESULTS)
@given(case=reshapings())
@example(case=(Expression("torch.linspace(0, 1, 100).to(device)"), (-1, 1), (100, 1)))
@example(case=(Expression("torch.arange(6.0).to(device).reshape(2, 3).T"), (2, -1), (2, 3)))
@example(case=(Expression("torch.arange(16.0).to(device).reshape(4, 4).T"), (16,), (16,)))
@example(case=(Expression("torch.ones(2, 0, device=device)"), (3, -1), (3, 0)))
@example(case=(Expression("torch.ones(0, device=device)"), (-1, 2), (0, 2)))
@example(
    case=(
        Expression(
            "torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], device=device).contiguous(memory_format=torch.channels_last)"
        ),
        (4,),
        (4,),
    ),
)
@example(
    case=(
        Expression("torch.arange(12.0).to(device).reshape(2, 2, 3, 1).contiguous(memory_format=torch.channels_last)"),
        (3, -1),
        (3, 4),
    ),
)
def test_reshape_keeps_the_elements_in_row_major_order_and_works_out_a_missing_size(device, case):
    x, asked, meant = case
    turned = x.transpose(0, -1) if x.ndim > 1 else x[None].T if x.ndim else x
    for start, (name, reshape) in itertools.product((x, turned), RESHAPE.items()):
        result = reshape(start, asked)
        assert tuple(result.shape) == meant, name
        assert result.dtype == x.dtype, name
        assert result.tolist() == array(start).reshape(meant).tolist(), name
    for shape in (shape for shape in matrices_of(x.numel()) if shape != meant):
        for start in (x, result):
            assert start.reshape(shape).tolist() == array(start).reshape(shape).tolist(), shape


@rule("operations.reshape.view-shares")
@also(*UNRECORDED, AS_RESULTS)
@given(case=viewings(fitting=True))
@example(case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4)"), (6, 4)))
@example(case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4)"), (24,)))
@example(case=(Expression("torch.arange(8.0).to(device).reshape(2, 1, 4)[..., ::2]"), (2, 2)))
@example(case=(Expression("torch.arange(8.0).to(device).reshape(4, 1, 2)[..., 0]"), (2, 2, 1)))
@example(case=(Expression("torch.arange(6.0).to(device).reshape(2, 1, 3).transpose(0, 1)"), (2, 3)))
@example(case=(Expression("torch.arange(6.0).to(device).reshape(3, 2)[:, 1]"), (1, 3, 1)))
def test_view_gives_the_same_memory_in_another_shape(device, case):
    x, shape = case
    before = array(x)
    for view in VIEW.values():
        for asked in spelled(shape):
            y = view(x, asked)
            assert tuple(y.shape) == shape
            assert y.tolist() == before.reshape(shape).tolist()
            with torch.no_grad():
                y.add_(1)
                assert x.tolist() == (before + 1).tolist()
                x.mul_(2)
                assert y.tolist() == (2 * (before + 1)).reshape(shape).tolist()
                y.copy_(torch.from_numpy(before.reshape(shape)))
                assert x.tolist() == before.tolist()


@rule("operations.reshape.view-shares")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_dims=1, max_side=2).filter(lambda shape: 0 in shape), DTYPES))
def test_without_elements_any_strides_will_do(device, x):
    for view in VIEW.values():
        for shape in ((0,), (0, 3), (2, 0), (1, 0, 2)):
            assert view(x, shape).shape == shape
            assert view(x, shape)._is_view() or torch.is_inference_mode_enabled()


@rule("operations.reshape.view-refused")
@also(*UNRECORDED, AS_RESULTS)
@given(case=viewings(fitting=False))
@example(case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4).transpose(0, 1)"), (24,)))
def test_view_refuses_what_strides_cannot_express_and_reshape_copies_it(device, case):
    x, shape = case
    before, elements = state(x), array(x).reshape(shape).tolist()
    for asked in spelled(shape):  # from the second on, after x was reshaped
        for name, view in VIEW.items():
            with pytest.raises(RuntimeError, match="view size is not compatible") as refusal:
                view(x, asked)
            assert refusal.type is RuntimeError, name
            assert state(x) == before, name
        for name, reshape in RESHAPE.items():
            y = reshape(x, asked)
            assert tuple(y.shape) == shape, name
            assert y.tolist() == elements, name
            y.add_(1)
            assert state(x) == before


@rule("operations.reshape.impossible")
@also(*UNRECORDED, AS_RESULTS)
@given(case=impossible_shapes())
def test_a_shape_for_another_number_of_elements_is_refused(device, case):
    x, asked = case
    before = state(x)
    for shape, (name, reshape) in itertools.product(asked, {**RESHAPE, **VIEW}.items()):
        with pytest.raises(RuntimeError) as refusal:
            reshape(x, shape)
        assert refusal.type is RuntimeError, (name, shape)
    assert state(x) == before


@rule("operations.reshape.transpose")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_dims=2, max_dims=2) | LARGER, WIDE, layouts.WRITABLE))
@example(x=Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"))
def test_transposing_swaps_rows_and_columns_of_the_same_memory(device, x):
    before = array(x)
    for turned in (x.T, x.t(), x.transpose(0, 1), torch.t(x), torch.transpose(x, 0, 1), x.transpose(1, 0)):
        assert tuple(turned.shape) == before.T.shape
        assert turned.tolist() == before.T.tolist()
        assert turned.T.tolist() == before.tolist()
        with torch.no_grad():
            turned.add_(1)
            assert x.tolist() == (before + 1).tolist()
            x.sub_(1)
            assert turned.tolist() == before.T.tolist()
