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
from tests.inputs.arrays import COMPLEX, EVERY_DTYPE, FLOATING, SIGNED, c_order, fortran_order
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import aliases, disjoint

SHARING = (
    lambda a: torch.from_numpy(a),
    lambda a: torch.as_tensor(a),
    lambda a: torch.as_tensor(a, device="cpu"),
    lambda a: torch.asarray(a),
    lambda a: torch.asarray(a, copy=False),
    lambda a: torch.as_tensor(a, dtype=torch.from_numpy(a).dtype),
    lambda a: torch.asarray(a, dtype=torch.from_numpy(a).dtype, device="cpu"),
    lambda a: torch.as_tensor(data=a, device=torch.device("cpu")),
    lambda a: torch.asarray(obj=a, requires_grad=False),
)
OF_NO_DIMENSIONS = SHARING[:3] + SHARING[5:6] + SHARING[7:8]
"""Those that share the memory of an array of no dimensions, too, on every torch."""

COPYING = (
    lambda a: torch.tensor(a),
    lambda a: torch.tensor(a, dtype=torch.from_numpy(a).dtype),
    lambda a: torch.asarray(a, copy=True),
    lambda a: torch.asarray(a, dtype=torch.from_numpy(a).dtype, copy=True),
    lambda a: torch.tensor(data=a, device="cpu"),
)
CONVERTING = (
    lambda a, to: torch.tensor(a, dtype=to),
    lambda a, to: torch.as_tensor(a, dtype=to),
    lambda a, to: torch.asarray(a, dtype=to),
    lambda a, to: torch.asarray(a, dtype=to, device="cpu"),
    lambda a, to: torch.from_numpy(a).to(to),
)
REAL = (*FLOATING, *SIGNED)
SIGNED_DTYPES = tuple(name.replace("np.", "torch.") for name in REAL)
COMPLEX_DTYPES = ("torch.complex64", "torch.complex128")
OTHER_DTYPES = {
    **dict.fromkeys((*REAL, "np.uint8", "np.bool_"), (*SIGNED_DTYPES, "torch.bfloat16", *COMPLEX_DTYPES)),
    **dict.fromkeys(COMPLEX, COMPLEX_DTYPES),
}
"""Dtypes that hold the same small integers."""

STEPS = (
    "lambda it: it.numpy() if isinstance(it, torch.Tensor) else torch.from_numpy(it)",
    "lambda it: np.asarray(it) if isinstance(it, torch.Tensor) else torch.as_tensor(it)",
    "lambda it: it[None]",
    "lambda it: it.swapaxes(0, -1)",
    "lambda it: it.numpy(force=True) if isinstance(it, torch.Tensor) else torch.asarray(it)",
    "lambda it: it.detach() if isinstance(it, torch.Tensor) else it.view()",
    "lambda it: it.data if isinstance(it, torch.Tensor) else it.T",
    "lambda it: it.view_as(it) if isinstance(it, torch.Tensor) else torch.asarray(it, copy=False)",
)


