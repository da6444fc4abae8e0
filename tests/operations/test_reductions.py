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


@st.composite
def reduced(draw, dtypes, min_side=0, sizes=None):
    """A tensor, the dimensions to reduce, and whether they are kept; None means all dimensions."""
    x = draw(tensors(shapes(min_side=min_side) if sizes is None else shapes(min_side=min_side) | sizes, dtypes))
    dims = len(x.facts["shape"])
    some = [None, *((dim,) for dim in range(-dims, dims)), (0, -1), (-1, 0)] if dims > 1 else [None, *[(0,)] * dims]
    return x, draw(st.sampled_from(some)), draw(st.booleans())


def rounding(x, terms):
    """How far a mean of n elements of magnitude up to 4 may be off.

    Each of n additions rounds a sum of at most 4 n by eps, and the division takes this to 4 n eps. The division itself
    adds 4 eps, whether the sum is divided or every element before it.
    """
    return (terms + 2) * torch.finfo(x.dtype).eps * 4


@rule("operations.reductions.sum")
@given(case=reduced(NUMERIC, sizes=FIVE_DIMS))
@example(case=(FOUR, None, False))
@example(case=(FOUR, (0,), False))
@example(case=(FOUR, (1,), False))
@example(case=(FIFTY, None, False))
@example(case=(FOUR, (-1, 0), False))
@example(case=(Expression("torch.ones(1, 2, 1, 1, 1, device=device)"), (-3,), False))
@example(case=(Expression("torch.tensor([2.0, 4.0, 6.0], device=device)"), None, False))
@example(case=(Expression("torch.tensor([[1.0, 2.0]], device=device).expand(3, 2)"), None, False))
def test_sum_adds_up_what_it_reduces(device, case):
    x, dims, keep = case
    if dims is None:
        assert x.sum().shape == torch.sum(x).shape == ()
        assert x.sum().item() == torch.sum(x).item() == sum(numbers(x))
    else:
        expected = array(x).sum(dims, keepdims=keep)
        assert tuple(x.sum(dims, keepdim=keep).shape) == expected.shape
        assert x.sum(dims, keepdim=keep).tolist() == torch.sum(x, dims, keepdim=keep).tolist() == expected.tolist()


@rule("operations.reductions.mean")
@given(case=reduced(st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX), min_side=1))
@example(case=(FOUR, None, False))
@example(case=(Expression("torch.arange(8.0).to(device).reshape(2, 4)[:, ::2]"), None, False))
def test_mean_is_the_sum_divided_by_the_number_of_elements(device, case):
    x, dims, keep = case
    mean = x.mean() if dims is None else x.mean(dims, keepdim=keep)
    expected = np.mean(array(x), dims, keepdims=keep and dims is not None)
    assert tuple(mean.shape) == expected.shape
    assert mean.dtype == x.dtype
    assert (abs(array(mean) - expected) <= rounding(x, x.numel() // mean.numel())).all()


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
    case=reduced(st.sampled_from(["torch.float32", "torch.float64"]), min_side=2).filter(
        lambda case: case[0].facts["shape"]
    ),
    unbiased=st.booleans(),
)
@example(case=(FOUR, (-2,), False), unbiased=True)
def test_std_along_a_dimension_divides_by_one_less_than_its_size(device, case, unbiased):
    x, dims, keep = case
    std = x.std(dims, unbiased=unbiased, keepdim=keep)
    variance = np.var(array(x), dims, ddof=int(unbiased), keepdims=keep)
    assert tuple(std.shape) == variance.shape
    count = x.numel() // max(std.numel(), 1)
    assert (abs(array(std) ** 2 - variance) <= 2 * (count + 16) * torch.finfo(x.dtype).eps * 64).all()


@rule("operations.reductions.sample-deviation")
@given(x=tensors(shapes(min_side=1, max_side=1), st.sampled_from(["torch.float32", "torch.float64"])))
def test_one_element_has_no_sample_deviation(device, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert x.std().isnan().item()
    assert x.std(unbiased=False).item() == 0


@rule("operations.reductions.max")
@given(case=reduced(st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL), min_side=1, sizes=SIZES))
@example(case=(FOUR, None, False))
@example(case=(Expression("torch.tensor([0, 1, 2, 3, 4], device=device)"), None, False))
def test_max_is_the_largest_element_and_along_a_dimension_says_where_it_is(device, case):
    x, dims, keep = case
    if dims is None or len(dims) > 1:
        assert x.max().shape == torch.max(x).shape == ()
        assert x.max().item() == torch.max(x).item() == max(numbers(x))
    else:
        values, indices = x.max(*dims, keepdim=keep)
        assert values.tolist() == array(x).max(*dims, keepdims=keep).tolist()
        places = indices if keep else indices.unsqueeze(*dims)
        assert x.gather(*dims, places).tolist() == array(x).max(*dims, keepdims=True).tolist()
