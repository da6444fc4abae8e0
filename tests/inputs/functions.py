"""Differentiable functions whose derivative is exact, and routes that move elements without changing them.

A rule about backward() draws one, so that it is tried behind different operations and at different places in the
graph: a fresh result, a view of the leaf, a view of a result, a leaf used twice.
"""

from __future__ import annotations

from hypothesis import strategies as st

from .expression import Expression

ELEMENTWISE = (
    ("lambda x: x * 3", "lambda v: 3"),
    ("lambda x: -x", "lambda v: -1"),
    ("lambda x: x.clone()", "lambda v: 1"),
    ("lambda x: x.view_as(x)", "lambda v: 1"),
    ("lambda x: x / 4", "lambda v: 0.25"),
    ("lambda x: x + x", "lambda v: 2"),
    ("lambda x: x * x", "lambda v: 2 * v"),
    ("lambda x: (x + 1) * x", "lambda v: 2 * v + 1"),
    ("lambda x: x * x * x", "lambda v: 3 * v * v"),
    ("lambda x: 2 * x.view_as(x) - x", "lambda v: 1"),
)
"""A function of a tensor, element by element, and its derivative as a function of one Python number."""

ROUTES = (
    "lambda x: x",
    "lambda x: x.reshape(-1)",
    "lambda x: x.unsqueeze(0)",
    "lambda x: x[None, ..., None]",
    "lambda x: x.movedim(0, -1) if x.ndim > 1 else x",
    "lambda x: x.squeeze()",
    "lambda x: x.flatten().clone()",
)
"""Functions that keep every element and change at most the shape."""

PLACES = (
    "lambda x: x",
    "lambda x: x.clone()",
    "lambda x: x.view_as(x)",
    "lambda x: x[None][0]",
    "lambda x: (2 * x) / 2",
)
"""Functions that keep elements and shape: what they return is the leaf itself, a fresh result or a view."""


def elementwise(*, linear: bool = False) -> st.SearchStrategy[tuple[Expression, Expression]]:
    """(function, derivative): y = function(x), dy[i]/dx[i] = derivative(x[i]), exact for small integers.

    linear: only functions whose derivative does not depend on x, which therefore save nothing of x.
    """
    chosen = [pair for pair in ELEMENTWISE if not linear or "v" not in pair[1].removeprefix("lambda v:")]
    return st.sampled_from(chosen).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


def routes() -> st.SearchStrategy[Expression]:
    """A function that keeps every element of a tensor and may change its shape and strides."""
    return st.sampled_from(ROUTES).map(Expression)


def places() -> st.SearchStrategy[Expression]:
    """A function that gives a tensor as it is, at another place in the graph: the leaf, a result, a view of either."""
    return st.sampled_from(PLACES).map(Expression)