EXTREMES = (
    *(f"np.array([np.inf, -np.inf, np.nan, -0.0], dtype=np.{name})" for name in ("float64", "float32", "float16")),
    "np.array([2**63 - 1, -(2**63), 2**53 + 1])",
    "np.array([2**31 - 1, -(2**31)], dtype=np.int32)",
    "np.array([0, 255], dtype=np.uint8)",
    "np.array(2**53 + 1)",
    "np.array([[complex(np.inf, -0.0), complex(np.nan, 1)]])",
    "np.array([0.1, 1e300, 5e-324, 2.0**53 + 2])",
    "np.array([0.1 + 0.2j, -1e300j])",
    "np.array([[-128, 127], [-1, 1]], dtype=np.int8).T",
    "np.arange(-(2**63), 2**63 - 1, 2**59 + 1)[::2]",
    "np.array([3.4e38, 1e-45, 0.1], dtype=np.float32)",
)
WIDER = (
    ("np.array([0, 255, 128], dtype=np.uint8)", "np.int16"),
    ("np.array([[0, 255], [200, 129]], dtype=np.uint8).T", "np.float16"),
    ("np.arange(256, dtype=np.uint8)[::5]", "np.int64"),
    ("np.array(255, dtype=np.uint8)", "np.float32"),
    ("np.array([-128, 127], dtype=np.int8)", "np.int32"),
    ("np.array([-(2**15), 2**15 - 1], dtype=np.int16)", "np.float32"),
    ("np.array([2**31 - 1, -(2**31)], dtype=np.int32)", "np.int64"),
    ("np.array([2**31 - 1, -(2**31), 2**24 + 1], dtype=np.int32)", "np.float64"),
    ("np.array([2**53 - 1, 1 - 2**53])", "np.float64"),
    ("np.array([2**53 - 1, 1 - 2**53])", "np.complex128"),
    ("np.array([0.1, 3.4e38, 1e-45], dtype=np.float32)", "np.float64"),
    ("np.array([0.1, np.inf, -0.0], dtype=np.float32)", "np.complex128"),
    ("np.array([0.1, -0.3])", "np.float32"),
    ("np.array([2.5, -2.5, -0.5])", "np.int32"),
    ("np.array([0.5, 0.0, -0.0, -3.0, np.nan, 256.0])", "np.bool_"),
    ("np.array([256, 0, -1])", "np.bool_"),
    ("np.array([0.1 + 0.2j, 3j], dtype=np.complex64)", "np.complex128"),
)
"""An array, and another dtype that has its numbers, or to which NumPy and torch round as IEEE 754 or C does."""

FLOATS = ("torch.float64", "torch.float32", "torch.float16")


DEFAULTS = (torch.float32, torch.float64, torch.float16)


EVERY = tuple(EVERY_DTYPE)


def in_other_dtypes(a):
    """Arrays of every dtype with the strides of `a`, counted in elements, and behind one more; zeros and a last one."""
    for name in EVERY:
        dtype = np.dtype(getattr(np, name.removeprefix("np.")))
        steps = [stride // a.itemsize for stride in a.strides]
        reach = 1 + sum(step * (size - 1) for step, size in zip(steps, a.shape, strict=True)) if a.size else 0
        base = np.zeros(reach + 2, dtype=dtype)[1:]
        strides = [step * dtype.itemsize for step in steps]
        other = np.lib.stride_tricks.as_strided(base, a.shape, strides)
        other[...] = np.abs(a.real)
        yield other


LAID_OUT = (
    "np.ones((2, 3))",
    "np.ones((3, 2)).T",
    "np.ones(66)[::2]",
    "np.array(1.0)",
    "np.ones((0, 2))",
    "np.ones(1)",
    "np.arange(48.).reshape(2, 3, 2, 4).transpose(2, 0, 3, 1)",
)


def laid_out():
    return st.sampled_from(LAID_OUT).map(Expression)


def extremes():
    """Arrays of the largest integers of a dtype, or of the numbers that are none: some, one after the other."""
    every = [*map(Expression, EXTREMES)]
    return st.sampled_from([(every * 2)[first : first + 5] for first in range(len(every))])


def wider():
    """Some of those pairs, one after the other."""
    every = [tuple(map(Expression, pair)) for pair in WIDER]
    return st.sampled_from([(every * 2)[first : first + 5] for first in range(len(every))])


def arrays_and_other_dtypes(shapes=None):
    """An array and all other dtypes that hold its numbers."""

    def with_others(array):
        own = array.facts["dtype"].replace("np.", "torch.")
        return array, [Expression(dtype) for dtype in OTHER_DTYPES[array.facts["dtype"]] if dtype != own]

    return arrays(shapes, tuple(OTHER_DTYPES)).map(with_others)


def arrays_and_another_dtype(shapes=None):
    return arrays_and_other_dtypes(shapes).flatmap(lambda pair: st.tuples(st.just(pair[0]), st.sampled_from(pair[1])))


@rule("numpy.array-to-tensor.same-memory")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)))
@example(a=Expression("np.arange(68.).reshape(2, 34)[:, ::2]"))
@example(a=Expression("np.array([[3.0]])"))
@example(a=Expression("np.arange(48.).reshape(2, 3, 2, 4).transpose(2, 0, 3, 1)"))
@example(a=Expression("np.arange(33, dtype=np.uint8) + 200"))
@example(a=Expression("np.zeros((2, 0), dtype=np.int64)"))
@example(a=Expression("torch.arange(6.0).reshape(2, 3).T.numpy()"))
def test_the_tensor_is_the_memory_of_the_array(device, a):
    before = torch.get_default_dtype()
    try:
        for share, default in itertools.product(SHARING, DEFAULTS):
            torch.set_default_dtype(default)
            x = share(a)
            assert str(x.dtype) == f"torch.{a.dtype.name}"
            assert x.data_ptr() == a.ctypes.data or a.size == 0
    finally:
        torch.set_default_dtype(before)
    for share in SHARING:
        x = share(a)
        assert x.is_leaf
        assert not x.requires_grad
        assert x.grad is None
        assert tuple(x.shape) == a.shape
        assert a.size == 0 or [step * x.element_size() for step in x.stride()] == list(a.strides)
        assert aliases(x, a)
        if x.is_floating_point():
            x.requires_grad_()  # the next tensor of this array is another one
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(np.ones((2, 2))[::-1])
    for view in (a[None], a.T, a[:1], a[-1:], a[..., None], a[1:, ...], a):
        x, y = torch.from_numpy(view), torch.as_tensor(view)
        assert tuple(x.shape) == tuple(y.shape) == view.shape
        assert x.tolist() == y.tolist() == view.tolist()
        assert view.size == 0 or x.data_ptr() == y.data_ptr() == view.ctypes.data


