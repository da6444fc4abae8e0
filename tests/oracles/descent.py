"""Gradient descent on a sum of squares, in closed form, and how far rounding can carry a run from it.

The sum of squares |A p - y|^2, where A has a row for each point and a column for each coefficient (1, x, x^2, x^3 for a
cubic, x, 1 for a line, 1 for a lone number), is quadratic in the coefficients p. Its gradient is 2 A^T (A p - y), so a
step of rate r multiplies the distance of p from the least-squares solution by the matrix I - 2 r A^T A. Along an
eigenvector of 2 A^T A of eigenvalue h, a direction of curvature h, that is the number 1 - r h. The rate is stable while
no such number is larger than 1 in magnitude, that is up to 2 / (the largest h).

The mean of n squares is their sum divided by n, and so a step of rate r on the mean is one of rate r / n on the sum.

The bounds count roundings. An addition, a subtraction or a multiplication is off by at most half an eps of its
result and counts as a whole one; the half to spare covers products of errors. A division, and a sum of n numbers in
whatever order, count as one and as n - 1. The closed form is computed in float64 and errs in the same way, so the eps
of float64 is added to that of the run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

DOUBLE = 2.0**-52
POWER = 16
"""How many eps `x ** k` may be off: what OpenCL allows its `pow`, the loosest of the published limits."""


def rows_of_powers(x: Floats) -> Floats:
    """The matrix A of a cubic: for each point the row 1, x, x^2, x^3."""
    return np.vander(x, 4, increasing=True)


def rows_of_a_line(x: Floats) -> Floats:
    """The matrix A of w x + b: for each point the row x, 1."""
    return np.vander(x, 2)


def least_squares(a: Floats, y: Floats) -> Floats:
    """The coefficients with the smallest sum of squares; the shortest ones if there are many."""
    return np.linalg.lstsq(a, y, rcond=None)[0]


def gradient(a: Floats, y: Floats, p: Floats) -> Floats:
    """The derivatives of the sum of squares by the coefficients."""
    return 2 * (a @ p - y) @ a


def gradient_bound(a: Floats, y: Floats, p: Floats, eps: float, off: Floats | float = 0.0) -> Floats:
    """How far off the gradients can be at coefficients that are p, or away from p by up to `off`.

    A residual takes, in a cubic, up to four additions, a product and a power: POWER + 5 roundings of what enters it.
    Doubled (a power again), multiplied by a power of x, summed over n points and multiplied by a rounded rate it takes
    another n + 2 POWER + 5 of its own size. Simpler models, and division by a number of points, take fewer.
    """
    sizes, off = abs(a), np.broadcast_to(off, p.shape)
    entering = sizes @ (abs(p) + off) + abs(y)
    residual = abs(a @ p - y) + sizes @ off
    bound: Floats = 2 * (eps + DOUBLE) * ((POWER + 5) * entering + (len(a) + 2 * POWER + 5) * residual) @ sizes
    return bound


def losses(a: Floats, y: Floats, path: Floats) -> Floats:
    """The sum of squares at each row of coefficients."""
    heights: Floats = ((path @ a.T - y) ** 2).sum(axis=1)
    return heights


def losses_bound(a: Floats, y: Floats, path: Floats, eps: float, off: Floats) -> Floats:
    """How far off the sums of squares can be at coefficients that are away from the rows of `path` by up to `off`.

    A residual is off by what the coefficients are and by POWER + 5 roundings of what enters it; its square, a power,
    and the sum over n points take POWER + n more of their own size.
    """
    sizes = abs(a).T
    residual = abs(path @ a.T - y)
    wrong = off @ sizes + (POWER + 5) * (eps + DOUBLE) * ((abs(path) + off) @ sizes + abs(y))
    squares = (residual + wrong) ** 2
    bound: Floats = (squares - residual**2 + (POWER + len(a)) * (eps + DOUBLE) * squares).sum(axis=1)
    return bound


def descent(a: Floats, y: Floats, start: Floats, rate: float, steps: int) -> Floats:
    """The coefficients after 0, 1, ..., `steps` steps, a row each: best + (I - 2 r A^T A)^k (start - best)."""
    curvatures, directions = np.linalg.eigh(2 * a.T @ a)
    best = least_squares(a, y)
    factors = (1 - rate * curvatures) ** np.arange(steps + 1)[:, None]
    path: Floats = best + (factors * ((start - best) @ directions)) @ directions.T
    return path


def descent_bound(a: Floats, y: Floats, path: Floats, rate: float, eps: float) -> Floats:
    """How far rounding can carry a run from `path`, the rows of `descent`, coefficient by coefficient.

    A step adds r times the error of the gradient and rounds the new coefficients. Along a direction of curvature h
    what was added before is multiplied by 1 - r h. The first row allows for the two products in `descent`.
    """
    curvatures, directions = np.linalg.eigh(2 * a.T @ a)
    factors, sizes = abs(1 - rate * curvatures), abs(directions)
    along = np.full(len(curvatures), 16 * DOUBLE * (abs(path[0]) + abs(least_squares(a, y))).sum())
    bounds = [sizes @ along]
    for here, there in pairwise(path):
        added = rate * gradient_bound(a, y, here, eps, bounds[-1]) + (eps + DOUBLE) * abs(there)
        along = factors * along + added @ sizes
        bounds.append(sizes @ along)
    return np.array(bounds)


def swing(a: Floats, y: Floats, start: Floats, rate: float, steps: int) -> Floats:
    """As `descent`, but each step goes down the sum of all gradients so far, as it does if none is cleared.

    Along a direction of curvature h the distance e from the least-squares cubic then obeys
    e[k+1] = (2 - r h) e[k] - e[k-1] and e[1] = (1 - r h) e[0], so that e[k] = e[0] cos((k + 1/2) t) / cos(t / 2)
    where cos(t) = 1 - r h / 2, that is sin(t / 2) = sqrt(r h) / 2.
    """
    curvatures, directions = np.linalg.eigh(2 * a.T @ a)
    best = least_squares(a, y)
    angles = 2 * np.arcsin(np.sqrt(rate * curvatures.clip(0)) / 2)
    factors = np.cos((np.arange(steps + 1)[:, None] + 0.5) * angles) / np.cos(angles / 2)
    path: Floats = best + (factors * ((start - best) @ directions)) @ directions.T
    return path


def swing_bound(a: Floats, y: Floats, path: Floats, rate: float, eps: float) -> Floats:
    """As `descent_bound`, for a path from `swing` at a stable rate, where t is at most a right angle.

    Adding to the sum of gradients rounds it, and multiplying it by a rounded rate rounds it twice more; the sum itself
    is (p[k] - p[k+1]) / r. An error in the sum is felt m steps later as r sin(m t) / sin(t), at most r m; one in the
    coefficients as cos((m - 1/2) t) / cos(t / 2), less than 2.
    """
    sizes = abs(np.linalg.eigh(2 * a.T @ a)[1])
    in_coefficients = np.full(len(sizes), 16 * DOUBLE * (abs(path[0]) + abs(least_squares(a, y))).sum())
    in_sum = felt = np.zeros(len(sizes))
    bounds = [sizes @ (2 * in_coefficients)]
    for here, there in pairwise(path):
        moved = (eps + DOUBLE) * abs(there - here)
        in_sum = in_sum + (rate * gradient_bound(a, y, here, eps, bounds[-1]) + moved) @ sizes
        felt = felt + in_sum
        in_coefficients = in_coefficients + (2 * moved + (eps + DOUBLE) * abs(there)) @ sizes
        bounds.append(sizes @ (felt + 2 * in_coefficients))
    return np.array(bounds)
