"""spec/tensors/linspace.md"""

import itertools

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


def every_floating():
    """Two floating-point dtypes, one after the other in a round of all: a device may lack some."""
    every = [Expression(name, dtypes=frozenset({name})) for name in dtypes.FLOATING]
    return st.sampled_from([(every * 2)[first : first + 2] for first in range(len(every))])


UNIT = 2**1100
"""Every number of a float64 is a whole number of 1 / UNIT: so a difference of two is exact and quick."""


def units(number):
    over, under = number.as_integer_ratio()
    return over * (UNIT // under)


def strayed(points, start, end):
    """How far each point lies from where it belongs, times n - 1, in units."""
    first, last, gaps = units(start), units(end), len(points) - 1
    return [abs(units(point) * gaps - first * gaps - k * (last - first)) for k, point in enumerate(points)]


def allowed(start, end, steps, eps):
    """How far a point may lie from where it belongs, times n - 1, in units.

    That is 8 eps M, where M is the larger of |start| and |end|.

    The step (end - start) / (n - 1) is a difference, off by eps / 2 at most, and a quotient, off by 2.5 eps where a
    device does not round it to the nearest; its product with the number of the point is off by another eps / 2. These
    are relative errors of something no larger than |end - start| <= 2M, together 7 eps M. The sum with start, itself at
    most M, adds eps M / 2, and terms in eps squared are far below what is left.
    """
    return 8 * units(eps * max(abs(start), abs(end))) * (steps - 1)


@rule("tensors.linspace.evenly-spaced")
@also(*UNRECORDED)
@given(start=quarters(), end=quarters(), steps=st.sampled_from(STEPS), named=every_floating(), scale=scales())
@example(start=-1, end=1, steps=2000, named=[Expression("torch.float32")], scale=1)
@example(start=-1, end=1, steps=100, named=[Expression("torch.float32")], scale=1)
@example(start=0, end=1, steps=100, named=[Expression("torch.float32")], scale=1)
@example(start=-3, end=2.5, steps=333, named=[Expression("torch.float32")], scale=1)
@example(start=0, end=1, steps=777, named=[Expression("torch.float32"), Expression("torch.float64")], scale=1)
def test_the_points_are_evenly_spaced_from_the_start_to_the_end(device, start, end, steps, named, scale):
    start, end = scale * start, scale * end
    for dtype, make in zip(named, itertools.cycle(EITHER_WAY)):
        for first, last, several in ((start, end, steps), (end, start, steps), (start, end, 2), (start, end, steps)):
            x = make(first, last, several, dtype=dtype, device=device)
            assert x.shape == (several,)
            assert max(strayed(numbers(x), first, last)) <= allowed(first, last, several, torch.finfo(dtype).eps)
            x.zero_()


@rule("tensors.linspace.ends")
@also(*UNRECORDED)
@given(start=quarters(), end=quarters(), steps=st.sampled_from((0, 1, *STEPS)), named=every_floating(), scale=scales())
@example(start=-1, end=1, steps=2000, named=[Expression("torch.float32")], scale=1)
@example(start=-1, end=1, steps=100, named=[Expression("torch.float32")], scale=1)
@example(start=0, end=1, steps=100, named=[Expression("torch.float32")], scale=1)
@example(start=2, end=-1, steps=1, named=[Expression("torch.float32")], scale=1)
def test_both_ends_are_among_the_points_exactly(device, start, end, steps, named, scale):
    start, end = scale * start, scale * end
    for dtype, make in itertools.product(named, EITHER_WAY):
        for first, last, several in ((start, end, steps), (end, start, steps), (start, end, 1), (start, end, steps)):
            x = make(first, last, several, dtype=dtype, device=device)
            assert x.shape == (several,)
            if several > 0:
                assert x[0].item() == first
            if several > 1:
                assert x[-1].item() == last
            x.zero_()
