"""Points for fitting a line: a column of evenly spaced numbers, in different layouts, and rates that suit it.

What is drawn in one example fits together: the sizes are drawn once and shared.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from .expression import Expression

COLUMNS = (
    "torch.linspace({first}, 1, {n}, dtype={dtype}, device=device).reshape(-1, 1)",
    "torch.linspace({first}, 1, {n} * 2 - 1, dtype={dtype}, device=device)[::2, None]",
    "torch.linspace({first}, 1, {n}, dtype={dtype}, device=device).expand(2, -1).T[:, 1:]",
)

SIZES = st.shared(st.sampled_from((2, 1, 3, 4, 5, 8, 16, 17, 18)), key="line: number of points")
FIRSTS = st.shared(st.sampled_from((-1, 0)), key="line: first point")
DTYPES = st.shared(st.sampled_from(("torch.float32", "torch.float64")), key="line: dtype")


def columns() -> st.SearchStrategy[Expression]:
    """Points of [-1, 1] or [0, 1] in float32 or float64, of shape (n, 1)."""

    def column(form: str, first: int, n: int, dtype: str) -> Expression:
        return Expression(form.format(first=first, n=n, dtype=dtype), dtypes=frozenset({dtype}))

    return st.builds(column, st.sampled_from(COLUMNS), FIRSTS, SIZES, DTYPES)


def quarters(first: int = -12, last: int = 12) -> st.SearchStrategy[float]:
    """Numbers that are exact in every dtype: whole quarters from `first` / 4 to `last` / 4."""
    return st.integers(first, last).map(lambda quarter: quarter / 4)


def stable_rates() -> st.SearchStrategy[float]:
    """Rates that are about these parts of the stable limit of a descent on the mean squared error at `columns()`."""

    def rate(first: int, n: int, part: float) -> float:
        a = np.vander(np.linspace(first, 1, n), 2)
        return float(f"{part * 2 / np.linalg.eigvalsh(2 / n * a.T @ a).max():.3g}")

    return st.builds(rate, FIRSTS, SIZES, st.sampled_from((0.9, 0.02, 0.1, 0.25, 0.5, 0.75, 0.98)))
