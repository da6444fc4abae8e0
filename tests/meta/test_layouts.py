"""Layouts are what they are called: the elements that were given, in the memory that the name promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inputs import Expression, layouts, shapes, tensors
from tests.inputs.expression import build
from tests.inputs.layouts import EVERY, WRITABLE, Layout, fits
from tests.inputs.shapes import Shape

ANY_SHAPE = shapes() | shapes(min_dims=4, max_dims=4, max_side=2)


def shapes_for(layout: Layout) -> st.SearchStrategy[Shape]:
    """Every shape that can have the layout."""
    if layout is layouts.picked:
        return st.just(())
    if layout is layouts.channels_last:
        return shapes(min_dims=4, max_dims=4, max_side=2)
    return ANY_SHAPE.filter(lambda shape: fits(layout, shape))


def laid_out(layout: Layout, shape: Shape) -> torch.Tensor:
    """The tensor that the layout makes of the numbers 1, 2, 3, ..."""
    values = list(range(1, math.prod(shape) + 1))
    made: torch.Tensor = build({"torch": torch, "device": "cpu"}, "x", Expression(layout(values, shape, "torch.int64")))
    return made


def storage_size(x: torch.Tensor) -> int:
    return x.untyped_storage().nbytes() // x.element_size()


def last_two_swapped(x: torch.Tensor) -> bool:
    return x.mT.is_contiguous() and x.is_contiguous() == (x.numel() == 0 or 1 in x.shape[-2:])


def one_row_in(x: torch.Tensor) -> bool:
    row = math.prod(x.shape[1:])
    # Where rows are empty there is nothing to tell apart.
    return x.numel() == 0 or (x.is_contiguous() and x.storage_offset() == row and storage_size(x) == x.numel() + row)


def every_other(x: torch.Tensor) -> bool:
    return x.stride(-1) == 2 and storage_size(x) == 2 * x.numel()


def one_row_repeated(x: torch.Tensor) -> bool:
    return (x.shape[0] == 1 or x.stride(0) == 0) and storage_size(x) == math.prod(x.shape[1:])


PROMISES: dict[Layout, Callable[[torch.Tensor], bool]] = {
    layouts.contiguous: lambda x: x.is_contiguous() and x.storage_offset() == 0 and storage_size(x) == x.numel(),
    layouts.picked: lambda x: x.storage_offset() == 1 and storage_size(x) == 2,
    layouts.transposed: last_two_swapped,
    layouts.offset: one_row_in,
    layouts.stepped: every_other,
    layouts.channels_last: lambda x: x.is_contiguous(memory_format=torch.channels_last),
    layouts.expanded: one_row_repeated,
}


def test_every_layout_has_its_promise() -> None:
    assert set(PROMISES) == set(EVERY)
    assert set(EVERY) - set(WRITABLE) == {layouts.expanded}


@pytest.mark.parametrize("layout", EVERY, ids=lambda layout: layout.__name__)
@given(data=st.data())
def test_a_layout_is_what_it_is_called(layout: Layout, data: st.DataObject) -> None:
    shape = data.draw(shapes_for(layout))
    x = laid_out(layout, shape)
    assert tuple(x.shape) == shape
    assert PROMISES[layout](x)


@pytest.mark.parametrize("layout", WRITABLE, ids=lambda layout: layout.__name__)
@given(data=st.data())
def test_a_writable_layout_has_the_given_elements_each_with_memory_of_its_own(
    layout: Layout, data: st.DataObject
) -> None:
    shape = data.draw(shapes_for(layout))
    x = laid_out(layout, shape)
    count = math.prod(shape)
    assert x.reshape(-1).tolist() == list(range(1, count + 1))
    x.copy_(torch.arange(count).reshape(shape))
    assert x.reshape(-1).tolist() == list(range(count))


@given(shape=shapes(min_dims=1).filter(lambda shape: shape[0] > 0))
def test_all_rows_of_an_expanded_tensor_are_the_first(shape: Shape) -> None:
    x = laid_out(layouts.expanded, shape)
    row = math.prod(shape[1:])
    assert x.reshape(-1).tolist() == list(range(1, row + 1)) * shape[0]


@given(shape=ANY_SHAPE)
def test_a_layout_that_is_drawn_fits(shape: Shape) -> None:
    for layout in EVERY:
        if fits(layout, shape):
            laid_out(layout, shape)
    assert fits(layouts.contiguous, shape)


def marks(x: torch.Tensor) -> set[str]:
    """What kinds of layout a tensor can be told to have, from outside."""
    told = {
        "contiguous": x.is_contiguous() and storage_size(x) == x.numel(),
        "picked": x.ndim == 0 and x.storage_offset() > 0,
        "offset": x.ndim > 0 and x.is_contiguous() and x.storage_offset() > 0,
        "stepped": x.numel() > 1 and x.stride(-1) == 2 and x.shape[-1] > 1,
        "transposed": x.ndim > 1 and not x.is_contiguous() and x.mT.is_contiguous(),
        "expanded": x.numel() > 1 and 0 in x.stride(),
        "channels_last": x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous(),
    }
    return {name for name, holds in told.items() if holds}


def test_every_layout_is_among_five_hundred_draws() -> None:
    seen: set[str] = set()

    @settings(max_examples=500)
    @given(drawn=tensors())
    def draw(drawn: Expression) -> None:
        seen.update(marks(build({"torch": torch, "device": "cpu"}, "x", drawn)))

    draw()
    assert seen == {layout.__name__ for layout in EVERY}
