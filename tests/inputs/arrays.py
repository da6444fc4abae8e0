"""NumPy arrays, and the tensors whose dtype NumPy has too.

What is drawn is the NumPy expression of an array that owns its memory or looks into it: in C or in Fortran order,
behind an offset, with a step, 0-d, or overlapping itself with a stride of 0. Every array is writable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from hypothesis import strategies as st

from . import layouts as memory
from .expression import Expression
from .shapes import Shape
from .shapes import shapes as any_shapes
from .values import integers, nested

FLOATING = ("np.float32", "np.float64", "np.float16")
COMPLEX = ("np.complex64", "np.complex128")
SIGNED = ("np.int64", "np.int32", "np.int16", "np.int8")
# torch 2.3 got the last three.
UNSIGNED = ("np.uint8", *(f"np.{name}" for name in ("uint16", "uint32", "uint64") if hasattr(torch, name)))
EVERY_DTYPE = (*FLOATING, *SIGNED, *UNSIGNED, "np.bool_", *COMPLEX)
"""The dtypes that NumPy and this torch have in common."""

FILLER = 0
"""What stands between the elements of a layout with gaps."""


def _array(values: list[int], shape: Shape, dtype: str) -> str:
    written = nested(values, shape, "." if dtype in FLOATING + COMPLEX else "")
    source = f"np.array({written}, dtype={dtype})"
    return f"{source}.reshape({shape})" if 0 in shape[:-1] else source


def c_order(values: list[int], shape: Shape, dtype: str) -> str:
    """The last dimension is the fastest."""
    return _array(values, shape, dtype)


def fortran_order(values: list[int], shape: Shape, dtype: str) -> str:
    """The first dimension is the fastest. Needs two dimensions."""
    turned = np.array(values, dtype=int).reshape(shape).T.reshape(-1).tolist()
    return f"{_array(turned, shape[::-1], dtype)}.T"


def offset(values: list[int], shape: Shape, dtype: str) -> str:
    """A slice that starts one row into its base. Needs a dimension."""
    row = math.prod(shape[1:])
    return f"{_array([FILLER] * row + values, (shape[0] + 1, *shape[1:]), dtype)}[1:]"


def stepped(values: list[int], shape: Shape, dtype: str) -> str:
    """Every other element of a longer last dimension. Needs a dimension."""
    spread = [number for value in values for number in (value, FILLER)]
    return f"{_array(spread, (*shape[:-1], 2 * shape[-1]), dtype)}[..., ::2]"


def picked(values: list[int], shape: Shape, dtype: str) -> str:
    """A 0-d view of the second element of a vector. Needs no dimension."""
    return f"{_array([FILLER, *values], (2,), dtype)}[1, ...]"


def overlapping(values: list[int], shape: Shape, dtype: str) -> str:
    """The first row, repeated along the first dimension with stride 0. Needs elements and a dimension.

    Only here are the elements not those given: all rows are the first.
    """
    row = values[: len(values) // shape[0]]
    itemsize = np.dtype(getattr(np, dtype.removeprefix("np."))).itemsize
    strides = (0, *(itemsize * math.prod(shape[position + 1 :]) for position in range(1, len(shape))))
    return f"np.lib.stride_tricks.as_strided({_array(row, shape[1:], dtype)}, {shape}, {strides})"


Layout = Callable[[list[int], Shape, str], str]

APART: tuple[Layout, ...] = (c_order, picked, fortran_order, offset, stepped)
"""Layouts in which no two elements share memory."""

EVERY: tuple[Layout, ...] = (*APART, overlapping)


def _fits(layout: Layout, shape: Shape) -> bool:
    if layout is picked:
        return shape == ()
    if layout is fortran_order:
        return len(shape) >= 2
    if layout in (offset, stepped):
        return len(shape) >= 1
    if layout is overlapping:
        return len(shape) >= 1 and 0 not in shape
    return True


@cache
def telling_shapes(min_dims: int = 0) -> st.SearchStrategy[Shape]:
    """Any shape of up to three dimensions; every other one has two or three and no side below two.

    In a small shape most layouts are the same layout.
    """
    return any_shapes(min_dims=min_dims) | any_shapes(min_dims=2, min_side=2)


@cache
def _layouts(shape: Shape, among: tuple[Layout, ...]) -> st.SearchStrategy[Layout]:
    return st.sampled_from([layout for layout in among if _fits(layout, shape)])


@cache
def _one_of(dtypes: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(dtypes)


@st.composite
def arrays(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[Shape] | None = None,
    dtypes: tuple[str, ...] = EVERY_DTYPE,
    among: tuple[Layout, ...] = EVERY,
) -> Expression:
    """An array with integers in [-3, 3] as its elements, or in [0, 3] if the dtype has no sign.

    shapes: default `telling_shapes`. The expression's facts are `shape` and `dtype`.
    """
    shape = draw(telling_shapes() if shapes is None else shapes)
    dtype = draw(_one_of(dtypes))
    values = draw(integers(math.prod(shape)))
    layout = draw(_layouts(shape, among))
    return Expression(layout(_signed(values, dtype), shape, dtype), facts={"shape": shape, "dtype": dtype})


def _signed(values: list[int], dtype: str) -> list[int]:
    return [abs(value) for value in values] if dtype in UNSIGNED else values


# torch makes no tensor of these from a list with negative numbers, and lays nothing out that it cannot compute with.
AS_SIGNED = {f"torch.u{name}": f"torch.{name}" for name in ("int8", "int16", "int32", "int64")}


@st.composite
def tensors_of_numpy_dtypes(
    draw: st.DrawFn,
    dtypes: tuple[str, ...] = EVERY_DTYPE,
    among: tuple[memory.Layout, ...] = memory.EVERY,
) -> Expression:
    """A CPU tensor that does not require grad, of a dtype that NumPy has too; dtypes are given as NumPy's.

    Its elements are as those of `arrays`. It is of dtypes, too, for which the CPU has no arithmetic.
    """
    shape = draw(telling_shapes())
    named = draw(_one_of(dtypes))
    values = _signed(draw(integers(math.prod(shape))), named)
    layout = draw(memory.layouts(shape, among))
    dtype = named.replace("np.", "torch.").rstrip("_")
    if dtype in AS_SIGNED:
        source = f"{layout(values, shape, AS_SIGNED[dtype])}.view({dtype})"
    else:
        source = layout(values, shape, dtype)
    return Expression(source, facts={"shape": shape, "dtype": dtype})
