"""spec/tensors/attributes.md"""

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also

FACTORIES = (
    "lambda: torch.tensor([1.0, 2.0])",
    "lambda: torch.tensor(3.14)",
    "lambda: torch.zeros(2, 3)",
    "lambda: torch.ones(2)",
    "lambda: torch.linspace(0, 1, 3)",
    "lambda: torch.rand(())",
    "lambda: torch.randn(3, 4, 5)",
    "lambda: torch.zeros(3, 0)",
    "lambda: torch.tensor([[1, 2], [3, 4]])",
    "lambda: torch.tensor(True)",
    "lambda: torch.tensor(1.0, dtype=torch.float64, requires_grad=True)",
    "lambda: torch.eye(3)",
    "lambda: torch.tensor([[0.0, 0.0]])",
    "lambda: torch.full((2, 3), 0)",
    "lambda: torch.ones(1, requires_grad=True)",
    "lambda: torch.rand(2, 3)",
    "lambda: torch.linspace(-1, 1, 5, dtype=torch.float64)",
    "lambda: torch.zeros(2, device=None)",
    "lambda: torch.full((2,), 3.0)",
    "lambda: torch.arange(3)",
    "lambda: torch.randn(2, requires_grad=True)",
    "lambda: torch.tensor([True, False], dtype=torch.int8)",
    "lambda: torch.tensor(0)",
    "lambda: torch.full((1,), 0.0, requires_grad=True)",
)


def tensors_and_shapes():
    """(x, shape): a tensor and the shape that it was given."""
    any_dtype = dtypes.differentiable() | dtypes.integral()
    return tensors(dtypes=any_dtype).map(lambda x: (x, x.facts["shape"]))


def tensors_or_leaves():
    return tensors(dtypes=dtypes.differentiable() | dtypes.integral()) | leaves()


def some_dtypes():
    """(dtype, name) for four dtypes, one after the other in a round of all: a device may lack some."""
    names = (*dtypes.FLOATING, *dtypes.INTEGRAL, *dtypes.COMPLEX)
    every = [(Expression(name, dtypes=frozenset({name})), name) for name in names]
    return st.sampled_from([(every * 2)[first : first + 4] for first in range(len(every))])


def factories():
    """Half of the functions that make a tensor and are told no device, from another one on each time."""
    every = list(map(Expression, FACTORIES))
    return st.sampled_from([(every * 2)[first : first + 9] for first in range(len(every))])


def default_devices():
    return st.sampled_from(("'cpu'", "device", "'meta'")).map(Expression)


@rule("tensors.attributes.sizes")
@also(*UNRECORDED, AS_RESULTS)
@given(x_and_shape=tensors_and_shapes())
@example(x_and_shape=(Expression("torch.zeros(3, 4, 5, device=device)"), (3, 4, 5)))
@example(x_and_shape=(Expression("torch.zeros(0, 3, device=device)"), (0, 3)))
@example(x_and_shape=(Expression("torch.zeros(8, 8, 3, device=device)"), (8, 8, 3)))
@example(x_and_shape=(Expression("torch.zeros(2, 8, 8, 3, device=device)"), (2, 8, 8, 3)))
@example(x_and_shape=(Expression("torch.nn.Parameter(torch.zeros(3, 17, device=device)[:, 1:])"), (3, 16)))
@example(x_and_shape=(Expression("torch.zeros(1, device=device).expand(2**17, 2**17)"), (2**17, 2**17)))
def test_shape_size_ndim_and_numel_tell_the_same(device, x_and_shape):
    x, shape = x_and_shape
    assert isinstance(x.shape, tuple)
    assert x.shape == shape
    assert x.size() == shape
    assert [x.size(dim) for dim in range(-x.ndim, x.ndim)] == [*shape, *shape]
    assert x.ndim == x.dim() == len(shape)
    assert x.numel() == math.prod(shape)
    for other, sizes in (
        (x[None], (1, *shape)),
        (x.permute(tuple(range(x.ndim)[::-1])), shape[::-1]),
        (x.expand(2, *shape), (2, *shape)),
        (x[..., None, None].squeeze(-1)[..., :0], (*shape, 0)),
        (x, shape),
    ):
        assert other.shape == other.size() == sizes
        assert [other.size(dim) for dim in range(-other.ndim, 0)] == [*sizes]
        assert other.ndim == other.dim() == len(sizes)
        assert other.numel() == math.prod(sizes)
    y = x.detach()
    assert y.unsqueeze_(0).shape == y.size() == (1, *shape)
    assert y.movedim(0, -1).shape == (*shape, 1)
    sizes = (1, *shape)
    assert y.transpose_(0, -1).shape == y.size() == (*sizes[-1:], *sizes[1:-1], 1)[: len(sizes)]
    assert y.numel() == math.prod(shape)


