"""spec/indexing/selections.md"""

import math
from random import Random

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, shapes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.inputs.indices import basic, distinct_selection, indexed, selection
from tests.inputs.tensors import tensor_of
from tests.oracles import numbers

ANY = st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL + dtypes.COMPLEX)
REAL = st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL)
NUMERIC = st.sampled_from((*dtypes.FLOATING, *dtypes.INTEGRAL[:2], *dtypes.INTEGRAL[:-1], *dtypes.COMPLEX))
SQUARE = Expression("torch.arange(16.0).to(device).reshape(4, 4) - 7")
TURNED = Expression("torch.arange(16.0).to(device).reshape(4, 4).T - 7")
NINE = Expression("torch.arange(9.0).to(device)")
ROWS = Expression("torch.tensor([0, 2, 3], device=device)")
ROWS_AND_COLUMNS = Expression(
    "np.s_[torch.tensor([0, 2], device=device), torch.tensor([[1], [3], [0]], device=device)]"
)
MASK_OF_ROWS = Expression("torch.tensor([1, 0, 1, 1], dtype=torch.bool, device=device)")
TABLE = Expression("torch.tensor([[0, 3], [2, 1], [1, 2]], device=device).T")
FAR_INTEGERS = Expression("torch.tensor([2**60 + 1, -2**53 - 1, 2**63 - 1], device=device)")
IN_DOUBLE = Expression(
    "torch.tensor([1 + 2**-40, -math.inf, -2**40 - 1], dtype=torch.float64, device=device)",
    dtypes=frozenset({"torch.float64"}),
)
ROWS_OF_THREE = Expression("torch.tensor([2, 0, 1, 2], device=device)")
MASK_OF_THREE = Expression("torch.tensor([True, True, True], device=device)")
POSITIVE = Expression("torch.tensor([[0] * 4, [0] * 4, [1] * 4, [1] * 4], dtype=torch.bool, device=device)")

STRIPES = Expression("torch.tensor([[0, 1, 0, 1]] * 4, dtype=torch.bool, device=device)")

VALUES = {
    "a number": lambda old: 7,
    "a tensor of the picked shape": lambda old: 2 * old + 1,
    "a 0-d tensor": lambda old: old.sum(dtype=old.dtype),
    "a tensor that is stretched": lambda old: 3 + old[:1] if old.ndim else 3 + old,
}
"""What is assigned, made of what was there."""


def laid_out(random, shape, distinct=False):
    """A mask, or an index tensor of one dimension or two, in any layout."""
    first = random.randrange(len(shape))
    sizes = shape[first:]
    if random.random() < 0.5 or not sizes[0]:
        table, source = sizes[: random.choice([1, 2, len(sizes)])], "torch.bool"
        entries = [random.randrange(2) for _ in range(math.prod(table))]
    elif distinct:
        table, source = (random.randint(1, sizes[0]),), "torch.int64"
        entries = random.sample(range(sizes[0]), table[0])
    else:
        table, source = random.choice([(2, 3), (3, 2), (2, 2), (4,), (1, 3), (1,)]), "torch.int64"
        entries = [random.randrange(-sizes[0], sizes[0]) for _ in range(math.prod(table))]
    among = (layouts.transposed, *(layouts.WRITABLE if distinct else layouts.EVERY))
    layout = random.choice([layout for layout in among if layouts.fits(layout, table)])
    return [":"] * first + [layout(entries, table, source)]


def distinct_laid_out(random, shape):
    """As `laid_out`, but it picks no element twice."""
    return laid_out(random, shape, distinct=True)


@st.composite
def larger(draw, *kinds, dtypes, among=layouts.EVERY):
    """As `indexed`, for a tensor of 5 to 33 elements."""
    shape = draw(tails())
    kind = draw(st.sampled_from(kinds))
    index = Expression(f"np.s_[{', '.join(kind(Random(draw(st.integers(0, 19))), shape))}]")
    return tensor_of(draw, shape, draw(dtypes), draw(layouts.layouts(shape, among))), index