@rule("numpy.array-to-tensor.same-memory")
@also(*UNRECORDED)
@given(a=laid_out().filter(lambda drawn: drawn.source != "np.array(1.0)"))
def test_an_array_of_every_dtype_is_shared(device, a):
    for other, share in zip(in_other_dtypes(a), itertools.cycle(SHARING)):
        strides, shape = other.strides, other.shape
        for x in (share(other), torch.from_numpy(other), torch.asarray(other)):
            assert str(x.dtype) == f"torch.{other.dtype.name}"
            assert tuple(x.shape) == shape
            assert other.size == 0 or [step * x.element_size() for step in x.stride()] == list(strides)
            assert x.tolist() == other.tolist()
            assert not x.requires_grad
            other[...] = other == 0
            assert x.tolist() == other.tolist()
            x.numpy()[...] = 1
            assert other.tolist() == np.ones(shape, other.dtype).tolist()
        assert (other.strides, other.shape, other.flags.writeable) == (strides, shape, True)


@rule("numpy.array-to-tensor.zero-dimensional")
@also(*UNRECORDED)
@given(a=arrays(st.just(())))
def test_from_numpy_and_as_tensor_share_the_memory_of_an_array_of_no_dimensions(device, a):
    before = torch.get_default_dtype()
    try:
        for share, default in itertools.product(OF_NO_DIMENSIONS, DEFAULTS):
            torch.set_default_dtype(default)
            x = share(a)
            assert str(x.dtype) == f"torch.{a.dtype.name}"
            assert x.is_leaf
            assert not x.requires_grad
            assert aliases(x, a)
            if x.is_floating_point():
                x.requires_grad_()  # the next tensor of this array is another one
    finally:
        torch.set_default_dtype(before)
    for other, share in zip(in_other_dtypes(a), itertools.cycle(OF_NO_DIMENSIONS)):
        for value in (1, 0):
            other[...] = value
            x = share(other)
            assert x.shape == ()
            assert str(x.dtype) == f"torch.{other.dtype.name}"
            assert x.tolist() == other.tolist()
            other[...] = 1 - value
            assert x.tolist() == 1 - value
            x.numpy()[...] = value
            assert other.tolist() == value


