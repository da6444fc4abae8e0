"""spec/operations/matmul.md"""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.expression import IT
from tests.inputs.tensors import tensor_of
from tests.oracles import array, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX)
RANKS = (
    "nk,km",
    "nk,km",
    "nk,k",
    "k,km",
    "k,k",
    "bnk,km",
    "bnk,bkm",
    "1nk,bkm",
    "nk,bkm",
    "bnk,k",
    "k,bkm",
    "abnk,bkm",
)
"""Dimensions of the two factors, a letter a size; k is the inner one."""

ANY = {
    "x @ y": lambda x, y: x @ y,
    "torch.matmul(x, y)": lambda x, y: torch.matmul(x, y),
    "x.matmul(y)": lambda x, y: x.matmul(y),
}
MM = {"torch.mm(x, y)": lambda x, y: torch.mm(x, y), "x.mm(y)": lambda x, y: x.mm(y)}


SIZES = [
    {"a": a, "b": b, "n": n, "k": k, "m": m}
    for a, b, n, k, m in [
        (1, 2, 2, 3, 2),
        (2, 1, 3, 2, 1),
        (2, 2, 1, 3, 3),
        (2, 2, 3, 1, 2),
        (2, 2, 2, 2, 2),
        (1, 3, 3, 3, 3),
        (1, 2, 2, 0, 3),
        (2, 0, 2, 3, 1),
        (1, 2, 0, 2, 2),
        (1, 2, 9, 5, 17),
        (1, 2, 3, 1, 17),
        (1, 2, 2, 17, 3),
        (2, 1, 3, 25, 2),
        (1, 1, 5, 9, 5),
    ]
]
"""A size for each letter. With an inner size of 25 a sum of products of small real factors is at most 225, which is
exact even in bfloat16.
"""

WIDE = {"torch.float64": 2**30 + 1, "torch.complex128": 2**30 + 1}
"""What makes of a small number one that needs this dtype and no narrower one."""


def factor(draw, shape, dtype, times=1):
    """A tensor; one of complex numbers is neither real nor imaginary, and may be yet to be conjugated."""
    if dtype not in dtypes.COMPLEX:
        return tensor_of(draw, shape, dtype, each=lambda value: times * value)
    layout = draw(layouts.layouts(shape, layouts.WRITABLE))
    x = tensor_of(draw, shape, dtype, layout, each=lambda value: times * value)
    conjugated = draw(st.sampled_from(((), (f"{IT} = {IT}.conj()",))))
    return Expression(x.source, (f"{IT}.mul_(1 + 2j)", *conjugated), x.dtypes, x.facts)


@st.composite
def factors(draw, ranks=RANKS, unequal=False):
    """Two tensors of one dtype that fit each other, or whose inner sizes differ."""
    written, sizes = draw(st.sampled_from([(written, sizes) for sizes in SIZES for written in ranks]))
    first, second = ([1 if letter == "1" else sizes[letter] for letter in side] for side in written.split(","))
    if unequal:
        k = sizes["k"]
        inner = [(k + 3, k + 2), (1, k + 2), (k + 2, 1), (k + 1, k + 2), (0, k + 2), (k + 2, 0)]
        first[-1], second[-2 if len(second) > 1 else 0] = draw(st.sampled_from(inner))
    dtype = draw(DTYPES)
    drawn = [factor(draw, tuple(first), dtype, WIDE.get(dtype, 1)), factor(draw, tuple(second), dtype)]
    recorded = draw(st.sampled_from((None, None, 0, 1)))
    if recorded is not None:
        x = drawn[recorded]
        drawn[recorded] = Expression(x.source, (*x.then, f"{IT}.requires_grad_()"), x.dtypes, x.facts)
    return tuple(drawn)


TRANSPOSED = (
    Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0]], device=device)"),
    Expression("torch.tensor([[2.0, 0.0], [1.0, 3.0]], device=device).T"),
)


EMPTY_INNER = (Expression("torch.ones(2, 3, 0, device=device)"), Expression("torch.ones(0, 2, device=device)"))
OUTER = (
    Expression("torch.tensor([[1.0], [2.0]], device=device)"),
    Expression("torch.ones(1, 17, device=device)"),
)
CONJUGATED = (
    Expression("torch.tensor([[1 + 2j, 3 - 1j]], device=device).conj()", dtypes=frozenset({"torch.complex64"})),
    Expression("torch.tensor([[1 - 1j], [2j]], device=device)", dtypes=frozenset({"torch.complex64"})),
)
BEYOND_SINGLE = tuple(
    Expression(f"torch.tensor([[{number}]], dtype=torch.float64, device=device)", dtypes=frozenset({"torch.float64"}))
    for number in (2**30 + 1, 2)
)
"""A product that float32 would round."""


LONG = (
    Expression("torch.arange(33.0).to(device).reshape(1, 33)"),
    Expression("torch.arange(66.0).to(device).reshape(33, 2)"),
)
ONE = Expression("torch.tensor([2.0], device=device)")
TALL = Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0], [2.0, 2.0]], device=device)")


