"""spec/graph/as-it-runs.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, like, shapes
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers

LINEAR = (
    ("lambda x: x * 3", 3),
    ("lambda x: -x", -1),
    ("lambda x: x / 4", 0.25),
    ("lambda x: x + x", 2),
    ("lambda x: x - 1", 1),
    ("lambda x: x.clone()", 1),
    ("lambda x: x.view_as(x)", 1),
    ("lambda x: torch.full_like(x.detach(), 2) * x", 2),
    ("lambda x: x.neg_() if x.grad_fn else -x", -1),
)
"""A function of a tensor that is one operation, and its slope."""

LATER = (
    "lambda leaf, result: result * result",
    "lambda leaf, result: leaf * result",
    "lambda leaf, result: leaf.requires_grad_(False)",
    "lambda leaf, result: result.detach()",
    "lambda leaf, result: torch.autograd.grad(result.sum(), leaf, retain_graph=True)",
    "lambda leaf, result: torch.autograd.grad(result.sum(), leaf)",
    "lambda leaf, result: result.backward(torch.ones_like(result))",
    "lambda leaf, result: result.sum().backward()",
    "lambda leaf, result: torch.autograd.backward([result], [torch.ones_like(result)], inputs=[leaf])",
    "lambda leaf, result: result.retain_grad()",
    "lambda leaf, result: result.register_hook(lambda gradient: gradient)",
    "lambda leaf, result: leaf.register_hook(lambda gradient: None)",
    "lambda leaf, result: torch.no_grad()(lambda: result * 2)()",
    "lambda leaf, result: torch.autograd.grad(result.sum(), leaf, create_graph=True)",
    "lambda leaf, result: torch.no_grad()(lambda: (result * leaf).requires_grad_())()",
    "lambda leaf, result: result.sum().backward(retain_graph=True) or setattr(leaf, 'grad', None)",
    "lambda leaf, result: result.view_as(result)[None].detach()",
    "lambda leaf, result: setattr(leaf, 'data', leaf.detach().clone())",
    "lambda leaf, result: result.clone().mul_(2).sum().backward()",
    "lambda leaf, result: torch.inference_mode()(lambda: result * leaf)()",
)


def branches():
    """Two functions of one operation each, with their slopes."""
    one = st.sampled_from(LINEAR).map(lambda pair: (Expression(pair[0]), pair[1]))
    return st.tuples(one, one)


def expressions(sources):
    return [Expression(source) for source in sources]


@rule("graph.as-it-runs.at-once")
@given(
    leaf=leaves(),
    operation=elementwise(),
    laters=st.lists(st.sampled_from(LATER), min_size=6, max_size=6, unique=True).map(expressions),
)
def test_a_result_has_its_values_and_its_node_at_once_and_keeps_the_node(device, leaf, operation, laters):
    function, _ = operation
    first = function(leaf)
    first_node = first.grad_fn
    constant = torch.full_like(leaf.detach(), 2)
    with_a_constant = [
        lambda x: constant * x,
        lambda x: constant - x,
        lambda x: torch.stack([constant, x]).sum(0),
        lambda x: torch.where(constant > 2, constant, x),
        lambda x: x.clone().mul_(constant),
        lambda x: x[None],
    ]
    for later, combine in zip(laters, with_a_constant, strict=True):
        for compute in (function, combine):
            result = compute(leaf)
            node = result.grad_fn
            assert node is not None
            assert numbers(result) == numbers(compute(leaf.detach()))
            later(leaf, result)
            assert result.grad_fn is node
            assert result.requires_grad
            leaf.requires_grad_()
    assert first.grad_fn is first_node
    assert first.requires_grad


@rule("graph.as-it-runs.what-ran")
@also(*BACKWARD)
@given(
    pair=like(leaves(shapes(min_side=1))),
    branches=branches(),
    rounds=st.integers(1, 3),
)
@example(
    pair=(
        Expression("torch.tensor([1., 2.], device=device).requires_grad_()"),
        Expression("torch.tensor([-1., -2.], device=device)"),
    ),
    branches=((Expression("lambda x: x * 2"), 2), (Expression("lambda x: x * 3"), 3)),
    rounds=1,
)
def test_the_graph_is_that_of_the_branches_taken_in_this_run(device, pair, branches, rounds):
    # Each run may take other branches than the one before, the last one as many rounds and one.
    for leaf, count in zip((*pair, *pair), (rounds, rounds, rounds, rounds + 1), strict=True):
        leaf.requires_grad_().grad = None
        result, nodes, slope = leaf, [], 1
        for _ in range(count):
            function, factor = branches[0] if numbers(result)[0] > 0 else branches[1]
            result, slope = function(result), slope * factor
            nodes.append(result.grad_fn)
        node = result.grad_fn
        for made in reversed(nodes):
            assert node is made
            (node, *_) = [end for end, _ in node.next_functions if end is not None]
        assert node.variable is leaf
        result.sum().backward()
        assert numbers(leaf.grad) == [slope] * leaf.numel()
