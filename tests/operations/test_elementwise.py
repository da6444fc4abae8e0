"""spec/operations/elementwise.md"""

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, like, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.shapes import PICTURES
from tests.inputs.tensors import tensor_of
from tests.oracles import numbers, state

EXACT = {
    "x + y": (lambda x, y: x + y, lambda v, w: v + w),
    "x - y": (lambda x, y: x - y, lambda v, w: v - w),
    "x * y": (lambda x, y: x * y, lambda v, w: v * w),
    "x / 4": (lambda x, y: x / 4, lambda v, w: v / 4),
    "torch.div(y, 2)": (lambda x, y: torch.div(y, 2), lambda v, w: w / 2),
    "-x": (lambda x, y: -x, lambda v, w: -v),
    "1 - y": (lambda x, y: 1 - y, lambda v, w: 1 - w),
    "1 - x / 4": (lambda x, y: 1 - x / 4, lambda v, w: 1 - v / 4),
    "x.add(y, alpha=2)": (lambda x, y: x.add(y, alpha=2), lambda v, w: v + 2 * w),
    "torch.sub(x, y)": (lambda x, y: torch.sub(x, y), lambda v, w: v - w),
    "x.mul(y)": (lambda x, y: x.mul(y), lambda v, w: v * w),
    "x + x": (lambda x, y: x + x, lambda v, w: v + v),
}
"""A function of two tensors, and what it makes of one element of each; exact for small integers."""

WITHOUT_DIVISION = {name: functions for name, functions in EXACT.items() if "/" not in name and "div" not in name}

BITS = {
    "torch.float64": 2**40 + 1,
    "torch.complex128": 2**40 + 1,
    "torch.float32": 2**12 + 1,
    "torch.complex64": 2**12 + 1,
    "torch.int64": 2**55 + 1,
    "torch.int32": 2**27 + 1,
    "torch.int16": 2**11 + 1,
    "torch.int8": 13,
}
"""What makes of a number up to 3 one that needs this dtype and no narrower one; nine times as much is exact in it."""

ROUNDED = {
    "torch.exp(x)": (lambda x: torch.exp(x), math.exp),
    "x.exp()": (lambda x: x.exp(), math.exp),
    "torch.sin(x)": (lambda x: torch.sin(x), math.sin),
    "x.sin()": (lambda x: x.sin(), math.sin),
    "x.pow(2)": (lambda x: x.pow(2), lambda v: v**2),
    "x**2": (lambda x: x**2, lambda v: v**2),
    "x**3": (lambda x: x**3, lambda v: v**3),
    "torch.pow(x, 0)": (lambda x: torch.pow(x, 0), lambda v: 1),
}
"""A function of a tensor, and what it makes of one element, up to rounding."""

SIZES = st.sampled_from([(17,), (33,), (5, 13)])
"""One above what a vector register holds, and a matrix whose rows end within one."""


RECORDED = ("lambda x: x", "lambda x: x.requires_grad_(x.is_floating_point())")
"""A tensor, and one for which operations are recorded if its dtype allows."""


def allowed(expected, dtype):
    """How far from `expected` a device may be, for exp, sin and powers up to 3 of arguments in [-3, 3].

    torch promises no accuracy, so this is what graphics interfaces allow the least exact devices. There, exp errs by at
    most 3 + 2|x| <= 9 units in the last place. A power is exp2(n log2|x|): 3 units of the logarithm, times n log 2, at
    most 2.1, and 3 + 2 * 4.8 of the exponential, 20 together. A unit is at most eps |expected|, and storing the result
    adds one. The sine errs by at most 2^-11. In float64 no device takes such short cuts.
    """
    eps = torch.finfo(dtype).eps
    return 32 * eps * abs(expected) + (8 * eps if dtype == torch.float64 else 2**-11)