@rule("operations.matmul.products")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors())
@example(pair=LONG)
@example(pair=(Expression("torch.ones(2, 3, 0, device=device)"), Expression("torch.ones(2, 0, 2, device=device)")))
@example(pair=(Expression("torch.ones(2, 0, device=device)"), Expression("torch.ones(0, 3, device=device)")))
@example(pair=(Expression("torch.ones(1, 1, device=device)"), Expression("torch.ones(1, 33, device=device)")))
@example(pair=(Expression("torch.ones(3, 1, device=device)"), Expression("torch.tensor([2.0], device=device)")))
@example(pair=(Expression("torch.ones(2, 3, 0, device=device)"), Expression("torch.ones(0, device=device)")))
@example(pair=BEYOND_SINGLE[::-1])
@example(pair=TRANSPOSED)
@example(pair=EMPTY_INNER)
@example(pair=OUTER)
@example(pair=CONJUGATED)
@example(pair=BEYOND_SINGLE)
@example(
    pair=(
        Expression("torch.arange(100.0).to(device).reshape(100, 1)"),
        Expression("torch.tensor([3.0], device=device)"),
    ),
)
def test_matmul_gives_sums_of_products_in_numpys_shape(device, pair):
    x, y = pair
    before = state(x, y)
    expected = np.asarray(np.matmul(array(x), array(y)))
    for name, multiply in ANY.items():
        result = multiply(x, y)
        assert tuple(result.shape) == expected.shape, name
        assert result.dtype == x.dtype, name
        assert result.tolist() == expected.tolist(), name
        # Of other numbers in the same shapes, it is another.
        assert multiply(-x, y).tolist() == multiply(x, -y).tolist() == (-expected).tolist(), name
    assert state(x, y) == before


ROWS = "[[0.0, 1.0, 2.0], [1.0, {value}, 0.0], [3.0, 0.0, -1.0]]"
COLUMNS = "[[2.0, 0.0], [0.0, 3.0], [1.0, -1.0]]"


@st.composite
def with_a_number_that_is_not_finite(draw):
    """Two matrices, one element of one of which is not finite and meets 0 among others."""
    value = draw(st.sampled_from(("math.inf", "-math.inf", "math.nan")))
    dtype = draw(st.sampled_from(dtypes.FLOATING))
    rows = (ROWS.format(value=value), COLUMNS)
    return tuple(
        Expression(
            f"torch.tensor({row}, dtype={dtype}, device=device)", dtypes=frozenset({dtype}), facts={"dtype": dtype}
        )
        for row in rows
    )


@rule("operations.matmul.products")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_a_number_that_is_not_finite())
def test_a_product_that_is_not_finite_is_part_of_its_sum(device, pair):
    x, y = pair
    for first, second in ((x, y), (y.T, x.T)):
        columns = second.T.tolist()
        expected = [
            [sum(v * w for v, w in zip(row, column, strict=True)) for column in columns] for row in first.tolist()
        ]
        for name, multiply in ANY.items():
            assert str(multiply(first, second).tolist()) == str(expected), name


BOTH = {
    "x @ x": lambda x: x @ x if x.ndim < 2 or x.shape[0] == x.shape[1] else x @ x.T,
    "x @ x.T": lambda x: x @ x.T if x.ndim > 1 else x @ x,
    "x.T @ x": lambda x: x.T @ x if x.ndim > 1 else x @ x,
}
"""Products of a matrix, or of a vector, with itself, which read alike for tensors and arrays."""


@rule("operations.matmul.products")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(st.sampled_from([(2, 2), (3, 3), (1, 1), (0, 0), (2, 3), (3, 17), (3,), (17,)]), DTYPES))
@example(x=TRANSPOSED[0])
def test_a_tensor_may_be_both_factors(device, x):
    for name, product in BOTH.items():
        assert product(x).tolist() == product(array(x)).tolist(), name


@rule("operations.matmul.matrices-only")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=("nk,km",)))
@example(
    pair=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"),
        Expression("torch.tensor([[5.0, 6.0], [7.0, 8.0]], device=device)"),
    ),
)
def test_mm_multiplies_two_matrices(device, pair):
    x, y = pair
    for name, multiply in MM.items():
        expected = np.matmul(array(x), array(y))
        product = multiply(x, y)
        assert tuple(product.shape) == (x.shape[0], y.shape[1]), name
        assert product.dtype == x.dtype, name
        assert product.tolist() == expected.tolist(), name
        assert multiply(-x, y).tolist() == multiply(x, -y).tolist() == (-expected).tolist(), name
        assert multiply(y.T, x.T).tolist() == expected.T.tolist(), name


@rule("operations.matmul.matrices-only")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=(*RANKS[2:], ",km", "nk,", ",")))
def test_mm_refuses_all_but_matrices(device, pair):
    x, y = pair
    before = state(x, y)
    for name, multiply in MM.items():
        with pytest.raises(RuntimeError, match="must be a matrix") as refusal:
            multiply(x, y)
        assert refusal.type is RuntimeError, name
        assert state(x, y) == before, name


@rule("operations.matmul.unmatched")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=("nk,km",), unequal=True))
@example(
    pair=(Expression("torch.ones(5, 3, device=device)"), Expression("torch.ones(2, 5, device=device)")),
)
def test_matrices_whose_inner_sizes_differ_are_refused(device, pair):
    x, y = pair
    before = state(x, y)
    for name, multiply in {**ANY, **MM}.items():
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as refusal:
            multiply(x, y)
        assert refusal.type is RuntimeError, name
        assert state(x, y) == before, name


@rule("operations.matmul.unmatched")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=RANKS[2:], unequal=True))
@example(pair=(ONE, TALL))
@example(pair=(TALL, ONE))
def test_other_factors_whose_inner_sizes_differ_are_refused(device, pair):
    x, y = pair
    before = state(x, y)
    for name, multiply in ANY.items():
        with pytest.raises(RuntimeError) as refusal:
            multiply(x, y)
        assert refusal.type is RuntimeError, name
        assert state(x, y) == before, name
