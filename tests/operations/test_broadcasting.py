"""spec/operations/broadcasting.md"""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers, state

DTYPES = st.sampled_from(dtypes.FLOATING + dtypes.COMPLEX + dtypes.INTEGRAL[:4])
OPERATIONS = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x == y": lambda x, y: x == y,
    "x != y": lambda x, y: x != y,
}
"""Operations that read alike for tensors, arrays and numbers."""


METHODS = {
    "x.add(y)": lambda x, y: x.add(y),
    "torch.sub(x, y)": lambda x, y: torch.sub(x, y),
    "torch.mul(x, y)": lambda x, y: torch.mul(x, y),
    "x.eq(y)": lambda x, y: x.eq(y),
}


def broadcast(ours, theirs):
    """Whether two shapes agree, from the last dimension on, up to dimensions of size 1."""
    return all(one == other or 1 in (one, other) for one, other in zip(ours[::-1], theirs[::-1], strict=False))


SHAPES = [(), (1,), (2,), (3,), (0,), (1, 1), (2, 1), (1, 2), (3, 1), (2, 2), (3, 3), (2, 3), (3, 2), (0, 1), (2, 0)]
SHAPES += [(6,), (2, 1, 3), (2, 2, 2), (1, 3, 1), (3, 0, 2)]
PAIRS = [(ours, theirs) for ours in SHAPES for theirs in SHAPES if ours != theirs]
EITHER_END = [((2,), (2, 2)), ((3,), (3, 1)), ((3, 3), (3,)), ((2, 1), (2,)), ((2, 2), (2, 2, 2))]
"""Shapes that would fit at the first dimension as well."""

SIDES = [itertools.product(*([(n, n), (1, n), (n, 1)] for n in shape)) for shape in ((2, 3, 2), (3, 2, 5))]
INSIDE = [tuple(zip(*sides, strict=True)) for every in SIDES for sides in every if any(1 in side for side in sides)]
INSIDE += [(ours, theirs[1:]) for ours, theirs in INSIDE if theirs[0] == 1]
"""Shapes of three dimensions stretched in each of them and in several, and with the first one missing."""

LONG = [((17,), (2, 1)), ((2, 17), (17,)), ((2, 1, 17), (3, 17)), ((33,), ()), ((1,), (5, 9)), ((3, 11), (3, 1))]
LONG += [((2, 1, 2, 1), (1, 3, 1, 2)), ((2, 3, 1, 2), (3, 2, 1))]

STRETCHED = (
    st.sampled_from(EITHER_END)
    | st.sampled_from(INSIDE)
    | st.sampled_from(LONG)
    | st.sampled_from([pair for pair in PAIRS if broadcast(*pair)])
)
NEARLY = [((17,), (16,)), ((32,), (33,)), ((2, 17), (2, 16)), ((8,), (4,)), ((2, 5), (5, 2)), ((3, 4), (12,))]
NEARLY += [((2, 2, 2, 3), (2, 2, 2, 2)), ((2, 3, 1, 2), (2, 1, 2)), ((3,), (2, 1, 2)), ((4, 1, 2), (3, 1, 1))]
UNFIT = st.sampled_from([pair for pair in PAIRS if not broadcast(*pair)]) | st.sampled_from(
    [pair for pair in NEARLY + [pair[::-1] for pair in NEARLY] if not broadcast(*pair)]
)


def in_columns(x):
    """The same elements, in memory with the first dimension fastest."""
    return x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x


@st.composite
def two(draw, pairs):
    """Two tensors of the drawn shapes, mostly of one dtype; one of them may be a leaf that requires grad."""
    ours, theirs = draw(pairs)
    first = draw(DTYPES)
    second = draw(st.sampled_from((first, first, first)) | DTYPES)
    drawn = [tensor_of(draw, ours, first), tensor_of(draw, theirs, second)]
    recorded = draw(st.sampled_from((None, None, 0, 1)))
    if recorded is not None and (first, second)[recorded] not in dtypes.INTEGRAL:
        x = drawn[recorded]
        drawn[recorded] = Expression(f"{x.source}.requires_grad_()", x.then, x.dtypes, x.facts)
    return tuple(drawn)


