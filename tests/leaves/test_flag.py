"""spec/leaves/flag.md"""

import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.oracles import state

ASKED = (({}, False), ({"requires_grad": False}, False), ({"requires_grad": True}, True))
"""What is said about gradients when a tensor is made, and the flag that it then has."""


def factories(tensor):
    """Functions that make a tensor, of the shape, dtype and device of this one or of none that was said."""
    shape, there, like = tensor.shape, {"device": tensor.device}, {"dtype": tensor.dtype, "device": tensor.device}
    yield lambda **asked: torch.tensor([1, 2, 3], **like, **asked)
    yield lambda **asked: torch.tensor([], **like, **asked)
    yield lambda **asked: torch.tensor(2.0, **like, **asked)
    yield lambda **asked: torch.zeros(shape, **like, **asked)
    yield lambda **asked: torch.ones(shape, **like, **asked)
    yield lambda **asked: torch.full(shape, 2, **like, **asked)
    yield lambda **asked: torch.empty(shape, **like, **asked)
    yield lambda **asked: torch.empty_strided((2, 3), (1, 2), **like, **asked)
    yield lambda **asked: torch.linspace(-1, 1, 4, **like, **asked)
    yield lambda **asked: torch.eye(2, 3, **there, **asked)
    yield lambda **asked: torch.asarray([1.0, 2.0], **like, **asked)
    yield lambda **asked: torch.scalar_tensor(2.0, **like, **asked)
    yield lambda **asked: torch.tensor([1.0, 2.0], **there, **asked)
    yield lambda **asked: torch.zeros(shape, **there, **asked)
    yield lambda **asked: torch.ones(2, 3, **there, **asked)
    yield lambda **asked: torch.full(shape, 2.0, **there, **asked)
    yield lambda **asked: torch.arange(0.0, 2.5, 0.5, **there, **asked)
    yield lambda **asked: torch.hann_window(3, **there, **asked)
    generator = torch.Generator()
    yield lambda **asked: torch.randn(shape, dtype=tensor.dtype, generator=generator, **asked)
    yield lambda **asked: torch.rand(shape, dtype=tensor.dtype, generator=generator, **asked)
    yield lambda **asked: torch.randn(2, generator=generator, **asked)


def matching(other):
    """Functions that make a tensor to match this one."""
    yield lambda **asked: torch.zeros_like(other, **asked)
    yield lambda **asked: torch.ones_like(other, **asked)
    yield lambda **asked: torch.full_like(other, 2, **asked)
    yield lambda **asked: torch.empty_like(other, **asked)
    yield lambda **asked: other.new_zeros(2, **asked)
    yield lambda **asked: other.new_full((), 2, **asked)
    yield lambda **asked: other.new_tensor([1.0], **asked)
    yield lambda **asked: other.new_ones(other.shape, **asked)
    yield lambda **asked: other.new_empty(0, **asked)
    yield lambda **asked: torch.zeros_like(other, dtype=torch.float32, **asked)
    yield lambda **asked: torch.empty_like(other, memory_format=torch.contiguous_format, **asked)
    yield lambda **asked: torch.tensor(other.tolist(), dtype=other.dtype, device=other.device, **asked)


def asking(tensor):
    """Ways to ask that a tensor, or one of its dtype, requires grad."""
    like = {"dtype": tensor.dtype, "device": tensor.device, "requires_grad": True}
    yield lambda: torch.tensor(tensor.tolist(), **like)
    yield lambda: torch.ones(tensor.shape, **like)
    yield lambda: torch.zeros(tensor.shape, **like)
    yield lambda: torch.empty(tensor.shape, **like)
    yield lambda: torch.full(tensor.shape, 1, **like)
    yield lambda: torch.zeros_like(tensor, requires_grad=True)
    yield lambda: torch.ones_like(tensor, requires_grad=True)
    yield lambda: torch.full_like(tensor, 1, requires_grad=True)
    yield lambda: tensor.new_zeros(2, requires_grad=True)
    yield lambda: tensor.new_full((2,), 1, requires_grad=True)
    yield lambda: torch.nn.Parameter(tensor)
    yield lambda: torch.nn.Parameter(tensor, requires_grad=True)
    yield lambda: setattr(tensor, "requires_grad", True)
    yield lambda: tensor.requires_grad_()
    yield lambda: tensor.requires_grad_(True)
    yield lambda: tensor.requires_grad_(requires_grad=True)
    yield lambda: torch.empty_like(tensor, requires_grad=True)
    yield lambda: tensor.new_ones(2, requires_grad=True)
    yield lambda: tensor.new_empty(2, requires_grad=True)
    yield lambda: tensor.new_tensor([1], requires_grad=True)
    yield lambda: torch.eye(2, **like)
    yield lambda: torch.nn.Parameter(tensor, True)
    yield lambda: tensor[None].requires_grad_()
    yield lambda: tensor.clone().requires_grad_()
    yield lambda: setattr(tensor.detach(), "requires_grad", True)
    # What is made of integers or truth values is of them, though nobody says so.
    yield lambda: torch.tensor([1, 2, 3], device=tensor.device, requires_grad=True)
    yield lambda: torch.tensor(True, device=tensor.device, requires_grad=True)
    yield lambda: torch.arange(3, device=tensor.device, requires_grad=True)
    yield lambda: torch.full((2, 2), 1, device=tensor.device, requires_grad=True)
    yield lambda: torch.full((), False, device=tensor.device, requires_grad=True)
    yield lambda: torch.randint(5, (3,), generator=torch.Generator(), requires_grad=True)


