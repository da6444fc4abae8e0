"""spec/leaves/leaf.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, routes, tensors
from tests.oracles import numbers

BY_INDICES = "lambda x: torch.zeros_like(x)[None].index_put_((torch.zeros(1, dtype=torch.int64, device=device),), x)"

COPIES = (
    "lambda x: x.clone()",
    "lambda x: x.to(x.dtype, copy=True)",
    "lambda x: torch.clone(x)",
    "lambda x: x.contiguous().clone()",
    "lambda x: torch.zeros_like(x).copy_(x)",
    BY_INDICES,
    "lambda x: torch.cat([x[None]])",
    "lambda x: torch.stack([x])",
)


@rule("leaves.leaf.no-grad-fn")
@given(
    tensor=tensors(dtypes=dtypes.differentiable()),
    operation=elementwise(),
    route=routes(),
    requires_grad=st.booleans(),
)
def test_a_tensor_is_a_leaf_unless_a_recorded_operation_made_it(device, tensor, operation, route, requires_grad):
    function, _ = operation
    tensor.requires_grad_(requires_grad)
    assert tensor.is_leaf
    assert tensor.grad_fn is None
    for result in (function(tensor), route(function(tensor)), route(tensor.view_as(tensor)), tensor.sum()):
        assert result.is_leaf is not requires_grad
        assert (result.grad_fn is None) is not requires_grad
        assert result.requires_grad is requires_grad


@rule("leaves.leaf.no-grad-fn")
@given(tensor=tensors(dtypes=dtypes.integral()), route=routes())
def test_an_integer_or_boolean_tensor_is_a_leaf(device, tensor, route):
    for result in (tensor, route(tensor), tensor == tensor, tensor.long()):
        assert result.is_leaf
        assert result.grad_fn is None


@rule("leaves.leaf.copies")
@given(leaf=leaves(), copy=st.sampled_from(COPIES).map(Expression))
@example(leaf=Expression("torch.ones(2, device=device).requires_grad_()"), copy=Expression(COPIES[1]))
@example(leaf=Expression("torch.ones(2, device=device).requires_grad_()"), copy=Expression(BY_INDICES))
def test_a_copy_of_a_leaf_is_a_result_through_which_the_leaf_gets_its_gradient(device, leaf, copy):
    copied = copy(leaf)
    assert copied.requires_grad
    assert not copied.is_leaf
    before = numbers(leaf)
    (copied * 3).sum().backward()
    assert numbers(leaf.grad) == [3] * leaf.numel()
    with torch.no_grad():
        copied.fill_(7)
    assert numbers(leaf) == before
