"""spec/tensors/factories.md"""

import itertools
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


ALL_FACTORIES = [Expression(make) for make in FACTORIES]


ALL_WAYS = [Expression(way) for way in WAYS]


KEYWORDS = ({"requires_grad": True}, {"dtype": torch.float64}, {"dtype": torch.float16})


def sizes():
    return shapes() | tails() | st.sampled_from(PICTURES)


def orders_of(named, several=None):
    """All these dtypes or several of them, from another one on each time, since what was made before may matter."""
    every = [Expression(name, dtypes=frozenset({name})) for name in named]
    rounds = [(every * 2)[first : first + (several or len(every))] for first in range(len(every))]
    return st.sampled_from(rounds)


def makers():
    """All factories, from another one on each time."""
    return st.sampled_from([ALL_FACTORIES[first:] + ALL_FACTORIES[:first] for first in range(0, 12, 2)])


@rule("tensors.factories.sizes")
@also(*UNRECORDED)
@given(size=sizes(), ways=st.just(ALL_WAYS))
@example(size=(2, 3), ways=ALL_WAYS)
@example(size=(8, 8, 3), ways=ALL_WAYS)
@example(size=(), ways=ALL_WAYS)
@example(size=(1,), ways=ALL_WAYS)
@example(size=(1, 3), ways=ALL_WAYS)
@example(size=(2, 0), ways=ALL_WAYS)
@example(size=(2, 4), ways=ALL_WAYS)
@example(size=(100, 1), ways=ALL_WAYS)
@example(size=(2, 1, 3, 1, 2), ways=ALL_WAYS)
def test_the_shape_is_the_sizes_however_they_are_given(device, size, ways):
    with torch.random.fork_rng(devices=[]):
        for make in (torch.zeros, torch.ones, torch.rand, torch.randn):
            # No sizes at all cannot be written one by one.
            for way, asked in zip(ways if size else ways[:-1], itertools.cycle(KEYWORDS)):
                for told, options in ((size, {}), (size[::-1], asked), (size, asked)):
                    x = way(make, told, device=device, **options)
                    assert x.shape == told
                    assert x.numel() == math.prod(told)


@rule("tensors.factories.elements")
@also(*UNRECORDED)
@given(
    size=sizes(),
    ways=st.just(ALL_WAYS[:-1]),
    named=orders_of((*dtypes.FLOATING, *dtypes.INTEGRAL, *dtypes.COMPLEX), several=5),
)
@example(size=(2, 5), ways=ALL_WAYS[4:], named=[Expression("torch.float32")])
@example(size=(2, 65), ways=ALL_WAYS, named=[Expression("torch.float32")])
def test_zeros_holds_zeros_and_ones_holds_ones(device, size, ways, named):
    for dtype, way in zip(named, itertools.cycle(ways)):
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
            if dtype.is_floating_point or dtype.is_complex:
                assert numbers(make(size, dtype=dtype, device=device, requires_grad=True)) == expected
    for make, element in ((torch.zeros, 0), (torch.ones, 1)):
        for other in (size, (*size, 2), size[1:], (7,), size):
            assert numbers(make(other, device=device)) == [element] * math.prod(other)


@rule("tensors.factories.elements")
@also(*UNRECORDED)
@given(
    rows=st.integers(0, 5),
    columns=st.none() | st.integers(0, 5),
    named=orders_of((*dtypes.FLOATING, *dtypes.INTEGRAL, *dtypes.COMPLEX), several=5),
)
@example(rows=3, columns=None, named=[Expression("torch.float32")])
@example(rows=9, columns=17, named=[Expression("torch.float32")])
@example(rows=17, columns=9, named=[Expression("torch.float32")])
@example(rows=33, columns=None, named=[Expression("torch.float64", dtypes=frozenset({"torch.float64"}))])
@example(rows=1, columns=33, named=[Expression("torch.float32")])
def test_eye_holds_ones_on_the_diagonal_and_zeros_beside_it(device, rows, columns, named):
    sizes = (rows,) if columns is None else (rows, columns)
    width = sizes[-1]
    expected = [row == column for row in range(rows) for column in range(width)]
    for dtype in named:
        for _ in range(2):
            x = torch.eye(*sizes, dtype=dtype, device=device)
            assert x.shape == (rows, width)
            assert numbers(x) == expected
            x.fill_(1)
            del x
    for n, m in ((rows, width), (width, rows), (rows, rows), (rows, width + 1), (rows, width)):
        for x in (torch.eye(n, m, device=device), torch.eye(m=m, n=n, device=device, requires_grad=True)):
            assert x.shape == (n, m)
            assert numbers(x) == [row == column for row in range(n) for column in range(m)]
            x.detach().fill_(3)