COMPLEX = Expression(
    "torch.tensor([1 + 2j, 1 - 2j, 2j, -2j, 1, 0], dtype=torch.complex64, device=device)",
    dtypes=frozenset({"torch.complex64"}),
)
NUMBERS = (0, 1, 2, -0.5, 0.5, 1.5)
FAR = {
    "torch.float32": 2**12,
    "torch.float64": 2**30,
    "torch.float16": 2**10,
    "torch.int64": 2**60,
    "torch.int32": 2**26,
    "torch.int16": 2**12,
    "torch.uint8": 126,
}
"""Where the neighbours of a number are still numbers of this dtype, but not all are of the next narrower one, or of the
one with a sign."""

PAIRS = (
    ((7,), (7,)),
    ((33,), (33,)),
    ((3, 11), (3, 11)),
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
"""Shapes that broadcast."""

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
    """Two tensors that broadcast against each other."""
    ours, theirs = draw(st.sampled_from(PAIRS))
    dtype = draw(REAL)
    away = draw(st.sampled_from((0, FAR.get(dtype, 0))))
    return tuple(tensor_of(draw, shape, dtype, each=lambda value: value + away) for shape in (ours, theirs))


@st.composite
def beside_numbers(draw):
    """A tensor, and numbers for it that uint8 does not wrap around."""
    dtype = draw(REAL)
    away = draw(st.sampled_from((0, FAR.get(dtype, 0))))
    x = tensor_of(draw, draw(shapes() | tails()), dtype, each=lambda value: value + away)
    return x, (away, away + 1, away + 2) if away else NUMBERS


def limits(dtype):
    """Seventeen numbers, some of which are none, or infinite, or zeros of either sign."""
    source = f"torch.tensor([math.nan, math.inf, 0.0, -math.inf, -0.0] * 4, dtype={dtype}, device=device)[3:]"
    return Expression(source, dtypes=frozenset({dtype}))


def ends(dtype):
    """The least and the greatest integers of a dtype, in a row and in a column."""
    least, most = (f"torch.iinfo({dtype}).{end}" for end in ("min", "max"))
    row = f"torch.tensor([{least}, {most}, 0, -1, {most} - 1, {least} + 1, 1], dtype={dtype}, device=device)"
    return tuple(Expression(source, dtypes=frozenset({dtype})) for source in (row, f"{row}.reshape(7, 1)"))


def beside_each_other(dtype):
    """Numbers far from 0 and next to each other, in a row and in a column."""
    row = f"torch.tensor({[FAR[dtype] + step for step in (-1, 0, 1, 2)]}, dtype={dtype}, device=device)"
    return tuple(Expression(source, dtypes=frozenset({dtype})) for source in (row, f"{row}.reshape(4, 1)"))


def array(x):
    """The elements as a NumPy array of the same shape, whatever the device and layout."""
    return np.array(x.tolist()).reshape(tuple(x.shape)) if isinstance(x, torch.Tensor) else x


def for_numpy(index):
    """The same index with its tensors as arrays."""
    if isinstance(index, tuple):
        return tuple(for_numpy(part) for part in index)
    return index.cpu().numpy() if isinstance(index, torch.Tensor) else index


@rule("indexing.selections.picks")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=indexed(selection, laid_out, dtypes=ANY) | larger(selection, laid_out, dtypes=ANY))
@example(pair=(SQUARE, TABLE))
@example(pair=(SQUARE, ROWS))
@example(pair=(SQUARE, POSITIVE))
@example(pair=(Expression("torch.arange(16.0).to(device).reshape(4, 4).T"), STRIPES))
@example(pair=(Expression("torch.tensor([True, False, True, True], device=device)"), MASK_OF_ROWS))
@example(pair=(SQUARE, ROWS_AND_COLUMNS))
@example(pair=(TURNED, ROWS_AND_COLUMNS))
@example(pair=(Expression("torch.tensor([True, False, True], device=device)"), ROWS_OF_THREE))
@example(pair=(NINE, Expression("torch.tensor([0, 1, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool, device=device)")))
@example(pair=(Expression("torch.tensor(2.0, device=device)"), Expression("torch.tensor(True, device=device)")))
@example(pair=(Expression("torch.tensor(2.0, device=device)"), Expression("torch.tensor(False, device=device)")))
@example(pair=(FAR_INTEGERS, ROWS_OF_THREE))
@example(pair=(FAR_INTEGERS, MASK_OF_THREE))
@example(pair=(IN_DOUBLE, ROWS_OF_THREE))
@example(pair=(IN_DOUBLE, MASK_OF_THREE))
def test_index_tensors_and_masks_pick_the_elements_that_numpy_picks(device, pair):
    x, index = pair
    expected = array(x)[for_numpy(index)]
    for _ in range(2):
        picked = x[index]
        assert tuple(picked.shape) == expected.shape
        assert picked.dtype == x.dtype
        assert picked.tolist() == expected.tolist()


