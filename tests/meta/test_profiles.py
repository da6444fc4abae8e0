"""What a profile draws."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.profiles import EXAMPLES

PAIR = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))


def test_no_example_is_a_variation_of_the_one_before() -> None:
    drawn: list[tuple[int, int]] = []

    @settings(max_examples=EXAMPLES["standard"])
    @given(pair=PAIR)
    def draw(pair: tuple[int, int]) -> None:
        drawn.append(pair)

    draw()
    assert len(drawn) == EXAMPLES["standard"]
    assert sum(one == other for one, other in drawn) < len(drawn) / 4
