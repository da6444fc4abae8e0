"""spec/derivatives/exp-sin-sqrt.md"""

import itertools
import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, like, places
from tests.inputs.shapes import shapes_for_layouts
from tests.oracles import numbers

EVERYWHERE = {
    "torch.exp(x)": (lambda x: torch.exp(x), lambda v: math.exp(v)),
    "x.exp()": (lambda x: x.exp(), lambda v: math.exp(v)),
    "torch.sin(x)": (lambda x: torch.sin(x), lambda v: math.cos(v)),
    "torch.cos(x)": (lambda x: torch.cos(x), lambda v: -math.sin(v)),
    "(2 * x).sin()": (lambda x: (2 * x).sin(), lambda v: 2 * math.cos(2 * v)),
    "(16 * x).sin()": (lambda x: (16 * x).sin(), lambda v: 16 * math.cos(16 * v)),
    "(16 * x).cos()": (lambda x: (16 * x).cos(), lambda v: -16 * math.sin(16 * v)),
    "x.sin()": (lambda x: x.sin(), lambda v: math.cos(v)),
    "x.cos()": (lambda x: x.cos(), lambda v: -math.sin(v)),
    "exp in place": (lambda x: x.clone().exp_(), lambda v: math.exp(v)),
    "sin in place": (lambda x: x.clone().sin_(), lambda v: math.cos(v)),
    "torch.exp(-x)": (lambda x: torch.exp(-x), lambda v: -math.exp(-v)),
    "cos in place": (lambda x: x.clone().cos_(), lambda v: -math.sin(v)),
}
ABOVE_ZERO = {
    "torch.sqrt(x)": (lambda x: torch.sqrt(x), lambda v: 0.5 / math.sqrt(v)),
    "x.sqrt()": (lambda x: x.sqrt(), lambda v: 0.5 / math.sqrt(v)),
    "sqrt in place": (lambda x: x.clone().sqrt_(), lambda v: 0.5 / math.sqrt(v)),
    "(4 * x).sqrt()": (lambda x: (4 * x).sqrt(), lambda v: 1 / math.sqrt(v)),
    "(x / 4096).sqrt()": (lambda x: (x / 4096).sqrt(), lambda v: 1 / (128 * math.sqrt(v))),
}
"""A function that is exact inside, and its derivative in double precision."""

ROUNDINGS = 12
"""How many eps a gradient may be off, relatively. A published limit for exp is 9 eps where |x| <= 3 (Metal; others
have 3), for sin and cos 4, for sqrt 3 and for a division 2.5 (OpenCL); a product with the gradient, a factor of 2 and
the double precision of what is expected add no more than 3."""


def above_zero(value):
    return abs(value) + 1


SHAPES = shapes_for_layouts() | st.sampled_from(((17,), (33,), (5, 13)))
"""Among them some that end one element into a vector register."""


ORDERS = places() | st.sampled_from(
    (
        Expression("lambda x: x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x"),
        Expression("lambda x: torch.stack((x, x), -1)[..., 0]"),
    )
)
"""Every other time a result whose first dim is the fastest in memory, or one with gaps between its elements."""

AS_IT_IS = Expression("lambda x: x")

OF_TRANSPOSED = (
    Expression("torch.tensor([[1.0, 2.0], [-1.0, 0.0]], device=device).T.requires_grad_()"),
    Expression("torch.tensor([[1.0, -2.0], [3.0, 1.0]], device=device)"),
)

OF_SEVENTEEN = (
    Expression("(torch.arange(17.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(17.0) % 5 - 2).to(device)"),
)
"""One element more than some vector registers hold."""


OF_MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device)"),
)

OF_MANY_ABOVE_ZERO = (Expression("(torch.arange(1025.0) % 7 + 1).to(device).requires_grad_()"), OF_MANY[1])

OF_STEPPED = (
    Expression("torch.tensor([1.0, 3.0, -2.0, 0.0, 2.0, 1.0], device=device)[::2].requires_grad_()"),
    Expression("torch.tensor([2.0, 9.0, 1.0, 9.0, -3.0, 9.0], device=device)[::2]"),
)

OF_PERMUTED = (
    Expression("(torch.arange(12.0) % 7 - 3).to(device).reshape(2, 3, 2).permute(2, 0, 1).requires_grad_()"),
    Expression("(torch.arange(12.0) % 5 - 2).to(device).reshape(2, 2, 3)"),
)


