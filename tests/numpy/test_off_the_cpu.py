"""spec/numpy/off-the-cpu.md"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, leaves, telling_shapes, tensors
from tests.inputs.layouts import WRITABLE
from tests.oracles import state

CONVERSIONS = (
    lambda x: x.numpy(),
    lambda x: np.asarray(x),
    lambda x: x.__array__(),
)
FETCHING = (
    lambda x: x.numpy(force=True),
    lambda x: x.detach().cpu().numpy(),
)
SENDING = (
    lambda a, device: torch.as_tensor(a, device=device),
    lambda a, device: torch.asarray(a, device=device),
    lambda a, device: torch.tensor(a, device=device),
    lambda a, device: torch.from_numpy(a).to(device),
)
NUMPY_DTYPES = ("np.float32", "np.float16", "np.int64", "np.int32")
DTYPES = tuple(name.replace("np.", "torch.") for name in NUMPY_DTYPES)


def with_a_twin(tensor):
    """A tensor on the device, and the same on the CPU."""
    return tensor, Expression(tensor.source.replace("device=device", 'device="cpu"'))


def sent(array):
    """An array of a dtype that the device has."""
    return Expression(array.source, dtypes=frozenset({array.facts["dtype"].replace("np.", "torch.")}))


ON_THE_DEVICE = tensors(telling_shapes(), st.sampled_from(DTYPES)) | leaves(
    telling_shapes(), st.just("torch.float32"), earlier_grad=True
)


@rule("numpy.off-the-cpu.refused")
@given(x=ON_THE_DEVICE)
def test_a_tensor_off_the_cpu_is_refused(device, x):
    before = state(x)
    for convert in CONVERSIONS:
        with pytest.raises(TypeError, match=r"can't convert .* device type tensor to numpy") as refusal:
            convert(x)
        assert refusal.type is TypeError
        assert state(x) == before


@rule("numpy.off-the-cpu.force-copies")
@given(pair=ON_THE_DEVICE.map(with_a_twin))
def test_an_array_fetched_to_the_cpu_has_the_values_and_no_way_back(device, pair):
    x, twin = pair
    before = state(x)
    for fetch in FETCHING:
        array = fetch(x)
        assert str(x.dtype) == f"torch.{array.dtype.name}"
        assert array.tolist() == twin.tolist()
        array[...] = array == 0
        assert state(x) == before


@rule("numpy.off-the-cpu.force-copies")
@given(x=tensors(telling_shapes(), st.sampled_from(DTYPES), WRITABLE))
def test_a_fetched_array_does_not_follow_the_tensor(device, x):
    arrays = [fetch(x) for fetch in FETCHING]
    before = arrays[0].tolist()
    x.zero_()
    assert [array.tolist() for array in arrays] == [before] * 2


@rule("numpy.off-the-cpu.arrays-are-copied")
def test_a_transposed_array_reads_the_same_on_the_device(device):
    for dtype in (np.float32, np.int64):
        for a in (np.arange(6, dtype=dtype).reshape(2, 3).T, np.arange(24, dtype=dtype).reshape(2, 3, 4).T):
            for send in SENDING:
                assert send(a, device).cpu().tolist() == a.tolist()


@rule("numpy.off-the-cpu.arrays-are-copied")
@given(a=arrays(telling_shapes(min_dims=1), NUMPY_DTYPES).map(sent))
def test_an_array_sent_to_the_device_is_copied(device, a):
    for send in SENDING:
        x = send(a, device)
        before = a.tolist()
        assert x.device.type == torch.device(device).type
        assert str(x.dtype) == f"torch.{a.dtype.name}"
        assert x.cpu().tolist() == before
        a[...] = a == 0
        assert x.cpu().tolist() == before
