"""spec/devices/to.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, telling_shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, UNRECORDED, also
from tests.oracles import numbers, state

SIGNED = ("torch.int64", "torch.int32", "torch.int16", "torch.int8")
REAL = st.sampled_from(dtypes.FLOATING + SIGNED)
WAYS_TO_ASK = (
    "lambda x, **options: x.to(x.device, **options)",
    "lambda x, **options: x.to(str(x.device), **options)",
    "lambda x, **options: x.to(x.dtype, **options)",
    "lambda x, **options: x.to(x.device, x.dtype, **options)",
    "lambda x, **options: x.to(torch.empty(0, dtype=x.dtype, device=x.device), **options)",
    "lambda x, **options: x.to(device=x.device, dtype=x.dtype, non_blocking=True, **options)",
)


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


@st.composite
def conversions(draw):
    """A tensor, and dtypes other than its own that have all its numbers."""
    tensor = draw(tensors(telling_shapes(), REAL))
    among = [dtype for dtype in dtypes.FLOATING + dtypes.COMPLEX + SIGNED if dtype != tensor.facts["dtype"]]
    return tensor, draw(st.lists(st.sampled_from(among).map(named), min_size=3, max_size=3))


@rule("devices.to.nothing-to-do")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), REAL) | leaves(telling_shapes()), ask=st.sampled_from(WAYS_TO_ASK).map(Expression))
@example(x=Expression("torch.ones(1000, 1000, device=device)"), ask=Expression(WAYS_TO_ASK[0]))
def test_where_nothing_changes_to_returns_the_tensor_itself(device, x, ask):
    for tensor in (x, x[..., None], x + x):
        assert ask(tensor) is tensor
        for block in (torch.no_grad, torch.enable_grad, torch.inference_mode):
            with block():
                assert ask(tensor) is tensor
    with torch.no_grad():
        view = x[..., None]
        assert ask(view) is view


WAYS_TO_CONVERT = (
    "lambda x, dtype: x.to(dtype)",
    "lambda x, dtype: x.to(x.device, dtype)",
    "lambda x, dtype: x.to(dtype=dtype, device=x.device)",
    "lambda x, dtype: x.to(torch.empty(0, dtype=dtype, device=x.device))",
)
SINGLE = frozenset({"torch.float32"})
WITH_INFINITIES = Expression(
    'torch.tensor([1, float("inf"), float("-inf")], dtype=torch.float32, device=device)', dtypes=SINGLE
)
IN_FULL = Expression("torch.tensor([1, 2, 3], dtype=torch.float32, device=device)", dtypes=SINGLE)


@rule("devices.to.converted")
@also(*UNRECORDED, AS_RESULTS)
@given(drawn=conversions(), convert=st.sampled_from(WAYS_TO_CONVERT).map(Expression))
@example(
    drawn=(WITH_INFINITIES, [named("torch.float16"), named("torch.bfloat16")]), convert=Expression(WAYS_TO_CONVERT[0])
)
@example(drawn=(IN_FULL, [named("torch.float64")]), convert=Expression(WAYS_TO_CONVERT[1]))
def test_another_dtype_makes_a_new_tensor_and_leaves_the_old_one(device, drawn, convert):
    x, others = drawn
    before = state(x)
    twice = torch.stack([x, x.clone()], -1)
    for source in (x, twice.reshape(-1, 2).T, twice[..., 1], twice.flatten()[1:]):
        for dtype in others:
            converted = convert(source, dtype)
            assert (converted.dtype, converted.device, converted.shape) == (dtype, x.device, source.shape)
            assert numbers(converted) == numbers(source)
            converted.fill_(7)
            assert state(x) == before
            again = convert(source, dtype)
            assert numbers(again) == numbers(source)
            assert numbers(converted) == [7] * source.numel()


@rule("devices.to.converted")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), REAL) | leaves(telling_shapes()), dtype=st.sampled_from(dtypes.FLOATING).map(named))
def test_another_device_makes_a_new_tensor_and_leaves_the_old_one(device, x, dtype):
    here, before = x.device, state(x)
    for moved in (x.to("meta"), x.to("meta", dtype)):
        assert moved.device.type == "meta"
        assert moved.shape == x.shape
    assert x.to("meta").dtype == x.dtype
    assert x.to("meta", dtype).dtype == dtype
    assert x.device == here
    assert state(x) == before


@rule("devices.to.copy")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), REAL), ask=st.sampled_from(WAYS_TO_ASK).map(Expression))
@example(x=WITH_INFINITIES, ask=Expression(WAYS_TO_ASK[0]))
@example(x=WITH_INFINITIES, ask=Expression(WAYS_TO_ASK[2]))
def test_a_copy_that_is_asked_for_is_made(device, x, ask):
    before = state(x)
    for source in (x, x[None].transpose(0, -1), x[None].expand(2, *x.shape), x[..., None][..., 0]):
        copied = ask(source, copy=True)
        assert copied is not source
        assert (copied.dtype, copied.device, copied.shape) == (x.dtype, x.device, source.shape)
        assert numbers(copied) == numbers(source)
        copied.fill_(7)
        assert state(x) == before
        again = ask(source, copy=True)
        assert numbers(again) == numbers(source)
        assert numbers(copied) == [7] * source.numel()
