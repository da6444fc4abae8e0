"""spec/indexing/views.md"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts
from tests.inputs.indices import backward, basic, indexed, out_of_range
from tests.oracles import array, numbers, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL)
WIDE = st.sampled_from((*dtypes.FLOATING, "torch.int64", "torch.uint8"))
CUBE = Expression("torch.arange(8.0).to(device).reshape(2, 2, 2)")
PICTURE = Expression(
    "torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], device=device).contiguous(memory_format=torch.channels_last)"
)
BYTES = Expression("torch.ones(16, dtype=torch.uint8, device=device)", dtypes=frozenset({"torch.uint8"}))
BELOW = Expression("torch.arange(6.0).to(device).reshape(3, 2)[1:]")
SQUARE = Expression("torch.arange(16.0).to(device).reshape(4, 4)")


@rule("indexing.views.as-numpy")
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


@rule("indexing.views.same-memory")
@given(pair=indexed(basic, dtypes=WIDE, among=layouts.WRITABLE, min_dims=0))
@example(pair=(SQUARE, Expression("np.s_[0]")))
@example(pair=(SQUARE, Expression("np.s_[1:3, 1:3]")))
@example(pair=(BYTES, Expression("np.s_[1:]")))
@example(pair=(BELOW, Expression("np.s_[0]")))
def test_what_is_written_to_either_is_read_from_the_other(device, pair):
    x, index = pair
    expected = array(x)
    expected[index] = 7
    y = x[index]
    y.fill_(7)
    assert array(x).tolist() == expected.tolist()
    x.sub_(2)
    assert numbers(y) == [5] * y.numel()


@rule("indexing.views.out-of-range")
@given(pair=indexed(out_of_range, dtypes=DTYPES, min_dims=0))
def test_an_integer_past_the_end_and_an_index_too_many_are_refused(device, pair):
    x, index = pair
    before = state(x)
    with pytest.raises(IndexError) as refusal:
        x[index]
    assert refusal.type is IndexError
    with pytest.raises(IndexError) as refusal:
        x[index] = 1
    assert refusal.type is IndexError
    assert state(x) == before


@rule("indexing.views.negative-steps")
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