@rule("indexing.selections.picks")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_dims=1, min_side=1) | tails(), ANY), start=st.integers(0, 3))
@example(x=SQUARE, start=0)
@example(x=TURNED, start=1)
def test_how_an_index_lies_in_memory_makes_no_difference(device, x, start):
    for step in (1, 2, 3):
        flags = (np.arange(x.numel()) + start).reshape(tuple(x.shape)) % step == 0
        places = (np.arange(6) * step + start).reshape(2, 3) % len(x)
        for index in (flags, places, places[0, :1], places[:1, 1:2], places[1] - len(x), places[:, :1] - len(x)):
            expected = array(x)[index].tolist()
            straight = torch.tensor(index.tolist(), device=device)
            turned = torch.tensor(index.T.tolist(), device=device).permute(*range(index.ndim)[::-1])
            assert x[straight].tolist() == x[turned].tolist() == expected, step
        order = torch.tensor(places.reshape(-1).argsort().tolist(), device=device)
        assert order[order].tolist() == array(order)[array(order)].tolist()


def as_a_result(x):
    """The same elements as a result that requires grad, if their dtype can."""
    return x.detach().clone().requires_grad_(x.is_floating_point() or x.is_complex()).clone()


@rule("indexing.selections.copies")
@also(*UNRECORDED)
@given(
    pair=indexed(selection, laid_out, dtypes=NUMERIC, among=layouts.WRITABLE)
    | larger(selection, laid_out, dtypes=NUMERIC, among=layouts.WRITABLE)
)
@example(pair=(SQUARE, ROWS))
@example(pair=(SQUARE, POSITIVE))
def test_a_selection_and_its_tensor_share_no_memory(device, pair):
    for x, index in (pair, (as_a_result(pair[0]), pair[1])):
        before = numbers(x)
        picked = x[index]
        picked.fill_(9)
        assert numbers(x) == before
        x.fill_(5)
        assert numbers(picked) == [9] * picked.numel()


AS_SLICES = {
    "a mask of all elements": lambda x: torch.ones(x.shape, dtype=torch.bool, device=x.device),
    "a mask of all rows": lambda x: torch.ones(len(x), dtype=torch.bool, device=x.device),
    "all rows": lambda x: torch.tensor([*range(len(x))], dtype=torch.int64, device=x.device),
    "every other row": lambda x: torch.tensor([*range(0, len(x), 2)], dtype=torch.int64, device=x.device),
    "the last row": lambda x: torch.tensor([*range(len(x))][-1:], dtype=torch.int64, device=x.device),
}
"""Indices of a tensor that pick what a slice would pick, too."""


