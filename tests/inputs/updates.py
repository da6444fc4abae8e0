"""In-place operations on all elements of a tensor, exact for small integers."""

from __future__ import annotations

from hypothesis import strategies as st

from .expression import Expression

UPDATES = (
    ("lambda x: x.sub_(1)", "lambda v: v - 1"),
    ("lambda x: x.__iadd__(2)", "lambda v: v + 2"),
    ("lambda x: x.mul_(2)", "lambda v: 2 * v"),
    ("lambda x: x.neg_()", "lambda v: -v"),
    ("lambda x: x.fill_(3)", "lambda v: 3"),
    ("lambda x: x.zero_()", "lambda v: 0"),
    ("lambda x: x.copy_(torch.ones_like(x))", "lambda v: 1"),
    ("lambda x: x.__setitem__(..., 2)", "lambda v: 2"),
    ("lambda x: x.view_as(x).add_(1)", "lambda v: v + 1"),
)
"""A function that changes a tensor in place, and what it makes of each element."""

IDLE = (
    ("lambda x: x.add_(0)", "lambda v: v"),
    ("lambda x: x.mul_(1)", "lambda v: v"),
    ("lambda x: x.copy_(x.clone())", "lambda v: v"),
)
"""Updates that leave every element as it was, and are in-place operations all the same."""


def updates(*, idle: bool = False) -> st.SearchStrategy[tuple[Expression, Expression]]:
    """(update, value): after `update(x)` an element that was v is `value(v)`; some write through a view.

    idle: draw also updates that change no element.
    """
    return st.sampled_from(UPDATES + IDLE if idle else UPDATES).map(
        lambda pair: (Expression(pair[0]), Expression(pair[1]))
    )
