"""spec/tensors/names.md"""

import re

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, routes, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import numbers, state

SHORT_NAMES = (
    ("float", "float32", 4),
    ("double", "float64", 8),
    ("half", "float16", 2),
    ("long", "int64", 8),
    ("int", "int32", 4),
    ("short", "int16", 2),
    ("cfloat", "complex64", 8),
    ("cdouble", "complex128", 16),
)


def tensors_or_leaves():
    return tensors(dtypes=dtypes.differentiable() | dtypes.integral()) | leaves()


def short_names():
    """(short, dtype, size): a short name, the dtype that it stands for, and the bytes of one element."""
    return st.sampled_from(SHORT_NAMES).map(
        lambda names: (names[0], Expression(f"torch.{names[1]}", dtypes=frozenset({f"torch.{names[1]}"})), names[2])
    )


@rule("tensors.names.tensor-class")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors_or_leaves())
@example(x=Expression("torch.ones(3, device=device, requires_grad=True) * 2"))
def test_every_tensor_is_a_torch_tensor_and_torch_autograd_has_no_such_class(device, x):
    every = [x, x.detach(), x.data, x.clone(), x.view_as(x), x[None], x == x, x.sum(), *x.reshape(-1).unbind()]
    if x.requires_grad and x.is_leaf:
        x.grad = torch.ones_like(x)
        every += [x.grad]
    for tensor in every:
        assert type(tensor) is torch.Tensor
        assert f"{type(tensor).__module__}.{type(tensor).__qualname__}" == "torch.Tensor"
    assert not hasattr(torch.autograd, "Tensor")


@rule("tensors.names.tensor-class")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(shapes(min_side=1, min_dims=1), st.sampled_from(("torch.float32", "torch.float64"))))
@example(x=Expression("torch.nn.Parameter(torch.ones(3, 2, device=device))"))
def test_each_of_several_results_is_a_torch_tensor(device, x):
    several = [torch.topk(x, 1), x.topk(1, 0), torch.unbind(x), x.unbind(-1)]
    several += [torch.split(x, 1), x.split(1, -1), torch.chunk(x, 2), x.chunk(2, -1)]
    for name in ("max", "min", "sort", "median"):
        several += [getattr(torch, name)(x, -1), getattr(x, name)(0)]
    for results in several:
        assert [type(result) for result in results] == [torch.Tensor] * len(results)


@rule("tensors.names.short-dtypes")
@also(*UNRECORDED)
@given(names=short_names())
@example(names=("float", Expression("torch.float32"), 4))
def test_a_short_name_is_the_dtype_itself(device, names):
    short, dtype, size = names
    assert getattr(torch, short) is dtype
    assert torch.ones(3, dtype=getattr(torch, short), device=device).element_size() == size


@rule("tensors.names.autograd-functions")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), route=routes())
def test_backward_and_grad_of_torch_autograd_find_the_derivatives(device, leaf, operation, route):
    function, derivative = operation
    before = state(leaf)
    expected = [derivative(value) for value in numbers(leaf)]
    beside = torch.ones_like(leaf).requires_grad_()
    for x in (leaf, leaf.clone(), leaf.view_as(leaf)):
        for options in ({}, {"create_graph": True}, {"retain_graph": True}):
            y = function(route(x)).sum() + beside.sum()
            (returned,) = torch.autograd.grad(y, x, **options)
            assert numbers(returned) == expected
            assert state(leaf) == before
            assert beside.grad is None
    y = function(route(leaf))
    returned, ones = torch.autograd.grad([y, beside], [leaf, beside], [torch.ones_like(y), torch.ones_like(leaf)])
    assert (numbers(returned), numbers(ones)) == (expected, [1] * leaf.numel())
    assert state(leaf) == before
    leaf.grad = None
    torch.autograd.backward(function(route(leaf)).sum())
    assert numbers(leaf.grad) == expected
    leaf.grad = None
    torch.autograd.backward([function(route(leaf)).sum(), beside.sum()])
    assert numbers(leaf.grad) == expected


@rule("tensors.names.version")
@also(*UNRECORDED)
@given(major=st.integers(0, 12), minor=st.integers(0, 120), micro=st.integers(0, 12))
def test_the_version_is_a_text_that_compares_by_its_numbers(device, major, minor, micro):
    assert isinstance(torch.__version__, str)
    begins = re.match(r"(\d+)\.(\d+)\.(\d+)", torch.__version__)
    assert begins is not None
    ours = tuple(int(number) for number in begins.groups())
    for theirs in ((major, minor, micro), (major, minor), (ours[0], minor, micro), (*ours[:2], micro)):
        release = (*theirs, 0)[:3]  # 2.9 is 2.9.0
        if release == ours:
            continue
        text = ".".join(str(number) for number in theirs)
        later, earlier = ours > release, ours < release
        assert [torch.__version__ > text, torch.__version__ >= text, text < torch.__version__] == [later] * 3
        assert [torch.__version__ < text, torch.__version__ <= text, text > torch.__version__] == [earlier] * 3
        assert torch.__version__ != text
