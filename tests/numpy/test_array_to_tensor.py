"""spec/numpy/array-to-tensor.md"""

import itertools
import weakref

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, shapes, telling_shapes
from tests.inputs.arrays import FLOATING, SIGNED, c_order
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import aliases, disjoint

SHARING = (
    lambda a: torch.from_numpy(a),
    lambda a: torch.as_tensor(a),
    lambda a: torch.as_tensor(a, device="cpu"),
    lambda a: torch.asarray(a),
    lambda a: torch.asarray(a, copy=False),
)
COPYING = (
    lambda a: torch.tensor(a),
    lambda a: torch.tensor(a, dtype=torch.from_numpy(a).dtype),
    lambda a: torch.asarray(a, copy=True),
)
CONVERTING = (
    lambda a, to: torch.tensor(a, dtype=to),
    lambda a, to: torch.as_tensor(a, dtype=to),
    lambda a, to: torch.asarray(a, dtype=to),
)
ANOTHER_DTYPE = {
    "np.float32": "torch.int32",
    "np.float64": "torch.float32",
    "np.int64": "torch.float64",
    "np.int32": "torch.float32",
    "np.int16": "torch.float16",
    "np.int8": "torch.int16",
    "np.uint8": "torch.int8",
    "np.bool_": "torch.uint8",
    "np.complex64": "torch.complex128",
}
"""A dtype that holds the same small integers, of the same size where there is one."""

STEPS = (
    "lambda it: it.numpy() if isinstance(it, torch.Tensor) else torch.from_numpy(it)",
    "lambda it: np.asarray(it) if isinstance(it, torch.Tensor) else torch.as_tensor(it)",
    "lambda it: it[None]",
    "lambda it: it.swapaxes(0, -1)",
)


EXTREMES = (
    *(f"np.array([np.inf, -np.inf, np.nan, -0.0], dtype=np.{name})" for name in ("float64", "float32", "float16")),
    "np.array([2**63 - 1, -(2**63), 2**53 + 1])",
    "np.array([2**31 - 1, -(2**31)], dtype=np.int32)",
    "np.array([0, 255], dtype=np.uint8)",
    "np.array(2**53 + 1)",
    "np.array([[complex(np.inf, -0.0), complex(np.nan, 1)]])",
)
FLOATS = ("torch.float64", "torch.float32", "torch.float16")


DEFAULTS = (torch.float32, torch.float64, torch.float16)


def extremes():
    """Arrays of the largest integers of a dtype, or of the numbers that are none."""
    return st.sampled_from(EXTREMES).map(Expression)


def floats():
    return st.sampled_from(FLOATS).map(Expression)


def arrays_and_another_dtype(shapes=None):
    return arrays(shapes, tuple(ANOTHER_DTYPE)).map(
        lambda array: (array, Expression(ANOTHER_DTYPE[array.facts["dtype"]]))
    )


@rule("numpy.array-to-tensor.same-memory")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)))
@example(a=Expression("np.arange(68.).reshape(2, 34)[:, ::2]"))
def test_the_tensor_is_the_memory_of_the_array(device, a):
    before = torch.get_default_dtype()
    try:
        for share, default in itertools.product(SHARING, DEFAULTS):
            torch.set_default_dtype(default)
            x = share(a)
            assert str(x.dtype) == f"torch.{a.dtype.name}"
            assert np.shares_memory(x.detach().numpy(), a) or a.size == 0
    finally:
        torch.set_default_dtype(before)
    for share in SHARING:
        x = share(a)
        assert x.is_leaf
        assert not x.requires_grad
        assert a.size == 0 or [step * x.element_size() for step in x.stride()] == list(a.strides)
        assert aliases(x, a)


@rule("numpy.array-to-tensor.zero-dimensional")
@also(*UNRECORDED)
@given(a=arrays(st.just(())))
def test_from_numpy_and_as_tensor_share_the_memory_of_an_array_of_no_dimensions(device, a):
    for share in SHARING[:3]:
        assert aliases(share(a), a)


@rule("numpy.array-to-tensor.zero-dimensional")
@given(a=arrays(st.just(())))
def test_asarray_shares_the_memory_of_an_array_of_no_dimensions(device, a):
    for share in SHARING[3:]:
        assert aliases(share(a), a)


@rule("numpy.array-to-tensor.zero-dimensional")
@given(pair=arrays_and_another_dtype(st.just(())))
def test_asarray_converts_an_array_of_no_dimensions(device, pair):
    a, to = pair
    x = torch.asarray(a, dtype=to, copy=True)
    assert x.dtype == to
    assert x.tolist() == a.tolist()


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(a=arrays())
def test_a_copy_is_independent(device, a):
    before = torch.get_default_dtype()
    try:
        for copy, default in itertools.product(COPYING, DEFAULTS):
            torch.set_default_dtype(default)
            x = copy(a)
            assert str(x.dtype) == f"torch.{a.dtype.name}"
            assert x.tolist() == a.tolist()
            assert disjoint(x, a)
    finally:
        torch.set_default_dtype(before)


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(pair=arrays_and_another_dtype())
def test_another_dtype_is_an_independent_copy(device, pair):
    a, to = pair
    for convert in CONVERTING:
        x = convert(a, to)
        assert x.dtype == to
        assert x.tolist() == a.tolist()
        assert disjoint(x, a)


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(pair=arrays_and_another_dtype(telling_shapes(min_dims=1)))
def test_another_dtype_is_a_copy_that_may_be_demanded_and_cannot_be_avoided(device, pair):
    a, to = pair
    before = a.tolist()
    with pytest.raises(ValueError, match="can't alias") as refusal:
        torch.asarray(a, dtype=to, copy=False)
    assert refusal.type is ValueError
    assert a.tolist() == before
    assert torch.asarray(a, dtype=to, copy=True).tolist() == before


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(a=extremes())
@example(a=Expression(EXTREMES[3]))
def test_a_copy_has_the_largest_and_the_strangest_numbers(device, a):
    for copy in (*SHARING, *COPYING):
        assert repr(copy(a).tolist()) == repr(a.tolist())


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(a=st.sampled_from(EXTREMES[:3]).map(Expression), to=floats())
def test_another_floating_dtype_keeps_infinities_nan_and_the_sign_of_zero(device, a, to):
    for convert in CONVERTING:
        assert repr(convert(a, to).tolist()) == repr(a.tolist())


@rule("numpy.array-to-tensor.not-resizable")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)), more=st.integers(1, 40))
def test_a_tensor_over_an_array_cannot_outgrow_it(device, a, more):
    before = a.tolist()
    for share in SHARING:
        x = share(a)
        room = max(x.numel(), x.untyped_storage().nbytes() // x.element_size())
        with pytest.raises(RuntimeError, match="storage that is not resizable") as refusal:
            x.resize_(room + more)
        assert refusal.type is RuntimeError
        assert a.tolist() == before


@rule("numpy.array-to-tensor.kept-alive")
@given(
    a=arrays(shapes(min_dims=1), FLOATING + SIGNED, (c_order,)),
    steps=st.lists(st.sampled_from(STEPS).map(Expression), min_size=1, max_size=4),
)
@example(a=Expression("np.arange(3.)"), steps=[Expression(STEPS[2]), Expression(STEPS[0])])
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
