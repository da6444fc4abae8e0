"""spec/indexing/views.md"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, shapes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.indices import backward, basic, indexed, out_of_range
from tests.oracles import array, numbers, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL)
NUMERIC = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:-1])
CUBE = Expression("torch.arange(8.0).to(device).reshape(2, 2, 2)")
PICTURE = Expression(
    "torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], device=device).contiguous(memory_format=torch.channels_last)"
)
BYTES = Expression("torch.ones(16, dtype=torch.uint8, device=device)", dtypes=frozenset({"torch.uint8"}))
FLAGS = Expression("torch.tensor([False] * 9, device=device)")
BELOW = Expression("torch.arange(6.0).to(device).reshape(3, 2)[1:]")
FIVE_DIMENSIONS = Expression("torch.arange(32.0).to(device).reshape(2, 2, 2, 2, 2)")
FAR_INTEGERS = Expression("torch.tensor([[2**60 + 1, -2**60 - 1], [2**53 + 1, 2**63 - 1]], device=device)")
FAR_BYTES = Expression(
    "torch.tensor([[255, 254], [128, 127]], dtype=torch.uint8, device=device)", dtypes=frozenset({"torch.uint8"})
)
IN_DOUBLE = Expression(
    "torch.tensor([[1 + 2**-40, 2**40 + 1], [math.inf, -math.inf]], dtype=torch.float64, device=device)",
    dtypes=frozenset({"torch.float64"}),
)
CONJUGATED = Expression(
    "torch.tensor([[1 + 2j, 3 - 1j], [2 + 1j, 5 + 3j]], dtype=torch.complex64, device=device).conj()",
    dtypes=frozenset({"torch.complex64"}),
)
NEGATED = Expression(f"{CONJUGATED.source}.imag", dtypes=CONJUGATED.dtypes)
SQUARE = Expression("torch.arange(16.0).to(device).reshape(4, 4)")


def behind_integers(random, shape):
    """An integer past either end of one dimension or one index too many, beside integers that are in range."""
    if 0 in shape:
        return out_of_range(random, shape)
    parts = [str(random.randrange(-size, size)) for size in shape]
    bad = random.randint(0, len(shape))
    if bad == len(shape):
        return [*parts, random.choice(["0", "-1", ":"])]
    parts[bad] = str(random.choice([shape[bad], shape[bad] + 2, -shape[bad] - 1, -shape[bad] - 2]))
    if random.random() < 0.3:
        return [*parts[:bad], "...", *parts[bad:]]
    return parts[: random.randint(bad + 1, len(shape))]


@rule("indexing.views.as-numpy")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=indexed(basic, dtypes=DTYPES, min_dims=0))
@example(pair=(SQUARE, Expression("np.s_[0]")))
@example(pair=(SQUARE, Expression("np.s_[:, 1]")))
@example(pair=(SQUARE, Expression("np.s_[1:3, 1:3]")))
@example(pair=(SQUARE, Expression("np.s_[:, 1, None]")))
@example(pair=(CUBE, Expression("np.s_[..., 1]")))
@example(pair=(PICTURE, Expression("np.s_[:, 1]")))
def test_a_basic_index_picks_the_elements_that_numpy_picks(device, pair):
    x, index = pair
    expected = np.asarray(array(x)[index])
    assert tuple(x[index].shape) == expected.shape
    assert x[index].dtype == x.dtype
    assert x[index].tolist() == expected.tolist()


def of_every_kind(x):
    """A basic index of each kind that a tensor of this shape has."""
    every = [..., None, (..., None)]
    if x.ndim and x.numel():
        every += [
            0,
            -1,
            (..., 0),
            (..., -1),
            slice(1, None),
            slice(None, -1),
            (..., slice(None, None, 2)),
            (0,) * x.ndim,
        ]
    if x.ndim > 1 and x.numel():
        every += [(0, ..., -1), (slice(None), 0), (slice(None), None, -1), (slice(1), ..., slice(1, None))]
    return every


@rule("indexing.views.as-numpy")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(dtypes=DTYPES))
@example(x=PICTURE)
@example(x=FIVE_DIMENSIONS)
@example(x=FAR_INTEGERS)
@example(x=FAR_BYTES)
@example(x=IN_DOUBLE)
@example(x=CONJUGATED)
@example(x=NEGATED)
def test_an_index_of_every_kind_picks_what_numpy_picks(device, x):
    for index in of_every_kind(x):
        expected = np.asarray(array(x)[index])
        for _ in range(2):
            assert tuple(x[index].shape) == expected.shape, index
            assert x[index].dtype == x.dtype, index
            assert x[index].tolist() == expected.tolist(), index
        viewed = np.asarray(expected[None][..., None, :1])
        assert x[index][None][..., None, :1].tolist() == viewed.tolist(), index


@rule("indexing.views.as-numpy")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_dims=1) | tails(), DTYPES), step=st.integers(1, 3))
@example(x=SQUARE, step=1)
def test_a_slice_past_either_end_goes_as_far_as_the_dimension(device, x, step):
    values = array(x)
    for size, before in ((x.shape[0], ()), (x.shape[-1], (...,))):
        bounds = (None, -size - 2, -size - 1, -size, -1, 0, 1, size - 1, size, size + 2)
        for start, stop in itertools.product(bounds, bounds):
            index = (*before, slice(start, stop, step))
            assert tuple(x[index].shape) == values[index].shape, index
            assert x[index].tolist() == values[index].tolist(), index


def as_a_result(x):
    """The same elements as a result that requires grad, if their dtype can."""
    return x.detach().clone().requires_grad_(x.is_floating_point() or x.is_complex()).clone()


def turned(x):
    """The same elements, the first dimension the fastest in memory."""
    return x.transpose(0, -1).clone(memory_format=torch.contiguous_format).transpose(0, -1) if x.ndim > 1 else x


@rule("indexing.views.same-memory")
@also(*UNRECORDED)
@given(pair=indexed(basic, dtypes=NUMERIC, among=layouts.WRITABLE, min_dims=0))
@example(pair=(SQUARE, Expression("np.s_[0]")))
@example(pair=(SQUARE, Expression("np.s_[1:3, 1:3]")))
@example(pair=(BYTES, Expression("np.s_[1:]")))
@example(pair=(BELOW, Expression("np.s_[0]")))
def test_what_is_written_to_either_is_read_from_the_other(device, pair):
    drawn, index = pair
    for x in (drawn, as_a_result(drawn), turned(drawn)):
        expected = array(x)
        expected[index] = 7
        y = x[index]
        y.fill_(7)
        assert array(x).tolist() == expected.tolist()
        x.sub_(2)
        assert numbers(y) == [5] * y.numel()
        y.view_as(y).fill_(3)
        assert numbers(x[index]) == [3] * y.numel()


@rule("indexing.views.same-memory")
@also(*UNRECORDED)
@given(x=tensors(dtypes=NUMERIC, among=layouts.WRITABLE))
@example(x=PICTURE)
@example(x=FIVE_DIMENSIONS)
def test_an_index_of_every_kind_gives_a_view(device, x):
    for memory in (x, turned(as_a_result(x))):
        for index in of_every_kind(memory):
            expected = array(memory)
            expected[index] = 7
            y = memory[index]
            y.fill_(7)
            assert array(memory).tolist() == expected.tolist(), index
            memory.sub_(2)
            assert numbers(y) == [5] * y.numel(), index
            memory.fill_(1)


WRITES = {
    "fill_": lambda y: y.fill_(1),
    "copy_": lambda y: y.copy_(torch.ones_like(y)),
    "[...] =": lambda y: y.__setitem__(..., 1),
    "[-1] =": lambda y: [y.__setitem__(place, 1) for place in range(-len(y), 0)],
}
"""Ways to make all elements of a vector 1."""


@rule("indexing.views.same-memory")
@also(*UNRECORDED)
@given(x=tensors(st.sampled_from([(5,), (9,), (17,)]), DTYPES, layouts.WRITABLE))
@example(x=FLAGS)
@example(x=BYTES)
def test_a_write_to_a_slice_reaches_from_its_first_element_to_its_last(device, x):
    n = len(x)
    for start, stop in [(first, end) for first in range(n) for end in (first + 1, first + 3, n)]:
        for name, write in WRITES.items():
            x.fill_(0)
            write(x[start:stop])
            assert x.tolist() == [start <= place < stop for place in range(n)], (name, start, stop)
        x[start:stop].zero_()
        assert x.tolist() == [0] * n, (start, stop)


@rule("indexing.views.out-of-range")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=indexed(out_of_range, behind_integers, dtypes=DTYPES, min_dims=0))
@example(pair=(SQUARE, Expression("np.s_[4]")))
@example(pair=(BELOW, Expression("np.s_[2]")))
@example(pair=(SQUARE, Expression("np.s_[0, 4]")))
@example(pair=(SQUARE, Expression("np.s_[3, -5]")))
def test_an_integer_past_the_end_and_an_index_too_many_are_refused(device, pair):
    x, index = pair
    before = state(x)
    with pytest.raises(IndexError) as refusal:
        x[index]
    assert refusal.type is IndexError
    for value in (1, torch.ones((), dtype=x.dtype, device=device)):
        with pytest.raises(IndexError) as refusal:
            x[index] = value
        assert refusal.type is IndexError
    assert state(x) == before


def places_of(dim, ndim, part):
    """Indices that have this part in one of the dimensions."""
    before, behind = [slice(None)] * dim, [slice(None)] * (ndim - dim - 1)
    return (*before, part), (..., part, *behind), (None, *before, part, *behind), (*before, part, ...)


@rule("indexing.views.out-of-range")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(dtypes=DTYPES), turn=st.integers(0, 3))
@example(x=SQUARE, turn=0)
@example(x=SQUARE, turn=1)
@example(x=FIVE_DIMENSIONS, turn=0)
def test_no_dimension_takes_an_integer_past_either_end(device, x, turn):
    before = state(x)
    for dim, size in enumerate(x.shape):
        pasts = (size, size + 1, 2**31, 2**32, 2**32 + 1, -size - 1, -size - 2, -(2**32), -(2**32) - 1)
        for number, past in enumerate(pasts, start=turn):
            index = places_of(dim, x.ndim, past)[number % 4]
            with pytest.raises(IndexError):
                x[index]
            with pytest.raises(IndexError):
                x[index] = 1 if number % 3 else torch.ones((), dtype=x.dtype, device=device)
    assert state(x) == before


@rule("indexing.views.negative-steps")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_dims=1) | tails(), DTYPES), turn=st.integers(0, 3))
@example(x=SQUARE, turn=0)
@example(x=SQUARE, turn=1)
@example(x=FIVE_DIMENSIONS, turn=0)
def test_no_slice_of_any_dimension_runs_backward(device, x, turn):
    before = state(x)
    for dim, size in enumerate(x.shape):
        runs = [slice(None, None, step) for step in (-1, -2, -size - 1, -(2**40))]
        runs += [slice(size, 0, -1), slice(0, 0, -1), slice(-1, None, -1)]
        for number, run in enumerate(runs, start=turn):
            index = places_of(dim, x.ndim, run)[number % 4]
            with pytest.raises(ValueError, match="step must be greater than zero"):
                x[index]
            with pytest.raises(ValueError, match="step must be greater than zero"):
                x[index] = 1 if number % 3 else x
    assert state(x) == before


@rule("indexing.views.negative-steps")
@also(*UNRECORDED, AS_RESULTS, *BACKWARD)
@given(pair=indexed(backward, dtypes=DTYPES))
@example(pair=(SQUARE, Expression("np.s_[::-1]")))
def test_a_slice_does_not_run_backward(device, pair):
    x, index = pair
    before = state(x)
    with pytest.raises(ValueError, match="step must be greater than zero") as refusal:
        x[index]
    assert refusal.type is ValueError
    with pytest.raises(ValueError, match="step must be greater than zero"):
        x[index] = 1
    assert state(x) == before
