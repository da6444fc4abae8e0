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
    "lambda: torch.ones(1, requires_grad=True)",
    "lambda: torch.rand(2, 3)",
    "lambda: torch.linspace(-1, 1, 5, dtype=torch.float64)",
)


def tensors_and_shapes():
    """(x, shape): a tensor and the shape that it was given."""
    any_dtype = dtypes.differentiable() | dtypes.integral()
    return tensors(dtypes=any_dtype).map(lambda x: (x, x.facts["shape"]))


def tensors_or_leaves():
    return tensors(dtypes=dtypes.differentiable() | dtypes.integral()) | leaves()


def factories():
    """Functions that make a tensor and are told no device."""
    return st.sampled_from(FACTORIES).map(Expression)


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
    assert type(x.ndim) is int
    assert type(x.numel()) is int
    assert type(x.requires_grad) is bool
    assert type(x.is_leaf) is bool
    assert type(x.shape) is torch.Size
    assert f"{x.shape}" == str(x.shape) == f"torch.Size({list(x.shape)})"
    assert type(x.dtype) is torch.dtype
    assert f"{x.dtype}" == str(x.dtype)
    assert getattr(torch, str(x.dtype).removeprefix("torch.")) is x.dtype
    assert type(x.device) is torch.device
    assert f"{x.device}" == str(x.device)
    assert torch.device(str(x.device)) == x.device


@rule("tensors.attributes.default-device")
@also(*UNRECORDED)
@given(make=factories(), default=default_devices(), another=default_devices())
@example(make=Expression("lambda: torch.randn(3, 4, 5)"), default=Expression("'cpu'"), another=Expression("'meta'"))
@example(make=Expression("lambda: torch.eye(3)"), default=Expression("'meta'"), another=Expression("'cpu'"))
@example(make=Expression(FACTORIES[8]), default=Expression("'meta'"), another=Expression("'cpu'"))
@example(make=Expression(FACTORIES[9]), default=Expression("'meta'"), another=Expression("'cpu'"))
def test_a_tensor_that_is_made_without_a_device_is_on_the_default_device(device, make, default, another):
    with torch.random.fork_rng(devices=[]), torch.device(default):
        made = [(make(), default)]
        with torch.device(another):
            made += [(make(), another)]
        made += [(make(), default)]
    for x, where in made:
        assert x.device.type == torch.device(where).type
        assert str(x.device).startswith(torch.device(where).type)
