"""spec/operations/reductions.md"""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes, tensors
from tests.oracles import array, numbers, state

NUMERIC = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL)
FIVE_DIMS = st.sampled_from([(1, 2, 1, 1, 1), (2, 1, 1, 2, 1)])
FIFTY = Expression("torch.full((50,), 3, dtype=torch.int8, device=device)", dtypes=frozenset({"torch.int8"}))
FOUR = Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)")
SIZES = st.sampled_from([(33,), (2, 17), (13, 5)])
"""One above what a vector register holds, and matrices whose rows end within one."""


def ways(ndim):
    """(dims, keepdim) for all elements, for each dimension from either end, and for two of them in either order."""
    some = [(dim,) for dim in range(-ndim, ndim)] + ([(0, -1), (-1, 0)] if ndim > 1 else [])
    return [(None, False)] + [(dims, keep) for dims in some for keep in (False, True)]


def rounding(x, terms):
    """How far a mean of n elements of magnitude up to 4 may be off.

    Each of n additions rounds a sum of at most 4 n by eps, and the division takes this to 4 n eps. The division itself
    adds 4 eps, whether the sum is divided or every element before it.
    """
    return (terms + 2) * torch.finfo(x.dtype).eps * 4


@rule("operations.reductions.sum")
@given(x=tensors(shapes() | SIZES | FIVE_DIMS, NUMERIC))
@example(x=FOUR)
@example(x=FIFTY)
@example(x=Expression("torch.ones(1, 2, 1, 1, 1, device=device)"))
@example(x=Expression("torch.tensor([[1.0, 2.0]], device=device).expand(3, 2)"))
def test_sum_adds_up_what_it_reduces(device, x):
    assert x.sum().shape == torch.sum(x).shape == ()
    assert x.sum().item() == torch.sum(x).item() == sum(numbers(x))
    for dims, keep in ways(x.ndim):
        expected = array(x).sum(dims, keepdims=keep)
        assert tuple(x.sum(dims, keepdim=keep).shape) == expected.shape, (dims, keep)
        assert x.sum(dims, keepdim=keep).tolist() == torch.sum(x, dims, keepdim=keep).tolist() == expected.tolist()


