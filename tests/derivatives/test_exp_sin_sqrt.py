"""spec/derivatives/exp-sin-sqrt.md"""

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, like, places
from tests.inputs.shapes import shapes_for_layouts
from tests.oracles import numbers

EVERYWHERE = (
    ("lambda x: torch.exp(x)", "lambda v: math.exp(v)"),
    ("lambda x: x.exp()", "lambda v: math.exp(v)"),
    ("lambda x: torch.sin(x)", "lambda v: math.cos(v)"),
    ("lambda x: torch.cos(x)", "lambda v: -math.sin(v)"),
    ("lambda x: (2 * x).sin()", "lambda v: 2 * math.cos(2 * v)"),
    ("lambda x: torch.exp(-x)", "lambda v: -math.exp(-v)"),
)
ABOVE_ZERO = (
    ("lambda x: torch.sqrt(x)", "lambda v: 0.5 / math.sqrt(v)"),
    ("lambda x: x.sqrt()", "lambda v: 0.5 / math.sqrt(v)"),
    ("lambda x: (4 * x).sqrt()", "lambda v: 1 / math.sqrt(v)"),
)
"""A function that is exact inside, and its derivative in double precision."""

ROUNDINGS = 12
"""How many eps a gradient may be off, relatively. A published limit for exp is 9 eps where |x| <= 3 (Metal; others
have 3), for sin and cos 4, for sqrt 3 and for a division 2.5 (OpenCL); a product with the gradient, a factor of 2 and
the double precision of what is expected add no more than 3."""


def pairs(sources):
    return st.sampled_from(sources).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


def above_zero(value):
    return abs(value) + 1


SHAPES = shapes_for_layouts() | st.sampled_from(((17,), (33,), (5, 13)))
"""Among them some that end one element into a vector register."""


def with_a_function():
    """(leaf, gradient), and a function with its derivative that is smooth at all elements of the leaf."""
    everywhere = st.tuples(like(leaves(SHAPES)), pairs(EVERYWHERE))
    return everywhere | st.tuples(like(leaves(SHAPES, each=above_zero)), pairs(ABOVE_ZERO))


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


@rule("derivatives.exp-sin-sqrt.closed-form")
@given(drawn=with_a_function(), place=places())
@example(
    drawn=(
        (
            Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"),
            Expression("torch.ones(3, device=device)"),
        ),
        (Expression("lambda x: torch.sin(x)"), Expression("lambda v: math.cos(v)")),
    ),
    place=Expression("lambda x: x"),
)
@example(
    drawn=(
        (
            Expression("torch.tensor([0., 1., 4.], device=device)[1:].requires_grad_()"),
            Expression("torch.ones(2, device=device)"),
        ),
        (Expression(ABOVE_ZERO[0][0]), Expression(ABOVE_ZERO[0][1])),
    ),
    place=Expression("lambda x: x"),
)
@example(drawn=(OF_TRANSPOSED, (Expression(EVERYWHERE[0][0]), Expression(EVERYWHERE[0][1]))), place=AS_IT_IS)
@example(drawn=(OF_SEVENTEEN, (Expression(EVERYWHERE[0][0]), Expression(EVERYWHERE[0][1]))), place=AS_IT_IS)
@example(drawn=(OF_SEVENTEEN, (Expression(EVERYWHERE[2][0]), Expression(EVERYWHERE[2][1]))), place=AS_IT_IS)
@example(drawn=(OF_SEVENTEEN, (Expression(EVERYWHERE[3][0]), Expression(EVERYWHERE[3][1]))), place=AS_IT_IS)
def test_exp_sin_and_sqrt_have_the_derivatives_of_a_calculus_book(device, drawn, place):
    (x, gradient), (function, derivative) = drawn
    function(place(x)).backward(gradient)
    assert x.grad.dtype == x.dtype
    allowed = ROUNDINGS * torch.finfo(x.dtype).eps
    for value, weight, found in zip(*map(numbers, (x, gradient, x.grad)), strict=True):
        expected = weight * derivative(value)
        assert abs(found - expected) <= allowed * abs(expected)


@rule("derivatives.exp-sin-sqrt.sqrt-at-zero")
@given(drawn=like(leaves(each=lambda value: max(value, 0))), place=places())
def test_at_zero_the_gradient_of_sqrt_is_infinite(device, drawn, place):
    x, gradient = drawn
    torch.sqrt(place(x)).backward(gradient)
    for value, weight, found in zip(*map(numbers, (x, gradient, x.grad)), strict=True):
        if value == 0 and weight == 0:
            assert math.isnan(found)
        else:
            assert math.isinf(found) == (value == 0)
            assert found == 0 if weight == 0 else math.copysign(1, found) == math.copysign(1, weight)
