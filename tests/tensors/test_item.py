"""spec/tensors/item.md"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes_of_other_sizes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.oracles import state

PLACES = (
    "torch.tensor({value}, dtype={dtype}, device=device)",
    "torch.tensor([{value}], dtype={dtype}, device=device)",
    "torch.tensor([[[{value}]]], dtype={dtype}, device=device)",
    "torch.tensor([0, {value}], dtype={dtype}, device=device)[1]",
    "torch.tensor([[0, {value}, 0]], dtype={dtype}, device=device)[:, 1:2]",
    "torch.tensor([{value}], dtype={dtype}, device=device).expand(1, 1)",
)
COMPLEX_PLACES = (
    *PLACES,
    "torch.tensor({value}, dtype={dtype}, device=device).conj().resolve_conj().conj()",
    "torch.tensor([0, {value}], dtype={dtype}, device=device)[1:].conj_physical().conj()",
)
PARTS = (
    "torch.tensor(complex({value}, 1), dtype={dtype}, device=device).real",
    "torch.tensor([complex(1, {value})], dtype={dtype}, device=device).imag",
    "torch.tensor([complex(1, -{value})], dtype={dtype}, device=device).conj().imag",
)
"""Real tensors that look into a complex one, the last of which means the opposite of what its memory says."""

COMPLEX_OF = {"torch.float32": "torch.complex64", "torch.float64": "torch.complex128"}
RECORDS = (
    "{x}",
    "{x}.requires_grad_()",
    "{x}.requires_grad_().view(1)",
    "{x}.requires_grad_().clone()",
    "torch.nn.Parameter({x})",
)

INTEGERS = {
    "torch.int64": (-(2**63), 2**63 - 1),
    "torch.int32": (-(2**31), 2**31 - 1),
    "torch.int16": (-(2**15), 2**15 - 1),
    "torch.int8": (-(2**7), 2**7 - 1),
    "torch.uint8": (0, 2**8 - 1),
}
WIDTHS = {"torch.float64": 64, "torch.float32": 32, "torch.float16": 16}


def reals(width):
    """Numbers that a float of this width holds exactly. Some devices treat the subnormal ones as zero."""
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    return finite | st.sampled_from((math.inf, -math.inf, math.nan, -0.0))


def coarse():
    """Numbers of eight binary digits, which is all that bfloat16 has."""
    some = st.builds(lambda number, power: number / 2**power, st.integers(-255, 255), st.integers(0, 8))
    return some | st.sampled_from((math.inf, -math.inf, math.nan, -0.0, 2.0**100))


VALUES = {
    **{dtype: st.integers(*bounds) for dtype, bounds in INTEGERS.items()},
    **{dtype: reals(width) for dtype, width in WIDTHS.items()},
    "torch.bool": st.booleans(),
    "torch.bfloat16": coarse(),
    "torch.complex64": st.builds(complex, reals(32), reals(32)),
    "torch.complex128": st.builds(complex, reals(64), reals(64)),
}


def written(value):
    """The source of a number; that of a complex one keeps the sign of a zero."""
    if isinstance(value, complex):
        return f"complex({written(value.real)}, {written(value.imag)})"
    return repr(value) if math.isfinite(value) else f"float('{value}')"


EXTREMES = {
    **{dtype: (low, high, high // 2 + 1) for dtype, (low, high) in INTEGERS.items()},
    "torch.int64": (-(2**63), 2**63 - 1, 2**53 + 1),
    "torch.bool": (True, False),
    "torch.float64": (0.1, -1e300, 2.0**53 + 2, math.inf, -0.0, math.nan),
    "torch.float32": (1 + 2.0**-23, -(2.0**127), 0.10000000149011612, math.inf, -0.0, math.nan),
    "torch.float16": (1 + 2.0**-10, -65504.0, 0.0999755859375, math.inf, -0.0, math.nan),
    "torch.bfloat16": (1 + 2.0**-7, -(2.0**127), 0.10009765625, math.inf, -0.0, math.nan),
    "torch.complex64": (1 + 0.10000000149011612j, complex(-(2.0**127), math.inf)),
    "torch.complex128": (1 + 0.1j, -1e300 + 0j),
}
"""By dtype: numbers that it holds exactly, at the ends of its range or with all the digits that it has."""


def extremes_of_some_dtypes():
    """(dtype, values) for two dtypes, one after the other in a round of all."""
    every = [(Expression(name, dtypes=frozenset({name})), values) for name, values in EXTREMES.items()]
    return st.sampled_from([(every * 2)[first : first + 2] for first in range(len(every))])


@st.composite
def single_elements(draw):
    """(x, text): a tensor of one element, and how Python writes that element."""
    dtype = draw(st.sampled_from(tuple(VALUES)))
    value = draw(VALUES[dtype])
    named = {dtype}
    if dtype in COMPLEX_OF and draw(st.booleans()):
        named.add(COMPLEX_OF[dtype])
        x = draw(st.sampled_from(PARTS)).format(value=written(value), dtype=COMPLEX_OF[dtype])
    else:
        places = COMPLEX_PLACES if dtype in dtypes.COMPLEX else PLACES
        x = draw(st.sampled_from(places)).format(value=written(value), dtype=dtype)
    record = draw(st.sampled_from(RECORDS if dtype in dtypes.FLOATING + dtypes.COMPLEX else RECORDS[:1]))
    return Expression(record.format(x=x), dtypes=frozenset(named)), repr(value)


@rule("tensors.item.exact")
@also(*UNRECORDED)
@given(x_and_text=single_elements())
@example(x_and_text=(Expression("torch.tensor(0.9962908625602722, device=device)"), "0.9962908625602722"))
@example(x_and_text=(Expression("torch.tensor(0.1, device=device)"), "0.10000000149011612"))
@example(x_and_text=(Expression("torch.tensor([9007199254740993], device=device)"), "9007199254740993"))
@example(
    x_and_text=(
        Expression("torch.tensor([1, 200], dtype=torch.uint8, device=device)[1]", dtypes=frozenset({"torch.uint8"})),
        "200",
    )
)
@example(x_and_text=(Expression("torch.tensor([-0.0], device=device)"), "-0.0"))
@example(
    x_and_text=(
        Expression("torch.tensor(0.1, dtype=torch.float16, device=device)", dtypes=frozenset({"torch.float16"})),
        "0.0999755859375",
    )
)
@example(
    x_and_text=(
        Expression("torch.tensor(0.1, dtype=torch.float64, device=device)", dtypes=frozenset({"torch.float64"})),
        "0.1",
    )
)
@example(x_and_text=(Expression("torch.tensor([[math.inf]], device=device, requires_grad=True)"), "inf"))
@example(x_and_text=(Expression("torch.tensor(3.0, device=device, requires_grad=True).square()"), "9.0"))
@example(
    x_and_text=(
        Expression("torch.tensor([1 - 2j], device=device).conj()", dtypes=frozenset({"torch.complex64"})),
        "(1+2j)",
    )
)
@example(
    x_and_text=(
        Expression("torch.tensor([1 - 2j], device=device).conj().imag", dtypes=frozenset({"torch.complex64"})),
        "2.0",
    )
)
def test_item_is_exactly_the_element_as_a_python_number(device, x_and_text):
    x, text = x_and_text
    leaf = x.detach().clone().requires_grad_(x.is_floating_point() or x.is_complex())
    leaf.grad = torch.ones_like(leaf) if leaf.requires_grad else None
    for same in (x, x.clone(), x.view_as(x), leaf):
        before = state(same)
        assert repr(same.item()) == text
        assert repr(state(same)) == repr(before)
    with torch.no_grad():
        x.zero_()
        assert x.item() == 0
        x.fill_(1)
    assert x.item() == 1
    assert x.detach().item() == 1


@rule("tensors.item.exact")
@also(*UNRECORDED)
@given(cases=extremes_of_some_dtypes())
def test_item_is_exact_at_the_ends_of_every_dtype(device, cases):
    for dtype, values in cases:
        for value in values:
            pair = torch.tensor([[0, value]], dtype=dtype, device=device)
            singles = [
                pair[0, 1],
                pair[:, 1:],
                pair.T[1],
                pair[0].view(2)[-1:],
                pair[0, 1].clone(),
                pair[0, 1:].expand(1, 1),
            ]
            singles += [torch.tensor(value, dtype=dtype, device=device)]
            if dtype.is_floating_point or dtype.is_complex:
                singles += [single.clone().requires_grad_() for single in singles[:2]]
                singles += [singles[-1].reshape(()), singles[-2].clone(), torch.nn.Parameter(pair[0, 1:])]
            for x in singles:
                before = state(x)
                found = x.item()
                assert type(found) is type(value)
                assert repr(found) == repr(value)
                assert repr(state(x)) == repr(before)
            with pytest.raises(RuntimeError):
                pair.item()
            assert repr(pair[0, 1].item()) == repr(value)
            assert pair[0, 0].item() == 0


@rule("tensors.item.other-sizes")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes_of_other_sizes() | tails(), dtypes.differentiable() | dtypes.integral()))
@example(x=Expression("torch.nn.Parameter(torch.ones(2, device=device))"))
@example(x=Expression("torch.ones(0, 3, device=device, requires_grad=True) * 2"))
@example(x=Expression("torch.ones(3, device=device)"))
def test_any_other_number_of_elements_is_refused(device, x):
    x = x.detach().requires_grad_() if x.is_leaf and x.requires_grad else x
    if x.is_leaf and x.requires_grad:
        x.grad = torch.ones_like(x)
    plain = x.detach()
    for several in (x, plain, plain.clone(), x[None], x.view_as(x), plain.movedim(0, -1), torch.cat([plain, plain])):
        before = state(x, several)
        if several.numel():
            first = several[(slice(1),) * several.ndim]
            assert first.item() == several.tolist()[0] if several.ndim == 1 else first.item() is not None
        with pytest.raises(RuntimeError, match="cannot be converted to Scalar") as refusal:
            several.item()
        assert refusal.type is RuntimeError
        assert state(x, several) == before


@rule("tensors.item.other-sizes")
@also(*UNRECORDED)
@given(
    named=st.sampled_from(
        [
            [Expression(name, dtypes=frozenset({name})) for name in names]
            for names in (dtypes.INTEGRAL, dtypes.FLOATING[:2], dtypes.FLOATING[2:], dtypes.COMPLEX)
        ]
    )
)
def test_no_dtype_makes_a_number_of_none_or_several(device, named):
    for dtype in named:
        for shape in ((0,), (2,), (1, 2), (2, 1), (1, 0), (0, 1, 1), (17,), (1, 1, 33)):
            x = torch.zeros(shape, dtype=dtype, device=device)
            with pytest.raises(RuntimeError, match="cannot be converted to Scalar") as refusal:
                x.item()
            assert refusal.type is RuntimeError
            assert x.shape == shape
