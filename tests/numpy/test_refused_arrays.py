"""spec/numpy/refused-arrays.md"""

import itertools
import warnings
import weakref

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, shapes, telling_shapes
from tests.inputs.arrays import APART, COMPLEX, EVERY_DTYPE, FLOATING, SIGNED
from tests.inputs.circumstances import UNRECORDED, also

WIDE = (*FLOATING, *SIGNED[:3], *COMPLEX)
CONVERSIONS = (
    lambda a: torch.from_numpy(a),
    lambda a: torch.as_tensor(a),
    lambda a: torch.asarray(a),
    lambda a: torch.tensor(a),
)
WITH_A_DTYPE = (
    lambda a: torch.as_tensor(a, dtype=torch.float32),
    lambda a: torch.asarray(a, dtype=torch.float32),
    lambda a: torch.tensor(a, dtype=torch.float32),
    lambda a: torch.as_tensor(a, device="cpu"),
    lambda a: torch.asarray(a, copy=True),
    lambda a: torch.asarray(a, copy=False),
    lambda a: torch.tensor(data=a, device="cpu"),
)
READ_ONLY = (
    *CONVERSIONS[:3],
    lambda a: torch.as_tensor(a, device="cpu"),
    lambda a: torch.as_tensor(a, dtype=getattr(torch, a.dtype.name)),
    lambda a: torch.asarray(a, dtype=getattr(torch, a.dtype.name), copy=False),
)
COPYING = (
    lambda a: torch.tensor(a),
    lambda a: torch.asarray(a, copy=True),
    lambda a: torch.tensor(data=a, device="cpu"),
    lambda a: torch.asarray(a, dtype=torch.from_numpy(a.copy()).dtype, copy=True),
)
READ_ONLY_SOURCES = (
    "lambda a: torch.from_numpy(a)",
    "lambda a: torch.as_tensor(a)",
    "lambda a: torch.asarray(a)",
    "lambda a: torch.as_tensor(a, dtype=getattr(torch, a.dtype.name))",
)
STRANGE_DTYPES = (
    "object",
    "'U3'",
    "'S3'",
    "'V4'",
    "'datetime64[D]'",
    "'timedelta64[s]'",
    "[('a', np.float32)]",
    "np.longdouble",
    "np.clongdouble",
    "'M8[ns]'",
    "[('a', np.int64), ('b', np.int64)]",
)


STRANGE = (
    "np.array([1.5, None, 'a'], dtype=object)",
    "np.array([[2, 3]] * 17, dtype=object).T",
    "np.array(['7', '8'])[::2]",
    "np.array(1.5, dtype=np.longdouble)",
)


def reversed_arrays():
    """An array run through backwards along its first or its last dimension, and what is wrong with it."""
    several = arrays(shapes(min_dims=1, min_side=2), among=APART)
    return st.tuples(
        st.builds(
            lambda array, way: Expression(way.format(array.source)),
            several,
            st.sampled_from(("{}[::-1]", "{}[..., ::-1]", "np.flip({})", "{}[None].swapaxes(0, -1)[::-1]")),
        ),
        st.just("stride in the given numpy array is negative"),
    )


def packed_arrays():
    """One field of records that have no padding, and what is wrong with it."""
    return st.tuples(
        st.builds(
            lambda shape, dtype: Expression(f"np.ones({shape}, dtype=[('it', {dtype}), ('gap', np.uint8)])['it']"),
            shapes(min_dims=1, min_side=2),
            st.sampled_from(WIDE),
        ),
        st.just("strides not a multiple of the element byte size"),
    )


def swapped_arrays():
    """An array whose bytes are in the order of the other kind of machine, and what is wrong with it."""
    return st.tuples(
        st.builds(
            lambda array, way: Expression(
                way.format(f"{array.source}.astype(np.dtype({array.facts['dtype']}).newbyteorder())")
            ),
            arrays(dtypes=WIDE),
            st.sampled_from(("{}", "{}[...]", "{}[None]", "{}[None].T")),
        ),
        st.just("byte order different from the native byte order"),
    )


def strange_arrays():
    """Arrays of all dtypes that torch lacks."""

    def rotated(shape, first):
        every = [Expression(f"np.zeros({shape}, dtype={dtype})") for dtype in STRANGE_DTYPES]
        every += map(Expression, STRANGE)
        return every[first:] + every[:first]

    return st.builds(rotated, shapes(), st.integers(0, 7))


def made_anew(array):
    """A function that makes such an array, of which nobody else knows, each time that it is called."""
    return Expression(f"lambda: {array.source}")