def behind_slices(x):
    """Indices behind a slice, in front of one or beside `None` that pick neighbours in order."""

    def numbers_of(dim, first=0):
        return torch.tensor([*range(first, x.shape[dim])], dtype=torch.int64, device=x.device)

    found = [(..., numbers_of(-1)), (numbers_of(0), ...), (None, numbers_of(0))]
    if x.ndim > 1:
        found += [(slice(None), numbers_of(1)), (slice(None), numbers_of(1, 1)), (slice(1), numbers_of(1))]
        found += [(slice(None), torch.ones(x.shape[1], dtype=torch.bool, device=x.device))]
        found += [(numbers_of(0), slice(None)), (numbers_of(0), slice(1, None))]
    return found


@rule("indexing.selections.copies")
@also(*UNRECORDED)
@given(x=tensors(shapes(min_dims=1) | tails(), NUMERIC, layouts.WRITABLE))
@example(x=SQUARE)
@example(x=Expression("torch.arange(6).to(device)"))
@example(x=Expression("torch.arange(9).to(device) - 4"))
def test_a_selection_that_a_slice_could_tell_is_a_copy_too(device, x):
    for same in (x, as_a_result(x)):
        for name, index in AS_SLICES.items():
            picked = same[index(same)]
            before = numbers(same)
            picked.fill_(9)
            assert numbers(same) == before, name
            same.sub_(2)
            assert numbers(picked) == [9] * picked.numel(), name
        for index in behind_slices(same):
            picked = same[index]
            before = numbers(same)
            picked.fill_(9)
            assert numbers(same) == before, index
            same.sub_(2)
            assert numbers(picked) == [9] * picked.numel(), index


@rule("indexing.selections.copies")
@also(*UNRECORDED)
@given(x=tensors(shapes(min_dims=1, min_side=1), st.sampled_from(dtypes.FLOATING), layouts.WRITABLE))
def test_a_selection_of_a_single_row_is_a_copy(device, x):
    for row in (0, -1, len(x) // 2):
        index = torch.tensor([row], device=device)
        for picked in (x[index], x[index.int()], x[index.tolist()]):
            before = numbers(x)
            picked.fill_(9)
            assert numbers(x) == before
            x.sub_(2)
            assert numbers(picked) == [9] * picked.numel()


def between(x):
    """What stands in the memory of a view beside its elements."""
    if x._base is None:
        return []
    whole = x._base.detach().clone()
    whole.as_strided(x.shape, x.stride(), x.storage_offset()).zero_()
    return numbers(whole)


@rule("indexing.selections.writes")
@also(*UNRECORDED)
@given(
    pair=indexed(basic, distinct_selection, distinct_laid_out, dtypes=NUMERIC, among=layouts.WRITABLE)
    | larger(basic, distinct_selection, distinct_laid_out, dtypes=NUMERIC, among=layouts.WRITABLE)
)
@example(pair=(SQUARE, POSITIVE))
@example(pair=(Expression("(torch.arange(20.0).to(device).reshape(5, 4) - 7)[1:]"), ROWS))
@example(pair=(SQUARE, MASK_OF_ROWS))
@example(pair=(TURNED, MASK_OF_ROWS))
@example(pair=(SQUARE, ROWS))
def test_assigning_to_an_index_writes_into_the_tensor_where_numpy_writes(device, pair):
    start, gaps = pair[0].detach().clone(), between(pair[0])
    for x, index in (pair, (as_a_result(pair[0]), pair[1])):
        for name, value in VALUES.items():
            expected = array(start)
            expected[for_numpy(index)] = value(expected[for_numpy(index)])
            x.copy_(start)
            x[index] = value(x[index])
            assert array(x).tolist() == expected.tolist(), name
    assert between(pair[0]) == gaps


NOTHING = {
    "a mask of all elements": lambda x: torch.zeros(x.shape, dtype=torch.bool, device=x.device),
    "a mask of rows": lambda x: torch.zeros(len(x), dtype=torch.bool, device=x.device),
    "an index tensor": lambda x: torch.zeros(0, dtype=torch.int64, device=x.device),
}
"""Indices of a tensor that pick no element of it."""


@rule("indexing.selections.writes")
@also(*UNRECORDED)
@given(x=tensors(shapes(min_dims=1) | tails(), NUMERIC, layouts.WRITABLE))
@example(x=SQUARE)
def test_assigning_where_nothing_is_picked_writes_nothing(device, x):
    before = numbers(x)
    for same in (x, as_a_result(x)):
        for name, index in NOTHING.items():
            for value in (7, same[index(same)], same.sum(dtype=same.dtype) + 7):
                same[index(same)] = value
                assert numbers(same) == before, name


@rule("indexing.selections.comparisons")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=compared())
@example(pair=(limits("torch.float32"), limits("torch.float32")))
@example(pair=(limits("torch.float64"), limits("torch.float64")))
@example(pair=(limits("torch.float16"), limits("torch.float16")))
@example(pair=(limits("torch.bfloat16"), limits("torch.bfloat16")))
@example(pair=ends("torch.int8"))
@example(pair=ends("torch.int16"))
@example(pair=ends("torch.int32"))
@example(pair=ends("torch.int64"))
@example(pair=(SQUARE, TURNED))
@example(pair=beside_each_other("torch.float64"))
@example(pair=beside_each_other("torch.int64"))
@example(pair=beside_each_other("torch.uint8"))
def test_a_comparison_gives_a_boolean_tensor_of_the_broadcast_shape(device, pair):
    x, y = pair
    of_one_memory = torch.stack(torch.broadcast_tensors(x, y)).unbind()
    of_every_pair = (x.reshape(-1), x.reshape(-1, 1))
    for left, right in ((x, y), (y, x), (x, x), of_one_memory, of_every_pair):
        for name, compare in COMPARISONS.items():
            result = compare(left, right)
            expected = np.asarray(compare(array(left), array(right)))
            assert result.dtype == torch.bool, name
            assert tuple(result.shape) == expected.shape, name
            assert result.tolist() == expected.tolist(), name


