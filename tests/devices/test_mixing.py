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
    "lambda x, y: torch.add(x, y, alpha=2)",
    "lambda x, y: x.mul(y)",
    "lambda x, y: torch.minimum(x, y)",
    "lambda x, y: x == y",
    "lambda x, y: x != y",
    "lambda x, y: x >= y",
    "lambda x, y: torch.pow(x, y)",
    "lambda x, y: torch.fmod(x, y)",
    "lambda x, y: torch.atan2(x, y)",
    "lambda x, y: torch.logical_and(x, y)",
    "lambda x, y: torch.addcmul(x, x, y)",
    "lambda x, y: x > y",
    "lambda x, y: x <= y",
    "lambda x, y: x**y",
    "lambda x, y: torch.remainder(x, y)",
    "lambda x, y: torch.hypot(x, y)",
    "lambda x, y: torch.copysign(x, y)",
    "lambda x, y: torch.fmax(x, y)",
    "lambda x, y: torch.logical_or(x, y)",
    "lambda x, y: torch.sub(x, y, alpha=2)",
    "lambda x, y: torch.addcdiv(x, x, y)",
    "lambda x, y: torch.div(x, y, rounding_mode='trunc')",
    "lambda x, y: torch.lerp(x, y, 0.5)",
    "lambda x, y: torch.eq(x, y)",
)
ELSEWHERE = ('"meta"', '"cpu" if torch.device(device).type != "cpu" else "meta"')
VECTOR = Expression("torch.tensor([1.0, -2.0, 3.0], device=device)")


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


ARITHMETIC = (
    ("lambda x, c: x * c", "lambda v: v"),
    ("lambda x, c: c * x", "lambda v: v"),
    ("lambda x, c: torch.mul(x, c)", "lambda v: v"),
    ("lambda x, c: x + c", "lambda v: 1"),
    ("lambda x, c: c + x", "lambda v: 1"),
    ("lambda x, c: x - c", "lambda v: -1"),
    ("lambda x, c: c - x", "lambda v: 1"),
    ("lambda x, c: torch.sub(x, c, alpha=2)", "lambda v: -2"),
)
"""An operation on a tensor and a number, and its derivative by the number, where the tensor's element is v."""
COMPARISONS = (
    lambda x, c: x < c,
    lambda x, c: c < x,
    lambda x, c: x == c,
    lambda x, c: c != x,
    lambda x, c: x >= c,
)


@rule("devices.mixing.refused")
@also(*UNRECORDED, AS_RESULTS)
@given(
    x=tensors(shapes(min_dims=1)) | leaves(shapes(min_dims=1)),
    operations=st.sampled_from([[*map(Expression, OPERATIONS[start::3])] for start in range(3)]),
    learns=st.booleans(),
    elsewhere=st.sampled_from(ELSEWHERE).map(Expression),
)
def test_tensors_on_two_devices_are_refused_and_stay_as_they_were(device, x, operations, learns, elsewhere):
    other, one = (torch.ones(shape, dtype=x.dtype, device=elsewhere) for shape in (x.shape, 1))
    other.requires_grad_(learns)
    before, version = state(x), None if other.is_inference() else other._version
    for operate in operations:
        for operands in ((x, other), (other, x)) if operate is not operations[0] else ((x, one), (one, x)):
            with pytest.raises(RuntimeError, match=r"on the (same|expected) device") as refusal:
                operate(*operands)
            assert refusal.type is RuntimeError
            assert state(x) == before
    assert (other.shape, other.device, other.is_leaf) == (x.shape, one.device, True)
    assert other.requires_grad == learns
    assert other.grad is None
    assert other.is_inference() or other._version == version


@rule("devices.mixing.numbers-mix")
@also(AS_RESULTS, *BACKWARD)
@given(
    x=tensors() | leaves(),
    c=st.integers(-3, 3),
    kind=st.sampled_from(dtypes.FLOATING).map(named),
    operations=st.sampled_from((ARITHMETIC[::3], ARITHMETIC[1::3], ARITHMETIC[2::3])).map(
        lambda drawn: [(Expression(function), Expression(derivative)) for function, derivative in drawn]
    ),
)
@example(x=VECTOR, c=2, kind=named("torch.float64"), operations=[tuple(map(Expression, ARITHMETIC[0]))])
@example(x=VECTOR, c=2, kind=named("torch.float64"), operations=[tuple(map(Expression, ARITHMETIC[1]))])
def test_a_0d_tensor_on_the_cpu_mixes_with_any_device(device, x, c, kind, operations):
    table = torch.tensor([c + 1, c], dtype=kind)
    for number in (torch.tensor(float(c), dtype=x.dtype), torch.tensor(float(c), dtype=kind), table[1]):
        number.requires_grad_()
        for operate, derivative in operations:
            number.grad = None
            result = operate(x, number)
            assert result.device == x.device
            assert result.dtype == (x.dtype if x.ndim else torch.promote_types(x.dtype, number.dtype))
            assert numbers(result) == [operate(torch.tensor(value), c).item() for value in numbers(x)]
            result.backward(torch.ones_like(result))
            assert number.grad is not None
            assert (number.grad.device.type, number.grad.dtype, number.grad.shape) == ("cpu", number.dtype, ())
            assert numbers(number.grad) == [sum(derivative(value) for value in numbers(x))]
            assert operate(x.to("meta"), number).device.type == "meta"
        for compare in COMPARISONS:
            result = compare(x, number)
            assert result.device == x.device
            assert numbers(result) == [compare(value, c) for value in numbers(x)]


@rule("devices.mixing.numbers-mix")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(), c=st.sampled_from(("inf", "-inf", "nan", "-0.0", "0.5")))
def test_a_0d_tensor_mixes_as_the_number_it_holds(device, x, c):
    number = torch.tensor(float(c))
    for result, expected in (
        (x + number, [value + float(c) for value in numbers(x)]),
        (number * x, [float(c) * value for value in numbers(x)]),
        (x * number, [value * float(c) for value in numbers(x)]),
        (number - x, [float(c) - value for value in numbers(x)]),
        (x - number, [value - float(c) for value in numbers(x)]),
        (torch.add(number, x), [float(c) + value for value in numbers(x)]),
        (x >= number, [value >= float(c) for value in numbers(x)]),
        (number != x, [float(c) != value for value in numbers(x)]),
        (x < number, [value < float(c) for value in numbers(x)]),
    ):
        assert result.device == x.device
        assert repr(numbers(result)) == repr(expected)
