"""spec/operations/reductions.md"""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers, state

REAL = st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL)
NUMERIC = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL)
FIVE_DIMS = st.sampled_from([(1, 2, 1, 1, 1), (2, 1, 1, 2, 1)])
FIFTY = Expression("torch.full((50,), 3, dtype=torch.int8, device=device)", dtypes=frozenset({"torch.int8"}))
MANY_BITS = Expression(f"torch.tensor([{2**54 + 1}, 0, 2, -{2**25 + 1}], device=device)")
BYTES = Expression("torch.tensor([[200, 3], [255, 128]], dtype=torch.uint8, device=device)")
FOUR = Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)")
SIZES = st.sampled_from([(33,), (2, 17), (13, 5)])
"""One above what a vector register holds, and matrices whose rows end within one."""

FACTORS = {
    "torch.float64": 2**30 + 1,
    "torch.complex128": 2**30 + 1,
    "torch.float32": 2**12 + 1,
    "torch.complex64": 2**12 + 1,
    "torch.int64": 2**54 + 1,
    "torch.int32": 2**29 + 1,
    "torch.int16": 2**13 + 1,
    "torch.int8": 42,
    "torch.uint8": 84,
}
"""What makes of the numbers up to 3 such as need this dtype and no narrower one. Sums of 65 of them are exact all the
same; of integers they are taken in int64."""

FAR = {
    "torch.float64": 2**30,
    "torch.float32": 2**12,
    "torch.float16": 2**10,
    "torch.int64": 2**60,
    "torch.int32": 2**26,
    "torch.int16": 2**12,
    "torch.uint8": 126,
}
"""Where the neighbours of a number are still numbers of this dtype, but not all are of the next narrower one, or of the
one with a sign."""

FLOATS = st.sampled_from(["torch.float32", "torch.float64", "torch.float16"])
FEW = st.sampled_from([(2,), (5,), (8,), (2, 2), (2, 3), (1, 2, 3)])
NEARLY_ALIKE = Expression(f"torch.tensor([[{2.0**14}, {2.0**14 + 1}], [{2.0**14 + 3}, {2.0**14 + 2}]], device=device)")
ALL_ALIKE = {"torch.float32": 2**14, "torch.float64": 2**40}
"""Numbers whose squares do not tell them from their neighbours."""


@st.composite
def wide(draw, of_shape, of_dtype):
    """A tensor of small numbers, or of such as its dtype has just room for."""
    dtype = draw(of_dtype)
    factor = draw(st.sampled_from((1, FACTORS.get(dtype, 1))))
    return tensor_of(draw, draw(of_shape), dtype, each=lambda value: factor * value)


@st.composite
def far(draw, of_shape, of_dtype, away=FAR):
    """A tensor of neighbouring numbers, near 0 or far from it."""
    dtype = draw(of_dtype)
    distance = draw(st.sampled_from((0, away.get(dtype, 0))))
    return tensor_of(draw, draw(of_shape), dtype, each=lambda value: distance + value)


UNSUMMABLE = (math.inf, -math.inf, math.nan)
"""Numbers that no finite one added to them changes."""


def ways(ndim):
    """(dims, keepdim) for all elements, for each dimension from either end, and for two of them in either order."""
    some = [(dim,) for dim in range(-ndim, ndim)] + ([(0, -1), (-1, 0)] if ndim > 1 else [])
    return [(None, False)] + [(dims, keep) for dims in some for keep in (False, True)]


def rounding(x, terms, largest=4):
    """How far a mean of n elements of magnitude up to `largest`, M, may be off.

    Each of n additions rounds a sum of at most M n by eps, and the division takes this to M n eps. The division itself
    adds M eps, whether the sum is divided or every element before it; so does bringing each element into the dtype.
    """
    return (terms + 3) * torch.finfo(x.dtype).eps * largest


