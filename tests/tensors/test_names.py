"""spec/tensors/names.md"""

import copy
import re

import numpy as np
import pytest
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
    """(short, dtype, size): short names, the dtypes that they stand for, and the bytes of one element."""
    every = [
        (short, Expression(f"torch.{name}", dtypes=frozenset({f"torch.{name}"})), size)
        for short, name, size in SHORT_NAMES
    ]
    return st.sampled_from([(every * 2)[first : first + 4] for first in range(len(every))])


@rule("tensors.names.tensor-class")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors_or_leaves())
@example(x=Expression("torch.ones(3, device=device, requires_grad=True) * 2"))
def test_every_tensor_is_a_torch_tensor_and_torch_autograd_has_no_such_class(device, x):
    every = [x, x.detach(), x.data, x.clone(), x.view_as(x), x[None], x == x, x.sum(), *x.reshape(-1).unbind()]
    every += [torch.tensor(1.5), torch.zeros(2), torch.eye(2), torch.arange(3), torch.linspace(0, 1, 2)]
    every += [torch.from_numpy(np.ones(2)), torch.as_tensor([1]), torch.empty(0), torch.ones(1, requires_grad=True)]
    every += [every[-1] * 2, every[-1].detach(), torch.nn.Parameter(torch.ones(1)).data, copy.deepcopy(every[-1])]
    every += [torch.cat([x, x]) if x.ndim else x, torch.zeros_like(x), x.movedim(0, -1) if x.ndim else x.view(1)]
    if x.requires_grad and x.is_leaf:
        x.grad = torch.ones_like(x)
        every += [x.grad]
        for turn in range(0 if torch.is_inference_mode_enabled() else 3):
            with torch.enable_grad():
                (2 * x).backward(torch.ones_like(x))
            every += [x.grad]
            if turn == 0:
                x.grad = None
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
@example(names=[("float", Expression("torch.float32"), 4)])
def test_a_short_name_is_the_dtype_itself(device, names):
    before = torch.get_default_dtype()
    try:
        for default in (before, torch.float64):
            torch.set_default_dtype(default)
            for short, dtype, size in names:
                assert getattr(torch, short) is dtype
                for x in (
                    torch.ones(3, dtype=getattr(torch, short), device=device),
                    torch.tensor(1, dtype=getattr(torch, short), device=device),
                    torch.ones(2, device=device).to(getattr(torch, short)),
                ):
                    assert x.element_size() == size
                    assert x.dtype is dtype
    finally:
        torch.set_default_dtype(before)


@rule("tensors.names.autograd-functions")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), route=routes())
def test_backward_and_grad_of_torch_autograd_find_the_derivatives(device, leaf, operation, route):
    function, derivative = operation
    before = state(leaf)
    expected = [derivative(value) for value in numbers(leaf)]
    beside = torch.ones_like(leaf).requires_grad_()
    for x in (leaf, leaf.clone(), leaf.view_as(leaf)):
        for options in ({}, {"create_graph": True}):
            y = function(route(x)).sum() + beside.sum()
            (returned,) = torch.autograd.grad(y, x, **options)
            assert numbers(returned) == expected
            assert state(leaf) == before
            assert beside.grad is None
        with pytest.raises(RuntimeError):
            torch.autograd.grad(beside.sum(), x)
        assert state(leaf) == before
        (doubled,) = torch.autograd.grad((2 * function(route(x))).sum(), x)
        assert numbers(doubled) == [2 * value for value in expected]
        assert numbers(returned) == expected
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
    assert numbers(beside.grad) == [1] * leaf.numel()
    after = state(leaf, beside)
    y = function(route(leaf))
    (tripled,) = torch.autograd.grad(y, leaf, torch.full_like(y, 3))
    assert numbers(tripled) == [3 * value for value in expected]
    assert state(leaf, beside) == after
    leaf.grad = None
    y = function(route(leaf))
    torch.autograd.backward(y, torch.full_like(y, 3))
    assert numbers(leaf.grad) == [3 * value for value in expected]


@rule("tensors.names.version")
@also(*UNRECORDED)
@given(major=st.integers(0, 12), minor=st.integers(0, 120), micro=st.integers(0, 12))
def test_the_version_is_a_text_that_compares_by_its_numbers(device, major, minor, micro):
    assert isinstance(torch.__version__, str)
    begins = re.match(r"(\d+)\.(\d+)\.(\d+)", torch.__version__)
    assert begins is not None
    ours = tuple(int(number) for number in begins.groups())
    near = [
        (*ours[:2], ours[2] + 1),
        (ours[0], ours[1] + 1),
        (ours[0], 10 * ours[1]),
        (ours[0] + 1, 0),
        (1, 9),
        (10, 0),
    ]
    for theirs in ((major, minor, micro), (major, minor), (ours[0], minor, micro), (*ours[:2], micro), *near):
        release = (*theirs, 0)[:3]  # 2.9 is 2.9.0
        if release == ours:
            continue
        text = ".".join(str(number) for number in theirs)
        later, earlier = ours > release, ours < release
        assert [torch.__version__ > text, torch.__version__ >= text, text < torch.__version__] == [later] * 3
        assert [torch.__version__ < text, torch.__version__ <= text, text > torch.__version__] == [earlier] * 3
        assert torch.__version__ != text
