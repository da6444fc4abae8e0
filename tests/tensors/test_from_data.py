"""spec/tensors/from-data.md"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes
from tests.inputs.values import integers
from tests.oracles import numbers

KINDS = ("True", "2", "0.5", "1j")
"""A number of each kind, each kind wider than those before it."""

INFERRED = {
    "torch.float32": ("torch.bool", "torch.int64", "torch.float32", "torch.complex64"),
    "torch.float64": ("torch.bool", "torch.int64", "torch.float64", "torch.complex128"),
}
"""By default dtype: what a number of each kind becomes."""

KEYWORDS_IN_ANY_ORDER = (
    "lambda data, dtype, flag: torch.tensor(data, requires_grad=flag, dtype=dtype, device=device)",
    "lambda data, dtype, flag: torch.tensor(data, dtype=dtype, device=device, requires_grad=flag)",
    "lambda data, dtype, flag: torch.tensor(device=device, dtype=dtype, requires_grad=flag, data=data)",
)


def nest(values, shape, brackets):
    """The values in row-major order, nested; the brackets take turns by depth."""
    if not shape:
        return values[0]
    size = math.prod(shape[1:])
    rows = [nest(values[row * size : (row + 1) * size], shape[1:], brackets[::-1]) for row in range(shape[0])]
    return brackets[0](rows)


@st.composite
def nested(draw):
    """(data, shape, values): numbers in lists, in tuples, or in both, so deep and so many at each depth."""
    shape = draw(shapes().filter(lambda shape: 0 not in shape[:-1]))
    values = draw(integers(math.prod(shape)))
    brackets = draw(st.sampled_from([(list, list), (tuple, tuple), (list, tuple), (tuple, list)]))
    return nest(values, shape, brackets), shape, values


@st.composite
def mixtures(draw):
    """(data, default, inferred): numbers of several kinds, a default dtype, and the dtype that follows from both."""
    default = draw(st.sampled_from(tuple(INFERRED)))
    kinds = draw(st.lists(st.sampled_from(range(len(KINDS))), min_size=1, max_size=4))
    source = f"[{', '.join(KINDS[kind] for kind in kinds)}]"
    form = draw(st.sampled_from((source, f"[{source}]", f"({source}, {source})", KINDS[kinds[0]])))
    widest = kinds[0] if form == KINDS[kinds[0]] else max(kinds)
    inferred = INFERRED[default][widest]
    return Expression(form, dtypes=frozenset({inferred})), Expression(default), Expression(inferred)


@st.composite
def converted(draw):
    """(data, dtype, flag, values): integers, and a dtype and a flag that a tensor of them can have."""
    dtype = draw(dtypes.differentiable() | dtypes.integral())
    shape = draw(shapes(max_dims=2).filter(lambda shape: 0 not in shape[:-1]))
    values = draw(integers(math.prod(shape)))
    if dtype == "torch.bool":
        values = [value > 0 for value in values]
    elif dtype in dtypes.UNSIGNED:
        values = [abs(value) for value in values]
    flag = dtype not in dtypes.INTEGRAL and draw(st.booleans())
    return nest(values, shape, (list, list)), Expression(dtype, dtypes=frozenset({dtype})), flag, values


def keywords_in_any_order():
    return st.sampled_from(KEYWORDS_IN_ANY_ORDER).map(Expression)


def arguments_behind_the_data():
    """What might be meant as dtype, device or flag."""
    one = st.sampled_from((Expression("torch.float32"), Expression("device"), True, False))
    return st.lists(one, min_size=1, max_size=3)


@rule("tensors.from-data.nesting")
@given(nested=nested())
@example(nested=([[1, 2], [3, 4]], (2, 2), [1, 2, 3, 4]))
@example(nested=([1.0, 2.0, 3.0], (3,), [1, 2, 3]))
@example(nested=(3.5, (), [3.5]))
@example(nested=([2.0], (1,), [2]))
@example(nested=([[1, 2]], (1, 2), [1, 2]))
@example(nested=([2**53 + 1, 2**63 - 1], (2,), [2**53 + 1, 2**63 - 1]))
@example(nested=(list(range(1, 19)), (18,), list(range(1, 19))))
def test_nested_numbers_become_a_tensor_of_as_many_dimensions(device, nested):
    data, shape, values = nested
    x = torch.tensor(data, device=device)
    assert x.shape == shape
    assert x.is_contiguous()
    assert numbers(x) == values
    another = torch.tensor(data, device=device)
    x.zero_()
    assert numbers(another) == values


@rule("tensors.from-data.inferred-dtype")
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


@rule("tensors.from-data.keywords")
@given(converted=converted(), make=keywords_in_any_order())
@example(
    converted=([[1, 2], [3, 4]], Expression("torch.float32"), False, [1, 2, 3, 4]),
    make=Expression(KEYWORDS_IN_ANY_ORDER[1]),
)
@example(converted=(10.0, Expression("torch.float"), True, [10]), make=Expression(KEYWORDS_IN_ANY_ORDER[0]))
def test_the_tensor_is_what_the_keywords_ask_for(device, converted, make):
    data, dtype, flag, values = converted
    x = make(data, dtype, flag)
    assert x.dtype == dtype
    assert x.device.type == torch.device(device).type
    assert torch.device(device).index in (None, x.device.index)
    assert x.requires_grad is flag
    assert x.is_leaf
    assert numbers(x) == values


@rule("tensors.from-data.keyword-only")
@given(behind=arguments_behind_the_data())
@example(behind=[True, Expression("torch.float")])
def test_nothing_but_the_data_is_taken_by_position(device, behind):
    with pytest.raises(TypeError, match="positional argument") as refusal:
        torch.tensor(10.0, *behind)
    assert refusal.type is TypeError