@rule("indexing.selections.comparisons")
@also(*UNRECORDED, AS_RESULTS)
@given(case=beside_numbers())
@example(case=(SQUARE, NUMBERS))
@example(case=(limits("torch.float32"), NUMBERS))
@example(case=(limits("torch.float32"), (math.inf, -math.inf, math.nan)))
@example(case=(limits("torch.float16"), (math.inf, -math.inf, math.nan)))
@example(case=(ends("torch.int64")[0], (2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1, 0)))
@example(case=(ends("torch.int8")[0], (127, 126, -128, -127, 0)))
@example(case=(beside_each_other("torch.float64")[0], (2**30, 2**30 + 0.5, 2**30 + 1)))
@example(case=(Expression("torch.tensor(0.0, device=device)"), NUMBERS))
@example(case=(Expression("torch.tensor([0, 1, -1, 2], device=device)"), NUMBERS))
def test_a_comparison_with_a_number_compares_every_element(device, case):
    x, those = case
    for number in those:
        for name, compare in COMPARISONS.items():
            result, reflected = compare(x, number), compare(number, x)
            assert result.dtype == reflected.dtype == torch.bool, (name, number)
            assert result.tolist() == compare(array(x), number).tolist(), (name, number)
            assert reflected.tolist() == compare(number, array(x)).tolist(), (name, number)


@rule("indexing.selections.comparisons")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(dtypes=dtypes.complex_()))
@example(x=COMPLEX)
def test_complex_numbers_are_equal_if_both_parts_are(device, x):
    others = (x, x.clone(), x.conj(), x + 1, x - 2j, x.reshape(-1, 1)[:1, 0] if x.numel() else x)
    for other in others:
        for name in ("==", "!="):
            for left, right in ((x, other), (other, x)):
                result = COMPARISONS[name](left, right)
                expected = np.asarray(COMPARISONS[name](array(left), array(right)))
                assert result.dtype == torch.bool, name
                assert tuple(result.shape) == expected.shape, name
                assert result.tolist() == expected.tolist(), name
