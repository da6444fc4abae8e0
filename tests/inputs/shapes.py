"""Shapes: 0-d, empty, size-1 and ordinary dimensions, and pairs that broadcast."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

Shape = tuple[int, ...]


def shapes(*, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Any shape within the bounds, empty ones among them unless `min_side` forbids it."""
    return array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


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