@rule("numpy.refused-arrays.layouts")
@also(*UNRECORDED)
@given(cases=st.tuples(reversed_arrays(), packed_arrays(), swapped_arrays()), turn=st.integers(0, 2))
@example(
    cases=(
        (Expression("np.arange(34.)[::-2]"), "negative"),
        (Expression("np.ones((2, 17))[:, ::-1].T"), "negative"),
        (Expression("np.array(2.0).astype(np.dtype(float).newbyteorder())"), "byte order"),
    ),
    turn=0,
)
def test_an_array_that_no_tensor_can_describe_is_refused_and_a_native_copy_is_not(device, cases, turn):
    for position, (a, reason) in enumerate(cases, turn):
        before = a.tolist(), a.shape, a.strides, a.dtype, a.flags.writeable
        native = a.astype(a.dtype.newbyteorder("="), order="C")
        for convert in (*CONVERSIONS, *WITH_A_DTYPE[position % 3 :: 3]):
            with pytest.raises(Exception, match=reason) as refusal:
                convert(a)
            assert refusal.type is ValueError
            assert (a.tolist(), a.shape, a.strides, a.dtype, a.flags.writeable) == before
        for convert in CONVERSIONS:
            x = convert(native)
            assert str(x.dtype) == f"torch.{native.dtype.name}"
            assert x.tolist() == a.tolist()


@rule("numpy.refused-arrays.layouts")
@also(*UNRECORDED)
@given(first=st.sampled_from(range(len(CONVERSIONS))))
def test_every_dtype_is_refused_backwards_or_in_the_other_order(device, first):
    for name in EVERY_DTYPE:
        dtype = np.dtype(getattr(np, name.removeprefix("np.")))
        convert = CONVERSIONS[first]
        cases = [(np.ones(3, dtype)[::-1], "negative"), (np.ones((2, 1, 2), dtype)[..., ::-1], "negative")]
        if dtype.itemsize > 1:
            swapped = np.ones((2, 3), dtype.newbyteorder())
            cases += [(swapped, "byte order"), (swapped[:, 1:], "byte order")]
        for a, reason in cases:
            with pytest.raises(Exception, match=reason) as refusal:
                convert(a)
            assert refusal.type is ValueError
            assert a.tolist() == np.ones(a.shape, dtype).tolist()
            assert convert(a.astype(dtype)[:1].copy()).tolist() == a[:1].tolist()


@rule("numpy.refused-arrays.dtypes")
@also(*UNRECORDED)
@given(strange=strange_arrays())
def test_a_dtype_that_torch_lacks_is_refused_by_name(device, strange):
    for a, way in zip(strange, itertools.cycle(WITH_A_DTYPE)):
        reason = f"can't convert np.ndarray of type numpy.{a.dtype.type.__name__}"
        for convert in (*CONVERSIONS, way):
            with pytest.raises(TypeError, match=reason) as refusal:
                convert(a)
            assert refusal.type is TypeError
    for convert in CONVERSIONS:
        assert convert(np.ones(2)).tolist() == [1, 1]


@rule("numpy.refused-arrays.released")
@given(
    strange=strange_arrays().map(lambda every: list(map(made_anew, every))),
    cases=st.tuples(
        *(
            drawn.map(lambda case: made_anew(case[0]))
            for drawn in (reversed_arrays(), packed_arrays(), swapped_arrays())
        )
    ),
)
def test_a_refused_array_lives_no_longer_than_its_names(device, strange, cases):
    for make, way in zip((*strange, *cases), itertools.cycle(WITH_A_DTYPE)):
        for convert in (*CONVERSIONS, way):
            a = make()
            refused = a[...]
            alive = [weakref.ref(one) for one in (a, refused, refused.base)]  # the base is whose memory it shows
            with pytest.raises((TypeError, ValueError)):
                convert(refused)
            del a, refused
            assert all(one() is None for one in alive)


@rule("numpy.refused-arrays.read-only")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)))
def test_a_read_only_array_is_shared_with_a_warning(device, a):
    view = a.view()
    view.flags.writeable = False
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        for share in READ_ONLY:
            for read_only in (view, np.broadcast_to(a, a.shape)):
                with pytest.warns(UserWarning, match="NumPy array is not writable"):
                    x = share(read_only)
                assert str(x.dtype) == f"torch.{a.dtype.name}"
                assert tuple(x.shape) == a.shape
                a[...] = a == 0
                assert x.tolist() == a.tolist()
    finally:
        torch.set_warn_always(always)


@rule("numpy.refused-arrays.read-only")
@also(*UNRECORDED)
@given(shape=st.sampled_from(((1,), (33,))), share=st.sampled_from(READ_ONLY_SOURCES).map(Expression))
def test_a_read_only_array_of_every_dtype_is_shared_with_a_warning(device, shape, share):
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        for name in EVERY_DTYPE:
            a = np.ones(shape, dtype=getattr(np, name.removeprefix("np.")))
            view = a[...]
            view.flags.writeable = False
            with pytest.warns(UserWarning, match="NumPy array is not writable"):
                x = share(view)
            assert a.size == 0 or x.data_ptr() == a.ctypes.data
            a[...] = 0
            assert x.tolist() == a.tolist()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert torch.tensor(view).tolist() == a.tolist()
                assert share(a).tolist() == a.tolist()
    finally:
        torch.set_warn_always(always)


@rule("numpy.refused-arrays.read-only")
@also(*UNRECORDED)
@given(a=arrays(telling_shapes(min_dims=1)))
def test_a_copy_of_a_read_only_array_comes_without_a_warning(device, a):
    a.flags.writeable = False
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            copies = [copy(a) for copy in COPYING]
    finally:
        torch.set_warn_always(always)
    assert not told
    for x in copies:
        assert x.tolist() == a.tolist()
        assert x.data_ptr() != a.ctypes.data or a.size == 0
