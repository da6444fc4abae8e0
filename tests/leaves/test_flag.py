"""spec/leaves/flag.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.oracles import state

ASKED = (("", False), (", requires_grad=False", False), (", requires_grad=True", True))
"""What is said about gradients when a tensor is made, and the flag that it then has."""

FACTORIES = (
    "torch.tensor([1, 2, 3], dtype={dtype}, device=device{asked})",
    "torch.tensor([], dtype={dtype}, device=device{asked})",
    "torch.zeros({shape}, dtype={dtype}, device=device{asked})",
    "torch.ones({shape}, dtype={dtype}, device=device{asked})",
    "torch.full({shape}, 2, dtype={dtype}, device=device{asked})",
    "torch.empty({shape}, dtype={dtype}, device=device{asked})",
    "torch.linspace(-1, 1, 4, dtype={dtype}, device=device{asked})",
    "torch.randn({shape}, dtype={dtype}, generator=torch.Generator().manual_seed(0){asked})",
)
LIKE = (
    "lambda other: torch.zeros_like(other{asked})",
    "lambda other: torch.ones_like(other{asked})",
    "lambda other: torch.full_like(other, 2{asked})",
    "lambda other: torch.empty_like(other{asked})",
    "lambda other: other.new_zeros(2{asked})",
    "lambda other: other.new_full((), 2{asked})",
    "lambda other: other.new_tensor([1.0]{asked})",
)

ASKING = (
    "lambda tensor: torch.tensor(tensor.tolist(), dtype=tensor.dtype, device=tensor.device, requires_grad=True)",
    "lambda tensor: torch.ones(tensor.shape, dtype=tensor.dtype, device=tensor.device, requires_grad=True)",
    "lambda tensor: torch.zeros_like(tensor, requires_grad=True)",
    "lambda tensor: tensor.new_zeros(2, requires_grad=True)",
    "lambda tensor: torch.nn.Parameter(tensor)",
    "lambda tensor: setattr(tensor, 'requires_grad', True)",
    "lambda tensor: tensor.requires_grad_()",
    "lambda tensor: tensor.requires_grad_(True)",
)
NOT_ASKING = (
    "lambda tensor: torch.zeros_like(tensor, requires_grad=False)",
    "lambda tensor: torch.nn.Parameter(tensor, requires_grad=False)",
    "lambda tensor: setattr(tensor, 'requires_grad', False) or tensor",
    "lambda tensor: tensor.requires_grad_(False)",
)
CANNOT = "(?i)^only Tensors of floating point (and complex )?dtype can require gradients"


@st.composite
def made(draw):
    """(a function that makes a tensor, the flag that it asks for)."""
    tensor = draw(tensors(dtypes=dtypes.differentiable()))
    # True is what has to be done, False what is done anyway.
    asked, requires_grad = draw(st.sampled_from(ASKED) | st.just(ASKED[-1]))
    source = draw(st.sampled_from(FACTORIES)).format(asked=asked, **tensor.facts)
    return Expression(f"lambda: {source}", dtypes=tensor.dtypes), requires_grad


@st.composite
def makers(draw):
    """(a function that makes a tensor to match another, the flag that it asks for)."""
    form = draw(st.sampled_from(LIKE))
    asked, requires_grad = draw(st.sampled_from(ASKED) | st.just(ASKED[-1]))
    return Expression(form.format(asked=asked)), requires_grad


STRIDED = leaves(shapes(min_dims=2, min_side=2), dtypes.differentiable(), (layouts.transposed, layouts.stepped))


@rule("leaves.flag.as-asked")
@also(*UNRECORDED)
@given(maker=made())
@example(maker=(Expression("lambda: torch.tensor([], requires_grad=True)"), True))
@example(maker=(Expression("lambda: torch.randn(2, generator=torch.Generator(), requires_grad=True)"), True))
def test_a_new_tensor_requires_grad_if_it_was_asked_to(device, maker):
    make, asked = maker
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            tensor = make()
        assert tensor.requires_grad is asked
        assert tensor.is_leaf
        assert tensor.grad_fn is None
        assert tensor.grad is None


@rule("leaves.flag.as-asked")
@also(*UNRECORDED)
@given(other=leaves(dtypes=dtypes.differentiable()) | STRIDED, maker=makers(), recording=st.booleans())
def test_a_tensor_made_to_match_one_that_requires_grad_does_so_only_if_it_was_asked_to(device, other, maker, recording):
    make, asked = maker
    for like in (other, other * 1):
        with torch.set_grad_enabled(recording):
            tensor = make(like)
        assert tensor.requires_grad is asked
        assert tensor.is_leaf
        assert tensor.grad_fn is None


@rule("leaves.flag.as-asked")
@also(*UNRECORDED, AS_RESULTS)
@given(data=tensors(dtypes=dtypes.differentiable()), recording=st.booleans())
def test_a_parameter_requires_grad_unless_it_was_asked_not_to(device, data, recording):
    leaf = data.clone().requires_grad_()
    for tensor in (data, leaf, leaf * 1):
        with torch.set_grad_enabled(recording):
            parameters = [torch.nn.Parameter(tensor), torch.nn.Parameter(tensor, requires_grad=False)]
        assert [parameter.requires_grad for parameter in parameters] == [True, False]
        assert all(parameter.is_leaf and parameter.grad_fn is None for parameter in parameters)


@rule("leaves.flag.dtypes")
@also(*UNRECORDED)
@given(tensor=tensors(dtypes=dtypes.integral()), ask=st.sampled_from(ASKING).map(Expression))
@example(tensor=Expression("torch.tensor([1, 2, 3])"), ask=Expression(ASKING[0]))
@example(tensor=Expression("torch.tensor([1, 2, 3])"), ask=Expression(ASKING[5]))
def test_an_integer_or_boolean_tensor_cannot_be_asked_to_require_grad(device, tensor, ask):
    before = state(tensor)
    for block in (torch.enable_grad, torch.no_grad):
        with block(), pytest.raises(RuntimeError, match=CANNOT) as refusal:
            ask(tensor)
        assert refusal.type is RuntimeError
        assert state(tensor) == before


@rule("leaves.flag.dtypes")
@also(*UNRECORDED)
@given(tensor=tensors(dtypes=dtypes.integral()), refrain=st.sampled_from(NOT_ASKING).map(Expression))
def test_an_integer_or_boolean_tensor_can_be_asked_not_to_require_grad(device, tensor, refrain):
    assert refrain(tensor).requires_grad is False
    assert tensor.requires_grad is False


@rule("leaves.flag.integer-data")
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), data=tensors(dtypes=dtypes.integral()))
def test_a_leaf_that_requires_grad_takes_no_integers_as_its_data(device, leaf, data):
    before = state(leaf, data)
    for block in (torch.enable_grad, torch.no_grad):
        with block(), pytest.raises(RuntimeError, match="must be floating point or complex") as refusal:
            leaf.data = data
        assert refusal.type is RuntimeError
        assert state(leaf, data) == before