@rule("tensors.factories.default-dtype")
@also(*UNRECORDED)
@given(makes=makers(), defaults=orders_of(dtypes.FLOATING, several=2))
def test_a_factory_that_is_told_no_dtype_uses_the_default_dtype(device, makes, defaults):
    before = torch.get_default_dtype()
    made = []
    try:
        with torch.random.fork_rng(devices=[]):
            for dtype in (*defaults, before, defaults[0]):
                torch.set_default_dtype(dtype)
                for make in makes:
                    made += [(dtype, make(device=device, requires_grad=flag)) for flag in (False, True)]
                    made += [(torch.float32, make(device=device, dtype=torch.float32))]
                    made += [(dtype, make(dtype=None, device=device))]
    finally:
        torch.set_default_dtype(before)
    for dtype, x in made:
        assert x.dtype == dtype


@rule("tensors.factories.default-dtype")
@also(*UNRECORDED)
@given(makes=makers())
def test_the_default_dtype_is_single_precision_where_nobody_has_set_another(device, makes):
    with torch.random.fork_rng(devices=[]):
        for x in [make(device=device) for make in makes] + [make(device=device, requires_grad=True) for make in makes]:
            assert x.dtype == torch.float32
            assert x.element_size() == 4


@rule("tensors.factories.asked-for")
@also(*UNRECORDED)
@given(makes=makers(), named=orders_of((*dtypes.FLOATING, *dtypes.COMPLEX), several=3), recording=st.booleans())
@example(makes=ALL_FACTORIES[-1:], named=[Expression("torch.float32")], recording=True)
@example(
    makes=[Expression("lambda **asked: torch.randn(3, **asked)")], named=[Expression("torch.float32")], recording=True
)
@example(makes=ALL_FACTORIES[:1], named=[Expression("torch.float32")], recording=False)
def test_a_factory_makes_a_leaf_of_the_dtype_device_and_flag_that_it_is_asked_for(device, makes, named, recording):
    with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(recording):
        for dtype, make in itertools.product(named, makes):
            for flag, where in ((True, device), (False, torch.device(device))):
                x = make(requires_grad=flag, device=where, dtype=dtype)
                assert x.dtype == dtype
                assert x.device.type == torch.device(device).type
                assert torch.device(device).index in (None, x.device.index)
                assert x.requires_grad is flag
                assert x.is_leaf
                assert x.grad is None
                assert x.grad_fn is None
                if flag:
                    x.grad = torch.ones_like(x)  # the next one holds none
            assert not make(dtype=dtype, device=device).requires_grad


@rule("tensors.factories.asked-for")
@also(*UNRECORDED)
@given(named=orders_of(dtypes.INTEGRAL), recording=st.booleans())
def test_a_factory_makes_whole_numbers_and_truth_values_where_it_is_asked_to(device, named, recording):
    with torch.set_grad_enabled(recording):
        for dtype in named:
            for x in (
                torch.zeros(2, 3, dtype=dtype, device=device),
                torch.ones((), dtype=dtype, device=device),
                torch.eye(2, dtype=dtype, device=device, requires_grad=False),
                torch.ones(0, 2, dtype=dtype, device=device, requires_grad=False),
            ):
                assert x.dtype == dtype
                assert x.device.type == torch.device(device).type
                assert x.is_leaf
                assert not x.requires_grad
                assert x.grad is None