ROWS = Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)")
TURNED = Expression("torch.tensor([[5.0, 7.0], [6.0, 8.0]], device=device).T")
COUNTS = Expression("torch.tensor([1, 2, 3], device=device)")
PICTURE = "torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]], device=device)"
PICTURES_IN_TWO_LAYOUTS = (
    Expression(PICTURE),
    Expression(f"{PICTURE}.contiguous(memory_format=torch.channels_last)"),
)


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED)
@given(
    pair=like(
        tensors(
            shapes() | SIZES | st.sampled_from(PICTURES),
            st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:4]),
        )
    ),
    recorded=st.sampled_from(RECORDED).map(Expression),
)
@example(pair=(ROWS, TURNED), recorded=Expression(RECORDED[1]))
@example(pair=(COUNTS, COUNTS), recorded=Expression(RECORDED[0]))
@example(pair=PICTURES_IN_TWO_LAYOUTS, recorded=Expression(RECORDED[0]))
def test_arithmetic_pairs_the_elements_at_the_same_place(device, pair, recorded):
    x, y = recorded(pair[0]), pair[1]
    before = state(x, y)
    for name, (function, value) in EXACT.items():
        result = function(x, y)
        assert result.shape == x.shape, name
        assert result.dtype == x.dtype or not (x.is_floating_point() or x.is_complex()), name
        assert numbers(result) == [value(v, w) for v, w in zip(numbers(x), numbers(y), strict=True)], name
        assert state(x, y) == before, name


@st.composite
def wide_and_small(draw):
    """Numbers that need as many bits as their dtype has, and small ones of the same shape."""
    shape, dtype = draw(shapes() | SIZES), draw(st.sampled_from(list(BITS)))
    return tensor_of(draw, shape, dtype, each=lambda value: BITS[dtype] * value), tensor_of(draw, shape, dtype)


MANY_BITS = (
    Expression(f"torch.tensor([{2**55 + 1}, -{2**55 + 1}], device=device)"),
    Expression("torch.tensor([3, 2], device=device)"),
)


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=wide_and_small())
@example(pair=MANY_BITS)
def test_arithmetic_is_done_in_the_dtype_of_the_tensors(device, pair):
    for x, y in (pair, pair[::-1]):
        for name, (function, value) in WITHOUT_DIVISION.items():
            result = function(x, y)
            assert result.dtype == x.dtype, name
            assert numbers(result) == [value(v, w) for v, w in zip(numbers(x), numbers(y), strict=True)], name


@rule("operations.elementwise.functions")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes() | SIZES, dtypes.floating()))
@example(x=Expression("torch.linspace(-1, 1, 200).to(device)"))
@example(x=Expression("torch.arange(33.0, dtype=torch.float64).to(device) / 16", dtypes=frozenset({"torch.float64"})))
def test_a_function_gives_its_value_at_every_element(device, x):
    for name, (function, value) in ROUNDED.items():
        result = function(x)
        assert result.shape == x.shape, name
        assert result.dtype == x.dtype, name
        for v, found in zip(numbers(x), numbers(result), strict=True):
            assert abs(found - value(v)) <= allowed(value(v), x.dtype), name


CUBES = {"torch.int64": 2**19 + 1, "torch.int32": 2**8 + 1, "torch.int16": 2**3 + 1, "torch.int8": 1}
"""What makes of a number up to 3 one whose cube is exact in this dtype and in no floating-point dtype as wide."""


@st.composite
def whole(draw):
    """Integers with room for their cubes."""
    dtype = draw(st.sampled_from(list(CUBES)))
    return tensor_of(draw, draw(shapes() | SIZES), dtype, each=lambda value: CUBES[dtype] * value)


@rule("operations.elementwise.functions")
@also(*UNRECORDED)
@given(x=whole())
@example(x=Expression(f"torch.tensor([3, -2, {2**19 + 1}], device=device)"))
def test_a_whole_power_of_integers_is_exact(device, x):
    for n in range(4):
        for power in (x**n, x.pow(n), torch.pow(x, n)):
            assert power.dtype == x.dtype, n
            assert numbers(power) == [v**n for v in numbers(x)], n
