"""spec/backward/no-graph.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import elementwise, leaves, like, routes
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, also
from tests.oracles import state

NO_GRAPH = "does not require grad and does not have a grad_fn"

OUT_OF_THE_GRAPH = (
    lambda x: x.detach(),
    lambda x: (x * 2).detach(),
    lambda x: x.detach() * 2,
    lambda x: torch.no_grad()(lambda: x * 2)(),
    lambda x: torch.inference_mode()(lambda: x * 2)(),
    lambda x: torch.zeros_like(x),
    lambda x: x.data,
    lambda x: x.clone().detach_(),
    lambda x: x.detach().requires_grad_().requires_grad_(False),
    lambda x: torch.ones(2, dtype=torch.complex64, device=x.device),
)
"""Results for which nothing was recorded."""

TO_INTEGERS = (
    lambda x: x.long(),
    lambda x: x.to(torch.int8),
    lambda x: x.bool(),
    lambda x: x > 0,
    lambda x: x == x,
    lambda x: (x * 2).sum().int(),
    lambda x: (x != 1).any(),
    lambda x: x.sum().float().reshape(1).argmax(),
    lambda x: x.int(),
    lambda x: x.short(),
    lambda x: x.abs().byte(),
    lambda x: x.isnan(),
    lambda x: x.logical_not(),
    lambda x: x.nonzero(),
    lambda x: x.flatten().argsort(),
    lambda x: x.flatten().sort().indices,
    lambda x: (x * 2).flatten().sum(0, keepdim=True).max(0).indices,
    lambda x: x.long() + 1,
    lambda x: torch.ones_like(x, dtype=torch.int64),
    lambda x: torch.sum(x.detach(), dtype=torch.int64),
    lambda x: x.flatten().argsort(descending=True)[:1],
    lambda x: x.count_nonzero(),
    lambda x: x.isfinite(),
    lambda x: torch.eq(x, x.detach()),
    lambda x: x.ne(0).sum(),
    lambda x: x.sum().float()[None].argmax(),
    lambda x: torch.argmin(x.sum().float()[None]),
    lambda x: x.to(dtype=torch.uint8, copy=True)[None],
    lambda x: x.type(torch.int32).clone(),
)
"""Results of integer or boolean dtype."""

CALLS = (
    lambda output, leaf, gradients: output.backward(*gradients),
    lambda output, leaf, gradients: output.backward(*gradients, retain_graph=True),
    lambda output, leaf, gradients: torch.no_grad()(output.backward)(*gradients),
    lambda output, leaf, gradients: torch.autograd.backward(output, *gradients),
    lambda output, leaf, gradients: output.backward(*gradients, inputs=[leaf]),
    lambda output, leaf, gradients: output.backward(*gradients, create_graph=True),
    lambda output, leaf, gradients: torch.autograd.backward((output,), *([gradient] for gradient in gradients)),
)
"""Ways to call it."""

SEVERAL = (
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients),
    lambda outputs, gradients, leaf: torch.autograd.backward(tuple(outputs), tuple(gradients), retain_graph=True),
    lambda outputs, gradients, leaf: torch.no_grad()(torch.autograd.backward)(outputs, grad_tensors=gradients),
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients, inputs=[leaf]),
    lambda outputs, gradients, leaf: torch.autograd.backward(outputs, gradients, create_graph=True),
)
"""Ways to run several outputs."""

PLACES = tuple((count, place) for count in (3, 1) for place in range(count + 1))
"""How many outputs there are beside one, and its place among them."""

GRADIENTS = (
    lambda output: (),
    lambda output: (None,),
    lambda output: (torch.ones_like(output),),
    lambda output: (torch.zeros((), dtype=output.dtype, device=output.device).expand(output.shape),),
)
"""The arguments of backward(): no gradient, None, or one of the right shape, be it nothing but zeros."""


@rule("backward.no-graph.refused")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), turn=st.integers(0, 27), route=routes())
def test_an_output_that_requires_no_grad_is_refused_and_nothing_changes(device, leaf, turn, route):
    one = torch.ones(1, dtype=leaf.dtype, device=device)
    outputs = [one, one[0], one[:0], one.expand(2, 2), leaf.detach().sum()]
    outputs += [cut(leaf) if number % 2 else route(cut(leaf)) for number, cut in enumerate(OUT_OF_THE_GRAPH, turn)]
    before = state(leaf, *outputs)
    for number, output in enumerate(outputs):
        call, gradients = CALLS[(turn + number) % len(CALLS)], GRADIENTS[(turn + number) % len(GRADIENTS)]
        with pytest.raises(RuntimeError, match=NO_GRAPH) as refusal:
            call(output, leaf, gradients(output))
        assert refusal.type is RuntimeError
    assert state(leaf, *outputs) == before


@rule("backward.no-graph.integer-outputs")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), turn=st.integers(0, 27), route=routes())
def test_an_output_of_integers_requires_no_grad_and_is_refused(device, leaf, turn, route):
    tensor = route(leaf)
    outputs = [to_integers(tensor) for to_integers in TO_INTEGERS[turn % 2 :: 2]]
    before = state(leaf, *outputs)
    for number, output in enumerate(outputs):
        assert not output.dtype.is_floating_point
        assert not output.requires_grad
        assert output.grad_fn is None
        call, gradients = CALLS[(turn + number) % len(CALLS)], GRADIENTS[(turn + number) % len(GRADIENTS)]
        with pytest.raises(RuntimeError, match=NO_GRAPH) as refusal:
            call(output, leaf, gradients(output))
        assert refusal.type is RuntimeError
    assert state(leaf, *outputs) == before


@rule("backward.no-graph.among-several")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=like(leaves(earlier_grad=True)), turn=st.integers(0, 29), operation=elementwise())
def test_an_output_without_a_graph_among_others_stops_all_of_them(device, drawn, turn, operation):
    leaf, gradient = drawn
    function, _ = operation
    others = [function(leaf), leaf, leaf.sum()]
    for cut in (*OUT_OF_THE_GRAPH, *TO_INTEGERS)[turn % 5 :: 5]:
        outside = cut(leaf)
        before = state(leaf, outside, *others)
        for weight in (None, torch.ones_like(outside), torch.zeros_like(outside)):
            turn += 1
            count, place = PLACES[turn % len(PLACES)]
            outputs, gradients = others[:count], [gradient, gradient, None][:count]
            outputs.insert(place, outside)
            gradients.insert(place, weight)
            with pytest.raises(RuntimeError, match=f"element {place} of tensors {NO_GRAPH}") as refusal:
                SEVERAL[turn % len(SEVERAL)](outputs, gradients, leaf)
            assert refusal.type is RuntimeError
        assert state(leaf, outside, *others) == before
