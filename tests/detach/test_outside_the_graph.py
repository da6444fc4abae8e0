"""spec/detach/outside-the-graph.md"""

import pytest
import torch
from hypothesis import example, given
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


DETACHING = st.sampled_from(["lambda x: x.detach()", "lambda x: torch.detach(x)"]).map(Expression)


@rule("detach.outside-the-graph.new-leaf")
@also(AS_RESULTS)
@given(
    tensor=st.one_of(
        leaves(earlier_grad=True), leaves(dtypes=dtypes.complex_()), tensors(dtypes=dtypes.differentiable())
    ),
    plain=tensors(dtypes=dtypes.integral()),
    operation=elementwise(),
    route=routes(),
    block_and_mode=blocks(),
)
def test_the_detached_tensor_is_a_leaf_without_a_past(device, tensor, plain, operation, route, block_and_mode):
    function, _ = operation
    block, _ = block_and_mode
    results = torch.stack([tensor, tensor]).unbind()
    retaining = torch.ones_like(tensor, requires_grad=True) * tensor.detach()
    retaining.retain_grad()
    retaining.backward(torch.ones_like(retaining))
    # Not a Parameter: making one detaches.
    holding = torch.ones_like(tensor, requires_grad=True)
    holding.grad = torch.ones_like(holding)
    changed = (tensor * 2).add_(1)
    both = (*results, retaining, holding, changed)
    for original in (tensor, route(tensor), function(tensor), route(function(tensor)), *both):
        made = []
        for detaching in (torch.Tensor.detach, torch.Tensor.detach, torch.detach):
            with block():
                detached = detaching(original)
            assert detached.is_leaf
            assert not detached.requires_grad
            assert detached.grad_fn is None
            assert detached.grad is None
            again = detached.detach()
            assert (again.is_leaf, again.requires_grad, again.grad_fn, again.grad) == (True, False, None, None)
            detached.requires_grad_()
            detached.grad = torch.ones_like(detached)
            made.append(detached)
        with torch.inference_mode():
            for within in (original.detach(), torch.detach(original)):
                assert (within.is_leaf, within.requires_grad, within.grad_fn, within.grad) == (True, False, None, None)
    for original in (plain, plain[None], plain != 0):
        for detached in (original.detach(), torch.detach(original)):
            assert (detached.is_leaf, detached.requires_grad, detached.grad_fn) == (True, False, None)
            assert detached.grad is None


@rule("detach.outside-the-graph.original-untouched")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True),
    operation=elementwise(),
    route=routes(),
    detaching=DETACHING,
    block_and_mode=blocks(),
)
def test_detaching_changes_nothing_about_the_original(device, leaf, operation, route, detaching, block_and_mode):
    function, derivative = operation
    block, _ = block_and_mode
    output = function(route(leaf))
    first, second = torch.stack([leaf, leaf * 1]).unbind()
    grad = leaf.grad
    earlier = [0] * leaf.numel() if grad is None else numbers(grad)
    holding, retaining = torch.ones_like(leaf, requires_grad=True), leaf * 2
    retaining.retain_grad()
    holding.grad = was = torch.ones_like(holding)
    whole = torch.arange(3, device=device)
    originals = [leaf, route(leaf), output, first, second, output[None], (output * 2).sum()]
    originals += [holding, retaining, whole, whole > 1, leaf.detach(), leaf.detach()[None]]
    versions = [t._version for t in originals]
    before = [(t.cpu().tolist(), t.requires_grad, t.grad_fn, t.is_leaf) for t in originals]
    held = None if grad is None else (numbers(grad), grad._version)
    for original in originals:
        with block():
            detached = detaching(original)
            detaching(original)
        with torch.inference_mode():
            detaching(original)
        if detached.is_floating_point() or detached.is_complex():
            detached.requires_grad_()
            detached.grad = torch.ones_like(detached)
    assert holding.grad is was
    assert numbers(was) == [1] * leaf.numel()
    assert [t._version for t in originals] == versions
    assert [(t.cpu().tolist(), t.requires_grad, t.grad_fn, t.is_leaf) for t in originals] == before
    assert leaf.grad is grad
    assert grad is None or (numbers(grad), grad._version) == held
    (output.sum() + first.sum() + 2 * second.sum() + retaining.sum()).backward(torch.ones_like(output.sum()))
    assert numbers(leaf.grad) == [
        g + derivative(v).conjugate() + 5 for g, v in zip(earlier, numbers(leaf), strict=True)
    ]
    assert numbers(retaining.grad) == [1] * leaf.numel()


