"""spec/devices/mixing.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import numbers, state

OPERATIONS = (
    "lambda x, y: x + y",
    "lambda x, y: x - y",
    "lambda x, y: x * y",
    "lambda x, y: x / y",
    "lambda x, y: torch.maximum(x, y)",
    "lambda x, y: x < y",
)
ELSEWHERE = ('"meta"', '"cpu" if torch.device(device).type != "cpu" else "meta"')
VECTOR = Expression("torch.tensor([1.0, -2.0, 3.0], device=device)")


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


PRODUCTS = ("lambda x, c: x * c", "lambda x, c: c * x", "lambda x, c: torch.mul(x, c)")


@rule("devices.mixing.refused")
@also(*UNRECORDED, AS_RESULTS)
@given(
    x=tensors(shapes(min_dims=1)) | leaves(shapes(min_dims=1)),
    operate=st.sampled_from(OPERATIONS).map(Expression),
    elsewhere=st.sampled_from(ELSEWHERE).map(Expression),
)
def test_tensors_on_two_devices_are_refused_and_stay_as_they_were(device, x, operate, elsewhere):
    other = torch.ones(x.shape, dtype=x.dtype, device=elsewhere)
    before = state(x)
    for operands in ((x, other), (other, x)):
        with pytest.raises(RuntimeError, match=r"on the (same|expected) device") as refusal:
            operate(*operands)
        assert refusal.type is RuntimeError
        assert state(x) == before


@rule("devices.mixing.numbers-mix")
@also(AS_RESULTS, *BACKWARD)
@given(
    x=tensors() | leaves(),
    c=st.integers(-3, 3),
    kind=st.sampled_from(dtypes.FLOATING).map(named),
    multiply=st.sampled_from(PRODUCTS).map(Expression),
)
@example(x=VECTOR, c=2, kind=named("torch.float64"), multiply=Expression(PRODUCTS[0]))
@example(x=VECTOR, c=2, kind=named("torch.float64"), multiply=Expression(PRODUCTS[1]))
def test_a_0d_tensor_on_the_cpu_mixes_with_any_device(device, x, c, kind, multiply):
    table = torch.tensor([c + 1, c], dtype=kind)
    for number in (torch.tensor(float(c), dtype=x.dtype), torch.tensor(float(c), dtype=kind), table[1]):
        number.requires_grad_()
        product = multiply(x, number)
        assert product.device == x.device
        assert product.dtype == (x.dtype if x.ndim else torch.promote_types(x.dtype, number.dtype))
        assert numbers(product) == [value * c for value in numbers(x)]
        product.backward(torch.ones_like(product))
        assert number.grad is not None
        assert number.grad.device.type == "cpu"
        assert numbers(number.grad) == [sum(numbers(x))]
        assert multiply(x.to("meta"), number).device.type == "meta"
