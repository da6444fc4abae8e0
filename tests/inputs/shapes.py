"""Shapes: 0-d, empty, size-1 and ordinary dimensions, and pairs that broadcast."""

from __future__ import annotations

import itertools
import math
from functools import cache

from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

Shape = tuple[int, ...]

PICTURES: tuple[Shape, ...] = ((2, 2, 2, 1), (1, 2, 1, 2), (2, 3, 1, 2), (2, 2, 2, 2))
"""Shapes of four dimensions in which a layout with the channels last is no other layout."""

TAILS: tuple[Shape, ...] = ((17,), (5,), (8,), (33,), (2, 9), (4, 4), (16,), (3, 11), (2, 2, 5), (9,), (5, 1, 5))
"""Shapes beyond what a vectorised kernel does at once: 4, 8, 16 or 32 elements, and what is left over.

A sum of squares of 33 elements is at most 139, because any seven neighbours are all different: exact even in bfloat16.
"""


@cache
def shapes(*, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Any shape within the bounds, empty ones among them unless `min_side` forbids it."""
    by_dims = shapes_by_dims(min_dims, max_dims, min_side, max_side)
    return st.one_of(*(st.sampled_from(drawn) for drawn in by_dims))


def shapes_by_dims(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3) -> list[list[Shape]]:
    """A list of shapes for each number of dimensions, to be drawn from evenly.

    Shapes without a side of 0 are in it twice: else nearly half of what is drawn has no element, and transposing it
    shows nothing. The lists are short because Hypothesis prefers the beginning of a long one.
    """
    sides, whole = range(min_side, max_side + 1), range(max(min_side, 1), max_side + 1)
    return [
        [*itertools.product(whole, repeat=dims), *itertools.product(sides, repeat=dims)]
        for dims in range(min_dims, max_dims + 1)
    ]


@cache
def shapes_for_layouts() -> st.SearchStrategy[Shape]:
    """Shapes of up to three dimensions, larger ones, and pictures; none, where there is one layout to choose from or
    two, and pictures are half as frequent as one, two or three dimensions or large."""
    none, *some = shapes_by_dims()
    return st.one_of(*map(st.sampled_from, (none, *some, *some, TAILS, TAILS, PICTURES)))


def shapes_of_one_element(*, max_dims: int = 3) -> st.SearchStrategy[Shape]:
    """(), (1,), (1, 1), ..."""
    return st.integers(0, max_dims).map(lambda dims: (1,) * dims)


def shapes_of_other_sizes(*, max_dims: int = 3, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes of no element, or of two and more."""
    return shapes(min_dims=1, max_dims=max_dims, max_side=max_side).filter(lambda shape: math.prod(shape) != 1)


def broadcasting_pairs(*, max_dims: int = 3, max_side: int = 3) -> st.SearchStrategy[tuple[Shape, Shape]]:
    """Two shapes that broadcast together; either may be the one that is stretched."""
    return mutually_broadcastable_shapes(
        num_shapes=2, min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side
    ).map(lambda drawn: (tuple(drawn.input_shapes[0]), tuple(drawn.input_shapes[1])))
