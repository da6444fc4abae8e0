"""Values for exact arithmetic: small integers, so that every sum and product in a rule is representable.

With |value| <= 3 a product of three is at most 27 and a sum of nine such products 243, which bfloat16, the
narrowest dtype under test (8 significant bits: every integer up to 256), still holds exactly.
"""

from __future__ import annotations

import itertools
from functools import cache

from hypothesis import strategies as st

LARGEST = 3


@cache
def integers(count: int) -> st.SearchStrategy[list[int]]:
    """`count` integers in [-3, 3] that follow a pattern: neighbours differ, and it shrinks towards 1, 2, 3."""
    period = 2 * LARGEST + 1

    def pattern(start_and_step: tuple[int, int]) -> list[int]:
        start, step = start_and_step
        return [(start + step * position + LARGEST) % period - LARGEST for position in range(count)]

    patterns = itertools.product(range(1, period + 1), range(1, period))
    return st.sampled_from(list(patterns)).map(pattern)


def nested(values: list[int], shape: tuple[int, ...], suffix: str) -> str:
    """The nested list display of `values` in row-major order.

    Each number is written with `suffix`: "." for floats; with "j" it is given an imaginary part, another such integer.
    """
    if not shape:
        return f"{values[0]}{_imaginary(values[0]):+}j" if suffix == "j" else f"{values[0]}{suffix}"
    stride = len(values) // shape[0] if shape[0] else 0
    rows = [nested(values[row * stride : (row + 1) * stride], shape[1:], suffix) for row in range(shape[0])]
    return f"[{', '.join(rows)}]"


def _imaginary(value: int) -> int:
    """An integer in [-3, 3] for each integer in [-3, 3], none of them twice."""
    return (2 * value + 1 + LARGEST) % (2 * LARGEST + 1) - LARGEST
