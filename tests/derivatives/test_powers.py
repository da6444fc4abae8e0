"""spec/derivatives/powers.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, places
from tests.inputs.circumstances import BACKWARD, also
from tests.inputs.shapes import shapes_for_layouts
from tests.inputs.tensors import tensor_of
from tests.oracles import numbers

POWERS = (
    "lambda x, n: x ** n",
    "lambda x, n: x.pow(n)",
    "lambda x, n: torch.pow(x, float(n))",
    "lambda x, n: torch.square(x) if n == 2 else x ** n",
    "lambda x, n: x.clone().pow_(n)",
)

ROUNDINGS = 18
"""How many eps the gradient g n x^(n-1) may be off, relatively: 16 for the power, the most that OpenCL, the loosest
published limit, allows, and a product with n and one with g."""

AS_IT_IS = Expression("lambda x: x")


def powers():
    """The n-th power, in one of its spellings."""
    return st.sampled_from(POWERS).map(Expression)


SHAPES = shapes_for_layouts() | st.sampled_from(((17,), (33,), (5, 13)))
"""Among them some that end one element into a vector register."""


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 2**4 + 1, "torch.bfloat16": 3}
"""What makes of a small integer one that a narrower dtype rounds."""


@st.composite
def a_leaf_and_digits(draw, each):
    """A leaf and a gradient of its shape and dtype that can have many digits."""
    leaf = draw(leaves(SHAPES, each=each))
    factor = draw(st.sampled_from((MANY_DIGITS[leaf.facts["dtype"]], 1)))
    gradient = tensor_of(draw, leaf.facts["shape"], leaf.facts["dtype"], each=lambda value: factor * value)
    return leaf, gradient


MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3.5).to(device).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device)"),
)


def nonzero(value):
    return value or 4


@rule("derivatives.powers.exponents")
@given(drawn=a_leaf_and_digits(nonzero), power=powers(), scale=st.sampled_from((1, 0.25)), place=places())
@example(drawn=MANY, power=Expression(POWERS[0]), scale=1, place=AS_IT_IS)
def test_a_whole_power_has_the_power_below_as_its_derivative(device, drawn, power, scale, place):
    x, gradient = drawn
    allowed = ROUNDINGS * torch.finfo(x.dtype).eps
    # The largest and the smallest of these are beyond float16.
    for n in (*range(-3, 5), *(() if x.dtype == torch.float16 else (9, -8))):
        slopes = [n * (scale * value) ** (n - 1) * scale for value in numbers(x)]
        output = power(place(scale * x), n) if scale != 1 else power(place(x), n)
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, -2 * gradient):
            x.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape
            assert x.grad.dtype == x.dtype
            for slope, weight, found in zip(slopes, numbers(weights), numbers(x.grad), strict=True):
                assert abs(found - weight * slope) <= allowed * abs(weight * slope), n


@rule("derivatives.powers.exponents")
@also(*BACKWARD)
@given(
    x=leaves(dtypes=st.sampled_from(("torch.float32", "torch.float64"))),
    coefficients=st.tuples(*[st.integers(-3, 3)] * 4),
    place=places(),
)
@example(
    x=Expression("torch.tensor([2.0], device=device, requires_grad=True)"), coefficients=(1, 3, 1, 0), place=AS_IT_IS
)
@example(
    x=Expression("torch.tensor(10.0, device=device, requires_grad=True)"), coefficients=(20, 0, 1, 0), place=AS_IT_IS
)
@example(
    x=Expression("torch.tensor(-3.0, device=device, requires_grad=True)"), coefficients=(20, 0, 1, 0), place=AS_IT_IS
)
def test_a_polynomial_is_differentiated_term_by_term(device, x, coefficients, place):
    """The three products and the power of a term are ROUNDINGS + 1, and adding four terms up rounds three times."""
    a, b, c, d = coefficients
    t = place(x)
    (a + b * t + c * t**2 + d * t**3).sum().backward()
    allowed = (ROUNDINGS + 4) * torch.finfo(x.dtype).eps
    assert x.grad is not None
    for value, found in zip(numbers(x), numbers(x.grad), strict=True):
        terms = [b, 2 * c * value, 3 * d * value**2]
        assert abs(found - sum(terms)) <= allowed * sum(map(abs, terms))


ZEROS = (
    Expression("torch.tensor([0.0, -0.0, 0.0, -0.0, -0.0], device=device, requires_grad=True)"),
    Expression("torch.tensor([1.0, 1.0, -2.0, -2.0, 0.0], device=device)"),
)


ZEROS_IN_DOUBLE = (
    Expression(
        "torch.tensor([[0.0, -0.0], [2.0, 0.0]], dtype=torch.float64, device=device).requires_grad_()",
        dtypes=frozenset({"torch.float64"}),
    ),
    Expression(
        "torch.tensor([[1.0, 3.0], [-2.0, -1.0]], dtype=torch.float64, device=device).T",
        dtypes=frozenset({"torch.float64"}),
    ),
)


@rule("derivatives.powers.zero-base")
@given(drawn=a_leaf_and_digits(lambda value: value // 2), power=powers(), place=places())
@example(drawn=ZEROS, power=Expression(POWERS[0]), place=AS_IT_IS)
@example(drawn=ZEROS_IN_DOUBLE, power=Expression(POWERS[0]), place=AS_IT_IS)
@example(drawn=ZEROS_IN_DOUBLE, power=Expression(POWERS[2]), place=Expression("lambda x: x.clone()"))
def test_at_zero_only_the_first_power_has_a_gradient(device, drawn, power, place):
    x, gradient = drawn
    for n in (0, 1, 2, 3, 4, 7):
        output = power(place(x), n)
        for weights in (gradient, -2 * gradient):
            x.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape
            assert x.grad.dtype == x.dtype
            for value, weight, found in zip(*map(numbers, (x, weights, x.grad)), strict=True):
                if value == 0:
                    assert found == (weight if n == 1 else 0), n
