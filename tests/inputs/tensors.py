"""Tensors and leaves: a shape, values for exact arithmetic, a layout, a dtype, and an earlier state.

The strategies that are asked for anew with every draw are cached where they are defined: Hypothesis checks a new
strategy before its first use, and that would cost as much as all the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import strategies as st

from . import dtypes as dtype_names
from . import layouts as memory
from .expression import IT, Expression
from .shapes import Shape, shapes_for_layouts
from .values import integers

EARLIER_GRADS = (
    (),
    (f"{IT}.grad = torch.zeros_like({IT})",),
    (f"{IT}.grad = torch.full_like({IT}, 2)",),
    (f"({IT} * 3).backward(torch.ones_like({IT}))",),
)
"""States of `.grad` before a test begins: none, zeros, a number, and one left by an earlier backward."""

EARLIER = st.sampled_from(EARLIER_GRADS)


def tensor_of(
    draw: st.DrawFn,
    shape: Shape,
    dtype: str,
    layout: memory.Layout | None = None,
    each: Callable[[int], int] | None = None,
) -> Expression:
    """As `tensors`, for a shape and a dtype that a strategy has drawn, in any layout unless one is given.

    A strategy that draws several tensors to go together calls this; making a strategy for each would take longer than
    drawing from it.
    """
    if layout is None:
        layout = draw(memory.layouts(shape))
    values = draw(integers(math.prod(shape)))
    if dtype in dtype_names.UNSIGNED:
        values = [abs(value) for value in values]
    if each is not None:
        values = [each(value) for value in values]
    named = frozenset() if dtype == "dtype" else frozenset({dtype})
    return Expression(layout(values, shape, dtype), dtypes=named, facts={"shape": shape, "dtype": dtype})


def leaf_of(draw: st.DrawFn, shape: Shape, dtype: str, each: Callable[[int], int] | None = None) -> Expression:
    """As `tensor_of`, but a leaf that requires grad."""
    return _leaf(tensor_of(draw, shape, dtype, each=each))


def _leaf(tensor: Expression, then: tuple[str, ...] = ()) -> Expression:
    return Expression(f"{tensor.source}.requires_grad_()", then, tensor.dtypes, tensor.facts)


@st.composite
def tensors(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[Shape] | None = None,
    dtypes: st.SearchStrategy[str] | None = None,
    among: tuple[memory.Layout, ...] = memory.EVERY,
    each: Callable[[int], int] | None = None,
) -> Expression:
    """A tensor that does not require grad, with integers in [-3, 3] as its elements, in [0, 3] if it has no sign.

    shapes: default every shape of up to three dimensions, and some pictures. dtypes: default float32 and its like.
    among: the layouts it may have. each: what is made of each of its elements, where some numbers will not do. The
    expression's facts are `shape` and `dtype`.
    """
    return _tensor(draw, shapes, dtypes, among, each)


def _tensor(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[Shape] | None,
    dtypes: st.SearchStrategy[str] | None,
    among: tuple[memory.Layout, ...],
    each: Callable[[int], int] | None,
) -> Expression:
    shape = draw(shapes_for_layouts() if shapes is None else shapes)
    layout = draw(memory.layouts(shape, among))
    dtype = draw(dtype_names.floating() if dtypes is None else dtypes)
    return tensor_of(draw, shape, dtype, layout, each)


@st.composite
def leaves(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[Shape] | None = None,
    dtypes: st.SearchStrategy[str] | None = None,
    among: tuple[memory.Layout, ...] = memory.EVERY,
    earlier_grad: bool = False,
    each: Callable[[int], int] | None = None,
) -> Expression:
    """A leaf that requires grad.

    Arguments as for `tensors`. earlier_grad: draw also what `.grad` holds when the test begins; else it is None.
    """
    tensor = _tensor(draw, shapes, dtypes, among, each)
    then = draw(EARLIER) if earlier_grad else ()
    return _leaf(tensor, then)


@st.composite
def like(
    draw: st.DrawFn, other: st.SearchStrategy[Expression], among: tuple[memory.Layout, ...] = memory.EVERY
) -> tuple[Expression, Expression]:
    """A pair: what `other` draws, and a tensor of the same shape and dtype with a layout of its own, such as a
    gradient argument for an output."""
    first = draw(other)
    shape, dtype = first.facts["shape"], first.facts["dtype"]
    return first, tensor_of(draw, shape, dtype, draw(memory.layouts(shape, among)))


def on_the_cpu(tensor: Expression) -> Expression:
    """The same tensor, made on the CPU whatever the device under test."""
    return Expression(tensor.source.replace("device=device", 'device="cpu"'), tensor.then, tensor.dtypes, tensor.facts)
