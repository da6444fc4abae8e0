"""spec/derivatives/broadcasting.md"""

import itertools
from functools import cache

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, places, shapes
from tests.inputs.dtypes import FLOATING, floating
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array, summed_to

LARGER = st.sampled_from(((17,), (4, 5), (2, 3, 4)))
"""More copies than a vector register holds."""

TWO_DTYPES = st.sampled_from(list(itertools.permutations(FLOATING, 2)))

OPERATIONS = {
    "a + b": (lambda a, b: a + b, lambda a, b: 1, lambda a, b: 1),
    "a - b": (lambda a, b: a - b, lambda a, b: 1, lambda a, b: -1),
    "a * b": (lambda a, b: a * b, lambda a, b: b, lambda a, b: a),
    "b * a": (lambda a, b: b * a, lambda a, b: b, lambda a, b: a),
    "b - a": (lambda a, b: b - a, lambda a, b: -1, lambda a, b: 1),
    "add": (lambda a, b: torch.add(a, b, alpha=2), lambda a, b: 1, lambda a, b: 2),
}
"""An operation, and its derivatives by its two operands."""


@cache
def that_stretch_to(shape):
    """Two shapes that broadcast to this one: a leading dim may be missing, any other dim may be 1."""
    behind = [shape[missing:] for missing in range(len(shape) + 1)]
    stretching = [(size,) if size == 1 else (size, 1) for size in shape]
    smaller = [operand for kept in behind for operand in itertools.product(*stretching[len(shape) - len(kept) :])]
    pairs = [pair for pair in itertools.product(smaller, smaller) if torch.broadcast_shapes(*pair) == shape]
    return st.sampled_from(pairs)


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 5, "torch.bfloat16": 1}
"""What makes of a small integer one that a narrower dtype rounds, while a sum of 27 products is still exact."""


@st.composite
def stretched(draw):
    """(a, b, gradient): two leaves whose shapes broadcast, and a gradient of the shape of what they make."""
    both = draw(shapes() | LARGER)
    first, second = draw(that_stretch_to(both))
    dtype = draw(floating())
    a, b = (leaf_of(draw, shape, dtype) for shape in (first, second))
    factor = draw(st.sampled_from((MANY_DIGITS[dtype], 1)))
    return a, b, tensor_of(draw, both, dtype, each=lambda value: factor * value)


BY_NOTHING = tuple(
    Expression(source)
    for source in (
        "torch.ones(1, device=device, requires_grad=True)",
        "torch.ones(0, device=device, requires_grad=True)",
        "torch.ones(0, device=device)",
    )
)
"""A size of 1, stretched to 0."""

BIAS_OF_ROWS = (
    Expression("torch.zeros(2, 3, device=device, requires_grad=True)"),
    Expression("torch.zeros(3, device=device, requires_grad=True)"),
    Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 2.0]], device=device)"),
)

BEYOND_NUMBERS = (
    Expression("torch.tensor([[2.0], [-1.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([1.0, 3.0, -2.0], device=device, requires_grad=True)"),
    Expression("torch.tensor([[float('inf'), 1.0, 2.0], [-1.0, float('nan'), 2.0]], device=device)"),
)
"""A gradient that holds an infinity and nan."""

BY_MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("torch.tensor([[2.0], [-1.0], [3.0]], device=device, requires_grad=True)"),
    Expression("(torch.arange(3075.0) % 5 - 2).to(device).reshape(3, 1025)"),
)

ONE_BY_MANY = (
    Expression("torch.tensor([[3.0]], device=device, requires_grad=True)"),
    Expression("(torch.arange(65.0) % 7 - 3).to(device).reshape(5, 13).requires_grad_()"),
    Expression("(torch.arange(65.0) % 5 - 2).to(device).reshape(5, 13)"),
)

BY_SEVENTEEN = (
    Expression("torch.arange(17.0).to(device).requires_grad_()"),
    Expression("torch.ones((), device=device, requires_grad=True)"),
    Expression("(torch.arange(17.0) % 7 - 3).to(device)"),
)


NEEDED = (
    "lambda a, b: (a, b)",
    "lambda a, b: (a, b.detach())",
    "lambda a, b: (a.detach(), b)",
    "lambda a, b: (torch.nn.Parameter(a.detach()), torch.nn.Parameter(b.detach()))",
)
"""Two operands, both of which need a gradient, or one; or two parameters."""

BESIDE_INTEGERS = (
    "lambda a, b: (a, b.detach().long())",
    "lambda a, b: (a.detach().to(torch.int8), b)",
)
"""One operand that needs a gradient, and integers."""