@rule("numpy.array-to-tensor.zero-dimensional")
@given(a=arrays(st.just(())))
def test_asarray_shares_the_memory_of_an_array_of_no_dimensions(device, a):
    for share in SHARING[3:5]:
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
    before, drawn = torch.get_default_dtype(), a.copy()
    try:
        for copy, default in itertools.product(COPYING, DEFAULTS):
            torch.set_default_dtype(default)
            a[...] = drawn
            x = copy(a)
            assert str(x.dtype) == f"torch.{a.dtype.name}"
            assert tuple(x.shape) == a.shape
            assert x.tolist() == a.tolist()
            assert disjoint(x, a)
            assert copy(a).tolist() == a.tolist()  # which are other numbers now
    finally:
        torch.set_default_dtype(before)


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(a=laid_out())
def test_a_copy_of_every_dtype_is_independent(device, a):
    for other, copy in zip(in_other_dtypes(a), itertools.cycle(COPYING)):
        for again in (copy, COPYING[0]):
            values = other.tolist()
            x = again(other)
            assert str(x.dtype) == f"torch.{other.dtype.name}"
            assert tuple(x.shape) == other.shape
            assert x.tolist() == values
            other[...] = other == 0
            assert x.tolist() == values
            changed = other.tolist()
            x.numpy()[...] = 1
            assert other.tolist() == changed
        if x.is_floating_point() or x.is_complex():
            leaf = torch.tensor(other, requires_grad=True)
            assert leaf.tolist() == changed
            leaf.detach().fill_(1)
            assert other.tolist() == changed


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(drawn=arrays_and_other_dtypes())
def test_another_dtype_is_an_independent_copy(device, drawn):
    a, others = drawn
    values = a.copy()
    for to in others:
        converted = [convert(a, to) for convert in CONVERTING]
        for x in converted:
            assert x.dtype == to
            assert tuple(x.shape) == a.shape
            assert x.tolist() == values.tolist()
        a[...] = values == 0
        assert [x.tolist() for x in converted] == [values.tolist()] * len(converted)
        assert CONVERTING[0](a, to).tolist() == CONVERTING[1](a, to).tolist() == a.tolist()
        a[...] = values
        for x in converted:
            x.zero_()
        assert a.tolist() == values.tolist()


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(drawn=arrays_and_other_dtypes(telling_shapes(min_dims=1)))
def test_another_dtype_is_a_copy_that_may_be_demanded_and_cannot_be_avoided(device, drawn):
    a, others = drawn
    before = a.tolist()
    for to in others:
        for options in ({}, {"device": "cpu"}):
            with pytest.raises(ValueError, match="can't alias") as refusal:
                torch.asarray(a, dtype=to, copy=False, **options)
            assert refusal.type is ValueError
        assert a.tolist() == before
        x = torch.asarray(a, dtype=to, copy=True)
        assert x.dtype == to
        assert x.tolist() == before
    assert disjoint(x, a)


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(several=extremes(), default=st.sampled_from(FLOATS).map(Expression))
@example(several=[Expression(EXTREMES[3])], default=Expression("torch.float32"))
def test_a_copy_has_the_largest_and_the_strangest_numbers(device, several, default):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        for a, copy in itertools.product(several, (*SHARING, *COPYING)):
            assert repr(copy(a).tolist()) == repr(a.tolist())
    finally:
        torch.set_default_dtype(before)


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(pairs=wider())
def test_a_conversion_has_the_numbers_of_the_whole_range(device, pairs):
    for a, to in pairs:
        converted = a.astype(to)
        for convert in CONVERTING:
            assert repr(convert(a, torch.from_numpy(converted).dtype).tolist()) == repr(converted.tolist())


