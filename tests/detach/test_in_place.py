"""spec/detach/in-place.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, layouts, leaves, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, NO_GRAD, also
from tests.oracles import numbers, state

NOT_A_VIEW = st.sampled_from(
    [
        "lambda x: x.clone()",
        "lambda x: x * 2",
        "lambda x: x.clone().clone()",
        "lambda x: x.detach().clone()",
        "lambda x: x.detach().clone().requires_grad_()",
        "lambda x: torch.nn.Parameter(x.detach().clone())",
        "lambda x: torch.cat([x[None], -x[None]])",
        "lambda x: (x * 2).mul_(3)",
        "lambda x: (x == x) * 1",
    ]
).map(Expression)

TRANSPOSED = leaves(shapes(min_dims=2, min_side=2), among=(layouts.transposed,))
"""Leaves whose copies and results, which are no views, are not contiguous either."""

VIEWS = st.sampled_from(
    [
        "lambda x: x.view_as(x)",
        "lambda x: x.unsqueeze(0)",
        "lambda x: x[..., :1] if x.ndim else x[None]",
        "lambda x: x.reshape(x.shape)",
        "lambda x: x.unbind()[0] if x.ndim and x.shape[0] else x[None]",
        "lambda x: x.unsqueeze(0).expand(2, *x.shape).unbind()[1]",
        "lambda x: x.detach().view_as(x)",
        "lambda x: x[-1] if x.ndim and x.shape[0] else x[...]",
        "lambda x: x.flatten() if x.is_contiguous() and x.ndim > 1 else x.unsqueeze(-1)",
        "lambda x: x.transpose(0, -1) if x.ndim else x[...]",
        "lambda x: x.chunk(2)[0] if x.ndim else x[None]",
        "lambda x: x.split(1)[-1] if x.ndim and x.shape[0] else x[None]",
        "lambda x: x.expand(2, *x.shape)",
        "lambda x: x.view_as(x)[None][0]",
        "lambda x: x.narrow(0, 0, 0) if x.ndim else x[None]",
    ]
).map(Expression)

DETACHING = st.sampled_from(["lambda x: x.detach_()", "lambda x: torch.detach_(x)"]).map(Expression)


@rule("detach.in-place.becomes-leaf")
@also(NO_GRAD)
@given(
    leaf=st.one_of(leaves(dtypes=dtypes.differentiable()), TRANSPOSED),
    places=st.tuples(NOT_A_VIEW, NOT_A_VIEW, NOT_A_VIEW),
    detaching=DETACHING,
    block_and_mode=blocks(),
)
def test_detached_in_place_the_same_tensor_is_a_leaf_over_the_same_memory(
    device, leaf, places, detaching, block_and_mode
):
    block, _ = block_and_mode
    for place in places:
        tensor = place(leaf)
        alias = tensor.detach()
        before = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.cpu().tolist())
        for _ in range(2):
            with block():
                assert detaching(tensor) is tensor
            assert (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset()) == before[:-1]
            assert tensor.cpu().tolist() == before[-1]
            assert tensor.is_leaf
            assert not tensor.requires_grad
            assert tensor.grad_fn is None
            with pytest.raises(RuntimeError):
                detaching(tensor.view_as(tensor))
            if tensor.is_floating_point() or tensor.is_complex():  # and so it is when it has required grad again
                tensor.requires_grad_()
                with torch.enable_grad():
                    output = tensor * 2
                output.backward(torch.ones_like(output))
        assert detaching(tensor) is tensor
        assert (tensor.is_leaf, tensor.requires_grad, tensor.grad_fn) == (True, False, None)
        assert tensor.cpu().tolist() == before[-1]
        with torch.inference_mode():
            detaching(tensor)
        assert (tensor.is_leaf, tensor.requires_grad, tensor.grad_fn) == (True, False, None)
        alias.zero_()
        assert numbers(tensor) == [0] * tensor.numel()


@rule("detach.in-place.becomes-leaf")
@also(NO_GRAD)
@given(leaf=leaves(), detaching=DETACHING)
def test_each_of_several_results_and_whatever_has_a_constant_operand_becomes_a_leaf(device, leaf, detaching):
    constant = torch.ones_like(leaf)
    of_two = (
        constant + leaf,
        leaf + constant,
        constant * leaf,
        torch.stack([constant, leaf]),
        torch.where(constant == 1, constant, leaf),
        torch.zeros_like(leaf).copy_(leaf),
        1 - leaf,
        leaf.sum(),
    )
    several = (
        lambda x: x[None].max(0),
        lambda x: x[None].sort(0),
        torch.frexp,
        lambda x: torch.aminmax(x[None], dim=0),
    )
    for function in (lambda x: of_two, *several):
        for result in function(leaf):
            values = numbers(result)
            if result.requires_grad and not result.is_leaf:
                result.retain_grad()
            assert detaching(result) is result
            assert (result.is_leaf, result.requires_grad, result.grad_fn) == (True, False, None)
            assert numbers(result) == values


@rule("detach.in-place.earlier-results-keep-graph")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True),
    first=elementwise(),
    second=elementwise(linear=True),
    detaching=DETACHING,
    block_and_mode=blocks(),
)
def test_earlier_results_still_lead_to_the_leaves_and_later_ones_do_not(
    device, leaf, first, second, detaching, block_and_mode
):
    function, derivative = first
    following, slope = second
    block, _ = block_and_mode
    held = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    tensor = function(leaf).clone()
    earlier, view, constant = following(tensor), tensor.clone()[None], torch.full_like(tensor, 2)
    product = constant * tensor
    more = (
        (tensor.sum(), 1),
        (torch.stack([constant, tensor, tensor]), 2),
        (torch.where(constant == constant, tensor, constant), 1),
        (tensor.flatten().index_select(0, torch.arange(leaf.numel(), device=device)), 1),
        (constant - tensor, -1),
        (earlier * 1 + tensor, 1 + slope(0)),
    )
    with block():
        detaching(tensor)
    weight = torch.ones_like(tensor, requires_grad=True)
    for output, factor in more:
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output), retain_graph=True)
        assert numbers(gradient) == [derivative(v).conjugate() * factor for v in numbers(leaf)]
    for later in (
        following(tensor),
        tensor[None],
        tensor * constant,
        constant + tensor,
        tensor * tensor,
        tensor.sum(),
        tensor.clone(),
        torch.stack([constant, tensor]),
        torch.zeros_like(tensor).add_(tensor),
    ):
        assert not later.requires_grad
        assert later.grad_fn is None
    for output in (earlier, view, product, weight * tensor, tensor * weight):
        output.backward(torch.ones_like(output), retain_graph=True)
    assert numbers(leaf.grad) == [
        g + derivative(v).conjugate() * (slope(v) + 1 + 2) for g, v in zip(held, numbers(leaf), strict=True)
    ]
    assert numbers(weight.grad) == [2 * v.conjugate() for v in numbers(tensor)]


@rule("detach.in-place.views-refused")
@also(NO_GRAD, AS_RESULTS)
@given(base=leaves(shapes(min_dims=1, min_side=2)), detaching=DETACHING)
def test_none_of_several_views_of_one_operation_can_be_detached_in_place(device, base, detaching):
    for parts in (base.unbind(), base.split(1), base.chunk(2), base.split(1, -1)):
        before = state(base, *parts)
        for part in parts:
            with pytest.raises(RuntimeError, match="Can't detach views in-place") as refusal:
                detaching(part)
            assert refusal.type is RuntimeError
        assert state(base, *parts) == before


@rule("detach.in-place.views-refused")
@also(NO_GRAD, AS_RESULTS)
@given(
    bases=st.tuples(
        leaves(dtypes=dtypes.differentiable()),
        tensors(dtypes=dtypes.differentiable()),
        tensors(dtypes=dtypes.integral()),
    ),
    views=st.tuples(VIEWS, VIEWS),
    detaching=DETACHING,
    block_and_mode=blocks(),
)
def test_a_view_cannot_be_detached_in_place_and_stays_as_it_is(device, bases, views, detaching, block_and_mode):
    block, _ = block_and_mode
    for owner in (*bases, bases[0].clone(), bases[1].clone()):
        for view in views:
            viewing = view(owner)
            again = viewing[None][0]
            before = state(owner, viewing)
            for refused in (viewing, again):
                with block(), pytest.raises(RuntimeError, match="Can't detach views in-place") as refusal:
                    detaching(refused)
                assert refusal.type is RuntimeError
            assert state(owner, viewing) == before
