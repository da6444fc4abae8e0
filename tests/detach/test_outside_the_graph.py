"""spec/detach/outside-the-graph.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, leaves, routes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, NO_GRAD, also
from tests.oracles import numbers

RECORDED = st.sampled_from(
    [
        ("lambda x: x.add_(1)", 1),
        ("lambda x: x.mul_(2)", 2),
        ("lambda x: x.neg_()", -1),
        ("lambda x: x.view_as(x).mul_(2)", 2),
    ]
).map(lambda pair: (Expression(pair[0]), pair[1]))
"""An in-place operation, and what it multiplies the gradient by."""


@rule("detach.outside-the-graph.new-leaf")
@also(AS_RESULTS)
@given(
    tensor=st.one_of(
        leaves(earlier_grad=True), leaves(dtypes=dtypes.complex_()), tensors(dtypes=dtypes.differentiable())
    ),
    operation=elementwise(),
    route=routes(),
    block_and_mode=blocks(),
)
def test_the_detached_tensor_is_a_leaf_without_a_past(device, tensor, operation, route, block_and_mode):
    function, _ = operation
    block, _ = block_and_mode
    results = torch.stack([tensor, tensor]).unbind()
    for original in (tensor, route(tensor), function(tensor), route(function(tensor)), *results):
        made = []
        for _ in range(2):
            with block():
                detached = original.detach()
            assert detached.is_leaf
            assert not detached.requires_grad
            assert detached.grad_fn is None
            assert detached.grad is None
            detached.requires_grad_()
            detached.grad = torch.ones_like(detached)
            made.append(detached)


@rule("detach.outside-the-graph.original-untouched")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), route=routes())
def test_detaching_changes_nothing_about_the_original(device, leaf, operation, route):
    function, derivative = operation
    output = function(route(leaf))
    values = leaf.flatten().cpu().tolist()
    grad = leaf.grad
    earlier = [0] * len(values) if grad is None else grad.flatten().cpu().tolist()
    before = [(t.cpu().tolist(), t.requires_grad, t.grad_fn, t.is_leaf, t._version) for t in (leaf, output)]
    leaf.detach()
    output.detach()
    assert [(t.cpu().tolist(), t.requires_grad, t.grad_fn, t.is_leaf, t._version) for t in (leaf, output)] == before
    assert leaf.grad is grad
    output.sum().backward()
    assert numbers(leaf.grad) == [g + derivative(v) for g, v in zip(earlier, values, strict=True)]


@rule("detach.outside-the-graph.original-untouched")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), update=RECORDED)
def test_a_result_that_was_detached_can_be_changed_and_passes_its_gradient_on(device, leaf, update):
    change, factor = update
    earlier = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    output = leaf * 3
    output.detach()
    change(output)
    output.sum().backward()
    assert numbers(leaf.grad) == [g + 3 * factor for g in earlier]


@rule("detach.outside-the-graph.no-gradient-crosses")
@also(*BACKWARD)
@given(leaf=leaves(), operation=elementwise(linear=True), route=routes(), requires_grad=st.booleans())
def test_no_gradient_crosses_between_the_original_and_the_detached_tensor(
    device, leaf, operation, route, requires_grad
):
    function, derivative = operation
    original = route(function(leaf))
    detached = original.detach()
    if requires_grad:
        detached.requires_grad_()
    (original * detached).sum().backward()
    assert numbers(route(leaf.grad)) == [
        derivative(v) * factor for v, factor in zip(numbers(route(leaf)), numbers(original), strict=True)
    ]
    if requires_grad:
        assert detached.grad is not None
        assert numbers(detached.grad) == numbers(original)


@rule("detach.outside-the-graph.no-tangent")
@also(NO_GRAD, AS_RESULTS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@given(primal=tensors(), route=routes())
def test_the_detached_tensor_has_no_tangent_and_the_original_keeps_its_own(device, primal, route):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(primal, primal.view_as(primal))
        result = route(dual)
        assert forward_ad.unpack_dual(dual.detach()).tangent is None
        assert forward_ad.unpack_dual(result.detach()).tangent is None
        assert numbers(forward_ad.unpack_dual(dual).tangent) == numbers(primal)
        assert numbers(forward_ad.unpack_dual(result).tangent) == numbers(route(primal))
