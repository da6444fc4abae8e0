"""spec/numpy/tensor-to-array.md"""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, tensors_of_numpy_dtypes
from tests.inputs.arrays import EVERY_DTYPE
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import aliases, disjoint

SHARING = (
    lambda x: np.asarray(x),
    lambda x: x.__array__(),
    lambda x: x.__array__(x.numpy().dtype),
    lambda x: np.asarray(x, dtype=x.numpy().dtype),
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
COMPLEX_OTHERS = ("complex64", "complex128")
OTHERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", *COMPLEX_OTHERS)
"""Dtypes that hold small integers."""

EXTREMES = (
    *(f"torch.tensor([0.1, float('inf'), -float('inf'), -0.0], dtype=torch.float{bits})" for bits in (16, 32, 64)),
    "torch.tensor([2**63 - 1, -(2**63), 2**53 + 1])",
    "torch.tensor([[0, 255], [128, 200]], dtype=torch.uint8).T",
    "torch.tensor([-128, 127], dtype=torch.int8)",
    "torch.tensor([1e300, 5e-324], dtype=torch.float64)",
    "torch.tensor([complex(0.1, 1e300), complex(0, float('inf'))], dtype=torch.complex128)",
)
"""Tensors with the largest numbers of a dtype, or with some that no narrower one has."""

PLACES = (
    lambda x: x.detach(),
    lambda x: x.data,
    lambda x: x.view_as(x),
    lambda x: x[None, None],
    lambda x: torch.nn.Parameter(x, requires_grad=False),
    lambda x: x.clone(),
    lambda x: x.real if x.is_complex() else x[...],
    lambda x: x.imag if x.is_complex() else x[...],
)
"""Functions that give a tensor of another kind, most of them over the same memory."""

LAID_OUT = (
    "torch.ones(2, 3)",
    "torch.ones(3, 2).T",
    "torch.tensor(1.0)",
    "torch.ones(3).expand(2, 3)",
    "torch.ones(0, 2)",
    "torch.ones(1)",
    "torch.ones(68)[::2]",
    "torch.arange(48.).reshape(2, 3, 2, 4).permute(2, 0, 3, 1)",
)
EVERY = tuple(EVERY_DTYPE)


def in_other_dtypes(x):
    """Tensors of every dtype that NumPy has too, with the strides of `x`, and behind one more element; zeros."""
    reach = 1 + sum(step * (size - 1) for step, size in zip(x.stride(), x.shape, strict=True)) if x.numel() else 0
    for name in EVERY:
        itemsize = np.dtype(getattr(np, name.removeprefix("np."))).itemsize
        dtype = getattr(torch, name.removeprefix("np.").rstrip("_"))
        memory = torch.zeros((reach + 2) * itemsize, dtype=torch.uint8).view(dtype)
        yield memory.as_strided(x.shape, x.stride(), 1)


# NumPy 2 offers __array__ a keyword that tensors do not have, and says so when a copy is wanted.
without_copy_keyword = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@rule("numpy.tensor-to-array.same-memory")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
@example(x=Expression("torch.tensor([1., 2.], dtype=torch.float16)"))
@example(x=Expression("torch.arange(68.).reshape(2, 34)[:, ::2]"))
@example(x=Expression("torch.arange(48.).reshape(2, 3, 2, 4).permute(2, 0, 3, 1)"))
@example(x=Expression(EXTREMES[3]))
@example(x=Expression(EXTREMES[4]))
def test_every_array_is_the_memory_of_the_tensor(device, x):
    for array in (x.numpy(), x.numpy(force=False)):
        assert str(x.dtype) == f"torch.{array.dtype.name}"
        assert array.flags.writeable
        assert aliases(x, array)
    for place in PLACES:
        tensor = place(x)
        array = tensor.numpy()
        assert str(tensor.dtype) == f"torch.{array.dtype.name}"
        assert array.flags.writeable
        assert array.shape == tuple(tensor.shape)
        assert array.tolist() == tensor.tolist()
        assert array.size == 0 or array.ctypes.data == tensor.data_ptr()
    for change in MOVES:
        change(x)
        assert x.numpy().flags.writeable
        assert aliases(x, x.numpy())


@rule("numpy.tensor-to-array.same-memory")
@also(*UNRECORDED)
@given(x=st.sampled_from(LAID_OUT).map(Expression))
def test_a_tensor_of_every_dtype_is_shared(device, x):
    for other in in_other_dtypes(x):
        for value in (1, 0):
            array = other.numpy()
            array[...] = value
            assert str(other.dtype) == f"torch.{array.dtype.name}"
            assert array.flags.writeable
            assert array.shape == tuple(other.shape)
            assert other.numel() == 0 or array.strides == tuple(step * array.itemsize for step in other.stride())
            assert other.numel() == 0 or array.ctypes.data == other.data_ptr()
            assert other.tolist() == array.tolist() == np.full(array.shape, value, array.dtype).tolist()
            for convert in SHARING[:2]:
                assert other.numel() == 0 or convert(other).ctypes.data == other.data_ptr()


@rule("numpy.tensor-to-array.same-memory")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
def test_the_array_of_the_moment_is_shared_after_whatever_came_before(device, x):
    first, shape = x.numpy(), tuple(x.shape)
    first[...] = 1
    for way in (
        lambda: x.__array__("complex128"),
        lambda: x.detach().clone().numpy().fill(0),
        lambda: x.numpy().reshape(-1).tolist(),
        lambda: torch.ones(2, requires_grad=True).numpy(),
        lambda: x.to_sparse().numpy(),
        lambda: x.numpy().setflags(write=False),
        lambda: x[None].numpy(),
    ):
        with contextlib.suppress(RuntimeError, TypeError):  # some of these are refused
            way()
        array = x.numpy()
        assert array.shape == shape
        assert array.flags.writeable
        assert array.tolist() == x.tolist()
        array[...] = 0
        assert first.tolist() == x.tolist() == array.tolist()
        array[...] = 1
        assert first.tolist() == x.tolist() == array.tolist()
    del first, array
    assert aliases(x, x.numpy())


@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
def test_asarray_gives_the_memory_of_the_tensor(device, x):
    for convert in SHARING:
        assert aliases(x, convert(x))
        for place in PLACES:
            tensor = place(x)
            array = convert(tensor)
            assert (array.shape, array.tolist()) == (tuple(tensor.shape), tensor.tolist())
            assert array.size == 0 or array.ctypes.data == tensor.data_ptr()
    for change in MOVES:
        change(x)
        for convert in SHARING:
            assert aliases(x, convert(x))


@without_copy_keyword
@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes() | st.sampled_from(EXTREMES).map(Expression))
def test_array_gives_an_independent_copy(device, x):
    drawn = x.clone()
    for tensor in (x, x.detach(), x[None], torch.nn.Parameter(x, requires_grad=False)):
        array = np.array(tensor)
        assert str(tensor.dtype) == f"torch.{array.dtype.name}"
        assert array.shape == tuple(tensor.shape)
        assert repr(array.tolist()) == repr(tensor.tolist())
        array[...] = array == 0
        assert repr(x.tolist()) == repr(drawn.tolist())
        assert repr(np.array(tensor, copy=True).tolist()) == repr(tensor.tolist())
    assert disjoint(x, np.array(x))
    for value in (1, 0):
        x.numpy()[...] = value
        assert np.array(x).tolist() == x.tolist()
    for tensor in in_other_dtypes(x):
        array = np.array(tensor)
        tensor.numpy()[...] = 1
        assert array.tolist() == np.zeros(array.shape, array.dtype).tolist()
        assert str(tensor.dtype) == f"torch.{array.dtype.name}"
        array = np.array(tensor)
        array[...] = 0
        assert tensor.tolist() == np.ones(array.shape, array.dtype).tolist()


