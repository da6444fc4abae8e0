"""spec/derivatives/arithmetic.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, like, places
from tests.inputs.shapes import shapes_for_layouts
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import numbers

SUMS = {
    "a + b": (lambda a, b: a + b, (1, 1)),
    "a - b": (lambda a, b: a - b, (1, -1)),
    "b - a": (lambda a, b: b - a, (-1, 1)),
    "add with alpha": (lambda a, b: torch.add(a, b, alpha=2), (1, 2)),
    "sub with alpha": (lambda a, b: torch.sub(a, b, alpha=2), (1, -2)),
    "the other way round": (lambda a, b: b.sub(a, alpha=-2), (2, 1)),
    "rsub": (lambda a, b: torch.rsub(a, b, alpha=3), (-3, 1)),
    "in place": (lambda a, b: a.clone().sub_(b, alpha=2), (1, -2)),
    "in place, with alpha": (lambda a, b: a.clone().add_(b, alpha=-3), (1, -3)),
    "a fraction as alpha": (lambda a, b: a.add(b, alpha=0.5), (1, 0.5)),
    "0 as alpha": (lambda a, b: torch.sub(a, b, alpha=0), (1, 0)),
    "three terms": (lambda a, b: a - b + a.view_as(a), (2, -1)),
}
"""A sum of two tensors, and what it multiplies each of them with."""

SUMS_WITH_ITSELF = {
    "x + x": (lambda x: x + x, 2),
    "x - x": (lambda x: x - x.view_as(x), 0),
    "x + x.detach()": (lambda x: x + x.detach(), 1),
    "x.detach() - x": (lambda x: x.detach() - x, -1),
}

SUMS_WITH_A_NUMBER = {
    "a + 3": (lambda a: a + 3, 1),
    "a - 3": (lambda a: a - 3, 1),
    "3 - a": (lambda a: 3 - a, -1),
    "-a": (lambda a: -a, -1),
    "3 + a": (lambda a: 3 + a, 1),
    "add of a number with alpha": (lambda a: torch.add(a, 3, alpha=2), 1),
    "a number first, with alpha": (lambda a: torch.rsub(a, 3, alpha=2), -2),
    "a number in place": (lambda a: a.clone().sub_(3), 1),
    "a fraction": (lambda a: a - 0.5, 1),
    "a fraction first": (lambda a: 0.5 - a, -1),
    "a 0-d tensor first": (lambda a: torch.ones((), dtype=a.dtype, device=a.device) - a, -1),
    "a row first": (lambda a: torch.ones(a.shape[-1:], dtype=a.dtype, device=a.device) - a, -1),
}

PRODUCTS = {
    "a * b": lambda a, b: a * b,
    "b * a": lambda a, b: b * a,
    "mul": lambda a, b: torch.mul(a, b),
    "in place": lambda a, b: a.clone().mul_(b),
    "multiply": lambda a, b: a.multiply(b),
}
FACTORS = {
    "a * 2": (lambda a: a * 2, 2),
    "-3 * a": (lambda a: -3 * a, -3),
    "a * 0.5": (lambda a: a * 0.5, 0.5),
    "a * 0": (lambda a: a * 0, 0),
    "mul": (lambda a: torch.mul(a, 3), 3),
    "in place": (lambda a: a.clone().mul_(-2), -2),
    "a 0-d tensor": (lambda a: a * torch.full((), 2.0, dtype=a.dtype, device=a.device), 2),
    "a 0-d tensor first": (lambda a: torch.full((), -2.0, dtype=a.dtype, device=a.device) * a, -2),
    "two numbers": (lambda a: 2 * a * 0.25, 0.5),
}
SQUARES = {
    "x * x": (lambda x: x * x, 2),
    "mul with a view": (lambda x: torch.mul(x, x.view_as(x)), 2),
    "x * x.clone()": (lambda x: x * x.clone(), 2),
    "x * x.detach()": (lambda x: x * x.detach(), 1),
    "x.detach() * x": (lambda x: x.detach() * x, 1),
    "in place": (lambda x: x.clone().mul_(x), 2),
}
"""A product of a tensor and itself, and how many of its two factors hand on a gradient."""

QUOTIENTS = ("lambda a, b: a / b", "lambda a, b: torch.div(a, b)", "lambda a, b: a.clone().div_(b)")
SQUARE_IS_TOO_LARGE = {torch.float16: 2.0**9, torch.bfloat16: 2.0**70, torch.float32: 2.0**70, torch.float64: 2.0**600}
"""Powers of two whose square is beyond the dtype, while they and their reciprocals are far from its ends."""

RATIOS = {
    "x / x": (lambda x: x / x, (1, -1)),
    "x / x.detach()": (lambda x: x / x.detach(), (1,)),
    "x.detach() / x": (lambda x: x.detach() / x, (-1,)),
}
"""A tensor over itself, and the sign of each share that it gets."""


def zero_d(a, number):
    """A 0-d tensor beside `a`."""
    return torch.full((), number, dtype=a.dtype, device=a.device)


QUOTIENTS_WITH_A_NUMBER = {
    "a / 4": (lambda a: a / 4, lambda v: 1 / 4),
    "a / -3": (lambda a: a / -3, lambda v: -1 / 3),
    "2 / a": (lambda a: 2 / a, lambda v: -2 / v**2),
    "1 / a": (lambda a: 1 / a, lambda v: -1 / v**2),
    "a fraction over a": (lambda a: -0.5 / a, lambda v: 0.5 / v**2),
    "div": (lambda a: torch.div(a, -0.5), lambda v: -2),
    "in place": (lambda a: a.clone().div_(4), lambda v: 1 / 4),
    "a 0-d tensor over a": (lambda a: zero_d(a, -2) / a, lambda v: 2 / v**2),
    "a over a 0-d tensor": (lambda a: a / zero_d(a, 4), lambda v: 1 / 4),
    "a number over a quotient": (lambda a: 2 / (a / 4), lambda v: -8 / v**2),
}

ROUNDINGS = 12
"""How many eps the gradient of a quotient may be off, relatively. -g (a / b) / b takes two divisions and a product,
-g n (1 / a) (1 / a) two divisions and three products. OpenCL, the loosest published limit, has a division off by 2.5
eps at most; a product rounds by half an eps."""


def functions(sources):
    return st.sampled_from(sources).map(Expression)


SHAPES = shapes_for_layouts() | st.sampled_from(((17,), (33,), (5, 13)))
"""Among them some that end one element into a vector register."""


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 2**4 + 1, "torch.bfloat16": 3}
"""What makes of a small integer one that a narrower dtype rounds, and whose products with two more are still exact."""


def gradient_of(draw, shape, dtype):
    """Small integers, or, every other time, such as have as many digits as the dtype allows."""
    factor = draw(st.sampled_from((MANY_DIGITS[dtype], 1)))
    return tensor_of(draw, shape, dtype, each=lambda value: factor * value)


@st.composite
def two_leaves(draw, each=None):
    """Two leaves and a gradient of one shape and dtype, each with its own layout."""
    first, gradient = draw(like(leaves(SHAPES)))
    return first, leaf_of(draw, first.facts["shape"], first.facts["dtype"], each), gradient


@st.composite
def two_leaves_and_digits(draw, each=None):
    """As `two_leaves`, with a gradient that can have many digits."""
    first, second, gradient = draw(two_leaves(each))
    return first, second, gradient_of(draw, gradient.facts["shape"], gradient.facts["dtype"])


@st.composite
def a_leaf_and_digits(draw, each=None):
    """A leaf and a gradient of its shape and dtype that can have many digits."""
    leaf = draw(leaves(SHAPES, each=each))
    return leaf, gradient_of(draw, leaf.facts["shape"], leaf.facts["dtype"])


def same(found, expected):
    """Whether these are the same numbers, where nan is one."""
    return found == expected or np.array_equal(found, expected, equal_nan=True)


def run_twice(output, gradient, recorded):
    """Two runs through one graph. The first adds minus twice what the second adds, so that what is exact stays so; grad
    mode is on or off meanwhile, and its gradient requires grad."""
    opposite = (-2 * gradient).requires_grad_()
    with torch.set_grad_enabled(recorded):
        output.backward(opposite, retain_graph=True)
    output.backward(gradient)


def around(name, place):
    """`place` for the first of two operands or for the second, by turns, as the names of what is done to them go."""
    return (place, lambda x: x) if len(name) % 2 else (lambda x: x, place)


def nonzero(value):
    return value or 4


NEEDED = (
    "lambda a, b: (a, b)",
    "lambda a, b: (a, b.detach())",
    "lambda a, b: (a.detach(), b)",
    "lambda a, b: [row.detach().requires_grad_() for row in torch.stack([a, b])]",
    "lambda a, b: (torch.nn.Parameter(a.detach()), torch.nn.Parameter(b.detach()))",
    "lambda a, b: (a, b.detach().transpose(0, -1).clone().transpose(0, -1) if b.ndim > 1 else b.detach())",
)
"""Two operands, both of which need a gradient, or one; or both, side by side in one memory; or both, as parameters; or
one beside data that lies in columns."""


AS_IT_IS = Expression("lambda x: x")

BEYOND_NUMBERS = (
    Expression("torch.tensor([1.0, 0.0, -2.0, 3.0, 2.0], device=device, requires_grad=True)"),
    Expression("torch.tensor([2.0, 3.0, 0.0, -1.0, 2.0], device=device, requires_grad=True)"),
    Expression("torch.tensor([float('inf'), -float('inf'), 2.0, float('nan'), -0.0], device=device)"),
)
"""A gradient that holds infinities and nan."""

COMPLEX = tuple(
    Expression(f"torch.tensor({listed}, device=device){then}", (), frozenset({"torch.complex64"}))
    for listed, then in (
        ("[1 + 2j, 3j, -1]", ".requires_grad_()"),
        ("[2 - 1j, 1, 2j]", ".requires_grad_()"),
        ("[1 - 2j, 1j, 3]", ""),
    )
)

MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).reshape(25, 41).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device).reshape(25, 41).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 4 - 1).to(device).reshape(41, 25).T"),
)
"""One element more than a thousand and some, with a gradient that lies in columns."""

MANY_DIVISORS = (
    MANY[0],
    Expression("(torch.arange(1025.0) % 5 - 5.5).to(device).reshape(25, 41).requires_grad_()"),
    MANY[2],
)


@rule("derivatives.arithmetic.sums")
@given(drawn=two_leaves_and_digits(), needed=functions(NEEDED), place=places())
@example(drawn=COMPLEX, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(drawn=COMPLEX, needed=Expression(NEEDED[1]), place=Expression("lambda x: x.clone()"))
@example(drawn=BEYOND_NUMBERS, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(drawn=MANY, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(
    drawn=(
        Expression("torch.tensor(2.0, device=device, requires_grad=True)"),
        Expression("torch.tensor(3.0, device=device, requires_grad=True)"),
        Expression("torch.tensor(-1.0, device=device)"),
    ),
    needed=Expression(NEEDED[0]),
    place=AS_IT_IS,
)
@example(
    drawn=(
        Expression("torch.zeros(2, 2, device=device, requires_grad=True)"),
        Expression("torch.zeros(2, 2, device=device, requires_grad=True)"),
        Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=device).T"),
    ),
    needed=Expression(NEEDED[0]),
    place=AS_IT_IS,
)
def test_each_term_gets_the_gradient_with_its_sign(device, drawn, needed, place):
    *leaves, gradient = drawn
    terms = needed(*leaves)
    both = [-2 * weight + weight for weight in numbers(gradient)]
    for name, (total, factors) in SUMS.items():
        for term in terms:
            term.grad = None
        of_a, of_b = around(name, place)
        output = total(of_a(terms[0]), of_b(terms[1]))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        for term, factor in zip(terms, factors, strict=True):
            if term.requires_grad:
                assert term.grad is not None
                assert term.grad.shape == term.shape, name
                assert term.grad.dtype == term.dtype, name
                assert same(numbers(term.grad), [factor * weight for weight in both]), name


@rule("derivatives.arithmetic.sums")
@given(drawn=a_leaf_and_digits(), place=places())
@example(drawn=COMPLEX[::2], place=AS_IT_IS)
@example(drawn=BEYOND_NUMBERS[::2], place=AS_IT_IS)
@example(drawn=MANY[::2], place=AS_IT_IS)
@example(
    drawn=(
        Expression("torch.tensor([1.0, 0.0, 2.0, 0.0], device=device)[::2].requires_grad_()"),
        Expression("torch.tensor([3.0, -1.0], device=device)"),
    ),
    place=AS_IT_IS,
)
def test_a_number_or_the_same_tensor_in_a_sum_changes_nothing_but_the_factor(device, drawn, place):
    a, gradient = drawn
    both = [-2 * weight + weight for weight in numbers(gradient)]
    for name, (total, factor) in (SUMS_WITH_A_NUMBER | SUMS_WITH_ITSELF).items():
        a.grad = None
        output = total(place(a))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        assert a.grad is not None
        assert a.grad.dtype == a.dtype, name
        assert same(numbers(a.grad), [factor * weight for weight in both]), name


BY_COLUMNS = (
    Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 0.0]], device=device).T.requires_grad_()"),
    Expression("torch.tensor([[1.0, -2.0], [3.0, 2.0], [-1.0, 3.0]], device=device).requires_grad_()"),
    Expression("torch.tensor([[2.0, 1.0], [-3.0, 1.0], [1.0, 3.0]], device=device)"),
)


@rule("derivatives.arithmetic.products")
@given(drawn=two_leaves_and_digits(), needed=functions(NEEDED), place=places())
@example(drawn=BY_COLUMNS, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(drawn=BY_COLUMNS, needed=Expression(NEEDED[5]), place=AS_IT_IS)
@example(drawn=BEYOND_NUMBERS, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(drawn=MANY, needed=Expression(NEEDED[0]), place=AS_IT_IS)
@example(
    drawn=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=device, requires_grad=True)"),
        Expression("torch.tensor([[2.0, 0.0], [1.0, 3.0]], device=device).T.requires_grad_()"),
        Expression("torch.tensor([[1.0, -2.0], [3.0, 1.0]], device=device)"),
    ),
    needed=Expression(NEEDED[0]),
    place=AS_IT_IS,
)
def test_each_factor_gets_the_gradient_times_the_other(device, drawn, needed, place):
    *leaves, gradient = drawn
    a, b = needed(*leaves)
    both = [-2 * weight + weight for weight in numbers(gradient)]
    values = numbers(a), numbers(b)
    for name, product in PRODUCTS.items():
        a.grad = b.grad = None
        of_a, of_b = around(name, place)
        output = product(of_a(a), of_b(b))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        for factor, other in zip((a, b), values[::-1], strict=True):
            if factor.requires_grad:
                assert factor.grad is not None
                assert factor.grad.shape == factor.shape, name
                assert factor.grad.dtype == factor.dtype, name
                assert same(numbers(factor.grad), [w * v for w, v in zip(both, other, strict=True)]), name
        assert (numbers(a), numbers(b)) == values, name


@rule("derivatives.arithmetic.products")
@given(drawn=a_leaf_and_digits(), place=places())
@example(drawn=BEYOND_NUMBERS[::2], place=AS_IT_IS)
@example(drawn=MANY[::2], place=AS_IT_IS)
@example(
    drawn=(
        Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"),
        Expression("torch.ones(3, device=device)"),
    ),
    place=AS_IT_IS,
)
def test_a_tensor_times_a_number_gets_the_gradient_times_that_number(device, drawn, place):
    a, gradient = drawn
    both = [-2 * weight + weight for weight in numbers(gradient)]
    for name, (product, factor) in FACTORS.items():
        a.grad = None
        output = product(place(a))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        assert a.grad is not None
        assert a.grad.dtype == a.dtype, name
        assert same(numbers(a.grad), [factor * weight for weight in both]), name


@rule("derivatives.arithmetic.products")
@given(drawn=a_leaf_and_digits(), place=places())
@example(drawn=BEYOND_NUMBERS[::2], place=AS_IT_IS)
@example(drawn=MANY[::2], place=AS_IT_IS)
def test_a_tensor_times_itself_gets_a_share_for_each_factor_that_needs_it(device, drawn, place):
    x, gradient = drawn
    both = [-2 * weight + weight for weight in numbers(gradient)]
    for name, (square, shares) in SQUARES.items():
        x.grad = None
        output = square(place(x))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        expected = [shares * v * weight for v, weight in zip(numbers(x), both, strict=True)]
        assert x.grad is not None
        assert same(numbers(x.grad), expected), name


@rule("derivatives.arithmetic.quotients")
@given(
    drawn=two_leaves_and_digits(each=nonzero), quotient=functions(QUOTIENTS), needed=functions(NEEDED), place=places()
)
@example(drawn=MANY_DIVISORS, quotient=Expression(QUOTIENTS[0]), needed=Expression(NEEDED[0]), place=AS_IT_IS)
def test_a_quotient_is_differentiated_by_both_of_its_tensors(device, drawn, quotient, needed, place):
    *leaves, gradient = drawn
    a, b = needed(*leaves)
    allowed = ROUNDINGS * torch.finfo(a.dtype).eps
    for output in (quotient(a, place(b)), torch.div(place(a), b)):
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, -2 * gradient):
            a.grad = b.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            values = list(zip(*map(numbers, (a, b, weights)), strict=True))
            of_a = [weight / divisor for _, divisor, weight in values]
            of_b = [-weight * value / divisor**2 for value, divisor, weight in values]
            for operand, slopes in ((a, of_a), (b, of_b)):
                if operand.requires_grad:
                    assert operand.grad is not None
                    assert operand.grad.shape == operand.shape
                    assert operand.grad.dtype == operand.dtype
                    for found, slope in zip(numbers(operand.grad), slopes, strict=True):
                        assert abs(found - slope) <= allowed * abs(slope)


@rule("derivatives.arithmetic.quotients")
@given(drawn=two_leaves(each=nonzero), quotient=functions(QUOTIENTS), needed=functions(NEEDED))
def test_a_divisor_may_have_a_square_beyond_its_dtype(device, drawn, quotient, needed):
    """What it takes to scale both tensors by a power of two is not rounded, and the quotient stays as it is."""
    *leaves, gradient = drawn
    a, b = needed(*leaves)
    too_large = SQUARE_IS_TOO_LARGE[a.dtype]
    values = list(zip(*map(numbers, (a, b, gradient)), strict=True))
    of_a = [weight / divisor for _, divisor, weight in values]
    of_b = [-weight * value / divisor**2 for value, divisor, weight in values]
    allowed = ROUNDINGS * torch.finfo(a.dtype).eps
    for scale in (too_large, 1 / too_large):
        a.grad = b.grad = None
        output = quotient(a * scale, b * scale)
        with torch.set_grad_enabled(scale > 1):
            output.backward(gradient)
        for operand, slopes in ((a, of_a), (b, of_b)):
            if operand.requires_grad:
                assert operand.grad is not None
                for found, slope in zip(numbers(operand.grad), slopes, strict=True):
                    assert abs(found - slope) <= allowed * abs(slope), scale


@rule("derivatives.arithmetic.quotients")
@given(drawn=a_leaf_and_digits(each=nonzero), place=places())
def test_a_tensor_over_itself_gets_a_share_for_each_that_needs_it(device, drawn, place):
    """Both shares are as large, one is negative: what they are off adds up, what they are cancels."""
    x, gradient = drawn
    allowed = ROUNDINGS * torch.finfo(x.dtype).eps
    for name, (quotient, signs) in RATIOS.items():
        x.grad = None
        output = quotient(place(x))
        with torch.set_grad_enabled(len(name) % 2 == 0):
            output.backward(gradient)
        assert x.grad is not None
        for value, weight, found in zip(*map(numbers, (x, gradient, x.grad)), strict=True):
            share = weight / value
            assert abs(found - sum(signs) * share) <= allowed * len(signs) * abs(share), name


@rule("derivatives.arithmetic.quotients")
@given(drawn=a_leaf_and_digits(each=nonzero), place=places())
def test_a_quotient_with_a_number_is_differentiated_by_its_tensor(device, drawn, place):
    a, gradient = drawn
    allowed = ROUNDINGS * torch.finfo(a.dtype).eps
    for name, (quotient, derivative) in QUOTIENTS_WITH_A_NUMBER.items():
        output = quotient(place(a))
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, -2 * gradient):
            a.grad = None
            with torch.set_grad_enabled(weights is gradient):
                output.backward(weights, retain_graph=True)
            assert a.grad is not None
            assert a.grad.shape == a.shape, name
            assert a.grad.dtype == a.dtype, name
            for value, weight, found in zip(*map(numbers, (a, weights, a.grad)), strict=True):
                expected = weight * derivative(value)
                assert abs(found - expected) <= allowed * abs(expected), name
