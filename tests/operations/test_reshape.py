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
WIDE = st.sampled_from((*dtypes.FLOATING, "torch.int64"))
LAYOUTS = (layouts.contiguous, layouts.transposed, layouts.offset, layouts.stepped)
SHAPES = ((2, 2), (2, 3), (3, 2), (2, 1, 2), (2, 2, 3), (3, 2, 2), (1, 4), (4, 1), (4,), (6,), (2, 2, 2))

RESHAPE = ("lambda x, shape: x.reshape(shape)", "lambda x, shape: torch.reshape(x, shape)")
VIEW = ("lambda x, shape: x.view(*shape)", "lambda x, shape: x.view(shape)")


@cache
def shapes_of(count):
    """The shapes of up to three dimensions with this many elements."""
    sides = [side for side in range(1, count + 1) if count % side == 0] if count else [0, 1, 2, 3]
    every = (shape for dims in range(4) for shape in itertools.product(sides, repeat=dims))
    return [shape for shape in every if math.prod(shape) == count]


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
    for shape in SHAPES:
        for layout in (layout for layout in LAYOUTS if layouts.fits(layout, shape)):
            source = layout([0] * math.prod(shape), shape, "torch.int64")
            x = build({"torch": torch, "device": "cpu"}, "x", Expression(source))
            wanted = [other for other in shapes_of(x.numel()) if expressible(x, other) is fitting]
            found += [(shape, layout, other) for other in wanted]
    return st.sampled_from(found)


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
    """A tensor and a shape that no tensor of as many elements has."""
    x = draw(tensors(dtypes=DTYPES))
    count = math.prod(x.facts["shape"])
    asked = [(count + 1,), (2, count), (-1, count + 1)] if count else [(1,), (-1, 0)]
    return x, draw(st.sampled_from([*asked, (-1, -1), (-2,)]))


@rule("operations.reshape.row-major")
@also(*UNRECORDED, AS_RESULTS)
@given(case=reshapings(), reshape=st.sampled_from(RESHAPE).map(Expression))
@example(case=(Expression("torch.linspace(0, 1, 100).to(device)"), (-1, 1), (100, 1)), reshape=Expression(RESHAPE[0]))
@example(
    case=(
        Expression(
            "torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], device=device).contiguous(memory_format=torch.channels_last)"
        ),
        (4,),
        (4,),
    ),
    reshape=Expression(RESHAPE[0]),
)
def test_reshape_keeps_the_elements_in_row_major_order_and_works_out_a_missing_size(device, case, reshape):
    x, asked, meant = case
    result = reshape(x, asked)
    assert tuple(result.shape) == meant
    assert result.tolist() == array(x).reshape(meant).tolist()


@rule("operations.reshape.view-shares")
@also(*UNRECORDED)
@given(case=viewings(fitting=True), view=st.sampled_from(VIEW).map(Expression))
@example(case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4)"), (6, 4)), view=Expression(VIEW[0]))
@example(case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4)"), (24,)), view=Expression(VIEW[0]))
def test_view_gives_the_same_memory_in_another_shape(device, case, view):
    x, shape = case
    start = x.clone()
    before = array(x)
    for asked in spelled(shape):
        x.copy_(start)
        y = view(x, asked)
        assert tuple(y.shape) == shape
        assert y.tolist() == before.reshape(shape).tolist()
        y.add_(1)
        assert x.tolist() == (before + 1).tolist()
        x.mul_(2)
        assert y.tolist() == (2 * (before + 1)).reshape(shape).tolist()


@rule("operations.reshape.view-refused")
@also(*UNRECORDED, AS_RESULTS)
@given(case=viewings(fitting=False), view=st.sampled_from(VIEW).map(Expression))
@example(
    case=(Expression("torch.arange(24.0).to(device).reshape(2, 3, 4).transpose(0, 1)"), (24,)),
    view=Expression(VIEW[0]),
)
def test_view_refuses_what_strides_cannot_express_and_reshape_copies_it(device, case, view):
    x, shape = case
    before = state(x)
    for asked in spelled(shape):
        with pytest.raises(RuntimeError, match="view size is not compatible") as refusal:
            view(x, asked)
        assert refusal.type is RuntimeError
        y = x.reshape(asked)
        assert y.tolist() == array(x).reshape(shape).tolist()
        y.add_(1)
        assert state(x) == before


@rule("operations.reshape.impossible")
@also(*UNRECORDED, AS_RESULTS)
@given(case=impossible_shapes(), reshape=st.sampled_from(RESHAPE + VIEW).map(Expression))
def test_a_shape_for_another_number_of_elements_is_refused(device, case, reshape):
    x, shape = case
    before = state(x)
    with pytest.raises(RuntimeError) as refusal:
        reshape(x, shape)
    assert refusal.type is RuntimeError
    assert state(x) == before


@rule("operations.reshape.transpose")
@also(*UNRECORDED)
@given(x=tensors(shapes(min_dims=2, max_dims=2), WIDE, layouts.WRITABLE))
@example(x=Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"))
def test_transposing_swaps_rows_and_columns_of_the_same_memory(device, x):
    before = array(x)
    for turned in (x.T, x.t(), x.transpose(0, 1)):
        assert tuple(turned.shape) == before.T.shape
        assert turned.tolist() == before.T.tolist()
        turned.add_(1)
        before = before + 1
        assert x.tolist() == before.tolist()
