"""spec/derivatives/matmul.md"""

import itertools

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, places
from tests.inputs.dtypes import floating
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array, summed_to

SIDES = st.sampled_from((1, 2, 3, 4, 5, 0))
THREE_SIDES = (
    st.tuples(SIDES, SIDES, SIDES)
    | st.tuples(SIDES, SIDES).map(lambda sides: (sides[0], sides[0], sides[1]))
    | st.tuples(SIDES, SIDES).map(lambda sides: (sides[0], sides[1], sides[1]))
)
"""Rows, what is summed over, and columns; in two of three cases one of the factors is square."""
BATCHES = (
    *[((), ())] * 4,
    ((2,), (2,)),
    ((3,), (3,)),
    ((2,), ()),
    ((), (2,)),
    ((1,), (2,)),
    ((2,), (1,)),
    ((2, 1), (2,)),
    ((2,), (2, 1)),
    ((2, 1), (1, 2)),
    ((0,), ()),
)
"""The leading dims of two operands, none in one of four cases, and all pairs among them in which one is stretched to
fit the other.

With at most four matrices in a batch and sides of at most five a sum is at most 4 * 5 * 9, exact in every dtype.
"""

VECTORS = st.sampled_from((*[(False, False)] * 3, (False, True), (True, False), (True, True)))
"""Whether either operand is a vector."""

NEEDED = {
    "both": lambda a, b: (a, b),
    "the left one": lambda a, b: (a, b.detach()),
    "the right one": lambda a, b: (a.detach(), b),
    "the left one beside columns": lambda a, b: (a, in_columns(b.detach())),
    "the right one beside columns": lambda a, b: (in_columns(a.detach()), b),
    "parameters": lambda a, b: (torch.nn.Parameter(a.detach()), torch.nn.Parameter(b.detach())),
}
"""Which of two factors need a gradient, beside data in its own layout or with whole columns in memory."""

NAMES = {(1, 1): "torch.dot", (2, 1): "torch.mv", (2, 2): "torch.mm", (3, 3): "torch.bmm"}
"""The functions that take these numbers of dimensions and no others."""

NEEDED_IN_A_LAYER = [names for count in (3, 2, 1) for names in itertools.combinations("xwb", count)]

LAYERS = (
    "lambda x, w, b: x @ w + b",
    "lambda x, w, b: torch.addmm(b, x, w)",
    "lambda x, w, b: torch.nn.functional.linear(x, w.T, b)",
    "lambda x, w, b: b + torch.mm(x, w)",
)


EVERY_LAYER = (
    lambda x, w, b: torch.addmm(b, x, w),
    lambda x, w, b: torch.nn.functional.linear(x, w.T, b),
    lambda x, w, b: torch.matmul(x, w) + b,
)


def spellings(first, second):
    """The functions that multiply tensors of these shapes as matrices."""
    name = NAMES.get((len(first), len(second)))
    takes = name is not None and first[:-2] == second[:-2]
    return ["lambda a, b: a @ b", "lambda a, b: torch.matmul(a, b)", *([f"lambda a, b: {name}(a, b)"] if takes else [])]


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 9, "torch.bfloat16": 1}
"""What makes of a small integer one that a narrower dtype rounds, while a sum of 20 products is still exact."""


def gradient_of(draw, shape, dtype):
    """Small integers, or, every other time, such as have as many digits as the dtype allows."""
    factor = draw(st.sampled_from((MANY_DIGITS[dtype], 1)))
    return tensor_of(draw, shape, dtype, each=lambda value: factor * value)


@st.composite
def products(draw, vectors=VECTORS):
    """(product, a, b, gradient): two leaves that fit, of any ranks, and a gradient for their product."""
    rows, inner, columns = draw(THREE_SIDES)
    first, second = draw(st.sampled_from(BATCHES))
    a_is_vector, b_is_vector = draw(vectors)
    a_shape = (inner,) if a_is_vector else (*first, rows, inner)
    b_shape = (inner,) if b_is_vector else (*second, inner, columns)
    batch = tuple(torch.broadcast_shapes(a_shape[:-2], b_shape[:-2]))
    out = (*batch, *(() if a_is_vector else (rows,)), *(() if b_is_vector else (columns,)))
    dtype = draw(floating())
    product = Expression(draw(st.sampled_from(spellings(a_shape, b_shape))))
    a, b = leaf_of(draw, a_shape, dtype), leaf_of(draw, b_shape, dtype)
    return product, a, b, gradient_of(draw, out, dtype)


def as_matrices(a, b, g):
    """Two factors and the gradient of their product, with the vectors among the factors as one row or one column."""
    if b.ndim == 1:
        b, g = b[:, None], g[..., None]
    if a.ndim == 1:
        a, g = a[None], g[..., None, :]
    return a, b, g


# What the gradient of a sum is: one number, expanded. On a GPU of Apple a product with it was wrong (pytorch #180201).
OF_A_SUM = (
    Expression("lambda a, b: a @ b"),
    Expression("(torch.arange(1024.0).reshape(64, 16) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(16.0).reshape(16, 1) % 5 - 2).to(device).requires_grad_()"),
    Expression("torch.ones((), device=device).expand(64, 1)"),
)

