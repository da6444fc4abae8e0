"""spec/operations/broadcasting.md"""

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:4])
OPERATIONS = ("lambda x, y: x + y", "lambda x, y: x - y", "lambda x, y: x * y", "lambda x, y: x == y")
"""Operations that read alike for tensors, arrays and numbers."""


def broadcast(ours, theirs):
    """Whether two shapes agree, from the last dimension on, up to dimensions of size 1."""
    return all(one == other or 1 in (one, other) for one, other in zip(ours[::-1], theirs[::-1], strict=False))


SHAPES = [(), (1,), (2,), (3,), (0,), (1, 1), (2, 1), (1, 2), (3, 1), (2, 2), (3, 3), (2, 3), (3, 2), (0, 1), (2, 0)]
SHAPES += [(6,), (2, 1, 3), (2, 2, 2), (1, 3, 1), (3, 0, 2)]
PAIRS = [(ours, theirs) for ours in SHAPES for theirs in SHAPES if ours != theirs]
EITHER_END = [((2,), (2, 2)), ((3,), (3, 1)), ((3, 3), (3,)), ((2, 1), (2,)), ((2, 2), (2, 2, 2))]
"""Shapes that would fit at the first dimension as well."""

STRETCHED = st.sampled_from(EITHER_END) | st.sampled_from([pair for pair in PAIRS if broadcast(*pair)])
UNFIT = st.sampled_from([pair for pair in PAIRS if not broadcast(*pair)])


def operations():
    return st.sampled_from(OPERATIONS).map(Expression)


@st.composite
def two(draw, pairs):
    """Two tensors of one dtype, of the drawn shapes."""
    ours, theirs = draw(pairs)
    dtype = draw(DTYPES)
    return tensor_of(draw, ours, dtype), tensor_of(draw, theirs, dtype)


LENGTHS = st.sampled_from([(n, m) for n in range(1, 6) for m in {n, 1, 3}] + [(n, n) for n in range(2, 6)])
VECTOR_AND_COLUMN = LENGTHS.map(lambda lengths: ((lengths[0],), (lengths[1], 1)))


@rule("operations.broadcasting.aligned")
@given(pair=two(STRETCHED), operation=operations())
@example(
    pair=(
        Expression("torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)"),
        Expression("torch.tensor([10, 20, 30], device=device)"),
    ),
    operation=Expression(OPERATIONS[0]),
)
@example(
    pair=(Expression("torch.tensor([1.0, 2.0], device=device)"), Expression("torch.arange(4.0).to(device)[3]")),
    operation=Expression(OPERATIONS[2]),
)
def test_shapes_that_agree_from_the_last_dimension_on_are_stretched_as_in_numpy(device, pair, operation):
    x, y = pair
    expected = np.asarray(operation(array(x), array(y)))
    result = operation(x, y)
    assert tuple(result.shape) == expected.shape
    assert result.tolist() == expected.tolist()


@rule("operations.broadcasting.other-shapes")
@given(pair=two(UNFIT), operation=operations())
def test_other_shapes_are_refused(device, pair, operation):
    x, y = pair
    before = state(x, y)
    with pytest.raises(RuntimeError, match="must match the size of tensor b") as refusal:
        operation(x, y)
    assert refusal.type is RuntimeError
    assert state(x, y) == before


@rule("operations.broadcasting.every-pair")
@given(pair=two(VECTOR_AND_COLUMN), operation=operations())
@example(
    pair=(
        Expression("torch.arange(100).to(device)"),
        Expression("torch.arange(100).to(device).reshape(100, 1)"),
    ),
    operation=Expression(OPERATIONS[1]),
)
def test_a_vector_and_a_column_give_a_matrix_of_every_pair(device, pair, operation):
    vector, column = pair
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix = operation(vector, column)
    assert not [warning for warning in caught if "size" in str(warning.message)]
    assert matrix.shape == (column.numel(), vector.numel())
    rows = [[operation(v, w) for v in numbers(vector)] for w in numbers(column)]
    assert all(found == row for found, row in zip(matrix.tolist(), rows, strict=True))
