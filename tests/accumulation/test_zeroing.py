"""spec/accumulation/zeroing.md"""

import math
import warnings

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import dtypes, elementwise, layouts, leaves, like, shapes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, also
from tests.oracles import numbers

DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


LYING_OTHERWISE = leaves(shapes(min_dims=2, min_side=2), among=(layouts.transposed, layouts.stepped))
"""Leaves that are not contiguous."""


@rule("accumulation.zeroing.none-starts-afresh")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=DTYPES, earlier_grad=True) | LYING_OTHERWISE,
    first=elementwise(),
    second=elementwise(),
    between=st.booleans(),
)
def test_after_none_the_next_backward_makes_a_new_tensor(device, leaf, first, second, between):
    (function, _), (later, derivative) = first, second
    other = torch.nn.Parameter(leaf.detach().clone())
    (function(leaf).real.sum() - function(other).real.sum()).backward()
    output = (later(leaf) - later(other)).real.sum() if between else None
    for recording in (True, False):
        held, kept = leaf.grad, other.grad
        values, others = numbers(held), numbers(kept)
        with torch.set_grad_enabled(recording):
            leaf.grad = None
        assert leaf.grad is None
        (output if between else (later(leaf) - later(other)).real.sum()).backward(retain_graph=True)
        assert leaf.grad is not held
        assert numbers(leaf.grad) == [derivative(value).conjugate() for value in numbers(leaf)]
        assert numbers(held) == values
        assert other.grad is kept
        pairs = zip(others, numbers(other), strict=True)
        assert numbers(kept) == [number - derivative(value).conjugate() for number, value in pairs]


@rule("accumulation.zeroing.zero-keeps-the-tensor")
@also(*BACKWARD)
@given(
    pair=like(leaves(dtypes=dtypes.differentiable()) | leaves(tails()), among=layouts.WRITABLE),
    factor=st.sampled_from((1.0, math.inf)),
    operation=elementwise(),
    between=st.booleans(),
)
def test_zeroed_in_place_the_next_backward_is_alone_in_the_same_tensor(device, pair, factor, operation, between):
    function, derivative = operation
    leaf, held = pair
    places = torch.arange(held.numel(), device=device).reshape(held.shape)
    drawn = held * factor  # infinity times zero is nan
    for earlier in (drawn, places != 0, places != held.numel() - 1, places % 2 * 2 - 1):
        leaf.grad = held.copy_(earlier)
        output = function(leaf).real.sum() if between else None
        alias = held.view_as(held)
        with torch.set_grad_enabled(between):
            leaf.grad.zero_()
        assert leaf.grad is held
        assert numbers(held) == numbers(alias) == [0] * held.numel()
        (output if between else function(leaf).real.sum()).backward()
        assert leaf.grad is held
        assert numbers(alias) == numbers(held)
        assert numbers(held) == [derivative(value).conjugate() for value in numbers(leaf)]


def owners(parameters):
    """Modules and optimizers that hold these parameters, in their parts and groups."""
    lists = [torch.nn.ParameterList([parameter]) for parameter in parameters]
    deep = torch.nn.ModuleDict({"deeper": torch.nn.ModuleList(lists)})
    by_one = torch.optim.Adam(parameters[:1], lr=1)
    by_one.add_param_group({"params": parameters[1:]})
    return [
        torch.nn.ParameterList(parameters),
        torch.nn.Sequential(*lists[1:], torch.nn.ModuleList([deep])),
        torch.optim.SGD(parameters, lr=1),
        by_one,
    ]


@rule("accumulation.zeroing.zero-grad-to-none")
@also(AS_RESULTS, *BACKWARD)
@given(
    data=st.lists(tensors(dtypes=dtypes.differentiable()), min_size=2, max_size=3),
    reached=st.integers(1, 3),
    frozen=st.booleans(),
    said=st.sampled_from((({}, ()), ({}, (True,)), ({"set_to_none": True}, ()))),
)
def test_zero_grad_takes_every_grad_away_and_writes_to_none(device, data, reached, frozen, said):
    parameters = [torch.nn.Parameter(tensor) for tensor in data]
    for owner in owners(parameters):
        parameters[1].requires_grad = True
        outputs = [(3 * parameter).real.sum() for parameter in parameters]
        for parameter in parameters[:reached]:
            parameter.grad = None
            (2 * parameter).real.sum().backward()
        grads = [parameter.grad for parameter in parameters[:reached]]
        parameters[1].requires_grad = not frozen
        values = [numbers(parameter) for parameter in parameters]
        for recording in (not said[1], frozen):
            with torch.set_grad_enabled(recording):
                owner.zero_grad(*said[1], **said[0])
            assert [parameter.grad for parameter in parameters] == [None] * len(parameters)
            assert [numbers(grad) for grad in grads] == [[2] * grad.numel() for grad in grads]
        assert [numbers(parameter) for parameter in parameters] == values
        outputs[0].backward()
        assert numbers(parameters[0].grad) == [3] * parameters[0].numel()
        assert [parameter.grad for parameter in parameters[1:]] == [None] * len(parameters[1:])


TURNED = tensors(shapes(min_dims=2, min_side=2), among=(layouts.transposed,))
"""Tensors for whose sake a gradient is not contiguous."""


@rule("accumulation.zeroing.zero-grad-to-zeros")
@also(AS_RESULTS, *BACKWARD)
@given(
    data=st.lists(tensors(dtypes=dtypes.differentiable()) | TURNED, min_size=2, max_size=3),
    reached=st.integers(1, 3),
    create_graph=st.booleans(),
    frozen=st.booleans(),
)
def test_zero_grad_fills_with_zeros_in_place_and_detaches(device, data, reached, create_graph, frozen):
    parameters = [torch.nn.Parameter(tensor) for tensor in data]
    for owner in owners(parameters):
        parameters[1].requires_grad = True
        outputs = [(3 * parameter).real.sum() for parameter in parameters]
        for parameter in parameters[:reached]:
            parameter.grad = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
                (parameter * parameter).real.sum().backward(create_graph=create_graph)
        grads = [parameter.grad for parameter in parameters]
        names = [grad.detach() for grad in grads if grad is not None]
        names[-1].fill_(math.inf)
        parameters[1].requires_grad = not frozen
        with torch.set_grad_enabled(not create_graph):
            owner.zero_grad(set_to_none=False)
        assert all(parameter.grad is grad for parameter, grad in zip(parameters, grads, strict=True))
        for grad, name in zip(grads, names, strict=False):
            assert numbers(grad) == numbers(name) == [0] * grad.numel()
            assert grad.grad_fn is None
            assert not grad.requires_grad
        assert grads[reached:] == [None] * len(grads[reached:])
        outputs[0].backward()
        assert numbers(parameters[0].grad) == [3] * parameters[0].numel()
