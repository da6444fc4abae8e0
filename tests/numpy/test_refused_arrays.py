"""spec/numpy/refused-arrays.md"""

import warnings
import weakref

import pytest
import torch
from hypothesis import example, given
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
)


def reversed_arrays():
    """An array run through backwards along its first or its last dimension, and what is wrong with it."""
    several = arrays(shapes(min_dims=1, min_side=2), among=APART)
    return st.tuples(
        st.builds(
            lambda array, way: Expression(array.source + way), several, st.sampled_from(("[::-1]", "[..., ::-1]"))
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
    """An array of a dtype that torch lacks."""
    return st.builds(
        lambda shape, dtype: Expression(f"np.zeros({shape}, dtype={dtype})"), shapes(), st.sampled_from(STRANGE_DTYPES)
    )


@rule("numpy.refused-arrays.layouts")
@also(*UNRECORDED)
@given(case=reversed_arrays() | packed_arrays() | swapped_arrays())
def test_an_array_that_no_tensor_can_describe_is_refused_and_a_native_copy_is_not(device, case):
    a, reason = case
    before = a.tolist(), a.strides, a.dtype
    for convert in CONVERSIONS:
        with pytest.raises(Exception, match=reason) as refusal:
            convert(a)
        assert refusal.type is ValueError
        assert (a.tolist(), a.strides, a.dtype) == before
        assert convert(a.astype(a.dtype.newbyteorder("="), order="C")).tolist() == a.tolist()


@rule("numpy.refused-arrays.dtypes")
@also(*UNRECORDED)
@given(a=strange_arrays())
def test_a_dtype_that_torch_lacks_is_refused_by_name(device, a):
    for convert in CONVERSIONS:
        with pytest.raises(
            TypeError, match=f"can't convert np.ndarray of type numpy.{a.dtype.type.__name__}"
        ) as refusal:
            convert(a)
        assert refusal.type is TypeError


@rule("numpy.refused-arrays.released")
@given(a=strange_arrays() | (reversed_arrays() | packed_arrays() | swapped_arrays()).map(lambda case: case[0]))
@example(a=Expression("np.zeros(2, dtype=object)"))
def test_a_refused_array_lives_no_longer_than_its_names(device, a):
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
        for share in CONVERSIONS[:3]:
            with pytest.warns(UserWarning, match="NumPy array is not writable"):
                x = share(view)
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
