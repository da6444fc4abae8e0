"""spec/backward/implicit-gradient.md"""

import pytest
import torch
from hypothesis import given

from tests.harness.bindings import rule
from tests.inputs import elementwise, leaves, routes, shapes_of_one_element, shapes_of_other_sizes
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

NEEDS_A_SCALAR = "grad can be implicitly created only for scalar outputs"


@rule("backward.implicit-gradient.one-element")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_one_element()), operation=elementwise(), route=routes())
def test_an_output_of_one_element_needs_no_gradient(device, leaf, operation, route):
    function, derivative = operation
    result = function(route(leaf))
    for output in (result, torch.stack([result, result])[1]):
        leaf.grad = None
        output.backward(retain_graph=True)
        assert leaf.grad.shape == leaf.shape
        assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    leaf.grad = None
    for times in (1, 2, 3):
        leaf.view_as(leaf).backward()
        result.backward(retain_graph=True)
        assert numbers(leaf.grad) == [times * (1 + derivative(value)) for value in numbers(leaf)]


@rule("backward.implicit-gradient.other-sizes")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(shapes_of_other_sizes(), earlier_grad=True), operation=elementwise(), route=routes())
def test_any_other_number_of_elements_is_refused_and_nothing_changes(device, leaf, operation, route):
    function, _ = operation
    result = function(route(leaf))
    for output in (result, result.sum().expand(2), result.sum().expand(1, 3)):
        for block in (torch.enable_grad, torch.no_grad):
            before = state(leaf, output)
            with block(), pytest.raises(RuntimeError, match=NEEDS_A_SCALAR) as refusal:
                output.backward()
            assert refusal.type is RuntimeError
            assert state(leaf, output) == before
            output.backward(torch.ones_like(output), retain_graph=True)


@rule("backward.implicit-gradient.graph-survives-refusal")
@also(*BACKWARD)
@given(leaf=leaves(shapes_of_other_sizes()), operation=elementwise(), route=routes())
def test_after_a_refusal_the_same_output_can_still_be_run_backward(device, leaf, operation, route):
    function, derivative = operation
    output = function(route(leaf))
    for backward in (
        lambda: output.backward(torch.ones_like(output), retain_graph=True),
        lambda: output.sum().backward(),
    ):
        leaf.grad = None
        with pytest.raises(RuntimeError, match=NEEDS_A_SCALAR):
            output.backward()
        backward()
        assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
