"""spec/operations/elementwise.md"""

import cmath
import math

import numpy as np
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
    "x - x": (lambda x, y: x - x.view_as(x), lambda v, w: 0),
    "x * x": (lambda x, y: x * x.view_as(x), lambda v, w: v * v),
    "x + 2": (lambda x, y: x + 2, lambda v, w: v + 2),
    "2 + x": (lambda x, y: 2 + x, lambda v, w: 2 + v),
    "x - 2": (lambda x, y: x - 2, lambda v, w: v - 2),
    "2 - x": (lambda x, y: 2 - x, lambda v, w: 2 - v),
    "x * 3": (lambda x, y: x * 3, lambda v, w: v * 3),
    "3 * x": (lambda x, y: 3 * x, lambda v, w: 3 * v),
    "torch.add(x, y)": (lambda x, y: torch.add(x, y), lambda v, w: v + w),
    "x.sub(y, alpha=2)": (lambda x, y: x.sub(y, alpha=2), lambda v, w: v - 2 * w),
    "torch.mul(x, 3)": (lambda x, y: torch.mul(x, 3), lambda v, w: v * 3),
    "torch.add(x, y, alpha=-3)": (lambda x, y: torch.add(x, y, alpha=-3), lambda v, w: v - 3 * w),
    "in place": (lambda x, y: x.detach().clone().sub_(y), lambda v, w: v - w),
    "in place, times": (lambda x, y: x.detach().clone().mul_(y), lambda v, w: v * w),
    "y - x": (lambda x, y: y - x, lambda v, w: w - v),
}
"""A function of two tensors, and what it makes of one element of each; exact for small integers."""

UNSUITED = ("/", "div", "x * x")
"""Parts of the names of those that need room for more."""

WITHOUT_DIVISION = {name: functions for name, functions in EXACT.items() if not any(part in name for part in UNSUITED)}

BITS = {
    "torch.float64": 2**40 + 1,
    "torch.complex128": 2**40 + 1,
    "torch.float32": 2**12 + 1,
    "torch.complex64": 2**12 + 1,
    "torch.float16": 2**7 + 1,
    "torch.bfloat16": 2**4 + 1,
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
    "x.pow(1)": (lambda x: x.pow(1), lambda v: v),
    "torch.pow(x, 3)": (lambda x: torch.pow(x, 3), lambda v: v**3),
    "x**4": (lambda x: x**4, lambda v: v**4),
    "torch.square(x)": (lambda x: torch.square(x), lambda v: v * v),
    "exp in place": (lambda x: x.detach().clone().exp_(), math.exp),
    "sin in place": (lambda x: x.detach().clone().sin_(), math.sin),
    "x.clone().pow_(3)": (lambda x: x.detach().clone().pow_(3), lambda v: v**3),
}
"""A function of a tensor, and what it makes of one element, up to rounding."""

SIZES = st.sampled_from([(17,), (33,), (5, 13)])
"""One above what a vector register holds, and a matrix whose rows end within one."""


RECORDED = ("lambda x: x", "lambda x: x.requires_grad_(x.is_floating_point())")
"""A tensor, and one for which operations are recorded if its dtype allows."""


