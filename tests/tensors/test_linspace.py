"""spec/tensors/linspace.md"""

from fractions import Fraction

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import numbers

STEPS = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100)
"""At most 256, so that the number of a point is exact in every dtype."""


def quarters():
    """Numbers that are exact in every dtype."""
    return st.integers(-32, 32).map(lambda quarter: quarter / 4)


def floating():
    return dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name})))


def rounding(start, end, eps):
    """How far a point may lie from where it belongs: 8 eps M, where M is the larger of |start| and |end|.

    The step (end - start) / (n - 1) is a difference, off by eps / 2 at most, and a quotient, off by 2.5 eps where a
    device does not round it to the nearest; its product with the number of the point is off by another eps / 2. These
    are relative errors of something no larger than |end - start| <= 2M, together 7 eps M. The sum with start, itself at
    most M, adds eps M / 2, and terms in eps squared are far below what is left.
    """
    return 8 * Fraction(eps) * Fraction(max(abs(start), abs(end)))


@rule("tensors.linspace.evenly-spaced")
@also(*UNRECORDED)
@given(start=quarters(), end=quarters(), steps=st.sampled_from(STEPS), dtype=floating())
@example(start=-1, end=1, steps=2000, dtype=Expression("torch.float32"))
@example(start=-1, end=1, steps=100, dtype=Expression("torch.float32"))
@example(start=0, end=1, steps=100, dtype=Expression("torch.float32"))
def test_the_points_are_evenly_spaced_from_the_start_to_the_end(device, start, end, steps, dtype):
    x = torch.linspace(start, end, steps, dtype=dtype, device=device)
    assert x.shape == (steps,)
    step = (Fraction(end) - Fraction(start)) / (steps - 1)
    bound = rounding(start, end, torch.finfo(dtype).eps)
    for number, point in enumerate(numbers(x)):
        assert abs(Fraction(point) - (Fraction(start) + number * step)) <= bound


@rule("tensors.linspace.ends")
@also(*UNRECORDED)
@given(start=quarters(), end=quarters(), steps=st.sampled_from((0, 1, *STEPS)), dtype=floating())
@example(start=-1, end=1, steps=2000, dtype=Expression("torch.float32"))
@example(start=-1, end=1, steps=100, dtype=Expression("torch.float32"))
@example(start=0, end=1, steps=100, dtype=Expression("torch.float32"))
def test_both_ends_are_among_the_points_exactly(device, start, end, steps, dtype):
    x = torch.linspace(start, end, steps, dtype=dtype, device=device)
    points = numbers(x)
    assert len(points) == steps
    if steps > 0:
        assert points[0] == start
    if steps > 1:
        assert points[-1] == end
