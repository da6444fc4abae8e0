"""The closed forms of tests/oracles/descent.py against the same descent in exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from tests.oracles.descent import descent, descent_bound, rows_of_a_line, rows_of_powers, swing, swing_bound

STEPS = 8


def exactly(
    rows: np.ndarray, y: np.ndarray, start: tuple[float, ...], rate: float, cleared: bool
) -> list[list[Fraction]]:
    """The coefficients after 0, 1, ..., STEPS steps, by the definition of gradient descent and without rounding."""
    matrix = [[Fraction(entry) for entry in row] for row in rows.tolist()]
    target = [Fraction(entry) for entry in y.tolist()]
    nothing = [Fraction(0)] * len(start)
    p, gradient = [Fraction(number) for number in start], nothing
    path = [p]
    for _ in range(STEPS):
        residuals = [sum(k * c for k, c in zip(row, p, strict=True)) - t for row, t in zip(matrix, target, strict=True)]
        earlier = nothing if cleared else gradient
        gradient = [
            before + 2 * sum(e * row[k] for e, row in zip(residuals, matrix, strict=True))
            for k, before in enumerate(earlier)
        ]
        p = [coefficient - Fraction(rate) * slope for coefficient, slope in zip(p, gradient, strict=True)]
        path.append(p)
    return path


@pytest.mark.parametrize("rows_of", [rows_of_powers, rows_of_a_line, lambda x: np.ones((len(x), 1))])
@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 17, 40])
@pytest.mark.parametrize(
    ("part", "cleared"),
    [(0.02, True), (0.5, True), (0.98, True), (2.0, True), (0.02, False), (0.5, False), (0.98, False)],
)
def test_closed_form_is_within_the_part_of_the_bound_that_is_its_own(
    rows_of: Callable[[np.ndarray], np.ndarray], points: int, part: float, cleared: bool
) -> None:
    closed, bound = (descent, descent_bound) if cleared else (swing, swing_bound)
    x = np.linspace(-1, 1, points)
    rows, y = rows_of(x), np.exp(x)
    rate = part * 2 / np.linalg.eigvalsh(2 * rows.T @ rows).max()
    start = (2.5, -1.0, 0.25, -3.0)[: rows.shape[1]]
    path = closed(rows, y, np.array(start), rate, STEPS)
    allowed = bound(rows, y, path, rate, eps=0.0)
    for row, expected, slack in zip(path, exactly(rows, y, start, rate, cleared), allowed, strict=True):
        for number, exact, limit in zip(row, expected, slack, strict=True):
            assert abs(Fraction(number) - exact) <= Fraction(limit) / 4