BOTH, AS_IT_IS = Expression(NEEDED[0]), Expression("lambda x: x")


def run_twice(output, gradient, recorded):
    """Two runs through one graph. The first adds minus twice what the second adds, so that what is exact stays so; grad
    mode is on or off meanwhile, and its gradient requires grad."""
    opposite = (-2 * gradient).requires_grad_()
    with torch.set_grad_enabled(recorded):
        output.backward(opposite, retain_graph=True)
    output.backward(gradient)


@rule("derivatives.broadcasting.summed")
@given(drawn=stretched(), needed=st.sampled_from(NEEDED).map(Expression), place=places())
@example(drawn=BY_NOTHING, needed=BOTH, place=AS_IT_IS)
@example(drawn=BY_SEVENTEEN, needed=BOTH, place=AS_IT_IS)
@example(drawn=BY_MANY, needed=BOTH, place=AS_IT_IS)
@example(drawn=ONE_BY_MANY, needed=BOTH, place=AS_IT_IS)
@example(drawn=BEYOND_NUMBERS, needed=BOTH, place=AS_IT_IS)
@example(drawn=BIAS_OF_ROWS, needed=BOTH, place=AS_IT_IS)
@example(drawn=BIAS_OF_ROWS, needed=Expression(NEEDED[2]), place=AS_IT_IS)
def test_an_operand_that_was_stretched_gets_the_sum_over_its_copies(device, drawn, needed, place):
    *leaves, gradient = drawn
    a, b = needed(*leaves)
    both = -2 * array(gradient) + array(gradient)
    for number, (name, (function, by_a, by_b)) in enumerate(OPERATIONS.items()):
        a.grad = b.grad = None
        output = function(place(a), b) if number % 2 else function(a, place(b))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        for operand, by_operand in ((a, by_a), (b, by_b)):
            if operand.requires_grad:
                weights = both * by_operand(array(a), array(b))
                assert operand.grad is not None
                assert operand.grad.shape == operand.shape, name
                assert operand.grad.dtype == operand.dtype, name
                assert np.array_equal(array(operand.grad), summed_to(operand.shape, weights), equal_nan=True), name


FINE = {torch.float64: 2.0**-30, torch.float32: 2.0**-12, torch.float16: 2.0**-4, torch.bfloat16: 2.0**-1}
"""What may be added to 1 so that 27 products with integers up to 3 have a sum that the dtype holds exactly."""


DOUBLE = frozenset({"torch.float64"})


@st.composite
def of_two_dtypes(draw):
    """Two leaves whose shapes broadcast and whose dtypes differ."""
    first, second = draw(that_stretch_to(draw(shapes())))
    one, other = draw(TWO_DTYPES)
    return leaf_of(draw, first, one), leaf_of(draw, second, other)


@rule("derivatives.broadcasting.own-dtype")
@given(drawn=of_two_dtypes(), needed=st.sampled_from((*NEEDED, *BESIDE_INTEGERS)).map(Expression))
@example(
    drawn=(
        Expression("torch.tensor([1.0, 2.0], dtype=torch.float64, device=device).requires_grad_()", (), DOUBLE),
        Expression("torch.tensor([[3.0], [-1.0]], dtype=torch.float32, device=device).requires_grad_()"),
    ),
    needed=BOTH,
)
def test_each_operand_gets_a_gradient_of_its_own_dtype(device, drawn, needed):
    """A weight of two binary digits, or of more than a narrower dtype has.

    A dtype with fewer digits than the output's may round each of the products and of the sums.
    """
    a, b = needed(*drawn)
    output = a * b
    fine = 1 + FINE[output.dtype]
    for weight in (-1.5, fine):
        for name, (function, by_a, by_b) in OPERATIONS.items():
            a.grad = b.grad = None
            result = function(a, b)
            with torch.set_grad_enabled(weight == fine or len(name) % 2 == 0):
                result.backward(torch.full_like(output, weight))
            for operand, slopes in ((a, by_a(array(a), array(b))), (b, by_b(array(a), array(b)))):
                if operand.requires_grad:
                    assert operand.grad is not None
                    assert operand.grad.dtype == operand.dtype, name
                    shares = weight * np.ones(tuple(output.shape)) * slopes
                    eps = torch.finfo(operand.dtype).eps
                    rounded = shares.size * eps if weight == fine and eps > torch.finfo(output.dtype).eps else 0
                    off = abs(array(operand.grad) - summed_to(operand.shape, shares))
                    assert (off <= rounded * summed_to(operand.shape, abs(shares))).all(), name