OF_A_SMALL_SUM = (
    Expression("lambda a, b: torch.mm(a, b)"),
    Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 2.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[2.0], [1.0]], device=device, requires_grad=True)"),
    Expression("torch.full((), 2.0, device=device).expand(3, 1)"),
)

OF_SQUARES = (
    Expression("lambda a, b: a @ b"),
    Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[2.0, 0.0], [1.0, 3.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[1.0, -2.0], [3.0, 1.0]], device=device)"),
)
"""Where a forgotten transposition fits."""

OF_FIVE_COLUMNS = (
    Expression("lambda a, b: a @ b"),
    Expression("torch.tensor([[1.0, 2.0]], device=device, requires_grad=True)"),
    Expression(
        "torch.tensor([[1.0, 2.0, 3.0, -1.0, 2.0], [3.0, 0.0, 1.0, 2.0, -2.0]], device=device).requires_grad_()"
    ),
    Expression("torch.tensor([[1.0, -1.0, 2.0, 3.0, 1.0]], device=device)"),
)
"""Where four at a time leave one over."""


OF_MANY = (
    Expression("(torch.arange(153.0) % 7 - 3).to(device).reshape(9, 17).requires_grad_()"),
    Expression("(torch.arange(561.0) % 5 - 2).to(device).reshape(17, 33).requires_grad_()"),
    Expression("(torch.arange(297.0) % 4 - 1).to(device).reshape(9, 33)"),
)
"""Sides of one element more than eight, sixteen and thirty-two."""

BEYOND_NUMBERS = (
    Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[2.0, 1.0], [1.0, 3.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[float('inf'), 2.0], [1.0, float('nan')]], device=device)"),
)
"""A gradient that holds an infinity and nan."""

TIMES = Expression("lambda a, b: a @ b")

OF_THREE = (
    Expression("lambda a, b: a @ b"),
    Expression("torch.tensor([[[1.0]], [[2.0]], [[3.0]]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[[2.0]], [[1.0]], [[-1.0]]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[[1.0]], [[-2.0]], [[3.0]]], device=device)"),
)
"""A batch of three."""

OF_ONE_FOR_TWO = (
    Expression("lambda a, b: a @ b"),
    Expression("torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[2.0], [1.0]], device=device, requires_grad=True)"),
    Expression("torch.tensor([[[1.0]], [[-2.0]]], device=device)"),
)
"""A batch of two that meets one matrix."""


OF_SEVENTEEN = (
    Expression("lambda a, b: a @ b"),
    Expression("(torch.arange(17.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(17.0) % 5 - 2).to(device).requires_grad_()"),
    Expression("torch.tensor(2.0, device=device)"),
)


def in_columns(matrix):
    """The same numbers, in memory column by column."""
    return matrix.mT.contiguous().mT if matrix.ndim > 1 else matrix


AS_IT_IS = Expression("lambda x: x")


def run_twice(output, gradient, recorded):
    """Two runs through one graph. The first adds minus twice what the second adds, so that what is exact stays so; grad
    mode is on or off meanwhile, and its gradient requires grad."""
    opposite = (-2 * gradient).requires_grad_()
    with torch.set_grad_enabled(recorded):
        output.backward(opposite, retain_graph=True)
    output.backward(gradient)


@rule("derivatives.matmul.factors")
@given(drawn=products(), place=places())
@example(drawn=OF_SQUARES, place=AS_IT_IS)
@example(drawn=OF_FIVE_COLUMNS, place=AS_IT_IS)
@example(drawn=OF_THREE, place=AS_IT_IS)
@example(drawn=OF_ONE_FOR_TWO, place=AS_IT_IS)
@example(drawn=OF_A_SUM, place=AS_IT_IS)
@example(drawn=OF_A_SMALL_SUM, place=AS_IT_IS)
@example(drawn=(TIMES, *OF_MANY), place=AS_IT_IS)
@example(drawn=(TIMES, *BEYOND_NUMBERS), place=AS_IT_IS)
def test_each_factor_gets_the_gradient_times_the_other_transposed(device, drawn, place):
    product, *factors, gradient = drawn
    left, right, weights = as_matrices(*map(array, factors), -2 * array(gradient) + array(gradient))
    of_a = summed_to(left.shape, weights @ right.swapaxes(-2, -1)).reshape(factors[0].shape)
    of_b = summed_to(right.shape, left.swapaxes(-2, -1) @ weights).reshape(factors[1].shape)
    for name, needed in NEEDED.items():
        factors[0].grad = factors[1].grad = None
        a, b = needed(*factors)
        output = product(place(a), b)
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        for factor, expected in ((a, of_a), (b, of_b)):
            if factor.requires_grad:
                assert factor.grad is not None
                assert factor.grad.shape == factor.shape, name
                assert factor.grad.dtype == factor.dtype, name
                assert np.array_equal(array(factor.grad), expected, equal_nan=True), name


