"""spec/accumulation/freeing.md"""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, like
from tests.inputs.circumstances import BACKWARD, also
from tests.oracles import numbers, state

SECOND_TIME = "Trying to backward through the graph a second time"


DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


def saving():
    """A function that saves its argument for backward, and its derivative."""
    return elementwise().filter(lambda operation: operation[1].source.endswith(("* v", "* v + 1")))


def saving_anything():
    """Such a function, or one that saves its result, another tensor, or what it was told about one."""
    others = (
        "lambda x: x.exp()",
        "lambda x: x.sigmoid()",
        "lambda x: x.sin()",
        "lambda x: x**2",
        "lambda x: x / torch.full_like(x.detach(), 2)",
        "lambda x: torch.full_like(x.detach(), 2) * x",
        "lambda x: torch.where(x.detach() > 0, x, 1)",
    )
    return saving().map(lambda operation: operation[0]) | st.sampled_from(others).map(Expression)


def saving_nothing():
    """A function that saves no tensor for backward, and its derivative."""
    return st.sampled_from(
        (
            (Expression("lambda x: torch.stack([x, x.detach(), x])"), 2),
            (Expression("lambda x: torch.cat([x[None], x[None]]).reshape(-1)"), 2),
            (Expression("lambda x: x.detach() - x.transpose(0, -1).transpose(0, -1)"), -1),
            (Expression("lambda x: x.sum() + x.flatten().sum(0)"), 2),
            (Expression("lambda x: x + x"), 2),
            (Expression("lambda x: -x"), -1),
            (Expression("lambda x: x.clone()"), 1),
            (Expression("lambda x: x.unsqueeze(0) - 1"), 1),
            (Expression("lambda x: x.expand(3, *x.shape)"), 3),
            (Expression("lambda x: torch.sub(x.detach(), x[None][0], alpha=2)"), -2),
            (Expression("lambda x: (x.clone() + 1).add_(x).neg_()"), -2),
        )
    )


@rule("accumulation.freeing.retained")
@also(*BACKWARD)
@given(
    pair=like(leaves(dtypes=DTYPES)),
    operation=elementwise(),
    keep=st.sampled_from(({"retain_graph": True}, {"create_graph": True})),
    times=st.integers(1, 3),
)
def test_a_retained_graph_adds_the_same_gradient_each_time(device, pair, operation, keep, times):
    (leaf, other), (function, derivative) = pair, operation
    factors, others = numbers(other), numbers(function(leaf.detach()).conj())
    slopes = [(derivative(value) * factor).conjugate() for value, factor in zip(numbers(leaf), factors, strict=True)]
    slopes = [slope + (1 if value != 1 else -1) for slope, value in zip(slopes, numbers(leaf), strict=True)]
    other.requires_grad_()
    output = (function(leaf) * other).real.sum() + torch.where(
        leaf.detach() != 1, leaf, -leaf
    ).real.sum()  # saves the condition
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
        view = output.view(1)
        for run, held, earlier in (
            (output, None, 0),
            (view, None, 0),
            (output, torch.zeros_like(leaf), 0),
            (view, torch.full_like(leaf, 2), 2),
        ):
            leaf.grad, other.grad = held, None
            for _ in range(times):
                run.backward(**keep)
            assert numbers(leaf.grad) == [earlier + times * slope for slope in slopes]
            assert numbers(other.grad) == [times * value for value in others]
        leaf.grad = other.grad = None
        output.backward(inputs=[other, leaf], **keep)
        with pytest.raises(RuntimeError):
            output.backward(torch.ones(3, device=device))
        other.grad = None
        output.backward()
    assert numbers(leaf.grad) == [2 * slope for slope in slopes]
    assert numbers(other.grad) == others
    leaf.grad = other.grad = None


FREEING = (
    "lambda leaf, output: output.backward()",
    "lambda leaf, output: [output.backward(retain_graph=True), output.backward()]",
    "lambda leaf, output: [output.backward(create_graph=True), output.backward()]",
    "lambda leaf, output: output.backward(torch.ones_like(output), inputs=[leaf])",
    "lambda leaf, output: torch.autograd.backward([leaf.real.sum(), output])",
)
"""Calls that give free what a graph has saved."""


@rule("accumulation.freeing.freed")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=dtypes.differentiable()), operation=saving(), free=st.sampled_from(FREEING).map(Expression))
def test_a_second_backward_is_refused_and_takes_nothing_from_another_graph(device, leaf, operation, free):
    function, derivative = operation
    output, other = function(leaf).real.sum(), function(leaf).real.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
        free(leaf, output)
    for held, again in (
        (leaf.grad, output.backward),
        (None, output.backward),
        (None, lambda: output.backward(retain_graph=True)),
        (torch.zeros_like(leaf), lambda: output.backward(inputs=[leaf])),
        (None, lambda: torch.autograd.grad(output, leaf)),
        (None, lambda: (output * 2).backward()),
    ):
        leaf.grad = held
        before = state(leaf)
        with pytest.raises(RuntimeError, match=SECOND_TIME) as refusal:
            again()
        assert refusal.type is RuntimeError
        assert state(leaf) == before
    other.backward()
    assert numbers(leaf.grad) == [derivative(value).conjugate() for value in numbers(leaf)]


@rule("accumulation.freeing.freed")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), function=saving_anything(), later=elementwise(), cleared=st.booleans())
def test_a_second_backward_through_what_two_outputs_share_is_refused(device, leaf, function, later, cleared):
    further, _ = later
    shared = function(leaf)
    one, other = (2 * shared).sum(), further(shared).sum() + leaf.sum()
    one.backward()
    if cleared:
        leaf.grad = None
    before = state(leaf)
    for again in (other, one):
        with pytest.raises(RuntimeError, match=SECOND_TIME):
            again.backward()
        assert state(leaf) == before


@rule("accumulation.freeing.nothing-saved")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), operation=saving_nothing(), times=st.integers(2, 3))
def test_a_graph_that_saved_nothing_can_be_run_again(device, leaf, operation, times):
    function, derivative = operation
    other = leaf.detach().clone().requires_grad_()
    output = (function(leaf) - function(other)).real.sum()
    for _ in range(2):
        for _ in range(times):
            output.backward()
        assert numbers(leaf.grad) == [times * derivative] * leaf.numel()
        assert numbers(other.grad) == [-times * derivative] * leaf.numel()
        leaf.grad = other.grad = None
