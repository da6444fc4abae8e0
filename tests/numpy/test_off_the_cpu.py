"""spec/numpy/off-the-cpu.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, leaves, tensors
from tests.inputs.layouts import WRITABLE
from tests.oracles import state

CONVERSIONS = ("lambda x: x.numpy()", "lambda x: np.asarray(x)", "lambda x: x.__array__()")
FETCHING = ("lambda x: x.numpy(force=True)", "lambda x: x.detach().cpu().numpy()")
SENDING = (
    "lambda a: torch.as_tensor(a, device=device)",
    "lambda a: torch.asarray(a, device=device)",
    "lambda a: torch.tensor(a, device=device)",
    "lambda a: torch.from_numpy(a).to(device)",
)
DTYPES = st.sampled_from(("torch.float32", "torch.float16", "torch.int64", "torch.int32"))


def with_a_twin(tensor):
    """A tensor on the device, and the same on the CPU."""
    return tensor, Expression(tensor.source.replace("device=device", 'device="cpu"'))


@rule("numpy.off-the-cpu.refused")
@given(x=tensors(dtypes=DTYPES) | leaves(), convert=st.sampled_from(CONVERSIONS).map(Expression))
def test_a_tensor_off_the_cpu_is_refused(device, x, convert):
    before = state(x)
    with pytest.raises(TypeError, match="can't convert .* device type tensor to numpy") as refusal:
        convert(x)
    assert refusal.type is TypeError
    assert state(x) == before


@rule("numpy.off-the-cpu.force-copies")
@given(pair=(tensors(dtypes=DTYPES) | leaves(dtypes=st.just("torch.float32"))).map(with_a_twin), fetch=st.sampled_from(FETCHING).map(Expression))
def test_an_array_fetched_to_the_cpu_has_the_values_and_no_way_back(device, pair, fetch):
    x, twin = pair
    before = state(x)
    array = fetch(x)
    assert str(x.dtype) == f"torch.{array.dtype.name}"
    assert array.tolist() == twin.tolist()
    array[...] = array == 0
    assert state(x) == before


@rule("numpy.off-the-cpu.force-copies")
@given(x=tensors(dtypes=DTYPES, among=WRITABLE), fetch=st.sampled_from(FETCHING).map(Expression))
def test_a_fetched_array_does_not_follow_the_tensor(device, x, fetch):
    array = fetch(x)
    before = array.tolist()
    x.zero_()
    assert array.tolist() == before


@rule("numpy.off-the-cpu.arrays-are-copied")
@given(a=arrays(dtypes=("np.float32", "np.float16", "np.int64", "np.int32")), send=st.sampled_from(SENDING).map(Expression))
def test_an_array_sent_to_the_device_is_copied(device, a, send):
    x = send(a)
    before = a.tolist()
    assert x.device.type == torch.device(device).type
    assert str(x.dtype) == f"torch.{a.dtype.name}"
    assert x.cpu().tolist() == before
    a[...] = a == 0
    assert x.cpu().tolist() == before
