"""spec/random/draws.md"""

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.expression import IT
from tests.oracles import numbers, state

SIZES = (((32768,), 1), ((128, 128), 1), ((8, 17, 31), 1), ((100, 1), 40), ((5, 3), 64), ((7,), 128), ((), 256))
"""A shape, and how many tensors of it are drawn: below some size a device takes another way."""


FRESH = (
    lambda shape, **of: torch.randn(shape, **of),
    lambda shape, **of: torch.rand(shape, **of),
    lambda shape, **of: torch.randn_like(torch.zeros(shape, **of)),
    lambda shape, **of: torch.rand_like(torch.zeros(shape, **of)),
    lambda shape, **of: torch.empty(shape, **of).normal_(),
    lambda shape, **of: torch.empty(shape, **of).uniform_(),
    lambda shape, **of: torch.randn_like(torch.zeros(shape, **of).transpose(1, -1)).transpose(1, -1),
    lambda shape, **of: torch.rand_like(torch.zeros((*shape, 2), **of).movedim(-1, 0))[0],
    lambda shape, **of: torch.zeros((*shape, 2), **of)[..., 0].normal_(),
    lambda shape, **of: torch.zeros((*shape, 2), **of).movedim(-1, 0)[1].uniform_(),
    lambda shape, **of: torch.randn_like(torch.zeros(shape[1:], **of).expand(shape)),
    lambda shape, **of: torch.rand_like(torch.zeros((), **of).expand(shape)),
)
SLICED = (
    (2, 16),
    (3, 17),
    (40, 16),
    (5, 4, 4),
    (2, 1, 4, 4),
    (2, 1, 2, 4, 2),
    (4, 16, 1, 1, 1),
    (2, 1, 1, 3, 3, 2),
    (3, 2, 1, 2, 1, 2, 2),
)
"""Shapes of up to seven dimensions, whose slices along the first have sixteen elements or more."""
BEFORE = (
    lambda **of: None,
    lambda **of: torch.randn(3, **of),
    lambda **of: torch.rand(2, **of),
    lambda **of: torch.randn((), **of),
    lambda **of: torch.randperm(2, device=of["device"]),
    lambda **of: torch.empty(17, **of).normal_(),
)
"""What may be drawn right before a draw."""
SPELT = (
    lambda draw, shape, **of: draw(shape, **of),
    lambda draw, shape, **of: draw(size=shape, **of),
    lambda draw, shape, **of: draw(shape, out=torch.empty(shape, **of)),
    lambda draw, shape, **of: draw(shape, requires_grad=True, **of).detach(),
    lambda draw, shape, **of: draw(shape, generator=None, **of),
    lambda draw, shape, **of: draw(*shape, **of) if shape else draw((), **of),
)
"""How a draw of random numbers in a shape is written."""


def samples(draw, turn, shape, count, **of):
    """So many tensors, drawn together, for every other kind of draw before them, and way to write it."""
    for before, spelt in zip(BEFORE[turn % 2 :: 2], SPELT[turn % 2 :: 2], strict=True):
        drawn = []
        for _ in range(count):
            before(**of)
            drawn.append(spelt(draw, shape, **of))
        yield torch.stack(drawn)


def tensors_of_any_history():
    """A tensor, a leaf, or the result of an operation on one."""
    with_grad = leaves().map(
        lambda leaf: Expression(leaf.source, (f"{IT}.grad = torch.full_like({IT}, 2)",), leaf.dtypes)
    )
    results = leaves(dtypes=dtypes.differentiable()).map(
        lambda leaf: Expression(f"({leaf.source} * 2)", dtypes=leaf.dtypes)
    )
    return tensors(dtypes=dtypes.differentiable()) | leaves() | with_grad | results


def seeds():
    return st.integers(0, 1000)


def shapes_and_counts():
    return st.sampled_from(SIZES)


def floating():
    return dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name})))


def dtypes_of_full_precision():
    return st.sampled_from(("torch.float32", "torch.float64")).map(
        lambda name: Expression(name, dtypes=frozenset({name}))
    )


def quarters(first, last):
    return st.integers(first, last).map(lambda quarter: quarter / 4)


POINTS = np.linspace(-5, 5, 101)


def furthest(sample, distribution):
    """The largest distance, over 101 points, between the share of the sample up to one and the distribution there."""
    shares = np.searchsorted(np.sort(sample), POINTS, side="right") / len(sample)
    return np.abs(shares - distribution).max()


def farthest_by_chance(count):
    """What `furthest` exceeds with a probability below 1e-15.

    Dvoretzky, Kiefer and Wolfowitz, with Massart's constant: for `count` independent draws the distance is above d with
    a probability of at most 2 exp(-2 count d^2), whatever the distribution; at d^2 = 18 / count that is 2 exp(-36) =
    4.7e-16. The arithmetic around a draw moves it by 20 eps at most (a shift by 2 and back, at a deviation of 0.1), in
    float32 2.4e-6, and the distribution, whose density is below 1, by no more: 1e-5 allows for it.
    """
    return math.sqrt(18 / count) + 1e-5


NORMAL = [(1 + math.erf(point / math.sqrt(2))) / 2 for point in POINTS]
UNIFORM = [min(max(point, 0), 1) for point in POINTS]