@rule("tensors.attributes.python-values")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors_or_leaves())
@example(x=Expression("torch.zeros(3, 4, 5, device=device)"))
@example(x=Expression("torch.ones(3, device=device, requires_grad=True) * 2"))
@example(x=Expression("torch.nn.Parameter(torch.tensor(2.0, device=device))"))
@example(x=Expression("torch.ones(2, 3, device=device) == 1"))
def test_an_attribute_prints_as_the_value_that_it_is(device, x):
    sides = torch.ones(2, 0, 3, device=device), torch.ones(1, device=device) == 1
    for it in (x, x.detach(), x[None], x.reshape(-1), x.clone(), x.permute(tuple(range(x.ndim)[::-1])), *sides):
        assert type(it.ndim) is int
        assert type(it.numel()) is int
        assert type(it.requires_grad) is bool
        assert type(it.is_leaf) is bool
        assert type(it.shape) is torch.Size
        assert {type(size) for size in it.shape} <= {int}
        assert f"{it.shape}" == str(it.shape) == f"torch.Size({list(it.shape)})"
        assert type(it.dtype) is torch.dtype
        assert f"{it.dtype}" == str(it.dtype)
        assert getattr(torch, str(it.dtype).removeprefix("torch.")) is it.dtype
        assert type(it.device) is torch.device
        assert f"{it.device}" == str(it.device)
        assert torch.device(str(it.device)) == it.device


@rule("tensors.attributes.python-values")
@also(*UNRECORDED)
@given(shape=st.sampled_from(((), (1,), (0, 2), (2, 1, 3), (17,))), named=some_dtypes())
def test_a_dtype_is_shown_by_its_name(device, shape, named):
    for dtype, name in named:
        for flag in {False, dtype.is_floating_point or dtype.is_complex}:
            x = torch.zeros(shape, dtype=dtype, device=device, requires_grad=flag)
            assert f"{x.dtype}" == str(x.dtype) == name
            assert x.dtype is dtype
            assert x.requires_grad is flag
            assert x.is_leaf is True
            assert f"{x.shape} {x.ndim} {x.numel()}" == f"torch.Size({list(shape)}) {len(shape)} {math.prod(shape)}"


@rule("tensors.attributes.default-device")
@also(*UNRECORDED)
@given(makes=factories(), default=default_devices(), another=default_devices())
@example(makes=[Expression("lambda: torch.randn(3, 4, 5)")], default=Expression("'cpu'"), another=Expression("'meta'"))
@example(makes=[Expression("lambda: torch.eye(3)")], default=Expression("'meta'"), another=Expression("'cpu'"))
@example(makes=[Expression(FACTORIES[8])], default=Expression("'meta'"), another=Expression("'cpu'"))
@example(makes=[Expression(FACTORIES[9])], default=Expression("'meta'"), another=Expression("'cpu'"))
def test_a_tensor_that_is_made_without_a_device_is_on_the_default_device(device, makes, default, another):
    outside = torch.ones(1).device
    made = []
    with torch.random.fork_rng(devices=[]):
        with torch.device(default):
            made += [(make(), default) for make in makes]
            with torch.device(another):
                made += [(make(), another) for make in makes]
            made += [(make(), default) for make in makes]
            try:
                with torch.device("meta"):
                    raise RuntimeError
            except RuntimeError:
                made += [(make(), default) for make in makes[:3]]
        made += [(make(), outside) for make in makes[:3]]
    for x, where in made:
        assert x.device.type == torch.device(where).type
        assert str(x.device).startswith(torch.device(where).type)