@rule("operations.reductions.sum")
@also(*UNRECORDED, AS_RESULTS)
@given(x=wide(shapes() | SIZES | FIVE_DIMS, NUMERIC))
@example(x=FOUR)
@example(x=FIFTY)
@example(x=BYTES)
@example(x=MANY_BITS)
@example(x=Expression("torch.ones(1, 2, 1, 1, 1, device=device)"))
@example(x=Expression("torch.tensor([[1.0, 2.0]], device=device).expand(3, 2)"))
def test_sum_adds_up_what_it_reduces(device, x):
    before = state(x)
    zeros = torch.zeros_like(x)
    assert x.sum().shape == torch.sum(x).shape == ()
    assert x.sum().item() == torch.sum(x).item() == sum(numbers(x))
    for dims, keep in ways(x.ndim):
        expected = array(x).sum(dims, keepdims=keep)
        assert tuple(x.sum(dims, keepdim=keep).shape) == expected.shape, (dims, keep)
        assert x.sum(dims, keepdim=keep).tolist() == torch.sum(x, dims, keepdim=keep).tolist() == expected.tolist()
    for dim in range(-x.ndim, x.ndim):
        expected = array(x).sum(dim)
        assert x.sum(dim).tolist() == torch.sum(x, dim=dim).tolist() == expected.tolist(), dim
        assert x.sum(dim, True).tolist() == array(x).sum(dim, keepdims=True).tolist(), dim
    if x.ndim > 1:
        every = list(range(x.ndim))
        assert x.sum(every).tolist() == array(x).sum().tolist()
        assert x.sum(every[1:]).tolist() == array(x).sum(tuple(every[1:])).tolist()
        assert torch.sum(x, dim=every[:-1]).tolist() == x.sum(axis=every[:-1]).tolist()
        assert torch.sum(x, dim=every[:-1]).tolist() == array(x).sum(tuple(every[:-1])).tolist()
    # Of other numbers in the same shape, it is another.
    assert zeros.sum().item() == torch.sum(zeros).item() == 0
    assert all(not any(numbers(zeros.sum(dim))) for dim in range(-x.ndim, x.ndim))
    assert state(x) == before


@rule("operations.reductions.sum")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_side=1) | SIZES, dtypes.floating()))
def test_a_sum_with_a_number_that_is_not_finite_is_not_finite(device, x):
    for number in UNSUMMABLE:
        y = x.detach().clone(memory_format=torch.contiguous_format)
        y.view(-1)[-1] = number
        assert str(y.sum().item()) == str(number)
        for dim in range(-x.ndim, x.ndim):
            assert str(y.sum(dim).tolist()) == str(array(y).sum(dim).tolist()), (dim, number)
        if y.numel() > 1:
            y.view(-1)[0] = -number
            assert y.sum().isnan().item()


