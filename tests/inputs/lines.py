"""What a line is fitted to: a column of evenly spaced points, targets near a line, a start, and rates that suit it.

What is drawn in one example fits together: the points are drawn once and shared. Few draws are quicker than many, so
that each strategy makes one.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from hypothesis import strategies as st

from .expression import Expression

COLUMNS = (
    "torch.linspace({first}, 1, {n}, dtype={dtype}, device=device).reshape(-1, 1)",
    "torch.linspace({first}, 1, {n} * 2 - 1, dtype={dtype}, device=device)[::2, None]",
    "torch.linspace({first}, 1, {n}, dtype={dtype}, device=device).expand(2, -1).T[:, 1:]",
)
NOISES = ("torch.sin(9 * x) / 10", "x * x", "0 * x")
LINES = ((2, 1), (-0.75, 0), (0, 2.5), (3, -2), (0, 0))

GRIDS = st.shared(
    st.sampled_from(
        list(itertools.product((2, 1, 3, 4, 5, 8, 16, 17, 18), (-1, 0), ("torch.float32", "torch.float64")))
    ),
    key="the points of a line",
)
"""Number of points, the first one, and their dtype; the last one is 1."""


def columns() -> st.SearchStrategy[Expression]:
    """Points of [-1, 1] or [0, 1] in float32 or float64, of shape (n, 1)."""

    def column(form: str, grid: tuple[int, int, str]) -> Expression:
        n, first, dtype = grid
        return Expression(form.format(first=first, n=n, dtype=dtype), dtypes=frozenset({dtype}))

    return st.builds(column, st.sampled_from(COLUMNS), GRIDS)


def targets() -> st.SearchStrategy[Expression]:
    """Functions of a column of points: a line, and by a formula what is beside it."""
    sources = [f"lambda x: {w} * x + {b} + {noise}" for (w, b), noise in itertools.product(LINES, NOISES)]
    return st.sampled_from(sources).map(Expression)


def quarters(first: int, last: int) -> st.SearchStrategy[float]:
    """Numbers that are exact in every dtype: whole quarters from `first` / 4 to `last` / 4."""
    return st.integers(first, last).map(lambda quarter: quarter / 4)


def starts() -> st.SearchStrategy[tuple[float, float]]:
    """A slope and an intercept to start from, exact in every dtype."""
    pairs = itertools.product(range(-12, 13), repeat=2)
    nearest_first = sorted(pairs, key=lambda pair: (abs(pair[0]) + abs(pair[1]), pair))
    return st.sampled_from([(w / 4, b / 4) for w, b in nearest_first])


def stable_rates() -> st.SearchStrategy[float]:
    """Rates that are about these parts of the stable limit of a descent on the mean squared error at `columns()`."""

    def rate(grid: tuple[int, int, str], part: float) -> float:
        n, first, _ = grid
        return float(f"{part * _limit(n, first):.3g}")

    return st.builds(rate, GRIDS, st.sampled_from((0.9, 0.02, 0.1, 0.25, 0.5, 0.75, 0.98)))


@cache
def _limit(n: int, first: int) -> float:
    a = np.vander(np.linspace(first, 1, n), 2)
    return float(2 / np.linalg.eigvalsh(2 / n * a.T @ a).max())
