"""spec/operations/matmul.md"""

import numpy as np
import pytest
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

ANY = ("lambda x, y: x @ y", "lambda x, y: torch.matmul(x, y)", "lambda x, y: x.matmul(y)")
MM = ("lambda x, y: torch.mm(x, y)", "lambda x, y: x.mm(y)")


def forms(among):
    return st.sampled_from(among).map(Expression)


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
    return factor(draw, tuple(first), dtype, WIDE.get(dtype, 1)), factor(draw, tuple(second), dtype)


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
@given(pair=factors(), multiply=forms(ANY))
@example(pair=LONG, multiply=Expression(ANY[0]))
@example(pair=TRANSPOSED, multiply=Expression(ANY[0]))
@example(pair=EMPTY_INNER, multiply=Expression(ANY[0]))
@example(pair=OUTER, multiply=Expression(ANY[0]))
@example(pair=CONJUGATED, multiply=Expression(ANY[0]))
@example(pair=BEYOND_SINGLE, multiply=Expression(ANY[0]))
@example(
    pair=(
        Expression("torch.arange(100.0).to(device).reshape(100, 1)"),
        Expression("torch.tensor([3.0], device=device)"),
    ),
    multiply=Expression(ANY[0]),
)
def test_matmul_gives_sums_of_products_in_numpys_shape(device, pair, multiply):
    x, y = pair
    expected = np.asarray(np.matmul(array(x), array(y)))
    result = multiply(x, y)
    assert tuple(result.shape) == expected.shape
    assert result.dtype == x.dtype
    assert result.tolist() == expected.tolist()


BOTH = ("lambda x: x @ x", "lambda x: x @ x.T", "lambda x: x.T @ x")
"""Products of a matrix with itself, which read alike for tensors and arrays."""


@rule("operations.matmul.products")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(st.sampled_from([(2, 2), (3, 3), (1, 1), (0, 0)]), DTYPES), product=forms(BOTH))
@example(x=TRANSPOSED[0], product=Expression(BOTH[0]))
def test_a_matrix_may_be_both_factors(device, x, product):
    assert product(x).tolist() == product(array(x)).tolist()


@rule("operations.matmul.matrices-only")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=("nk,km",)), multiply=forms(MM))
@example(
    pair=(
        Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)"),
        Expression("torch.tensor([[5.0, 6.0], [7.0, 8.0]], device=device)"),
    ),
    multiply=Expression(MM[0]),
)
def test_mm_multiplies_two_matrices(device, pair, multiply):
    x, y = pair
    assert multiply(x, y).tolist() == np.matmul(array(x), array(y)).tolist()


@rule("operations.matmul.matrices-only")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=RANKS[2:]), multiply=forms(MM))
def test_mm_refuses_all_but_matrices(device, pair, multiply):
    x, y = pair
    before = state(x, y)
    with pytest.raises(RuntimeError, match="must be a matrix") as refusal:
        multiply(x, y)
    assert refusal.type is RuntimeError
    assert state(x, y) == before


@rule("operations.matmul.unmatched")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=("nk,km",), unequal=True), multiply=forms(ANY + MM))
@example(
    pair=(Expression("torch.ones(5, 3, device=device)"), Expression("torch.ones(2, 5, device=device)")),
    multiply=Expression(ANY[0]),
)
def test_matrices_whose_inner_sizes_differ_are_refused(device, pair, multiply):
    x, y = pair
    before = state(x, y)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as refusal:
        multiply(x, y)
    assert refusal.type is RuntimeError
    assert state(x, y) == before


@rule("operations.matmul.unmatched")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=factors(ranks=RANKS[2:], unequal=True), multiply=forms(ANY))
@example(pair=(ONE, TALL), multiply=Expression(ANY[0]))
@example(pair=(TALL, ONE), multiply=Expression(ANY[0]))
def test_other_factors_whose_inner_sizes_differ_are_refused(device, pair, multiply):
    x, y = pair
    before = state(x, y)
    with pytest.raises(RuntimeError) as refusal:
        multiply(x, y)
    assert refusal.type is RuntimeError
    assert state(x, y) == before