@rule("operations.reductions.mean")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_side=1) | SIZES, st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX)))
@example(x=FOUR)
@example(x=Expression("torch.arange(8.0).to(device).reshape(2, 4)[:, ::2]"))
def test_mean_is_the_sum_divided_by_the_number_of_elements(device, x):
    before = state(x)
    fours = torch.full_like(x, 4)
    assert x.mean().shape == ()
    assert abs(x.mean().item() - array(x).mean()) <= rounding(x, x.numel())
    for dims, keep in ways(x.ndim):
        mean = x.mean(dims, keepdim=keep)
        expected = np.mean(array(x), dims, keepdims=keep)
        assert tuple(mean.shape) == expected.shape, (dims, keep)
        assert mean.dtype == x.dtype
        assert (abs(array(mean) - expected) <= rounding(x, x.numel() // mean.numel())).all(), (dims, keep)
    assert torch.mean(x).item() == x.mean().item()
    for dim in range(-x.ndim, x.ndim):
        mean = torch.mean(x, dim)
        bound = rounding(x, x.shape[dim])
        assert (abs(array(mean) - np.mean(array(x), dim)) <= bound).all(), dim
        assert (abs(array(x.mean(dim, True)) - np.mean(array(x), dim, keepdims=True)) <= bound).all(), dim
        assert (abs(array(fours.mean(dim)) - 4) <= bound).all(), dim
    # Of other numbers in the same shape, it is another.
    assert abs(fours.mean().item() - 4) <= rounding(x, x.numel())
    assert state(x) == before


@rule("operations.reductions.integer-mean")
@also(*UNRECORDED)
@given(x=tensors(dtypes=dtypes.integral()))
@example(x=Expression("torch.tensor([[1, 2], [3, 4]], device=device)"))
def test_the_mean_of_integers_is_refused(device, x):
    before = state(x)
    means = [lambda: x.mean(), lambda: torch.mean(x)]
    means += [lambda dims=dims, keep=keep: x.mean(dims, keepdim=keep) for dims, keep in ways(x.ndim)]
    for mean in means:
        with pytest.raises(RuntimeError, match="floating point") as refusal:
            mean()
        assert refusal.type in (RuntimeError, NotImplementedError)  # the latter from torch 2.15 on
        assert state(x) == before


@rule("operations.reductions.mean-dtype")
@also(*UNRECORDED)
@given(x=wide(shapes(min_side=1) | SIZES, dtypes.integral()))
@example(x=Expression("torch.tensor([[1, 2], [3, 4]], device=device)"))
@example(x=BYTES)
@example(x=Expression("torch.tensor([130, 250, 7], dtype=torch.uint8, device=device)"))
@example(x=Expression("torch.tensor([[129]], dtype=torch.uint8, device=device)"))
def test_the_mean_of_integers_is_taken_in_the_dtype_that_is_asked_for(device, x):
    largest = max(map(abs, numbers(x)))
    for mean in (x.mean(dtype=torch.float32), torch.mean(x, dtype=torch.float32)):
        assert mean.dtype == torch.float32
        assert abs(mean.item() - sum(numbers(x)) / x.numel()) <= rounding(mean, x.numel(), largest)
    for dims, keep in ways(x.ndim):
        mean = x.mean(dims, keepdim=keep, dtype=torch.float32)
        bound = rounding(mean, x.numel() // mean.numel(), largest)
        assert (abs(array(mean) - np.mean(array(x), dims, keepdims=keep)) <= bound).all(), (dims, keep)


def uncertainty(x, terms):
    """How far the variance of `terms` elements may be off, the sum of squared deviations divided by n or n - 1.

    A deviation is at most 8, its square 64. However the sum is found, from deviations, from running moments or, of
    elements up to 4, from the squares, each of n additions rounds at most 64 n by eps; as n / (n - 1) <= 2, the
    variance is off by 2 n 64 eps. The mean, the division and the root round a few times more, each by eps of at most
    2 * 64: the 16 beside n. Of elements up to M, the mean is off by e = (n + 2) M eps, as `rounding` says, and so is
    every deviation; its square is then off by 16 e + e^2, and the variance by twice that.
    """
    eps = torch.finfo(x.dtype).eps
    mean = (terms + 2) * abs(array(x)).max() * eps
    return 2 * (terms + 16) * eps * 64 + 2 * (16 * mean + mean**2)


@rule("operations.reductions.sample-deviation")
@also(*UNRECORDED, AS_RESULTS)
@given(
    x=(far(FEW, FLOATS, ALL_ALIKE) | tensors(shapes(min_dims=1, min_side=1) | SIZES, FLOATS)).filter(
        lambda x: x.facts["shape"] not in [(1,), (1, 1), (1, 1, 1)]
    )
)
@example(x=FOUR)
@example(x=NEARLY_ALIKE)
def test_std_divides_by_one_less_than_the_number_of_elements(device, x):
    bound = uncertainty(x, x.numel())
    for std in (x.std(), torch.std(x), x.std(unbiased=True), x.flatten().std(0)):
        assert std.shape == ()
        assert abs(std.item() ** 2 - np.var(array(x), ddof=1)) <= bound
    for std in (x.std(unbiased=False), torch.std(x, unbiased=False)):
        assert abs(std.item() ** 2 - np.var(array(x))) <= bound


@rule("operations.reductions.sample-deviation")
@also(*UNRECORDED, AS_RESULTS)
@given(
    x=far(shapes(min_dims=1, min_side=2), FLOATS, ALL_ALIKE) | tensors(shapes(min_dims=1, min_side=2), FLOATS),
)
@example(x=FOUR)
@example(x=NEARLY_ALIKE)
def test_std_along_a_dimension_divides_by_one_less_than_its_size(device, x):
    for (dims, keep), unbiased in itertools.product(ways(x.ndim), (True, False)):
        std = x.std(dims, unbiased=unbiased, keepdim=keep)
        variance = np.var(array(x), dims, ddof=int(unbiased), keepdims=keep)
        assert tuple(std.shape) == variance.shape, (dims, keep)
        assert (abs(array(std) ** 2 - variance) <= uncertainty(x, x.numel() // std.numel())).all(), (dims, keep)
    for dim in range(-x.ndim, x.ndim):
        for std in (x.std(dim), torch.std(x, dim), torch.std(x, dim, unbiased=True)):
            variance = np.var(array(x), dim, ddof=1)
            assert (abs(array(std) ** 2 - variance) <= uncertainty(x, x.shape[dim])).all(), dim


@rule("operations.reductions.sample-deviation")
@also(*UNRECORDED, AS_RESULTS)
@given(x=far(shapes(min_side=1, max_side=1), FLOATS, ALL_ALIKE))
def test_one_element_has_no_sample_deviation(device, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for std in (x.std(), torch.std(x), x.std(unbiased=True), *(x.std(dim) for dim in range(-x.ndim, x.ndim))):
            assert std.isnan().item()
    for std in (x.std(unbiased=False), *(x.std(dim, unbiased=False) for dim in range(-x.ndim, x.ndim))):
        assert std.item() == 0


@rule("operations.reductions.sample-deviation")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(st.sampled_from([(1, 3), (2, 1), (3, 1, 2), (1, 5), (1, 17), (2, 2, 1)]), FLOATS))
def test_along_a_dimension_of_one_there_is_no_sample_deviation(device, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dim in (dim for dim in range(-x.ndim, x.ndim) if x.shape[dim] == 1):
            assert x.std(dim).isnan().all().item(), dim
            assert x.std(dim, unbiased=False).count_nonzero().item() == 0, dim


@rule("operations.reductions.max")
@also(*UNRECORDED, AS_RESULTS)
@given(x=far(shapes(min_side=1) | SIZES, REAL))
@example(x=BYTES)
@example(x=FOUR)
@example(x=Expression("torch.tensor([[-1, 3], [2, 5]], device=device)"))
@example(x=Expression("torch.tensor([0, 1, 2, 3, 4], device=device)"))
@example(x=Expression("torch.arange(33.0).to(device)"))
def test_max_is_the_largest_element(device, x):
    assert x.max().shape == torch.max(x).shape == ()
    before = state(x)
    assert x.max().item() == torch.max(x).item() == max(numbers(x))
    assert x.max().dtype == x.dtype
    # Of other numbers in the same shape, it is another.
    zeros = torch.zeros_like(x)
    assert zeros.max().item() == torch.max(zeros).item() == 0
    assert state(x) == before


@rule("operations.reductions.max")
@also(*UNRECORDED, AS_RESULTS)
@given(x=far(shapes(min_dims=1, min_side=1) | SIZES, REAL))
@example(x=BYTES)
@example(x=FOUR)
def test_max_along_a_dimension_says_where_it_is(device, x):
    before = state(x)
    for dim in range(-x.ndim, x.ndim):
        values, indices = x.max(dim)
        kept = torch.max(x, dim, keepdim=True)
        largest = array(x).max(dim, keepdims=True)
        assert torch.max(x, dim).values.tolist() == x.max(dim, True).values.squeeze(dim).tolist() == values.tolist()
        assert values.tolist() == largest.squeeze(dim).tolist(), dim
        assert kept.values.tolist() == largest.tolist(), dim
        assert x.gather(dim, indices.unsqueeze(dim)).tolist() == largest.tolist(), dim
        assert x.gather(dim, kept.indices).tolist() == largest.tolist(), dim
        assert values.dtype == x.dtype, dim
    assert state(x) == before


def ends(dtype):
    """The lowest numbers of a dtype and the greatest, infinite ones among them."""
    if dtype.is_floating_point:
        return -math.inf, torch.finfo(dtype).min, torch.finfo(dtype).max, math.inf
    return (False, True) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)


@rule("operations.reductions.max")
@also(*UNRECORDED)
@given(x=tensors(shapes(min_dims=1, min_side=1) | SIZES, REAL, layouts.WRITABLE))
@example(x=FOUR)
def test_any_number_may_be_the_largest(device, x):
    for number in ends(x.dtype):
        x.fill_(number)
        assert x.max().item() == torch.max(x).item() == number
        for dim in range(-x.ndim, x.ndim):
            assert set(numbers(x.max(dim).values)) == {number}, dim
    for place in np.ndindex(tuple(x.shape)):
        x.fill_(ends(x.dtype)[0])
        x[place] = ends(x.dtype)[1]
        assert x.max().item() == ends(x.dtype)[1], place
        for dim in range(x.ndim):
            values, indices = x.max(dim)
            assert numbers(values).count(ends(x.dtype)[1]) == 1, (place, dim)
            assert indices[place[:dim] + place[dim + 1 :]].item() == place[dim], (place, dim)