@rule("derivatives.matmul.factors")
@given(drawn=products(st.sampled_from(((False, True), (True, False), (True, True)))), place=places())
@example(drawn=OF_SEVENTEEN, place=AS_IT_IS)
def test_a_vector_among_the_factors_is_a_row_or_a_column(device, drawn, place):
    product, *factors, gradient = drawn
    left, right, weights = as_matrices(*map(array, factors), -2 * array(gradient) + array(gradient))
    of_a = summed_to(left.shape, weights @ right.swapaxes(-2, -1)).reshape(factors[0].shape)
    of_b = summed_to(right.shape, left.swapaxes(-2, -1) @ weights).reshape(factors[1].shape)
    for name, needed in NEEDED.items():
        factors[0].grad = factors[1].grad = None
        a, b = needed(*factors)
        output = product(a, place(b))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        for factor, expected in ((a, of_a), (b, of_b)):
            if factor.requires_grad:
                assert factor.grad is not None
                assert factor.grad.shape == factor.shape, name
                assert factor.grad.dtype == factor.dtype, name
                assert np.array_equal(array(factor.grad), expected, equal_nan=True), name


WITH_ITSELF = {
    "x @ x.T": (lambda x: x @ x.T, lambda x, g: g @ x + g.T @ x),
    "torch.mm(x, x.T)": (lambda x: torch.mm(x, x.T), lambda x, g: g @ x + g.T @ x),
    "x @ x.T.detach()": (lambda x: x @ x.T.detach(), lambda x, g: g @ x),
    "x.detach() @ x.T": (lambda x: x.detach() @ x.T, lambda x, g: g.T @ x),
    "2 * x @ x.T": (lambda x: (2 * x) @ x.T, lambda x, g: 2 * g @ x + 2 * g.T @ x),
    "torch.matmul(x, x.T.clone())": (lambda x: torch.matmul(x, x.T.clone()), lambda x, g: g @ x + g.T @ x),
}
"""A matrix times itself, of which both factors or one hand on a gradient."""


@st.composite
def of_one_matrix(draw):
    """A matrix, and a gradient for its product with itself transposed."""
    rows, inner = draw(st.tuples(SIDES, SIDES))
    dtype = draw(floating())
    return leaf_of(draw, (rows, inner), dtype), tensor_of(draw, (rows, rows), dtype)


@rule("derivatives.matmul.factors")
@given(drawn=of_one_matrix(), place=places())
def test_a_matrix_times_itself_gets_a_share_for_each_factor_that_needs_it(device, drawn, place):
    x, gradient = drawn
    for name, (product, both) in WITH_ITSELF.items():
        x.grad = None
        output = product(place(x))
        run_twice(output, gradient, recorded=len(name) % 2 == 0)
        assert x.grad is not None
        assert x.grad.shape == x.shape, name
        assert array(x.grad).tolist() == both(array(x), -array(gradient)).tolist(), name


@st.composite
def layers(draw):
    """(layer, x, w, b, gradient): a batch of rows, a weight, a bias of one number a column, and a gradient."""
    rows, inputs, outputs = draw(THREE_SIDES)
    dtype = draw(floating())
    shapes = ((rows, inputs), (inputs, outputs), (outputs,))
    operands = [leaf_of(draw, shape, dtype) for shape in shapes]
    return Expression(draw(st.sampled_from(LAYERS))), *operands, gradient_of(draw, (rows, outputs), dtype)


SQUARE_LAYER = (
    Expression(LAYERS[2]),
    *OF_SQUARES[1:3],
    Expression("torch.zeros(2, device=device, requires_grad=True)"),
    OF_SQUARES[3],
)

MANY_ROWS = (
    Expression(LAYERS[1]),
    *OF_MANY[:2],
    Expression("torch.zeros(33, device=device, requires_grad=True)"),
    OF_MANY[2],
)


@rule("derivatives.matmul.linear-layer")
@given(drawn=layers(), place=places())
@example(drawn=MANY_ROWS, place=AS_IT_IS)
@example(drawn=SQUARE_LAYER, place=AS_IT_IS)
def test_the_bias_of_a_layer_gets_the_sum_of_the_rows(device, drawn, place):
    layer, *operands, gradient = drawn
    left, right, weights = array(operands[0]), array(operands[1]), -2 * array(gradient) + array(gradient)
    expected = (weights @ right.T, left.T @ weights, weights.sum(axis=0))
    for names, spelling in [(names, layer) for names in NEEDED_IN_A_LAYER] + [("xwb", other) for other in EVERY_LAYER]:
        needed = [leaf if name in names else leaf.detach() for name, leaf in zip("xwb", operands, strict=True)]
        for leaf in operands:
            leaf.grad = None
        output = spelling(needed[0], place(needed[1]), needed[2])
        run_twice(output, gradient, recorded=len(names) == 2)
        for name, leaf, numbers in zip("xwb", needed, expected, strict=True):
            if name in names:
                assert leaf.grad is not None
                assert leaf.grad.shape == leaf.shape, (name, names)
                assert leaf.grad.dtype == leaf.dtype, (name, names)
                assert array(leaf.grad).tolist() == numbers.tolist(), (name, names)
