"""spec/backward/reduce-first.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, like, routes, shapes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers

POWERS_OF_TWO = (1, 2, 4, 8, 16)

# Dividing as a product with the reciprocal rounds twice, the chain rule of the functions at most twice more.
ROUNDINGS = 4


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 2**4 + 1, "torch.bfloat16": 3}
"""What makes of a small integer one that a narrower dtype rounds."""

TIMES_THREE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))
MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device)"),
)

INFINITE = (
    Expression("torch.tensor([1.0, 2.0, 3.0, -1.0], device=device).requires_grad_()"),
    Expression("torch.tensor([float('inf'), -float('inf'), float('nan'), -2.0], device=device)"),
)
"""A weight that holds infinities and nan."""

INFINITE_LEAF = Expression("torch.tensor([float('inf'), -float('inf'), 1.0], device=device).requires_grad_()")

OF_DOUBLES = Expression(
    "torch.ones(2, 3, dtype=torch.float64, device=device).requires_grad_()", dtypes=frozenset({"torch.float64"})
)


def same(found, expected):
    """Whether these are the same numbers, where nan is one."""
    return np.array_equal(found, expected, equal_nan=True)


@st.composite
def with_digits(draw):
    """A leaf and a weight of its shape and dtype, of numbers with as many digits as the dtype allows."""
    leaf = draw(leaves())
    shape, dtype = leaf.facts["shape"], leaf.facts["dtype"]
    return leaf, tensor_of(draw, shape, dtype, each=lambda value: MANY_DIGITS[dtype] * value)


@rule("backward.reduce-first.sum")
@also(*BACKWARD)
@given(leaf=leaves(), operation=elementwise(), copies=st.integers(0, 3))
@example(leaf=MANY[0], operation=TIMES_THREE, copies=2)
@example(leaf=INFINITE_LEAF, operation=TIMES_THREE, copies=2)
def test_the_sum_counts_each_element_once_and_the_copies_of_an_expanded_one_too(device, leaf, operation, copies):
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    result = function(leaf) - 2 * other
    slopes = [derivative(value) for value in numbers(leaf)]
    for output, count in (
        (result.expand(copies, *leaf.shape), copies),
        (result, 1),
        (result[..., None].expand(*leaf.shape, copies), copies),
        (torch.stack([result, result], -1)[..., 1], 1),  # with gaps between its elements
    ):
        leaf.grad = other.grad = None
        output.sum().backward(retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert numbers(leaf.grad) == [count * slope for slope in slopes]
        assert other.grad is not None
        assert numbers(other.grad) == [-2 * count] * len(slopes)


@rule("backward.reduce-first.sum")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=like(leaves()) | with_digits(), operation=elementwise(), route=routes())
@example(drawn=MANY, operation=TIMES_THREE, route=Expression("lambda x: x"))
@example(drawn=INFINITE, operation=TIMES_THREE, route=Expression("lambda x: x"))
def test_the_weighted_sum_counts_each_element_with_its_weight(device, drawn, operation, route):
    leaf, weight = drawn
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    output = route(function(leaf) - 2 * other)
    plain = weight.detach()
    values = numbers(leaf)
    for factors in (weight, 2 * plain, -plain, leaf.detach(), plain > 0):
        leaf.grad = other.grad = None
        (output * route(factors)).sum().backward(retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
        by = numbers(factors)
        assert same(numbers(leaf.grad), [derivative(value) * factor for value, factor in zip(values, by, strict=True)])
        assert other.grad is not None
        assert same(numbers(other.grad), [-2 * factor for factor in by])


@st.composite
def matrix_products(draw):
    """(leaf, matrix) that can be multiplied as `matrix @ leaf`; each size can be 0."""
    rows, inner, columns = draw(st.tuples(*[st.integers(0, 3)] * 3))
    dtype = draw(dtypes.floating())
    matrix = draw(tensors(st.just((rows, inner)), st.just(dtype)))
    return draw(leaves(st.just((inner, columns)), st.just(dtype))), matrix


@rule("backward.reduce-first.sum")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=matrix_products())
def test_behind_a_matrix_product_the_sum_counts_every_row(device, drawn):
    leaf, matrix = drawn
    left = matrix.detach().requires_grad_()
    for first in (matrix, left):
        leaf.grad = None
        (first @ leaf).sum().backward()
        assert leaf.grad is not None
        weights = array(matrix).sum(axis=0)
        assert numbers(leaf.grad) == [weight for weight in weights.tolist() for _ in range(leaf.shape[1])]
    assert left.grad is not None
    assert numbers(left.grad) == array(leaf).sum(axis=1).tolist() * len(left)


@rule("backward.reduce-first.mean")
@also(*BACKWARD)
@given(leaf=leaves(shapes(min_side=1) | tails()), operation=elementwise(linear=True), route=routes())
@example(leaf=MANY[0], operation=TIMES_THREE, route=Expression("lambda x: x"))
@example(leaf=OF_DOUBLES, operation=TIMES_THREE, route=Expression("lambda x: x"))
@example(leaf=INFINITE_LEAF, operation=TIMES_THREE, route=Expression("lambda x: x"))
@example(
    leaf=Expression(
        "torch.ones(2, 8, dtype=torch.bfloat16, device=device).requires_grad_()", dtypes=frozenset({"torch.bfloat16"})
    ),
    operation=(Expression("lambda x: x * 3"), Expression("lambda v: 3")),
    route=Expression("lambda x: x"),
)
def test_the_mean_divides_by_the_number_of_elements(device, leaf, operation, route):
    function, derivative = operation
    is_exact = leaf.numel() in POWERS_OF_TWO
    bound = 0 if is_exact else ROUNDINGS * torch.finfo(leaf.dtype).eps / 2
    expected = derivative(0) / leaf.numel()
    other = torch.zeros_like(leaf, requires_grad=True)
    result = route(function(leaf) - 2 * other)
    for output in (result, result.expand(2, *result.shape), result[..., None].expand(*result.shape, 2), result):
        leaf.grad = other.grad = None
        output.mean().backward(retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert all(abs(number - expected) <= bound * abs(expected) for number in numbers(leaf.grad))
        assert other.grad is not None
        assert all(abs(number * leaf.numel() + 2) <= 2 * bound for number in numbers(other.grad))
    first = result.flatten()[:1]
    leaf.grad = None
    (first.mean() - first.squeeze().mean() + 2 * first.mean()).backward()
    assert leaf.grad is not None
    assert numbers(leaf.grad) == [2 * derivative(0)] + [0] * (leaf.numel() - 1)