@rule("detach.outside-the-graph.original-untouched")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), update=RECORDED)
@example(
    leaf=Expression("torch.ones(2, device=device).requires_grad_()"), update=(Expression("lambda x: x.mul_(2)"), 2)
)
def test_a_result_that_was_detached_can_be_changed_and_passes_its_gradient_on(device, leaf, update):
    change, factor = update
    earlier = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    for times, place in ((1, lambda x: x * 3), (2, lambda x: (x * 3)[None]), (3, lambda x: torch.stack([x, x * 3]))):
        output = place(leaf)
        detached = output.detach()
        change(output)
        assert numbers(detached) == numbers(output)
        (output[1] if times == 3 else output).sum().backward()
        assert numbers(leaf.grad) == [g + times * 3 * factor for g in earlier]


@rule("detach.outside-the-graph.no-gradient-crosses")
@also(*BACKWARD)
@given(
    leaf=leaves(earlier_grad=True),
    operation=elementwise(linear=True),
    route=routes(),
    detaching=DETACHING,
    requires_grad=st.booleans(),
)
def test_no_gradient_crosses_between_the_original_and_the_detached_tensor(
    device, leaf, operation, route, detaching, requires_grad
):
    function, derivative = operation
    result = route(function(leaf))
    second = torch.stack([function(leaf), function(leaf)]).unbind()[1]
    # The leaf itself: in the product with what was detached from it, only its own factor counts.
    constant = detaching(leaf)
    if requires_grad:
        constant.requires_grad_()
    for output, factor in (
        (leaf * constant, 1),
        (constant * leaf, 1),
        (leaf + constant, None),
        (torch.stack([constant, leaf]), None),
        (torch.where(leaf == leaf, leaf, constant), None),
        (leaf - constant.view_as(constant), None),
    ):
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output), retain_graph=True)
        assert numbers(gradient) == [1 if factor is None else v for v in numbers(leaf)]
    for alone in (constant * 2, constant.sum(), constant[None], constant * constant):
        assert alone.requires_grad == requires_grad
        if requires_grad:
            assert torch.autograd.grad(alone.sum(), leaf, allow_unused=True) == (None,)
    for original in (result, second, function(leaf), function(leaf) * 1):
        leaf.grad = torch.ones_like(leaf)
        detached = detaching(original)
        if requires_grad:
            detached.requires_grad_()
        view = detached.view_as(detached)
        (original * detached + view * original).sum().backward()
        values = numbers(function(leaf))
        assert numbers(leaf.grad) == [
            1 + 2 * derivative(v) * factor for v, factor in zip(numbers(leaf), values, strict=True)
        ]
        if requires_grad:
            assert detached.grad is not None
            assert numbers(detached.grad) == [2 * number for number in numbers(original)]
            before = numbers(leaf.grad)
            (detached * 3).sum().backward()
            assert numbers(leaf.grad) == before
            assert numbers(detached.grad) == [2 * number + 3 for number in numbers(original)]


@rule("detach.outside-the-graph.no-tangent")
@also(NO_GRAD, AS_RESULTS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@given(primal=tensors(dtypes=dtypes.differentiable()), route=routes(), detaching=DETACHING, block_and_mode=blocks())
def test_the_detached_tensor_has_no_tangent_and_the_original_keeps_its_own(
    device, primal, route, detaching, block_and_mode
):
    block, _ = block_and_mode
    tangent = primal.view_as(primal)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(primal, tangent)
        for original, expected in (
            (dual, tangent),
            (route(dual), route(tangent)),
            (dual * dual, 2 * primal * tangent),
            (torch.stack([dual, -dual]).unbind()[1], -tangent),
        ):
            with block():
                detached = detaching(original)
            assert forward_ad.unpack_dual(detached).tangent is None
            assert forward_ad.unpack_dual(detached * 2).tangent is None
            assert numbers(detached) == numbers(forward_ad.unpack_dual(original).primal)
            assert numbers(forward_ad.unpack_dual(original).tangent) == numbers(expected)
