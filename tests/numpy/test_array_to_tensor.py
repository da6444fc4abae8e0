"""spec/numpy/array-to-tensor.md"""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, shapes
from tests.inputs.arrays import FLOATING, SIGNED, c_order
from tests.oracles import aliases, disjoint

SHARING = (
    "torch.from_numpy",
    "torch.as_tensor",
    "lambda a: torch.as_tensor(a, device='cpu')",
    "torch.asarray",
    "lambda a: torch.asarray(a, copy=False)",
)
COPYING = ("torch.tensor", "lambda a: torch.tensor(a, dtype=torch.as_tensor(a).dtype)", "lambda a: torch.asarray(a, copy=True)")
CONVERTING = (
    "lambda a, to: torch.tensor(a, dtype=to)",
    "lambda a, to: torch.as_tensor(a, dtype=to)",
    "lambda a, to: torch.asarray(a, dtype=to)",
    "lambda a, to: torch.asarray(a, dtype=to, copy=True)",
)
OTHER_DTYPE = {name: "torch.float32" for name in SIGNED} | {"np.int64": "torch.float64", "np.uint8": "torch.int8"}
OTHER_DTYPE |= {name: "torch.int32" for name in FLOATING} | {"np.bool_": "torch.uint8"}
OTHER_DTYPE |= {"np.complex64": "torch.complex128", "np.complex128": "torch.complex64"}
STEPS = (
    "lambda it: it.numpy() if isinstance(it, torch.Tensor) else torch.from_numpy(it)",
    "lambda it: np.asarray(it) if isinstance(it, torch.Tensor) else torch.as_tensor(it)",
    "lambda it: it[None]",
    "lambda it: it.swapaxes(0, -1)",
)


def with_another_dtype(array):
    return st.tuples(st.just(array), st.just(Expression(OTHER_DTYPE[array.facts["dtype"]])))


@rule("numpy.array-to-tensor.same-memory")
@given(a=arrays(shapes(min_dims=1)), share=st.sampled_from(SHARING).map(Expression))
def test_the_tensor_is_the_memory_of_the_array(device, a, share):
    x = share(a)
    assert str(x.dtype) == f"torch.{a.dtype.name}" and x.device.type == "cpu"
    assert x.is_leaf and not x.requires_grad
    assert a.size == 0 or [step * x.element_size() for step in x.stride()] == list(a.strides)
    assert aliases(x, a)


@rule("numpy.array-to-tensor.zero-dimensional")
@given(a=arrays(st.just(())), share=st.sampled_from(SHARING[:3]).map(Expression))
def test_from_numpy_and_as_tensor_share_the_memory_of_an_array_of_no_dimensions(device, a, share):
    assert aliases(share(a), a)


@rule("numpy.array-to-tensor.zero-dimensional")
@given(a=arrays(st.just(())), share=st.sampled_from(SHARING[3:]).map(Expression))
def test_asarray_shares_the_memory_of_an_array_of_no_dimensions(device, a, share):
    assert aliases(share(a), a)


@rule("numpy.array-to-tensor.copies")
@given(a=arrays(), copy=st.sampled_from(COPYING).map(Expression))
def test_a_copy_is_independent(device, a, copy):
    x = copy(a)
    assert str(x.dtype) == f"torch.{a.dtype.name}"
    assert x.tolist() == a.tolist()
    assert disjoint(x, a)


@rule("numpy.array-to-tensor.copies")
@given(
    pair=arrays(dtypes=tuple(OTHER_DTYPE)).flatmap(with_another_dtype),
    convert=st.sampled_from(CONVERTING).map(Expression),
)
def test_another_dtype_is_an_independent_copy(device, pair, convert):
    a, to = pair
    x = convert(a, to)
    assert x.dtype == to
    assert x.tolist() == a.tolist()
    assert disjoint(x, a)


@rule("numpy.array-to-tensor.copies")
@given(pair=arrays(shapes(min_dims=1), tuple(OTHER_DTYPE)).flatmap(with_another_dtype))
def test_another_dtype_without_a_copy_is_refused(device, pair):
    a, to = pair
    before = a.tolist()
    with pytest.raises(ValueError, match="can't alias") as refusal:
        torch.asarray(a, dtype=to, copy=False)
    assert refusal.type is ValueError
    assert a.tolist() == before


@rule("numpy.array-to-tensor.not-resizable")
@given(a=arrays(shapes(min_dims=1)), share=st.sampled_from(SHARING).map(Expression), more=st.integers(1, 40))
def test_a_tensor_over_an_array_cannot_outgrow_it(device, a, share, more):
    x = share(a)
    before = a.tolist()
    room = x.untyped_storage().nbytes() // x.element_size()
    with pytest.raises(RuntimeError, match="storage that is not resizable") as refusal:
        x.resize_(room + more)
    assert refusal.type is RuntimeError
    assert a.tolist() == before


@rule("numpy.array-to-tensor.kept-alive")
@given(
    a=arrays(shapes(min_dims=1), among=(c_order,)),
    steps=st.lists(st.sampled_from(STEPS).map(Expression), min_size=1, max_size=4),
)
def test_memory_lives_as_long_as_its_last_name_and_no_longer(device, a, steps):
    owner = a.copy()
    owned = weakref.ref(owner)
    last = owner
    for step in steps:
        last = step(last)
    del owner
    assert owned() is not None
    assert sorted(last.reshape(-1).tolist()) == sorted(a.reshape(-1).tolist())
    del last
    assert owned() is None
