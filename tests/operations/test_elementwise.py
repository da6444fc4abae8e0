"""spec/operations/elementwise.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, like, shapes, tensors
from tests.oracles import numbers, state

EXACT = (
    ("lambda x, y: x + y", "lambda v, w: v + w"),
    ("lambda x, y: x - y", "lambda v, w: v - w"),
    ("lambda x, y: x * y", "lambda v, w: v * w"),
    ("lambda x, y: x / 4", "lambda v, w: v / 4"),
    ("lambda x, y: torch.div(y, 2)", "lambda v, w: w / 2"),
    ("lambda x, y: -x", "lambda v, w: -v"),
    ("lambda x, y: 1 - y", "lambda v, w: 1 - w"),
    ("lambda x, y: x.add(y, alpha=2)", "lambda v, w: v + 2 * w"),
    ("lambda x, y: torch.sub(x, y)", "lambda v, w: v - w"),
    ("lambda x, y: x.mul(y)", "lambda v, w: v * w"),
)
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


@rule("operations.elementwise.arithmetic")
@given(
    pair=like(tensors(shapes() | SIZES, st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:4]))),
    operation=pairs(EXACT),
)
@example(
    pair=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"),
        Expression("torch.tensor([[5.0, 6.0], [7.0, 8.0]], device=device)"),
    ),
    operation=(Expression(EXACT[2][0]), Expression(EXACT[2][1])),
)
@example(
    pair=(Expression("torch.tensor([1, 2, 3], device=device)"), Expression("torch.tensor([1, 2, 3], device=device)")),
    operation=(Expression(EXACT[3][0]), Expression(EXACT[3][1])),
)
@example(
    pair=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"),
        Expression("torch.tensor([[5.0, 7.0], [6.0, 8.0]], device=device).T"),
    ),
    operation=(Expression(EXACT[0][0]), Expression(EXACT[0][1])),
)
def test_arithmetic_pairs_the_elements_at_the_same_place(device, pair, operation):
    x, y = pair
    function, value = operation
    before = state(x, y)
    result = function(x, y)
    assert result.shape == x.shape
    assert numbers(result) == [value(v, w) for v, w in zip(numbers(x), numbers(y), strict=True)]
    assert state(x, y) == before


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
