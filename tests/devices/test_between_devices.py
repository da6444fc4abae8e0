"""spec/devices/between-devices.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, like, on_the_cpu, shapes, tensors
from tests.oracles import numbers, state

DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.int64", "torch.int32"))
MATRICES = shapes(min_dims=2, max_dims=2, min_side=2)
SQUARE = (Expression("lambda x: x * x"), Expression("lambda v: 2 * v"))
FAR = tensors(dtypes=DTYPES) | tensors(MATRICES, DTYPES)


@rule("devices.between-devices.numbers-arrive")
@given(near=FAR.map(on_the_cpu), waits=st.booleans())
def test_what_is_sent_to_the_device_arrives_and_shares_nothing(device, near, waits):
    before = state(near)
    far = near.to(device, non_blocking=not waits)
    assert far.device == torch.empty(0, device=device).device
    assert (far.shape, far.dtype) == (near.shape, near.dtype)
    assert numbers(far) == numbers(near)
    far.fill_(7)
    assert state(near) == before


@rule("devices.between-devices.numbers-arrive")
@given(pair=FAR.map(lambda far: (far, on_the_cpu(far))))
def test_what_is_fetched_from_the_device_arrives_and_shares_nothing(device, pair):
    far, twin = pair
    near = far.to("cpu")
    assert near.device.type == "cpu"
    assert (near.shape, near.dtype) == (far.shape, far.dtype)
    assert numbers(near) == numbers(twin)
    near.fill_(7)
    assert numbers(far.to("cpu")) == numbers(twin)


@rule("devices.between-devices.gradients-return")
@given(
    pair=like(leaves() | leaves(MATRICES, among=(layouts.transposed,))),
    first=elementwise(),
    second=elementwise(),
    meeting=st.sampled_from(('"cpu"', "device")).map(Expression),
)
@example(
    pair=(
        Expression("torch.tensor(3.0, device=device).requires_grad_()"),
        Expression("torch.tensor(2.0, device=device)"),
    ),
    first=SQUARE,
    second=SQUARE,
    meeting=Expression("device"),
)
def test_each_leaf_gets_its_gradient_at_home(device, pair, first, second, meeting):
    (function, derivative), (other_function, other_derivative) = first, second
    far, gradient = pair
    near = gradient.to("cpu").requires_grad_()
    output = function(far).to(meeting) + other_function(near).to(meeting)
    output.backward(gradient.to(meeting))
    assert far.grad is not None
    assert near.grad is not None
    assert far.grad.device == far.device
    assert near.grad.device == near.device
    factors = numbers(gradient)
    assert numbers(far.grad) == [derivative(value) * by for value, by in zip(numbers(far), factors, strict=True)]
    assert numbers(near.grad) == [other_derivative(value) * by for value, by in zip(factors, factors, strict=True)]
