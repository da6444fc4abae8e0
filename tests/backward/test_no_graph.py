"""spec/backward/no-graph.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, like, routes
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, also
from tests.oracles import state

NO_GRAPH = "does not require grad and does not have a grad_fn"

OUT_OF_THE_GRAPH = (
    "lambda x: x.detach()",
    "lambda x: (x * 2).detach()",
    "lambda x: x.detach() * 2",
    "lambda x: torch.no_grad()(lambda: x * 2)()",
    "lambda x: torch.inference_mode()(lambda: x * 2)()",
    "lambda x: torch.zeros_like(x)",
    "lambda x: x.data",
    "lambda x: x.clone().detach_()",
    "lambda x: x.detach().requires_grad_().requires_grad_(False)",
    "lambda x: torch.ones(2, dtype=torch.complex64, device=x.device)",
)
"""Results for which nothing was recorded."""

TO_INTEGERS = (
    "lambda x: x.long()",
    "lambda x: x.to(torch.int8)",
    "lambda x: x.bool()",
    "lambda x: x > 0",
    "lambda x: x == x",
    "lambda x: (x * 2).sum().int()",
    "lambda x: (x != 1).any()",
    "lambda x: x.sum().float().reshape(1).argmax()",
    "lambda x: x.int()",
    "lambda x: x.short()",
    "lambda x: x.abs().byte()",
    "lambda x: x.isnan()",
    "lambda x: x.logical_not()",
    "lambda x: x.nonzero()",
    "lambda x: x.flatten().argsort()",
    "lambda x: x.flatten().sort().indices",
    "lambda x: (x * 2).flatten().sum(0, keepdim=True).max(0).indices",
    "lambda x: x.long() + 1",
    "lambda x: torch.ones_like(x, dtype=torch.int64)",
    "lambda x: torch.sum(x.detach(), dtype=torch.int64)",
)
"""Results of integer or boolean dtype."""

CALLS = (
    lambda output, gradients: output.backward(*gradients),
    lambda output, gradients: output.backward(*gradients, retain_graph=True),
    lambda output, gradients: torch.no_grad()(output.backward)(*gradients),
    lambda output, gradients: torch.autograd.backward(output, *gradients),
)
"""Ways to call it."""

GRADIENTS = (
    "lambda output: ()",
    "lambda output: (None,)",
    "lambda output: (torch.ones_like(output),)",
)
"""The arguments of backward(): no gradient, None, or one of the right shape."""


def lambdas(sources):
    """One of these functions."""
    return st.sampled_from(sources).map(Expression)


@rule("backward.no-graph.refused")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), cut=lambdas(OUT_OF_THE_GRAPH), gradients=lambdas(GRADIENTS), route=routes())
def test_an_output_that_requires_no_grad_is_refused_and_nothing_changes(device, leaf, cut, gradients, route):
    output = route(cut(leaf))
    before = state(leaf, output)
    for call in CALLS:
        with pytest.raises(RuntimeError, match=NO_GRAPH) as refusal:
            call(output, gradients(output))
        assert refusal.type is RuntimeError
        assert state(leaf, output) == before


@rule("backward.no-graph.integer-outputs")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), integers=lambdas(TO_INTEGERS), gradients=lambdas(GRADIENTS), route=routes())
def test_an_output_of_integers_requires_no_grad_and_is_refused(device, leaf, integers, gradients, route):
    tensor = route(leaf)
    one = tensor.sum().float()[None]
    outputs = [integers(tensor), one.argmax(), torch.argmin(one), one.max(0).indices, tensor > 0, tensor.long()]
    before = state(leaf, *outputs)
    for output in outputs:
        assert not output.requires_grad
        assert output.grad_fn is None
        for call in CALLS:
            with pytest.raises(RuntimeError, match=NO_GRAPH) as refusal:
                call(output, gradients(output))
            assert refusal.type is RuntimeError
    assert state(leaf, *outputs) == before


@rule("backward.no-graph.among-several")
@also(AS_RESULTS, *BACKWARD)
@given(
    drawn=like(leaves(earlier_grad=True)),
    cut=lambdas(OUT_OF_THE_GRAPH) | lambdas(TO_INTEGERS),
    place=st.integers(0, 2),
    none=st.booleans(),
    operation=elementwise(),
)
def test_an_output_without_a_graph_among_others_stops_all_of_them(device, drawn, cut, place, none, operation):
    leaf, gradient = drawn
    function, _ = operation
    outputs, gradients = [function(leaf), leaf * 2], [gradient, gradient]
    outputs.insert(place, cut(leaf))
    gradients.insert(place, None if none else torch.ones_like(cut(leaf)))
    before = state(leaf, *outputs)
    with pytest.raises(RuntimeError, match=f"element {place} of tensors {NO_GRAPH}") as refusal:
        torch.autograd.backward(outputs, gradients)
    assert refusal.type is RuntimeError
    assert state(leaf, *outputs) == before