def allowed(expected, dtype):
    """How far from `expected` a device may be, for exp, sin and powers up to 4 of arguments in [-3, 3].

    torch promises no accuracy, so this is what graphics interfaces allow the least exact devices. There, exp errs by at
    most 3 + 2|x| <= 9 units in the last place. A power is exp2(n log2|x|): 3 units of the logarithm, times n log 2, at
    most 2.8, and 3 + 2 * 6.4 of the exponential, 25 together. A unit is at most eps |expected|, and storing the result
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
    if x.ndim > 1:
        first, last = (tensor.transpose(0, -1).contiguous().transpose(0, -1) for tensor in (x, y))
        for name in ("x + y", "x - y", "x * y"):
            function, value = EXACT[name]
            expected = [value(v, w) for v, w in zip(numbers(x), numbers(y), strict=True)]
            assert numbers(function(first, y)) == numbers(function(x, last)) == expected, name


@st.composite
def wide_and_small(draw):
    """Numbers that need as many bits as their dtype has, and small ones of the same shape."""
    shape, dtype = draw(shapes() | SIZES), draw(st.sampled_from(list(BITS)))
    return tensor_of(draw, shape, dtype, each=lambda value: BITS[dtype] * value), tensor_of(draw, shape, dtype)


DIVISORS = (-1, -2, -4, 8, 1, 2, 4)


@st.composite
def divisible(draw):
    """A tensor, and one of the same shape and dtype by whose elements it can be divided without rounding."""
    shape, dtype = draw(shapes() | SIZES), draw(st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL[:4]))
    return tensor_of(draw, shape, dtype), tensor_of(draw, shape, dtype, each=lambda value: DIVISORS[value + 3])


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=divisible())
def test_a_tensor_is_divided_by_another_place_by_place(device, pair):
    x, y = pair
    quotients = [v / w for v, w in zip(numbers(x), numbers(y), strict=True)]
    for name, result in {"x / y": x / y, "torch.div(x, y)": torch.div(x, y), "x.div(y)": x.div(y)}.items():
        assert result.dtype == x.dtype or not x.is_floating_point(), name
        assert numbers(result) == quotients, name
    for number in (8, 3, -0.5):
        assert numbers(number / y) == [number / w for w in numbers(y)], number
    assert numbers(y / y) == [1] * y.numel()


@st.composite
def of_two_dtypes(draw):
    """Two tensors of one shape and different dtypes; bytes are beyond what they would hold if they had a sign."""
    shape = draw(shapes() | SIZES)
    ours, theirs = draw(st.sampled_from(MIXED))
    return tuple(
        tensor_of(draw, shape, dtype, each=lambda value: 64 * value if dtype == "torch.uint8" else value)  # noqa: B023
        for dtype in (ours, theirs)
    )


NUMERIC = dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:5]
MIXED = [(ours, theirs) for ours in NUMERIC for theirs in NUMERIC if ours != theirs]


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=of_two_dtypes())
@example(pair=(COUNTS, Expression("torch.tensor([0.5, 1.0, 2.0], device=device)")))
def test_tensors_of_two_dtypes_are_paired_place_by_place(device, pair):
    for x, y in (pair, pair[::-1]):
        for name in ("x + y", "x - y", "x * y"):
            function, value = EXACT[name]
            result = function(x, y)
            assert numbers(result) == [value(v, w) for v, w in zip(numbers(x), numbers(y), strict=True)], name
            if x.is_floating_point() or x.is_complex():
                assert result.dtype == torch.promote_types(x.dtype, y.dtype), name
    x, y = pair
    if not (x.is_complex() or y.is_complex()):
        assert numbers(x / (y * 0 + 2)) == [v / 2 for v in numbers(x)]
        assert numbers(y / (x * 0 + 2)) == [w / 2 for w in numbers(y)]


SPECIAL = ("math.inf", "-math.inf", "math.nan", "-0.0", "0.0", "2.0", "-1.0")
"""What floating-point numbers there are beside those that are finite and not 0, and two of these."""


@st.composite
def special(draw):
    """Two tensors in which special numbers meet, 21 of them, so that some are the last in a vector register."""
    dtype = draw(dtypes.floating())
    start, step = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    return tuple(
        Expression(
            f"torch.tensor([{', '.join(SPECIAL[(first + by * place) % 7] for place in range(7))}] * 3, "
            f"dtype={dtype}, device=device)",
            dtypes=frozenset({dtype}),
            facts={"dtype": dtype},
        )
        for first, by in ((0, 1), (start, step))
    )


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=special())
def test_infinities_nan_and_the_sign_of_zero_go_by_ieee_754(device, pair):
    for x, y in (pair, pair[::-1]):
        v, w = np.array(numbers(x)), np.array(numbers(y))
        with np.errstate(all="ignore"):
            for name in ("x + y", "x - y", "x * y", "-x", "x + 2", "2 - x", "3 * x"):
                function, value = EXACT[name]
                assert str(numbers(function(x, y))) == str(value(v, w).tolist()), name
            for divisor, number in ((y, w), (4, 4)):
                assert str(numbers(x / divisor)) == str((v / number).tolist())


MANY_BITS = (
    Expression(f"torch.tensor([{2**55 + 1}, -{2**55 + 1}], device=device)"),
    Expression("torch.tensor([3, 2], device=device)"),
)
HALVES = (
    Expression(
        "torch.tensor([129.0, -387.0], dtype=torch.float16, device=device)", dtypes=frozenset({"torch.float16"})
    ),
    Expression("torch.tensor([3.0, 2.0], dtype=torch.float16, device=device)", dtypes=frozenset({"torch.float16"})),
)
BRAIN_HALVES = (
    Expression(
        "torch.tensor([17.0, -51.0], dtype=torch.bfloat16, device=device)", dtypes=frozenset({"torch.bfloat16"})
    ),
    Expression("torch.tensor([3.0, 2.0], dtype=torch.bfloat16, device=device)", dtypes=frozenset({"torch.bfloat16"})),
)


@rule("operations.elementwise.arithmetic")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=wide_and_small())
@example(pair=MANY_BITS)
@example(pair=HALVES)
@example(pair=HALVES[::-1])
@example(pair=BRAIN_HALVES)
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
    values, before = numbers(x), state(x)
    for name, (function, value) in ROUNDED.items():
        # The first answer is not that to another question.
        for times in (1, -1):
            result = function(x if times == 1 else -x)
            assert result.shape == x.shape, name
            assert result.dtype == x.dtype, name
            for v, found in zip(values, numbers(result), strict=True):
                assert abs(found - value(times * v)) <= allowed(value(times * v), x.dtype), name
    assert state(x) == before


def single_or_double(x):
    """The dtype of which the rounding errors are, for complex numbers and integers."""
    return torch.float64 if x.dtype == torch.complex128 else torch.float32


@rule("operations.elementwise.functions")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes() | SIZES, dtypes.complex_() | dtypes.integral().filter(lambda dtype: dtype != "torch.bool")))
def test_exp_and_sin_take_complex_numbers_and_integers(device, x):
    values = numbers(x)
    for name, function, value in (("exp", torch.exp, cmath.exp), ("sin", torch.sin, cmath.sin)):
        for result in (function(x), getattr(x, name)()):
            assert result.shape == x.shape, name
            assert result.dtype == (x.dtype if x.is_complex() else torch.float32), name
            for v, found in zip(values, numbers(result), strict=True):
                # Real and imaginary part are products of functions of real numbers, none of them above e**|v|.
                assert abs(found - value(v)) <= 4 * math.exp(abs(v)) * allowed(1, single_or_double(x)), name
    if x.is_complex():
        for n in range(4):
            for v, found in zip(values, numbers(x**n), strict=True):
                assert abs(found - v**n) <= 4 * (1 + abs(v)) ** n * allowed(1, single_or_double(x)), n


@rule("operations.elementwise.functions")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=special())
def test_functions_of_infinities_nan_and_zeros_are_their_limits(device, pair):
    x = pair[0]
    values = numbers(x)
    limits = {
        "exp": (torch.exp, {math.inf: math.inf, -math.inf: 0.0, 0.0: 1.0}),
        "sin": (torch.sin, {math.inf: math.nan, -math.inf: math.nan, 0.0: 0.0}),
        "x**0": (lambda x: x**0, {math.inf: 1.0, -math.inf: 1.0, 0.0: 1.0}),
        "x**1": (lambda x: x**1, {math.inf: math.inf, -math.inf: -math.inf, 0.0: 0.0}),
        "x**2": (lambda x: x**2, {math.inf: math.inf, -math.inf: math.inf, 0.0: 0.0}),
        "x**3": (lambda x: x**3, {math.inf: math.inf, -math.inf: -math.inf, 0.0: 0.0}),
    }
    for name, (function, limit) in limits.items():
        for v, found in zip(values, numbers(function(x)), strict=True):
            if v in limit:
                assert found == limit[v] or (math.isnan(found) and math.isnan(limit[v])), name
            elif math.isnan(v):
                assert math.isnan(found) or name == "x**0", name


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
    before = state(x)
    for n in range(4):
        for power in (x**n, x.pow(n), torch.pow(x, n), x.clone().pow_(n)):
            assert power.shape == x.shape, n
            assert power.dtype == x.dtype, n
            assert numbers(power) == [v**n for v in numbers(x)], n
    assert state(x) == before
