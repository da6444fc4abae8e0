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


EITHER_WAY = (
    lambda start, end, steps, **asked: torch.linspace(start, end, steps, **asked),
    lambda start, end, steps, **asked: torch.linspace(steps=steps, end=end, start=start, **asked),
    lambda start, end, steps, **asked: torch.linspace(start, end, steps, requires_grad=True, **asked).detach(),
)


def quarters():
    """Numbers that are exact in every dtype."""
    return st.integers(-32, 32).map(lambda quarter: quarter / 4)


def scales():
    """Powers of two, by which such numbers become small, or as large as half precision allows."""
    return st.sampled_from((1, 1, 2.0**-10, 2.0**11))


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
@given(start=quarters(), end=quarters(), steps=st.sampled_from(STEPS), dtype=floating(), scale=scales())
@example(start=-1, end=1, steps=2000, dtype=Expression("torch.float32"), scale=1)
@example(start=-1, end=1, steps=100, dtype=Expression("torch.float32"), scale=1)
@example(start=0, end=1, steps=100, dtype=Expression("torch.float32"), scale=1)
def test_the_points_are_evenly_spaced_from_the_start_to_the_end(device, start, end, steps, dtype, scale):
    start, end = scale * start, scale * end
    step = (Fraction(end) - Fraction(start)) / (steps - 1)
    bound = rounding(start, end, torch.finfo(dtype).eps)
    for make in EITHER_WAY:
        x = make(start, end, steps, dtype=dtype, device=device)
        assert x.shape == (steps,)
        for number, point in enumerate(numbers(x)):
            assert abs(Fraction(point) - (Fraction(start) + number * step)) <= bound
        x.zero_()


@rule("tensors.linspace.ends")
@also(*UNRECORDED)
@given(start=quarters(), end=quarters(), steps=st.sampled_from((0, 1, *STEPS)), dtype=floating(), scale=scales())
@example(start=-1, end=1, steps=2000, dtype=Expression("torch.float32"), scale=1)
@example(start=-1, end=1, steps=100, dtype=Expression("torch.float32"), scale=1)
@example(start=0, end=1, steps=100, dtype=Expression("torch.float32"), scale=1)
@example(start=2, end=-1, steps=1, dtype=Expression("torch.float32"), scale=1)
def test_both_ends_are_among_the_points_exactly(device, start, end, steps, dtype, scale):
    for make in EITHER_WAY:
        x = make(scale * start, scale * end, steps, dtype=dtype, device=device)
        points = numbers(x)
        assert len(points) == steps
        if steps > 0:
            assert points[0] == scale * start
        if steps > 1:
            assert points[-1] == scale * end
        x.zero_()