@rule("numpy.array-to-tensor.copies")
@also(*UNRECORDED)
@given(a=st.sampled_from(EXTREMES[:3]).map(Expression))
def test_another_floating_dtype_keeps_infinities_nan_and_the_sign_of_zero(device, a):
    for convert in CONVERTING:
        for to in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            assert repr(convert(a, to).tolist()) == repr(a.tolist())
            assert repr(convert(a[2::-1].copy(), to).tolist()) == repr(a[2::-1].tolist())


@rule("numpy.array-to-tensor.not-resizable")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)), more=st.integers(1, 40))
@example(a=Expression("np.arange(3.)"), more=1)
@example(a=Expression("np.array(3.)"), more=1)
def test_a_tensor_over_an_array_cannot_outgrow_it(device, a, more):
    before = a.tolist()
    for share in SHARING if a.ndim else OF_NO_DIMENSIONS:
        x = share(a)
        room = max(x.numel(), x.untyped_storage().nbytes() // x.element_size())
        cases = ((x[None], ((1, room + 1),)), (x, (room + more,)), (x, (2, room + more)), (x, ([room, 2, 2],)))
        if not room:
            cases = cases[:3]
        for view, sizes in cases if share is SHARING[0] else cases[1:]:
            with pytest.raises(RuntimeError, match="storage that is not resizable") as refusal:
                view.resize_(*sizes)
            assert refusal.type is RuntimeError
            assert a.tolist() == before


@rule("numpy.array-to-tensor.not-resizable")
@also(*UNRECORDED)
@given(a=laid_out())
def test_a_tensor_over_an_array_of_any_dtype_cannot_outgrow_it(device, a):
    for other, share in zip(in_other_dtypes(a), itertools.cycle(OF_NO_DIMENSIONS)):
        before = other.tolist()
        for x in (share(other), share(other).detach()):
            with pytest.raises(RuntimeError, match="storage that is not resizable") as refusal:
                x.resize_(9, other.nbytes + 99)
            assert refusal.type is RuntimeError
            assert other.tolist() == before


@rule("numpy.array-to-tensor.kept-alive")
@also(*UNRECORDED)
@given(
    a=arrays(shapes(min_dims=1), among=(c_order, fortran_order)),
    steps=st.lists(st.sampled_from(STEPS).map(Expression), min_size=2, max_size=5),
)
@example(a=Expression("np.arange(3.)"), steps=[Expression(STEPS[0])])
@example(a=Expression("np.arange(34)"), steps=[Expression(STEPS[1])])
@example(a=Expression("np.ones((2, 17))"), steps=[Expression(STEPS[0])])
@example(a=Expression("np.arange(3.)"), steps=[Expression(STEPS[4])])
@example(a=Expression("np.arange(3.)"), steps=[Expression(STEPS[4])] * 2)
@example(a=Expression("np.arange(3.)"), steps=[Expression(STEPS[2]), Expression(STEPS[0])])
def test_memory_lives_as_long_as_its_last_name_and_no_longer(device, a, steps):
    owner = a.copy(order="K")
    owned = weakref.ref(owner)
    last = owner
    for step in steps:
        last = step(last)
    del owner
    assert owned() is not None
    assert sorted(last.reshape(-1).tolist(), key=repr) == sorted(a.reshape(-1).tolist(), key=repr)
    del last
    assert owned() is None
    for step in map(eval, STEPS):
        owner = a.copy(order="K")
        owned = weakref.ref(owner)
        tensor = torch.as_tensor(owner)
        both = [step(owner), step(tensor), step(step(tensor))]
        del owner, tensor
        while both:
            assert owned() is not None
            assert sorted(both[-1].reshape(-1).tolist(), key=repr) == sorted(a.reshape(-1).tolist(), key=repr)
            both.pop()
        assert owned() is None