LENGTHS = st.sampled_from(
    [(n, m) for n in range(1, 6) for m in {n, 1, 3}]
    + [(n, n) for n in range(2, 6)]
    + [(0, 2), (3, 0), (0, 0), (17, 3), (2, 17), (9, 9)]
)
VECTOR_AND_COLUMN = LENGTHS.map(lambda lengths: ((lengths[0],), (lengths[1], 1)))


@rule("operations.broadcasting.aligned")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=two(STRETCHED))
@example(
    pair=(
        Expression("torch.tensor([[1, 2, 3], [4, 5, 6]], device=device)"),
        Expression("torch.tensor([10, 20, 30], device=device)"),
    )
)
@example(pair=(Expression("torch.ones(2, 1, device=device)"), Expression("torch.ones(2, 0, device=device)")))
@example(pair=(Expression("torch.tensor([1.0, 2.0], device=device)"), Expression("torch.arange(4.0).to(device)[3]")))
@example(pair=(Expression("torch.arange(9.0).to(device)[7]"), Expression("torch.ones(3, 2, device=device)")))
@example(
    pair=(
        Expression("torch.arange(6.0).to(device).reshape(2, 1, 3)"),
        Expression("torch.ones(2, 2, 3, device=device)"),
    )
)
def test_shapes_that_agree_from_the_last_dimension_on_are_stretched_as_in_numpy(device, pair):
    before = state(*pair)
    ours, theirs = pair
    for x, y in (pair, pair[::-1], (ours, ours[None]), (ours[None], theirs), (in_columns(ours), theirs)):
        for name, operation in OPERATIONS.items():
            expected = np.asarray(operation(array(x), array(y)))
            result = operation(x, y)
            assert tuple(result.shape) == expected.shape, name
            assert result.tolist() == expected.tolist(), name
        sums = np.asarray(array(x) + array(y)).tolist()
        assert x.add(y).tolist() == torch.add(x, y).tolist() == sums
        if x.dtype == y.dtype and tuple(x.shape) == expected.shape:
            assert x.clone().add_(y).tolist() == sums
            assert torch.add(x.detach(), y.detach(), out=torch.empty_like(x.detach())).tolist() == sums
    assert state(*pair) == before


@rule("operations.broadcasting.other-shapes")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=two(UNFIT))
def test_other_shapes_are_refused(device, pair):
    x, y = pair
    before = state(x, y)
    for name, operation in {**OPERATIONS, **METHODS}.items():
        for ours, theirs in (pair, pair[::-1]):
            with pytest.raises(RuntimeError, match="must match the size of tensor b") as refusal:
                operation(ours, theirs)
            assert refusal.type is RuntimeError, name
        assert state(x, y) == before, name
    # After a refusal, too, what fits is what it was.
    assert (x + x).tolist() == (array(x) + array(x)).tolist()
    assert (y - y[None]).tolist() == (array(y) - array(y)[None]).tolist()


@rule("operations.broadcasting.every-pair")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=two(VECTOR_AND_COLUMN))
@example(
    pair=(
        Expression("torch.arange(33).to(device)"),
        Expression("torch.arange(33).to(device).reshape(33, 1)"),
    )
)
def test_a_vector_and_a_column_give_a_matrix_of_every_pair(device, pair):
    first, second = pair
    before = state(*pair)
    for vector, column in (pair, (first, first[:, None]), (second[:, 0], second), (first, second.clone())):
        for name, operation in OPERATIONS.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                matrix = operation(vector, column)
            assert not [warning for warning in caught if "size" in str(warning.message)], name
            assert matrix.shape == (column.numel(), vector.numel()), name
            assert matrix.tolist() == [[operation(v, w) for v in numbers(vector)] for w in numbers(column)], name
            matrix = operation(column, vector)
            assert matrix.tolist() == [[operation(w, v) for v in numbers(vector)] for w in numbers(column)], name
    assert state(*pair) == before