def not_asking(tensor):
    """Ways to ask that a tensor, or one of its dtype, does not require grad."""
    like = {"dtype": tensor.dtype, "device": tensor.device, "requires_grad": False}
    yield lambda: torch.tensor(tensor.tolist(), **like)
    yield lambda: torch.ones(tensor.shape, **like)
    yield lambda: torch.zeros_like(tensor, requires_grad=False)
    yield lambda: tensor.new_zeros(2, requires_grad=False)
    yield lambda: torch.nn.Parameter(tensor, requires_grad=False)
    yield lambda: setattr(tensor, "requires_grad", False) or tensor
    yield lambda: tensor.requires_grad_(False)
    yield lambda: tensor.requires_grad_(requires_grad=False)
    yield lambda: tensor[None].requires_grad_(False)
    yield lambda: torch.nn.Parameter(tensor, False)
    yield lambda: torch.full(tensor.shape, 1, **like)
    yield lambda: torch.empty_like(tensor, requires_grad=False)
    yield lambda: tensor.new_full((2,), 1, requires_grad=False)


CANNOT = "(?i)^only Tensors of floating point (and complex )?dtype can require gradients"


STRIDED = leaves(shapes(min_dims=2, min_side=2), dtypes.differentiable(), (layouts.transposed, layouts.stepped))


@rule("leaves.flag.as-asked")
@also(*UNRECORDED)
@given(alike=tensors(dtypes=dtypes.differentiable()))
@example(alike=Expression("torch.tensor([])"))
def test_a_new_tensor_requires_grad_if_it_was_asked_to(device, alike):
    for make in factories(alike):
        for asked, flag in ASKED:
            tensor = make(**asked)
            assert tensor.requires_grad is flag
            assert tensor.is_leaf
            assert tensor.grad_fn is None
            assert tensor.grad is None


@rule("leaves.flag.as-asked")
@also(*UNRECORDED)
@given(other=leaves(dtypes=dtypes.differentiable()) | STRIDED)
def test_a_tensor_made_to_match_one_that_requires_grad_does_so_only_if_it_was_asked_to(device, other):
    for like in (other, other * 1, other[None], other.detach(), torch.nn.Parameter(other)):
        for make in matching(like):
            for asked, flag in ASKED:
                tensor = make(**asked)
                assert tensor.requires_grad is flag
                assert tensor.is_leaf
                assert tensor.grad_fn is None


@rule("leaves.flag.as-asked")
@also(*UNRECORDED, AS_RESULTS)
@given(data=tensors(dtypes=dtypes.differentiable()), recording=st.booleans())
def test_a_parameter_requires_grad_unless_it_was_asked_not_to(device, data, recording):
    leaf = data.clone().requires_grad_()
    frozen = torch.nn.Parameter(leaf, requires_grad=False)
    for tensor in (data, leaf, leaf * 1, leaf[None], leaf.detach(), frozen, torch.nn.Parameter(leaf)):
        with torch.set_grad_enabled(recording):
            parameters = [
                torch.nn.Parameter(tensor),
                torch.nn.Parameter(tensor, requires_grad=False),
                torch.nn.Parameter(tensor, False),
                torch.nn.Parameter(tensor, True),
                torch.nn.Parameter(data=tensor),
            ]
        assert [parameter.requires_grad for parameter in parameters] == [True, False, False, True, True]
        assert all(parameter.is_leaf and parameter.grad_fn is None for parameter in parameters)


@rule("leaves.flag.dtypes")
@also(*UNRECORDED)
@given(tensor=tensors(dtypes=dtypes.integral()))
@example(tensor=Expression("torch.tensor([1, 2, 3])"))
def test_an_integer_or_boolean_tensor_cannot_be_asked_to_require_grad(device, tensor):
    before = state(tensor)
    for ask in asking(tensor):
        with pytest.raises(RuntimeError, match=CANNOT) as refusal:
            ask()
        assert refusal.type is RuntimeError
        assert state(tensor) == before
    for name in ("int8", "int16", "int32", "int64", "uint8", "bool"):
        other = torch.ones(2, dtype=getattr(torch, name), device=device)
        before = state(other)
        for ask in (other.requires_grad_, lambda other=other: torch.nn.Parameter(other)):
            with pytest.raises(RuntimeError, match=CANNOT):
                ask()
            assert state(other.requires_grad_(False)) == before


@rule("leaves.flag.dtypes")
@also(*UNRECORDED)
@given(tensor=tensors(dtypes=dtypes.integral()))
def test_an_integer_or_boolean_tensor_can_be_asked_not_to_require_grad(device, tensor):
    with pytest.raises(RuntimeError):
        tensor.requires_grad_()
    for refrain in not_asking(tensor):
        made = refrain()
        assert made.dtype is tensor.dtype
        assert made.requires_grad is False
        assert tensor.requires_grad is False


@rule("leaves.flag.integer-data")
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), data=tensors(dtypes=dtypes.integral()))
def test_a_leaf_that_requires_grad_takes_no_integers_as_its_data(device, leaf, data):
    parameter = torch.nn.Parameter(leaf.detach().clone())
    alike, single = torch.zeros_like(leaf.detach(), dtype=data.dtype), torch.tensor(True, device=device)
    before = state(leaf, parameter, data, alike)
    several = data, alike, single, torch.arange(3, device=device)
    for recording, integers, tensor in itertools.product((True, False), several, (leaf, parameter)):
        refused = pytest.raises(RuntimeError, match="must be floating point or complex")
        with torch.set_grad_enabled(recording), refused as refusal:
            tensor.data = integers
        assert refusal.type is RuntimeError
        assert state(leaf, parameter, data, alike) == before
