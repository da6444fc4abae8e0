"""spec/indexing/selections.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, tensors
from tests.inputs.indices import basic, distinct_selection, indexed, selection
from tests.oracles import numbers

REAL = st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL)
WIDE = st.sampled_from((*dtypes.FLOATING, "torch.int64"))
SQUARE = Expression("torch.arange(16.0).to(device).reshape(4, 4) - 7")
NINE = Expression("torch.arange(9.0).to(device)")
ROWS = Expression("torch.tensor([0, 2, 3], device=device)")
ROWS_AND_COLUMNS = Expression(
    "np.s_[torch.tensor([0, 2], device=device), torch.tensor([[1], [3], [0]], device=device)]"
)
MASK_OF_ROWS = Expression("torch.tensor([1, 0, 1, 1], dtype=torch.bool, device=device)")
POSITIVE = Expression("torch.tensor([[0] * 4, [0] * 4, [1] * 4, [1] * 4], dtype=torch.bool, device=device)")

STRIPES = Expression("torch.tensor([[0, 1, 0, 1]] * 4, dtype=torch.bool, device=device)")

VALUES = {
    "a number": lambda old: 7,
    "a tensor of the picked shape": lambda old: 2 * old + 1,
    "a 0-d tensor": lambda old: old.sum(),
}
"""What is assigned, made of what was there."""

NUMBERS = (0, 1, 2, -0.5, 0.5, 1.5)
PAIRS = (
    ((7,), (7,)),
    ((2, 4), (2, 4)),
    ((), ()),
    ((), (2, 2)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 3), (1, 2, 3)),
    ((1, 3, 2), (3, 2)),
    ((0,), (2, 1)),
    ((3, 1, 2), (3, 1)),
)
"""Shapes that broadcast; for two equal ones a number is compared with."""

COMPARISONS = {
    "<": lambda x, y: x < y,
    ">": lambda x, y: x > y,
    "<=": lambda x, y: x <= y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}
"""Comparisons, which read alike for tensors and arrays."""


@st.composite
def compared(draw):
    """Two tensors that broadcast against each other, or a tensor and a number that uint8 does not wrap around."""
    ours, theirs = draw(st.sampled_from(PAIRS))
    dtype = st.just(draw(REAL))
    x = draw(tensors(st.just(ours), dtype))
    return x, draw(st.sampled_from(NUMBERS)) if ours == theirs else draw(tensors(st.just(theirs), dtype))


LIMITS = Expression("torch.tensor([math.nan, math.inf, -math.inf, 0.0], device=device)")
TURNED = Expression("torch.arange(16.0).to(device).reshape(4, 4).T - 7")


def array(x):
    """The elements as a NumPy array of the same shape, whatever the device and layout."""
    return np.array(x.tolist()).reshape(tuple(x.shape)) if isinstance(x, torch.Tensor) else x


def for_numpy(index):
    """The same index with its tensors as arrays."""
    if isinstance(index, tuple):
        return tuple(for_numpy(part) for part in index)
    return index.cpu().numpy() if isinstance(index, torch.Tensor) else index


@rule("indexing.selections.picks")
@given(pair=indexed(selection, dtypes=REAL))
@example(pair=(SQUARE, ROWS))
@example(pair=(SQUARE, POSITIVE))
@example(pair=(Expression("torch.arange(16.0).to(device).reshape(4, 4).T"), STRIPES))
@example(pair=(Expression("torch.tensor([True, False, True, True], device=device)"), MASK_OF_ROWS))
@example(pair=(SQUARE, ROWS_AND_COLUMNS))
@example(pair=(NINE, Expression("torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool, device=device)")))
def test_index_tensors_and_masks_pick_the_elements_that_numpy_picks(device, pair):
    x, index = pair
    expected = array(x)[for_numpy(index)]
    assert tuple(x[index].shape) == expected.shape
    assert x[index].dtype == x.dtype
    assert x[index].tolist() == expected.tolist()


@rule("indexing.selections.copies")
@given(pair=indexed(selection, dtypes=WIDE, among=layouts.WRITABLE))
@example(pair=(SQUARE, ROWS))
@example(pair=(SQUARE, POSITIVE))
def test_a_selection_and_its_tensor_share_no_memory(device, pair):
    x, index = pair
    before = numbers(x)
    picked = x[index]
    picked.fill_(9)
    assert numbers(x) == before
    x.fill_(5)
    assert numbers(picked) == [9] * picked.numel()


@rule("indexing.selections.writes")
@given(pair=indexed(basic, distinct_selection, distinct_selection, dtypes=WIDE, among=layouts.WRITABLE))
@example(pair=(SQUARE, POSITIVE))
@example(pair=(SQUARE, MASK_OF_ROWS))
@example(pair=(SQUARE, ROWS))
def test_assigning_to_an_index_writes_into_the_tensor_where_numpy_writes(device, pair):
    x, index = pair
    start = x.clone()
    for name, value in VALUES.items():
        x.copy_(start)
        expected = array(x)
        expected[for_numpy(index)] = value(expected[for_numpy(index)])
        x[index] = value(x[index])
        assert array(x).tolist() == expected.tolist(), name


@rule("indexing.selections.comparisons")
@given(pair=compared())
@example(pair=(SQUARE, 0))
@example(pair=(LIMITS, LIMITS))
@example(pair=(SQUARE, TURNED))
def test_a_comparison_gives_a_boolean_tensor_of_the_broadcast_shape(device, pair):
    x, y = pair
    for name, compare in COMPARISONS.items():
        result = compare(x, y)
        expected = np.asarray(compare(array(x), array(y)))
        assert result.dtype == torch.bool, name
        assert tuple(result.shape) == expected.shape, name
        assert result.tolist() == expected.tolist(), name
