"""spec/tensors/from-data.md"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes, tails
from tests.inputs.circumstances import UNRECORDED, also
from tests.inputs.shapes import PICTURES
from tests.inputs.values import integers
from tests.oracles import numbers

KINDS = (("True", "False"), ("2", "-3", "2**40", "0"), ("0.5", "2.0", "-math.inf", "-0.0"), ("1j", "2 + 0j"))
"""Numbers of each kind, each kind wider than those before it."""

PAIRS = tuple(itertools.product(range(4), repeat=2))
"""Every kind beside every kind."""

INFERRED = {
    "torch.float32": ("torch.bool", "torch.int64", "torch.float32", "torch.complex64"),
    "torch.float64": ("torch.bool", "torch.int64", "torch.float64", "torch.complex128"),
}
"""By default dtype: what a number of each kind becomes."""

KEYWORDS_IN_ANY_ORDER = (
    lambda data, dtype, flag, device: torch.tensor(data, requires_grad=flag, dtype=dtype, device=device),
    lambda data, dtype, flag, device: torch.tensor(data, dtype=dtype, device=device, requires_grad=flag),
    lambda data, dtype, flag, device: torch.tensor(device=device, dtype=dtype, requires_grad=flag, data=data),
)


NUMBERS = ((True, False), (2, -3, 0, 2**40), (0.5, 2.0, -math.inf, -0.0), (1j, 2 + 0j))
"""As `KINDS`, the numbers themselves."""

LONGEST = {
    "torch.int64": (2**53 + 1, 2**63 - 1, -(2**63)),
    "torch.int32": (2**24 + 1, 2**31 - 1, -(2**31)),
    "torch.int16": (2**11 + 1, 2**15 - 1, -(2**15)),
    "torch.int8": (2**7 - 1, -(2**7)),
    "torch.uint8": (2**7 + 1, 2**8 - 1),
    "torch.float64": (0.1, 2.0**53 - 1, -(2.0**1000)),
    "torch.float32": (2.0**24 - 1, -(2.0**127), 1 + 2.0**-23),
    "torch.float16": (2.0**11 - 1, -65504.0, 1 + 2.0**-10),
    "torch.bfloat16": (2.0**8 - 1, -(2.0**127), 1 + 2.0**-7),
    "torch.complex64": (complex(2.0**24 - 1, -(2.0**127)), complex(-1, 1 + 2.0**-23)),
    "torch.complex128": (complex(0.1, -(2.0**53 - 1)), complex(-1, 2.0**1000)),
}
"""By dtype: numbers that it holds exactly and a narrower one does not."""

WITHOUT_ELEMENTS = ((2, 0), (0,), (3, 1, 0))


def nest(values, shape, brackets):
    """The values in row-major order, nested; the brackets take turns by depth."""
    if not shape:
        return values[0]
    size = math.prod(shape[1:])
    rows = [nest(values[row * size : (row + 1) * size], shape[1:], brackets[::-1]) for row in range(shape[0])]
    return brackets[0](rows)


@st.composite
def nested(draw):
    """(ways, shape, values): numbers in lists, in tuples, and in both, so deep and so many at each depth."""
    some = shapes().filter(lambda shape: 0 not in shape[:-1])
    shape = draw(some | tails() | st.sampled_from(WITHOUT_ELEMENTS) | st.sampled_from(PICTURES))
    values = list(map(draw(st.sampled_from((int, int, float, complex, bool))), draw(integers(math.prod(shape)))))
    ways = [nest(values, shape, brackets) for brackets in itertools.product((list, tuple), repeat=2)]
    return ways[: 1 if shape == () else None], shape, values


@st.composite
def mixtures(draw):
    """(data, default, inferred): numbers of several kinds, a default dtype, and the dtype that follows from both."""
    default = draw(st.sampled_from(tuple(INFERRED)))
    kinds = draw(st.lists(st.sampled_from(range(len(KINDS))), min_size=1, max_size=4))
    written = [draw(st.sampled_from(KINDS[kind])) for kind in kinds]
    source = f"[{', '.join(written)}]"
    late = f"[{written[0]}] * 20 + {source}"
    form = draw(st.sampled_from((source, f"[{source}]", f"({source}, {source})", late, written[0])))
    widest = kinds[0] if form == written[0] else max(kinds)
    inferred = INFERRED[default][widest]
    return Expression(form, dtypes=frozenset({inferred})), Expression(default), Expression(inferred)


@st.composite
def converted(draw):
    """(data, dtype, flags, values): numbers, and a dtype and the flags that a tensor of them can have."""
    dtype = draw(dtypes.differentiable() | dtypes.integral())
    shape = draw(shapes(max_dims=2).filter(lambda shape: 0 not in shape[:-1]) | tails())
    values = draw(integers(math.prod(shape)))
    if dtype == "torch.bool":
        values = [value > 0 for value in values]
    elif dtype in dtypes.UNSIGNED:
        values = [abs(value) for value in values]
    if dtype in LONGEST and draw(st.booleans()):
        values = [LONGEST[dtype][value % len(LONGEST[dtype])] for value in values]
    flags = (False,) if dtype in dtypes.INTEGRAL else (True, False)
    return nest(values, shape, (list, list)), Expression(dtype, dtypes=frozenset({dtype})), flags, values


@st.composite
def some_dtypes(draw):
    """Four dtypes, one after the other in a round of all."""
    names = (*dtypes.FLOATING, *dtypes.INTEGRAL, *dtypes.COMPLEX)
    first = draw(st.sampled_from(range(len(names))))
    return [Expression(name, dtypes=frozenset({name})) for name in (names * 2)[first : first + 4]]


def floating():
    return dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name})))


def numbers_in(data):
    """The numbers of nested lists and tuples in the order in which they stand."""
    return [number for member in data for number in numbers_in(member)] if isinstance(data, list | tuple) else [data]


def of_lists(data):
    """The same numbers in lists alone."""
    return list(map(of_lists, data)) if isinstance(data, list | tuple) else data


def of_kind(data, kind):
    """The same nested lists and tuples, of numbers of another kind."""
    if isinstance(data, list | tuple):
        return type(data)(of_kind(member, kind) for member in data)
    return kind(data) if kind in (bool, complex) else kind(data.real)


def arguments_behind_the_data():
    """What might be meant as dtype, device or flag."""
    one = st.sampled_from((Expression("torch.float32"), Expression("device"), True, False))
    return st.lists(one, min_size=1, max_size=3)


@rule("tensors.from-data.nesting")
@also(*UNRECORDED)
@given(nested=nested())
@example(nested=([[[1, 2], [3, 4]]], (2, 2), [1, 2, 3, 4]))
@example(nested=([[1.0, 2.0, 3.0]], (3,), [1, 2, 3]))
@example(nested=([3.5], (), [3.5]))
@example(nested=([[2.0]], (1,), [2]))
@example(nested=([[[], []]], (2, 0), []))
@example(nested=([([[]], [[]])], (2, 1, 0), []))
@example(nested=([[[1, 2]]], (1, 2), [1, 2]))
@example(nested=([[2**53 + 1, 2**63 - 1]], (2,), [2**53 + 1, 2**63 - 1]))
@example(nested=([list(range(1, 19))], (18,), list(range(1, 19))))
def test_nested_numbers_become_a_tensor_of_as_many_dimensions(device, nested):
    ways, shape, values = nested
    for data in ways:
        x = torch.tensor(data, device=device)
        assert x.shape == shape
        assert x.is_contiguous()
        assert numbers(x) == values
        another = torch.tensor(data, device=device)
        x.zero_()
        assert numbers(another) == values
        assert numbers(torch.tensor(data, device=device)) == values
    for kind in (bool, int, float, complex):
        x = torch.tensor(of_kind(ways[0], kind), device=device)
        assert x.shape == shape
        assert numbers(x) == of_kind(list(values), kind)
    row = of_kind(list(values), int) or [1]
    for number in (5, 2**53 + 1):
        row[-1] = number  # the list is another one now
        for data in ([row, row], [row], [[row]], row * 18, [tuple(row)] * 3):
            assert torch.tensor(data, device=device).tolist() == list(map(of_lists, data))


@rule("tensors.from-data.inferred-dtype")
@also(*UNRECORDED)
@given(mixture=mixtures())
@example(mixture=(Expression("[[1, 2], [3, 4]]"), Expression("torch.float32"), Expression("torch.int64")))
@example(mixture=(Expression("[1.0, 2.0, 3.0]"), Expression("torch.float32"), Expression("torch.float32")))
@example(mixture=(Expression("[2, True]"), Expression("torch.float32"), Expression("torch.int64")))
@example(mixture=(Expression("[0.5, 2, True]"), Expression("torch.float32"), Expression("torch.float32")))
@example(mixture=(Expression("3.14"), Expression("torch.float32"), Expression("torch.float32")))
def test_the_dtype_is_that_of_the_widest_kind_of_number(device, mixture):
    data, default, inferred = mixture
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        x = torch.tensor(data, device=device)
    finally:
        torch.set_default_dtype(before)
    assert x.dtype == inferred


@rule("tensors.from-data.inferred-dtype")
@also(*UNRECORDED)
@given(
    kinds=st.tuples(*map(st.sampled_from, NUMBERS)),
    default=st.sampled_from(tuple(INFERRED)).map(lambda name: (Expression(name), *map(Expression, INFERRED[name]))),
)
def test_the_widest_kind_decides_wherever_it_stands(device, kinds, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default[0])
    inferred = default[1:]
    try:
        for number, dtype in zip(kinds, inferred, strict=True):
            for data in (number, [number], (number,), [[number]] * 2, [number] * 17):
                assert torch.tensor(data, device=device).dtype == dtype
        for one, other in PAIRS:
            a, b, dtype = kinds[one], kinds[other], inferred[max(one, other)]
            for data in ([a, b], (a, b), [[a, a], [a, b]], ([a], (b,)), [a] * 33 + [b], [a, b] + [a] * 7, [[[a, b]]]):
                assert torch.tensor(data, device=device).dtype == dtype
    finally:
        torch.set_default_dtype(before)


@rule("tensors.from-data.inferred-dtype")
@also(*UNRECORDED)
@given(default=floating(), another=floating(), number=st.sampled_from((0.5, -3.0, math.inf, 1e30)))
def test_numbers_with_a_point_become_the_default_dtype_of_the_moment(device, default, another, number):
    before = torch.get_default_dtype()
    try:
        for dtype in (default, another, before):
            torch.set_default_dtype(dtype)
            for data in (number, [number], [1, number], [[True, 2], [number, 0]], (number,) * 17):
                for flag in (False, True):
                    assert torch.tensor(data, device=device, requires_grad=flag).dtype == dtype
                torch.tensor(data, dtype=torch.float32, device=device)
                assert torch.tensor(data, device=device, dtype=None).dtype == dtype
            assert torch.tensor([1, True], device=device).dtype == torch.int64
            assert torch.tensor([[], []], device=device).dtype == dtype
    finally:
        torch.set_default_dtype(before)


@rule("tensors.from-data.keywords")
@also(*UNRECORDED)
@given(converted=converted())
@example(converted=([[1, 2], [3, 4]], Expression("torch.float32"), (False,), [1, 2, 3, 4]))
@example(converted=([2**53 + 1, 2**63 - 1], Expression("torch.int64"), (False,), [2**53 + 1, 2**63 - 1]))
@example(converted=(10.0, Expression("torch.float"), (True,), [10]))
def test_the_tensor_is_what_the_keywords_ask_for(device, converted):
    data, dtype, flags, values = converted
    for make, flag in itertools.product(KEYWORDS_IN_ANY_ORDER, flags):
        x = make(data, dtype, flag, device)
        assert x.dtype == dtype
        assert x.device.type == torch.device(device).type
        assert torch.device(device).index in (None, x.device.index)
        assert x.requires_grad is flag
        assert x.is_leaf
        assert x.grad is None
        assert numbers(x) == values
        if flag:
            x.grad = torch.ones_like(x)
        plain = torch.tensor(data, dtype=dtype, device=device)
        assert (plain.dtype, plain.requires_grad, plain.grad, numbers(plain)) == (dtype, False, None, values)


@rule("tensors.from-data.keywords")
@also(*UNRECORDED)
@given(named=some_dtypes(), truths=st.lists(st.booleans(), min_size=1, max_size=3))
def test_any_dtype_can_be_asked_for_whatever_the_kind_of_the_numbers(device, named, truths):
    for dtype in named:
        kinds = (bool, int, float, complex) if dtype.is_complex else (bool, int, float)
        flags = (False, True) if dtype.is_floating_point or dtype.is_complex else (False,)
        for kind, make, flag in itertools.product(kinds, KEYWORDS_IN_ANY_ORDER[:2], flags):
            for data in (kind(truths[0]), list(map(kind, truths)), [list(map(kind, truths))] * 6):
                x = make(data, dtype, flag, device)
                assert (x.dtype, x.requires_grad, x.is_leaf) == (dtype, flag, True)
                assert x.tolist() == data
        assert torch.tensor([], dtype=dtype, device=device).dtype == dtype
        assert torch.tensor(1, device=device).dtype == torch.int64  # what was asked for is not asked for again


@rule("tensors.from-data.keywords")
@also(*UNRECORDED)
@given(values=st.permutations((math.inf, -math.inf, math.nan, -0.0, 0.0, 1.5)), dtype=floating())
def test_infinities_nan_and_the_sign_of_zero_are_numbers_too(device, values, dtype):
    for data in (values, [values, values[::-1]], tuple(values * 3), values[0]):
        held = numbers(torch.tensor(data, dtype=dtype, device=device))
        assert str(held) == str(numbers_in(data))


@rule("tensors.from-data.keyword-only")
@also(*UNRECORDED)
@given(behind=arguments_behind_the_data())
@example(behind=[True, Expression("torch.float")])
@example(behind=[Expression("None")])
@example(behind=[1])
@example(behind=[Expression("'cpu'")])
def test_nothing_but_the_data_is_taken_by_position(device, behind):
    for data in (10.0, 3, True, [1, 2], (), [[1.0], [2.0]], 2j):
        for keywords in ({}, {"requires_grad": True}, {"dtype": torch.float32, "device": device}):
            with pytest.raises(TypeError, match="positional argument") as refusal:
                torch.tensor(data, *behind, **keywords)
            assert refusal.type is TypeError
    assert torch.tensor([1.0, 2.0], device=device).tolist() == [1, 2]
    several = itertools.cycle((1.0, [1, 2], np.ones(2), np.float64(3), torch.ones(2), 7, "no number"))
    for alone in (torch.float64, torch.device(device), str(device), None, True, False, 0, 1.5, (2,), [1.0], np.float32):
        for data in itertools.islice(several, 2):
            with pytest.raises(TypeError, match="positional argument"):
                torch.tensor(data, alone)