OF_DOUBLES = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.tensor([4.0, -5.0, 3.5, 7.0, -1.0], dtype=torch.float64, device=device).requires_grad_()",
        "torch.tensor([1.0, -2.0, 3.0, 1.0, 2.0], dtype=torch.float64, device=device)",
    )
)


def zero_or_above(value):
    """Zeros of either sign among the numbers: what is written before the point."""
    return "-0" if value < 0 else value


@rule("derivatives.exp-sin-sqrt.closed-form")
@given(drawn=like(leaves(SHAPES)), place=ORDERS)
@example(
    drawn=(
        Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"),
        Expression("torch.ones(3, device=device)"),
    ),
    place=AS_IT_IS,
)
@example(drawn=OF_TRANSPOSED, place=AS_IT_IS)
@example(drawn=OF_PERMUTED, place=AS_IT_IS)
@example(drawn=OF_PERMUTED, place=Expression("lambda x: x.clone()"))
@example(drawn=OF_STEPPED, place=AS_IT_IS)
@example(drawn=OF_SEVENTEEN, place=AS_IT_IS)
@example(drawn=OF_DOUBLES, place=AS_IT_IS)
@example(drawn=OF_DOUBLES, place=Expression("lambda x: x.clone()"))
@example(drawn=OF_MANY, place=AS_IT_IS)
def test_exp_sin_and_cos_have_the_derivatives_of_a_calculus_book(device, drawn, place):
    x, gradient = drawn
    allowed = ROUNDINGS * torch.finfo(x.dtype).eps
    for name, (function, derivative) in EVERYWHERE.items():
        slopes = [derivative(value) for value in numbers(x)]
        output = function(place(x))
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, -2 * gradient):
            x.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape, name
            assert x.grad.dtype == x.dtype, name
            for slope, weight, found in zip(slopes, numbers(weights), numbers(x.grad), strict=True):
                assert abs(found - weight * slope) <= allowed * abs(weight * slope), name


@rule("derivatives.exp-sin-sqrt.closed-form")
@given(drawn=like(leaves(SHAPES, each=above_zero)), place=ORDERS)
@example(
    drawn=(
        Expression("torch.tensor([0., 1., 4.], device=device)[1:].requires_grad_()"),
        Expression("torch.ones(2, device=device)"),
    ),
    place=AS_IT_IS,
)
@example(drawn=OF_MANY_ABOVE_ZERO, place=AS_IT_IS)
def test_sqrt_has_the_derivative_of_a_calculus_book(device, drawn, place):
    x, gradient = drawn
    allowed = ROUNDINGS * torch.finfo(x.dtype).eps
    for name, (function, derivative) in ABOVE_ZERO.items():
        slopes = [derivative(value) for value in numbers(x)]
        output = function(place(x))
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, -2 * gradient):
            x.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape, name
            assert x.grad.dtype == x.dtype, name
            for slope, weight, found in zip(slopes, numbers(weights), numbers(x.grad), strict=True):
                assert abs(found - weight * slope) <= allowed * abs(weight * slope), name


@rule("derivatives.exp-sin-sqrt.sqrt-at-zero")
@given(drawn=like(leaves(each=zero_or_above)), place=ORDERS)
@example(
    drawn=(
        Expression("torch.tensor([0.0, -0.0, 0.0, -0.0, 1.0], device=device, requires_grad=True)"),
        Expression("torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0], device=device)"),
    ),
    place=AS_IT_IS,
)
def test_at_zero_the_gradient_of_sqrt_is_infinite(device, drawn, place):
    x, gradient = drawn
    roots = (torch.sqrt(place(x)), place(x).sqrt(), x.clone().sqrt_())
    for root, weights in itertools.product(roots, (gradient, -gradient)):
        x.grad = None
        with torch.set_grad_enabled(weights is gradient):
            root.backward(weights, retain_graph=True)
        assert x.grad is not None
        assert x.grad.shape == x.shape
        assert x.grad.dtype == x.dtype
        for value, weight, found in zip(*map(numbers, (x, weights, x.grad)), strict=True):
            if value == 0 and weight == 0:
                assert math.isnan(found)
            elif weight == 0:
                assert found == 0
            else:
                assert math.isinf(found) == (value == 0)
                assert math.copysign(1, found) == math.copysign(1, weight) * math.copysign(1, value)
