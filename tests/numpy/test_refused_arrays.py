"""spec/numpy/refused-arrays.md"""

import warnings
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, shapes, telling_shapes
from tests.inputs.arrays import APART, COMPLEX, FLOATING, SIGNED
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
)
READ_ONLY = (
    *CONVERSIONS[:3],
    lambda a: torch.as_tensor(a, device="cpu"),
    lambda a: torch.asarray(a, copy=False),
)
COPYING = (
    lambda a: torch.tensor(a),
    lambda a: torch.asarray(a, copy=True),
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
        arrays(dtypes=WIDE).map(
            lambda array: Expression(f"{array.source}.astype(np.dtype({array.facts['dtype']}).newbyteorder())")
        ),
        st.just("byte order different from the native byte order"),
    )


def strange_arrays():
    """Arrays of all dtypes that torch lacks."""
    return shapes().map(lambda shape: [Expression(f"np.zeros({shape}, dtype={dtype})") for dtype in STRANGE_DTYPES])


@rule("numpy.refused-arrays.layouts")
@also(*UNRECORDED)
@given(case=reversed_arrays() | packed_arrays() | swapped_arrays())
def test_an_array_that_no_tensor_can_describe_is_refused_and_a_native_copy_is_not(device, case):
    a, reason = case
    before = a.tolist(), a.strides, a.dtype
    for convert in (*CONVERSIONS, *WITH_A_DTYPE):
        with pytest.raises(Exception, match=reason) as refusal:
            convert(a)
        assert refusal.type is ValueError
        assert (a.tolist(), a.strides, a.dtype) == before
    for convert in CONVERSIONS:
        assert convert(a.astype(a.dtype.newbyteorder("="), order="C")).tolist() == a.tolist()


@rule("numpy.refused-arrays.dtypes")
@also(*UNRECORDED)
@given(strange=strange_arrays())
def test_a_dtype_that_torch_lacks_is_refused_by_name(device, strange):
    for position, a in enumerate(strange):
        for convert in (*CONVERSIONS, WITH_A_DTYPE[position % len(WITH_A_DTYPE)]):
            with pytest.raises(
                TypeError, match=f"can't convert np.ndarray of type numpy.{a.dtype.type.__name__}"
            ) as refusal:
                convert(a)
            assert refusal.type is TypeError


@rule("numpy.refused-arrays.released")
@given(
    strange=strange_arrays(),
    cases=st.tuples(
        *(drawn.map(lambda case: case[0]) for drawn in (reversed_arrays(), packed_arrays(), swapped_arrays()))
    ),
)
def test_a_refused_array_lives_no_longer_than_its_names(device, strange, cases):
    for a in (*strange, *cases):
        for convert in CONVERSIONS:
            refused = a[...]
            owned = weakref.ref(refused)
            with pytest.raises((TypeError, ValueError)):
                convert(refused)
            del refused
            assert owned() is None


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
    assert [x.tolist() for x in copies] == [a.tolist()] * 2
