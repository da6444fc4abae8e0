"""spec/operations/elementwise.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, like, shapes, tensors
from tests.inputs.shapes import PICTURES
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

ROUNDED = (
    ("lambda x: torch.exp(x)", "lambda v: math.exp(v)"),
    ("lambda x: x.exp()", "lambda v: math.exp(v)"),
    ("lambda x: torch.sin(x)", "lambda v: math.sin(v)"),
    ("lambda x: x.sin()", "lambda v: math.sin(v)"),
    ("lambda x: x.pow(2)", "lambda v: v**2"),
    ("lambda x: x**2", "lambda v: v**2"),
    ("lambda x: x**3", "lambda v: v**3"),
    ("lambda x: torch.pow(x, 0)", "lambda v: 1"),
)
"""A function of a tensor, and what it makes of one element, up to rounding."""

SIZES = st.sampled_from([(17,), (33,), (5, 13)])
"""One above what a vector register holds, and a matrix whose rows end within one."""


RECORDED = ("lambda x: x", "lambda x: x.requires_grad_(x.is_floating_point())")
"""A tensor, and one for which operations are recorded if its dtype allows."""


def pairs(choices):
    """(function, value): value(v, ...) is what `function` makes of the elements v, ..."""
    return st.sampled_from(choices).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


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


@rule("operations.elementwise.functions")
@given(x=tensors(shapes() | SIZES, dtypes.floating()), operation=pairs(ROUNDED))
@example(
    x=Expression("torch.linspace(-1, 1, 2000).to(device)"),
    operation=(Expression(ROUNDED[0][0]), Expression(ROUNDED[0][1])),
)
def test_a_function_gives_its_value_at_every_element(device, x, operation):
    function, value = operation
    result = function(x)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    for v, found in zip(numbers(x), numbers(result), strict=True):
        assert abs(found - value(v)) <= allowed(value(v), x.dtype)
