"""spec/numpy/tensor-to-array.md"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, tensors_of_numpy_dtypes
from tests.inputs.arrays import COMPLEX, EVERY_DTYPE
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import aliases, disjoint

SHARING = (
    lambda x: np.asarray(x),
    lambda x: x.__array__(),
    lambda x: x.__array__(x.numpy().dtype),
)
MOVES = (
    lambda x: x.unsqueeze_(0),
    lambda x: x.transpose_(0, -1),
    lambda x: x.__setattr__("data", x.clone()),
)
"""Ways to give a tensor another shape, other strides or other memory, and the name that it had."""

CONVERTING = (
    lambda x, to: np.asarray(x, dtype=to),
    lambda x, to: np.array(x, dtype=to),
    lambda x, to: x.__array__(to),
)
REAL = tuple(name for name in EVERY_DTYPE if name not in COMPLEX)
# NumPy 2 offers __array__ a keyword that tensors do not have, and says so when a copy is wanted.
without_copy_keyword = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@rule("numpy.tensor-to-array.same-memory")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
@example(x=Expression("torch.tensor([1., 2.], dtype=torch.float16)"))
@example(x=Expression("torch.arange(68.).reshape(2, 34)[:, ::2]"))
def test_every_array_is_the_memory_of_the_tensor(device, x):
    for array in (x.numpy(), x.numpy()):
        assert str(x.dtype) == f"torch.{array.dtype.name}"
        assert array.flags.writeable
        assert aliases(x, array)
    for change in MOVES:
        change(x)
        assert aliases(x, x.numpy())


@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
def test_asarray_gives_the_memory_of_the_tensor(device, x):
    for convert in SHARING:
        assert aliases(x, convert(x))
    for change in MOVES:
        change(x)
        for convert in SHARING:
            assert aliases(x, convert(x))


@without_copy_keyword
@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
def test_array_gives_an_independent_copy(device, x):
    array = np.array(x)
    assert array.tolist() == x.tolist()
    assert disjoint(x, array)


@without_copy_keyword
@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes(REAL), to=st.sampled_from(("complex64", "complex128")))
def test_another_dtype_gives_an_independent_copy(device, x, to):
    for convert in CONVERTING:
        array = convert(x, to)
        assert array.dtype == to
        assert array.tolist() == x.tolist()
        assert disjoint(x, array)
