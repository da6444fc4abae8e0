"""spec/tensors/factories.md"""

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, shapes, tails
from tests.inputs.circumstances import UNRECORDED, also
from tests.inputs.shapes import PICTURES
from tests.oracles import numbers

WAYS = (
    "lambda make, size, **asked: make(size, **asked)",
    "lambda make, size, **asked: make(list(size), **asked)",
    "lambda make, size, **asked: make(torch.Size(size), **asked)",
    "lambda make, size, **asked: make(size=size, **asked)",
    "lambda make, size, **asked: make(*size, **asked)",
)

FACTORIES = (
    "lambda **asked: torch.zeros((2, 3), **asked)",
    "lambda **asked: torch.zeros((), **asked)",
    "lambda **asked: torch.ones(0, 3, **asked)",
    "lambda **asked: torch.eye(2, 17, **asked)",
    "lambda **asked: torch.rand(2, 3, 4, **asked)",
    "lambda **asked: torch.linspace(0, 1, 1, **asked)",
    "lambda **asked: torch.ones(2, 3, **asked)",
    "lambda **asked: torch.eye(3, **asked)",
    "lambda **asked: torch.linspace(-1, 1, 5, **asked)",
    "lambda **asked: torch.rand(3, **asked)",
    "lambda **asked: torch.randn((), **asked)",
    "lambda **asked: torch.randn(5, 3, **asked)",
)
"""Functions that make a tensor, with dtype, device and requires_grad as they are asked."""


def factories():
    """Functions that make a tensor, with dtype, device and requires_grad as they are asked."""
    return st.sampled_from(FACTORIES).map(Expression)


@st.composite
def sizes_and_ways(draw):
    """(size, way): sizes, and a way to hand them over; no sizes at all cannot be written one by one."""
    size = draw(shapes() | tails() | st.sampled_from(PICTURES))
    return size, Expression(draw(st.sampled_from(WAYS if size else WAYS[:-1])))


def dtypes_and_flags():
    """(dtype, flag): a dtype, and whether its tensor is to require grad."""
    floating = dtypes.differentiable().map(lambda dtype: Expression(dtype, dtypes=frozenset({dtype})))
    return st.tuples(floating, st.booleans())


def any_dtypes():
    dtype = dtypes.differentiable() | dtypes.integral()
    return dtype.map(lambda name: Expression(name, dtypes=frozenset({name})))


def default_dtypes():
    return dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name})))


@rule("tensors.factories.sizes")
@also(*UNRECORDED)
@given(size_and_way=sizes_and_ways())
@example(size_and_way=((2, 3), Expression(WAYS[4])))
@example(size_and_way=((8, 8, 3), Expression(WAYS[4])))
@example(size_and_way=((), Expression(WAYS[0])))
@example(size_and_way=((1,), Expression(WAYS[4])))
@example(size_and_way=((1, 3), Expression(WAYS[1])))
@example(size_and_way=((2, 0), Expression(WAYS[4])))
@example(size_and_way=((2, 4), Expression(WAYS[4])))
@example(size_and_way=((100, 1), Expression(WAYS[2])))
@example(size_and_way=((2, 1, 3, 1, 2), Expression(WAYS[4])))
def test_the_shape_is_the_sizes_however_they_are_given(device, size_and_way):
    size, way = size_and_way
    for make in (torch.zeros, torch.ones, torch.rand, torch.randn):
        for asked in ({}, {"dtype": torch.float64}, {"requires_grad": True}):
            with torch.random.fork_rng(devices=[]):
                x = way(make, size, device=device, **asked)
            assert x.shape == size
            assert x.numel() == math.prod(size)


@rule("tensors.factories.elements")
@also(*UNRECORDED)
@given(size_and_way=sizes_and_ways(), dtype=any_dtypes())
@example(size_and_way=((2, 5), Expression(WAYS[4])), dtype=Expression("torch.float32"))
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
@example(rows=9, columns=17, dtype=Expression("torch.float32"))
@example(rows=17, columns=9, dtype=Expression("torch.float32"))
@example(rows=33, columns=None, dtype=Expression("torch.float64", dtypes=frozenset({"torch.float64"})))
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
@given(makes=st.just([Expression(make) for make in FACTORIES]), default=default_dtypes(), another=default_dtypes())
def test_a_factory_that_is_told_no_dtype_uses_the_default_dtype(device, makes, default, another):
    before = torch.get_default_dtype()
    made = []
    try:
        for dtype in (default, another, before):
            torch.set_default_dtype(dtype)
            with torch.random.fork_rng(devices=[]):
                for flag in (False, True):
                    made += [(dtype, make(device=device, requires_grad=flag)) for make in makes]
    finally:
        torch.set_default_dtype(before)
    for dtype, x in made:
        assert x.dtype == dtype


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
@example(make=Expression(FACTORIES[-1]), asked=(Expression("torch.float32"), True), recording=True)
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
    assert x.grad_fn is None
    with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(recording):
        assert not make(device=device, dtype=dtype).requires_grad
    for another in (torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye):
        sizes = (3,) if another is torch.eye else (2, 3)
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(recording):
            x = another(*sizes, requires_grad=flag, device=device, dtype=dtype)
        assert (x.dtype, x.requires_grad, x.is_leaf) == (dtype, flag, True)
