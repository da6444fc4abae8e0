"""spec/leaves/leaf.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import (
    Expression,
    dtypes,
    elementwise,
    layouts,
    leaves,
    routes,
    shapes,
    shapes_of_one_element,
    tensors,
)
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
from tests.oracles import numbers


def copies(x):
    """Copies of a tensor; the last ones have each of its elements more than once."""
    yield x.clone()
    yield x.to(x.dtype, copy=True)
    yield torch.clone(x)
    yield x.contiguous().clone()
    yield torch.zeros_like(x).copy_(x)
    yield torch.zeros_like(x)[None].index_put_((torch.zeros(1, dtype=torch.int64, device=x.device),), x)
    yield torch.cat([x[None]])
    yield torch.stack([x])
    yield torch.cat([x[None], x[None]])
    yield torch.stack([x, x, x])
    yield torch.hstack([x, x])
    yield torch.zeros_like(x)[None].copy_(x)
    target = torch.zeros_like(x)
    target[...] = x
    yield target
    target = torch.zeros_like(x)[None]
    target[0].copy_(x)
    yield target
    yield torch.cat([torch.zeros_like(x.detach()[None]), x[None]])[1]
    yield torch.stack([x.detach(), x.detach(), x])[2]
    yield torch.stack([x.detach(), x], -1)[..., 1]
    yield torch.zeros_like(x.detach()).copy_(x).copy_(x)
    yield x.to(x.device, x.dtype, copy=True)
    yield x[None].clone()[0]


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
    data = torch.ones_like(tensor.detach())

    def compute():
        results = [function(tensor), route(function(tensor)), route(tensor.view_as(tensor)), tensor.sum()]
        results += [tensor[None], tensor[None][0], tensor.T if tensor.ndim == 2 else tensor.reshape(-1), data * tensor]
        results += [data - tensor, torch.stack([data, data, tensor]), torch.where(data.real > 1, data, tensor)]
        results += [tensor.expand(2, *tensor.shape), torch.stack([data, tensor]), *tensor.reshape(1, -1).split(1)]
        return results + [torch.zeros_like(data).copy_(result) for result in (tensor, tensor * 1)]

    results = compute()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert [result.is_leaf for result in results] == [not requires_grad] * len(results)
    for result in results:
        assert result.is_leaf is not requires_grad
        assert (result.grad_fn is None) is not requires_grad
        assert result.requires_grad is requires_grad
        made = torch.ones_like(result), torch.nn.Parameter(result), torch.nn.Parameter(result, False)
        for apart in (result.detach(), result.data, result.detach().requires_grad_(), *made):
            assert apart.is_leaf
            assert apart.grad_fn is None
    with torch.no_grad():
        unrecorded = [function(tensor), data * tensor, tensor.sum(), torch.stack([data, tensor]), tensor.clone()]
    for result in unrecorded:
        assert (result.is_leaf, result.requires_grad, result.grad_fn) == (True, False, None)
        assert result.requires_grad_().is_leaf
        assert not (result * 1).is_leaf
    own = torch.nn.Parameter(data, requires_grad)
    with torch.no_grad():
        own.mul_(2)
        assert (own.is_leaf, own.grad_fn) == (True, None)
        with torch.enable_grad():
            assert (own * 2).is_leaf is not requires_grad
    assert (own.is_leaf, own.grad_fn) == (True, None)
    if requires_grad:
        output = function(tensor)
        for _ in range(2):
            output.backward(torch.ones_like(output), retain_graph=True)
            assert (output.is_leaf, tensor.is_leaf) == (False, True)
            assert output.grad_fn is not None
            assert tensor.grad_fn is None


CHANGES = (
    "lambda target, source: target.copy_(source)",
    "lambda target, source: target.mul_(source)",
    "lambda target, source: target.__setitem__(..., source)",
    "lambda target, source: target.view_as(target).add_(source)",
)
"""Ways to write a tensor into another one."""


@rule("leaves.leaf.no-grad-fn")
@given(
    tensor=tensors(dtypes=dtypes.differentiable()),
    change=st.sampled_from(CHANGES).map(Expression),
    requires_grad=st.booleans(),
)
def test_a_tensor_that_a_leaf_is_written_into_is_no_leaf_until_it_is_detached(device, tensor, change, requires_grad):
    tensor.requires_grad_(requires_grad)
    target = torch.ones_like(tensor)
    assert (target.is_leaf, target.requires_grad, target.grad_fn) == (True, False, None)
    change(target, tensor)
    assert (target.is_leaf, target.requires_grad) == (not requires_grad, requires_grad)
    assert (target.grad_fn is None) is not requires_grad
    target.detach_()
    assert (target.is_leaf, target.requires_grad, target.grad_fn) == (True, False, None)


@rule("leaves.leaf.no-grad-fn")
@also(*UNRECORDED)
@given(tensor=tensors(dtypes=dtypes.integral()), route=routes())
def test_an_integer_or_boolean_tensor_is_a_leaf(device, tensor, route):
    for result in (tensor, route(tensor), tensor == tensor, tensor.long()):
        assert result.is_leaf
        assert result.grad_fn is None


@rule("leaves.leaf.copies")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable())
    | leaves(shapes_of_one_element())
    | leaves(shapes(min_dims=2, min_side=2), among=(layouts.transposed,))
)
@example(leaf=Expression("torch.ones(2, device=device).requires_grad_()"))
@example(leaf=Expression("torch.arange(-8.0, 9.0, device=device).requires_grad_()"))
@example(leaf=Expression("torch.zeros(2, 1, device=device).T.requires_grad_()"))
@example(leaf=Expression("torch.tensor([[1., 2., 3.], [4., 5., 6.]], device=device).T.requires_grad_()"))
def test_a_copy_of_a_leaf_is_a_result_through_which_the_leaf_gets_its_gradient(device, leaf):
    before, made = numbers(leaf), list(copies(leaf))
    for copied in made:
        assert copied.requires_grad
        assert not copied.is_leaf
    times = sum(copied.numel() // max(leaf.numel(), 1) for copied in made)
    torch.autograd.backward([copied * 1 for copied in made], [copied.detach() + 1 for copied in made])
    assert numbers(leaf.grad) == [times * (value + 1) for value in before]
    with torch.no_grad():
        for copied in made:
            copied.fill_(7)
            assert numbers(leaf) == before


@rule("leaves.leaf.copies")
@also(*BACKWARD)
@given(leaf=leaves(), other=dtypes.floating().map(lambda name: Expression(name, dtypes=frozenset({name}))))
def test_a_leaf_that_is_copied_into_any_dtype_gets_its_gradient(device, leaf, other):
    before = numbers(leaf)
    copied, set_by_index = torch.zeros_like(leaf, dtype=other).copy_(leaf), torch.zeros_like(leaf, dtype=other)
    set_by_index[...] = leaf
    for result in (copied, set_by_index, leaf.to(other, copy=True)):
        leaf.grad = None
        assert result.requires_grad
        assert not result.is_leaf
        (result * 3).sum().backward()
        assert numbers(leaf.grad) == [3] * leaf.numel()
        with torch.no_grad():
            result.fill_(7)
        assert numbers(leaf) == before