@rule("random.draws.like")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors_of_any_history())
@example(x=Expression("torch.linspace(-1, 1, 100, device=device).reshape(-1, 1)"))
@example(x=Expression("torch.nn.Parameter(torch.ones(2, 3, device=device))"))
@example(x=Expression("torch.ones(17, device=device)[1:].requires_grad_()"))
def test_what_is_drawn_like_a_tensor_has_its_shape_dtype_and_device_and_nothing_else(device, x):
    stepped, parameter = torch.stack((x, x), -1)[..., 1], torch.nn.Parameter(x.detach())
    for of in (x, x[None].transpose(0, -1), stepped, x.expand(2, *x.shape), parameter):
        before = state(of)
        for draw in (torch.randn_like, torch.rand_like):
            with torch.random.fork_rng(devices=[]):
                drawn = draw(of)
            assert drawn.shape == of.shape
            assert drawn.dtype == x.dtype
            assert drawn.device == x.device
            assert not drawn.requires_grad
            assert drawn.is_leaf
            assert drawn.grad is None
            drawn.zero_()
            assert state(of) == before


@rule("random.draws.normal")
@also(*UNRECORDED)
@given(
    seed=seeds(),
    shape_and_count=shapes_and_counts(),
    dtype=dtypes_of_full_precision(),
    mean=quarters(-8, 8),
    deviation=quarters(1, 8),
)
@example(seed=42, shape_and_count=((2, 4), 256), dtype=Expression("torch.float32"), mean=0, deviation=1)
@example(seed=42, shape_and_count=((100, 1), 40), dtype=Expression("torch.float32"), mean=1, deviation=0.1)
@example(seed=1, shape_and_count=((), 256), dtype=Expression("torch.float64"), mean=0, deviation=1)
def test_randn_scaled_and_shifted_is_normal_with_that_deviation_and_mean(
    device, seed, shape_and_count, dtype, mean, deviation
):
    shape, count = shape_and_count
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with pytest.raises(RuntimeError):
            torch.randn(-1)
        drawn = list(samples(torch.randn, seed, shape, count, dtype=dtype, device=device))
    for numbers_drawn in (*drawn, torch.cat(drawn)):
        sample = (
            (numbers_drawn * deviation + mean).cpu().numpy().astype(np.float64).reshape(len(numbers_drawn), -1) - mean
        ) / deviation
        assert np.isfinite(sample).all()
        for part in (sample.ravel(), sample[:, 0], sample[:, -1]):
            assert furthest(part, NORMAL) <= farthest_by_chance(len(part))


@rule("random.draws.uniform")
@also(*UNRECORDED)
@given(seed=seeds(), shape_and_count=shapes_and_counts(), dtype=dtypes_of_full_precision())
@example(seed=42, shape_and_count=((1000,), 1), dtype=Expression("torch.float32"))
@example(seed=42, shape_and_count=((), 64), dtype=Expression("torch.float64"))
def test_rand_is_uniform_from_zero_to_one(device, seed, shape_and_count, dtype):
    shape, count = shape_and_count
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with pytest.raises(RuntimeError):
            torch.rand(-1)
        drawn = list(samples(torch.rand, seed, shape, count, dtype=dtype, device=device))
    for numbers_drawn in (*drawn, torch.cat(drawn)):
        sample = numbers_drawn.cpu().numpy().astype(np.float64).reshape(len(numbers_drawn), -1)
        for part in (sample.ravel(), sample[:, 0], sample[:, -1]):
            assert furthest(part, UNIFORM) <= farthest_by_chance(len(part))


@rule("random.draws.below-one")
@also(*UNRECORDED)
@given(seed=seeds(), shape_and_count=shapes_and_counts(), dtype=floating())
def test_rand_is_never_below_zero_nor_as_large_as_one(device, seed, shape_and_count, dtype):
    shape, count = shape_and_count
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with pytest.raises(RuntimeError):
            torch.rand(-1)
        for before, spelt in zip(BEFORE, SPELT, strict=True):
            before(dtype=dtype, device=device)
            drawn = torch.stack([spelt(torch.rand, shape, dtype=dtype, device=device) for _ in range(count)])
            assert drawn.min().item() >= 0
            assert drawn.max().item() < 1


@rule("random.draws.fresh")
@also(*UNRECORDED)
@given(shape=st.sampled_from(SLICED), dtype=dtypes_of_full_precision())
def test_neither_two_draws_nor_two_slices_of_a_draw_are_equal(device, shape, dtype):
    for draw in FRESH:
        with torch.random.fork_rng(devices=[]):
            drawn = [draw(shape, dtype=dtype, device=device)]
            with pytest.raises(RuntimeError):
                torch.randn(-1)
            drawn.append(draw(shape, dtype=dtype, device=device))
            with torch.no_grad():
                drawn.append(draw(shape, dtype=dtype, device=device))
            drawing = threading.Thread(target=lambda: drawn.append(draw(shape, dtype=dtype, device=device)))  # noqa: B023
            drawing.start()
            drawing.join()
        slices = [numbers(part) for whole in drawn for part in whole.unbind()]
        assert len(set(map(tuple, slices))) == len(slices)
