"""Layouts: the same elements, laid out in memory in different ways.

Each function takes the elements in row-major order and returns the source of a tensor of the given shape with
exactly these elements. The tensor is made on the CPU, copied to the device as it is and laid out there by view
operations, the least that a young backend has to offer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st

from .dtypes import number_suffix
from .shapes import Shape
from .values import nested

FILLER = 0
"""What stands between the elements of a layout with gaps."""


def _tensor(values: list[int], shape: Shape, dtype: str) -> str:
    written = nested(values, shape, number_suffix(dtype))
    source = f"torch.tensor({written}, dtype={dtype}, device=device)"
    # A nested list cannot tell (0, 3) from (0, 2): past an empty dimension the display has nothing to show.
    return f"{source}.reshape({shape})" if 0 in shape[:-1] else source


def contiguous(values: list[int], shape: Shape, dtype: str) -> str:
    """Row-major, without gaps, from the start of the storage."""
    return _tensor(values, shape, dtype)


def transposed(values: list[int], shape: Shape, dtype: str) -> str:
    """The last two dimensions swapped, so that the last one is not the fastest. Needs two dimensions."""
    rows, columns = shape[-2:]
    block = rows * columns
    swapped = [
        values[start + row * columns + column]
        for start in range(0, len(values), block or 1)
        for column in range(columns)
        for row in range(rows)
    ]
    return f"{_tensor(swapped, (*shape[:-2], columns, rows), dtype)}.transpose(-2, -1)"


def offset(values: list[int], shape: Shape, dtype: str) -> str:
    """A slice that starts one row into its storage. Needs a dimension."""
    row = len(values) // shape[0] if shape[0] else _product(shape[1:])
    return f"{_tensor([FILLER] * row + values, (shape[0] + 1, *shape[1:]), dtype)}[1:]"


def stepped(values: list[int], shape: Shape, dtype: str) -> str:
    """Every other element of a longer last dimension. Needs a dimension."""
    spread = [number for value in values for number in (value, FILLER)]
    return f"{_tensor(spread, (*shape[:-1], 2 * shape[-1]), dtype)}[..., ::2]"


def picked(values: list[int], shape: Shape, dtype: str) -> str:
    """A 0-d view of the second element of a vector. Needs no dimension."""
    return f"{_tensor([FILLER, *values], (2,), dtype)}[1]"


def expanded(values: list[int], shape: Shape, dtype: str) -> str:
    """The first row, repeated along the first dimension with stride 0. Needs a non-empty first dimension.

    Only here are the elements not those given: all rows are the first.
    """
    row = values[: len(values) // shape[0]]
    return f"{_tensor(row, (1, *shape[1:]), dtype)}.expand({shape})"


def channels_last(values: list[int], shape: Shape, dtype: str) -> str:
    """Four dimensions with the second one fastest. Needs four dimensions."""
    return f"{_tensor(values, shape, dtype)}.contiguous(memory_format=torch.channels_last)"


def _product(sizes: Shape) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


Layout = Callable[[list[int], Shape, str], str]

WRITABLE: tuple[Layout, ...] = (contiguous, picked, transposed, offset, stepped, channels_last)
"""Layouts in which no two elements share memory, so that the tensor may be written to."""

EVERY: tuple[Layout, ...] = (*WRITABLE, expanded)


def fits(layout: Layout, shape: Shape) -> bool:
    """Whether a tensor of this shape can have this layout."""
    if layout is picked:
        return shape == ()
    if layout is transposed:
        return len(shape) >= 2
    if layout in (offset, stepped):
        return len(shape) >= 1
    if layout is expanded:
        return len(shape) >= 1 and shape[0] >= 1
    if layout is channels_last:
        return len(shape) == 4
    return True


@cache
def layouts(shape: Shape, among: tuple[Layout, ...] = EVERY) -> st.SearchStrategy[Layout]:
    """The layouts of `among` that a tensor of this shape can have, contiguous first.

    Only pictures can have their channels last, and they are rare; so half of them do.
    """
    fitting = [layout for layout in among if fits(layout, shape)]
    if channels_last in fitting:
        fitting += [channels_last] * (len(fitting) - 2)
    return st.sampled_from(fitting)