@without_copy_keyword
@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(x=tensors_of_numpy_dtypes())
def test_another_dtype_gives_an_independent_copy(device, x):
    drawn = x.tolist()
    for to in COMPLEX_OTHERS if x.is_complex() else OTHERS:
        if str(x.dtype) != f"torch.{to}":
            for convert in CONVERTING:
                array = convert(x, to)
                assert array.dtype == to
                assert array.shape == tuple(x.shape)
                assert array.tolist() == drawn
                array[...] = array == 0
                assert x.tolist() == drawn
    x.numpy()[...] = 1
    for convert in CONVERTING:
        assert convert(x, "complex128").tolist() == x.tolist()
    for tensor in in_other_dtypes(x):
        others = ("complex128", "complex64", "complex128") if tensor.is_complex() else ("float32", "int64", "uint8")
        for convert, to, value in zip(CONVERTING, others, (1, 0, 1), strict=True):
            tensor.numpy()[...] = value
            if str(tensor.dtype) != f"torch.{to}":
                array = convert(tensor, to)
                assert array.dtype == to
                assert array.tolist() == np.full(array.shape, value, to).tolist()
                array[...] = 1 - value
                assert (
                    tensor.tolist()
                    == tensor.numpy().tolist()
                    == np.full(array.shape, value, tensor.numpy().dtype).tolist()
                )

    other = "complex64" if x.dtype == torch.complex128 else "complex128"
    for convert in CONVERTING:
        assert disjoint(x, convert(x, other))


@without_copy_keyword
@rule("numpy.tensor-to-array.array-protocol")
@also(*UNRECORDED)
@given(
    several=st.sampled_from((EXTREMES[:7], EXTREMES[6::-1], EXTREMES[3:7])).map(lambda drawn: [*map(Expression, drawn)])
)
def test_a_conversion_to_a_wider_dtype_keeps_the_numbers(device, several):
    for x in several:
        for convert in CONVERTING:
            if x.is_floating_point():
                assert repr(convert(x, "float64").tolist()) == repr(x.tolist())
            else:
                assert repr(convert(x, "int64").tolist()) == repr(x.tolist())
                assert repr(convert(x, "object").tolist()) == repr(x.tolist())
            assert repr(np.array(x).tolist()) == repr(np.asarray(x).tolist()) == repr(x.tolist())
