"""spec/tensors/factories.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import numbers

SIZED = ("torch.zeros", "torch.ones", "torch.rand", "torch.randn")

WAYS = (
    "lambda make, size, **asked: make(size, **asked)",
    "lambda make, size, **asked: make(list(size), **asked)",
    "lambda make, size, **asked: make(torch.Size(size), **asked)",
    "lambda make, size, **asked: make(*size, **asked)",
)

FACTORIES = (
    "lambda **asked: torch.zeros((2, 3), **asked)",
    "lambda **asked: torch.ones(2, 3, **asked)",
    "lambda **asked: torch.eye(3, **asked)",
    "lambda **asked: torch.linspace(-1, 1, 5, **asked)",
    "lambda **asked: torch.rand(3, **asked)",
    "lambda **asked: torch.randn((), **asked)",
    "lambda **asked: torch.randn(5, 3, **asked)",
)


def sized():
    """Functions that make a tensor of the sizes that they are told."""
    return st.sampled_from(SIZED).map(Expression)


def factories():
    """Functions that make a tensor, with dtype, device and requires_grad as they are asked."""
    return st.sampled_from(FACTORIES).map(Expression)


@st.composite
def sizes_and_ways(draw):
    """(size, way): sizes, and a way to hand them over; no sizes at all cannot be written one by one."""
    size = draw(shapes())
    return size, Expression(draw(st.sampled_from(WAYS if size else WAYS[:-1])))


def dtypes_and_flags():
    """(dtype, flag): a dtype, and whether its tensor is to require grad."""
    floating = dtypes.floating().map(lambda dtype: Expression(dtype, dtypes=frozenset({dtype})))
    return st.tuples(floating, st.booleans())


def any_dtypes():
    dtype = dtypes.differentiable() | dtypes.integral()
    return dtype.map(lambda name: Expression(name, dtypes=frozenset({name})))


def default_dtypes():
    return st.sampled_from(("torch.float32", "torch.float64")).map(
        lambda name: Expression(name, dtypes=frozenset({name}))
    )


@rule("tensors.factories.sizes")
@also(*UNRECORDED)
@given(make=sized(), size_and_way=sizes_and_ways())
@example(make=Expression("torch.zeros"), size_and_way=((2, 3), Expression(WAYS[3])))
@example(make=Expression("torch.zeros"), size_and_way=((8, 8, 3), Expression(WAYS[3])))
@example(make=Expression("torch.randn"), size_and_way=((), Expression(WAYS[0])))
@example(make=Expression("torch.randn"), size_and_way=((2, 4), Expression(WAYS[3])))
@example(make=Expression("torch.randn"), size_and_way=((100, 1), Expression(WAYS[2])))
def test_the_shape_is_the_sizes_however_they_are_given(device, make, size_and_way):
    size, way = size_and_way
    with torch.random.fork_rng(devices=[]):
        x = way(make, size, device=device)
    assert x.shape == size


@rule("tensors.factories.elements")
@also(*UNRECORDED)
@given(size_and_way=sizes_and_ways(), dtype=any_dtypes())
@example(size_and_way=((2, 5), Expression(WAYS[3])), dtype=Expression("torch.float32"))
@example(size_and_way=((2, 65), Expression(WAYS[1])), dtype=Expression("torch.float32"))
def test_zeros_holds_zeros_and_ones_holds_ones(device, size_and_way, dtype):
    size, way = size_and_way
    for make, element in ((torch.zeros, 0), (torch.ones, 1)):
        gone = way(make, size, dtype=dtype, device=device)
        expected = [element] * gone.numel()
        assert numbers(gone) == expected
        gone.fill_(1 - element)
        del gone
        kept = way(make, size, dtype=dtype, device=device)
        assert numbers(kept) == expected
        kept.fill_(1 - element)
        assert numbers(way(make, size, dtype=dtype, device=device)) == expected


@rule("tensors.factories.elements")
@also(*UNRECORDED)
@given(rows=st.integers(0, 5), columns=st.none() | st.integers(0, 5), dtype=any_dtypes())
@example(rows=3, columns=None, dtype=Expression("torch.float32"))
def test_eye_holds_ones_on_the_diagonal_and_zeros_beside_it(device, rows, columns, dtype):
    sizes = (rows,) if columns is None else (rows, columns)
    width = sizes[-1]
    for _ in range(2):
        x = torch.eye(*sizes, dtype=dtype, device=device)
        assert x.shape == (rows, width)
        assert numbers(x) == [row == column for row in range(rows) for column in range(width)]
        x.fill_(1)
        del x


@rule("tensors.factories.default-dtype")
@also(*UNRECORDED)
@given(make=factories(), default=default_dtypes())
def test_a_factory_that_is_told_no_dtype_uses_the_default_dtype(device, make, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.random.fork_rng(devices=[]):
            x = make(device=device)
    finally:
        torch.set_default_dtype(before)
    assert x.dtype == default


@rule("tensors.factories.default-dtype")
@also(*UNRECORDED)
@given(make=factories())
def test_the_default_dtype_is_single_precision_where_nobody_has_set_another(device, make):
    with torch.random.fork_rng(devices=[]):
        x = make(device=device)
    assert x.dtype == torch.float32
    assert x.element_size() == 4


@rule("tensors.factories.asked-for")
@also(*UNRECORDED)
@given(make=factories(), asked=dtypes_and_flags(), recording=st.booleans())
@example(make=Expression(FACTORIES[6]), asked=(Expression("torch.float32"), True), recording=True)
@example(
    make=Expression("lambda **asked: torch.randn(3, **asked)"),
    asked=(Expression("torch.float32"), True),
    recording=True,
)
@example(make=Expression(FACTORIES[0]), asked=(Expression("torch.float32"), True), recording=False)
def test_a_factory_makes_a_leaf_of_the_dtype_device_and_flag_that_it_is_asked_for(device, make, asked, recording):
    dtype, flag = asked
    with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(recording):
        x = make(requires_grad=flag, device=device, dtype=dtype)
    assert x.dtype == dtype
    assert x.device.type == torch.device(device).type
    assert torch.device(device).index in (None, x.device.index)
    assert x.requires_grad is flag
    assert x.is_leaf
    assert x.grad is None