@rule("operations.reductions.mean")
@given(x=tensors(shapes(min_side=1) | SIZES, st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX)))
@example(x=FOUR)
@example(x=Expression("torch.arange(8.0).to(device).reshape(2, 4)[:, ::2]"))
def test_mean_is_the_sum_divided_by_the_number_of_elements(device, x):
    assert x.mean().shape == ()
    assert abs(x.mean().item() - array(x).mean()) <= rounding(x, x.numel())
    for dims, keep in ways(x.ndim):
        mean = x.mean(dims, keepdim=keep)
        expected = np.mean(array(x), dims, keepdims=keep)
        assert tuple(mean.shape) == expected.shape, (dims, keep)
        assert mean.dtype == x.dtype
        assert (abs(array(mean) - expected) <= rounding(x, x.numel() // mean.numel())).all(), (dims, keep)


@rule("operations.reductions.integer-mean")
@given(x=tensors(dtypes=dtypes.integral()))
@example(x=Expression("torch.tensor([[1, 2], [3, 4]], device=device)"))
def test_the_mean_of_integers_is_refused(device, x):
    before = state(x)
    with pytest.raises(RuntimeError, match="floating point") as refusal:
        x.mean()
    assert refusal.type in (RuntimeError, NotImplementedError)  # the latter from torch 2.15 on
    assert state(x) == before


@rule("operations.reductions.mean-dtype")
@given(x=tensors(shapes(min_side=1), dtypes.integral()))
@example(x=Expression("torch.tensor([[1, 2], [3, 4]], device=device)"))
def test_the_mean_of_integers_is_taken_in_the_dtype_that_is_asked_for(device, x):
    mean = x.mean(dtype=torch.float32)
    assert mean.dtype == torch.float32
    assert abs(mean.item() - sum(numbers(x)) / x.numel()) <= rounding(mean, x.numel())


def deviation(x, freedom):
    """(variance, bound): the sum of squared deviations divided by `freedom`, n or n - 1, for magnitudes up to 4.

    A deviation is at most 8, its square 64. However the sum is found, from deviations, from running moments or from the
    squares, each of n additions rounds at most 64 n by eps; as n / freedom <= 2, the variance is off by 2 n 64 eps.
    The mean, the division and the root round a few times more, each by eps of at most 2 * 64: the 16 beside n.
    """
    values = array(x).reshape(-1)
    variance = float(((values - values.mean()) ** 2).sum() / freedom)
    return variance, 2 * (values.size + 16) * torch.finfo(x.dtype).eps * 64


@rule("operations.reductions.sample-deviation")
@given(
    x=tensors(shapes(min_dims=1, min_side=1) | SIZES, st.sampled_from(["torch.float32", "torch.float64"])).filter(
        lambda x: x.facts["shape"] not in [(1,), (1, 1), (1, 1, 1)]
    )
)
@example(x=FOUR)
def test_std_divides_by_one_less_than_the_number_of_elements(device, x):
    variance, bound = deviation(x, x.numel() - 1)
    for std in (x.std(), torch.std(x), x.std(unbiased=True), x.flatten().std(0)):
        assert std.shape == ()
        assert abs(std.item() ** 2 - variance) <= bound
    variance, bound = deviation(x, x.numel())
    assert abs(x.std(unbiased=False).item() ** 2 - variance) <= bound


@rule("operations.reductions.sample-deviation")
@given(
    x=tensors(shapes(min_dims=1, min_side=2), st.sampled_from(["torch.float32", "torch.float64"])),
    unbiased=st.booleans(),
)
@example(x=FOUR, unbiased=True)
def test_std_along_a_dimension_divides_by_one_less_than_its_size(device, x, unbiased):
    for dims, keep in ways(x.ndim):
        std = x.std(dims, unbiased=unbiased, keepdim=keep)
        variance = np.var(array(x), dims, ddof=int(unbiased), keepdims=keep)
        assert tuple(std.shape) == variance.shape, (dims, keep)
        bound = 2 * (x.numel() // std.numel() + 16) * torch.finfo(x.dtype).eps * 64
        assert (abs(array(std) ** 2 - variance) <= bound).all(), (dims, keep)


@rule("operations.reductions.sample-deviation")
@given(x=tensors(shapes(min_side=1, max_side=1), st.sampled_from(["torch.float32", "torch.float64"])))
def test_one_element_has_no_sample_deviation(device, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert x.std().isnan().item()
    assert x.std(unbiased=False).item() == 0


@rule("operations.reductions.max")
@given(x=tensors(shapes(min_side=1) | SIZES, st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL)))
@example(x=FOUR)
@example(x=Expression("torch.tensor([0, 1, 2, 3, 4], device=device)"))
@example(x=Expression("torch.arange(33.0).to(device)"))
def test_max_is_the_largest_element(device, x):
    assert x.max().shape == torch.max(x).shape == ()
    assert x.max().item() == torch.max(x).item() == max(numbers(x))


@rule("operations.reductions.max")
@given(x=tensors(shapes(min_dims=1, min_side=1) | SIZES, st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL)))
@example(x=FOUR)
def test_max_along_a_dimension_says_where_it_is(device, x):
    for dim in range(-x.ndim, x.ndim):
        values, indices = x.max(dim)
        kept = x.max(dim, keepdim=True)
        largest = array(x).max(dim, keepdims=True)
        assert values.tolist() == largest.squeeze(dim).tolist(), dim
        assert kept.values.tolist() == largest.tolist(), dim
        assert x.gather(dim, indices.unsqueeze(dim)).tolist() == largest.tolist(), dim
        assert x.gather(dim, kept.indices).tolist() == largest.tolist(), dim
