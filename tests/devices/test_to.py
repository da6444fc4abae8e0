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
ANY = st.sampled_from(dtypes.FLOATING + SIGNED + dtypes.UNSIGNED + dtypes.COMPLEX)
WAYS_TO_ASK = (
    "lambda x, **options: x.to(x.device, **options)",
    "lambda x, **options: x.to(str(x.device), **options)",
    "lambda x, **options: x.to(x.dtype, **options)",
    "lambda x, **options: x.to(x.device, x.dtype, **options)",
    "lambda x, **options: x.to(torch.empty(0, dtype=x.dtype, device=x.device), **options)",
    "lambda x, **options: x.to(device=x.device, dtype=x.dtype, non_blocking=True, **options)",
)


ASKING = (
    lambda x, **options: x.to(x.device, **options),
    lambda x, **options: x.to(x.dtype, **options),
    lambda x, **options: x.to(x.device, x.dtype, **options),
    lambda x, **options: x.to(dtype=x.dtype, **options),
    lambda x, **options: x.to(device=str(x.device), **options),
    lambda x, **options: x.to(torch.empty_like(x), **options),
)
CONVERTING = (
    lambda x, dtype: x.to(dtype),
    lambda x, dtype: x.to(x.device, dtype),
    lambda x, dtype: x.to(dtype=dtype),
    lambda x, dtype: x.to(torch.empty((), dtype=dtype, device=x.device)),
    lambda x, dtype: x.to(dtype, copy=True),
    lambda x, dtype: x.to(dtype, non_blocking=True),
)
SPECIAL = (float("nan"), -0.0, float("inf"), -float("inf"))
RANGES = (
    ([0, 255, 128, 200], "torch.uint8", ("torch.int16", "torch.int64", "torch.float16", "torch.float32")),
    ([-128, 127], "torch.int8", ("torch.int16", "torch.int64", "torch.float16", "torch.bfloat16", "torch.float32")),
    ([-(2**15), 2**15 - 1], "torch.int16", ("torch.int32", "torch.float32", "torch.float64")),
    ([-(2**31), 2**31 - 1, 2**24 + 1], "torch.int32", ("torch.int64", "torch.float64")),
    ([2**53 - 1, 1 - 2**53], "torch.int64", ("torch.float64", "torch.complex128")),
    ([60000.0, 2.0**-24, 0.5], "torch.float16", ("torch.float32", "torch.float64", "torch.complex64")),
    ([3e38, 0.1, -1e-38], "torch.bfloat16", ("torch.float32", "torch.float64")),
    ([3.4e38, 0.1, -1e-38], "torch.float32", ("torch.float64", "torch.complex128")),
    ([0.1 + 0.2j, 3 - 3e38j], "torch.complex64", ("torch.complex128",)),
    *(
        ([-128, -1, 0, 127], own, tuple(other for other in SIGNED if other != own))
        for own in ("torch.float32", *SIGNED)
    ),
)
"""Numbers of the whole range of a dtype, and dtypes that have them, too."""


def ranges():
    return st.sampled_from(RANGES).map(lambda drawn: (drawn[0], named(drawn[1]), [*map(named, drawn[2])]))


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


@st.composite
def conversions(draw):
    """A tensor, and dtypes other than its own that have all its numbers."""
    tensor = draw(tensors(telling_shapes(), ANY))
    own = tensor.facts["dtype"]
    holding = dtypes.COMPLEX if own in dtypes.COMPLEX else dtypes.FLOATING + dtypes.COMPLEX + SIGNED
    among = [dtype for dtype in holding if dtype != own]
    return tensor, draw(st.lists(st.sampled_from(among).map(named), min_size=2, max_size=2))


@rule("devices.to.nothing-to-do")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), ANY) | leaves(telling_shapes()), ask=st.sampled_from(WAYS_TO_ASK).map(Expression))
@example(x=Expression("torch.ones(1000, 1000, device=device)"), ask=Expression(WAYS_TO_ASK[0]))
def test_where_nothing_changes_to_returns_the_tensor_itself(device, x, ask):
    for every in ASKING:
        assert every(x) is x
        assert every(x, copy=False) is x
    with torch.no_grad():
        x.to(torch.complex64 if x.dtype == torch.complex128 else torch.complex128)
        x.to(x.device, copy=True)
    for tensor in (
        x,
        x[..., None],
        x + x,
        x.detach(),
        x[:0] if x.ndim else x[None],
        x.expand(2, *x.shape),
        torch.nn.Parameter(x.detach(), x.requires_grad),
    ):
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
    for every in CONVERTING:
        converted = every(x, others[0])
        assert (converted.dtype, converted.device, converted.shape) == (others[0], x.device, x.shape)
        assert numbers(converted) == numbers(x)
        converted.zero_()
        assert state(x) == before
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
@also(*UNRECORDED)
@given(drawn=ranges())
@example(drawn=([-128, -1, 0, 127], named("torch.int64"), [named("torch.int8")]))
def test_another_dtype_has_the_numbers_of_the_whole_range(device, drawn):
    values, own, others = drawn
    x = torch.tensor(values * 3, dtype=own, device=device)
    for source in (x, x[1:], x[::2], x[0], x[:0], x[None, :0]):
        for dtype in others:
            for convert in CONVERTING:
                converted = convert(source, dtype)
                assert (converted.dtype, converted.shape) == (dtype, source.shape)
                assert numbers(converted) == numbers(source)


@rule("devices.to.converted")
@also(*UNRECORDED)
@given(
    own=st.sampled_from(dtypes.FLOATING).map(named),
    others=st.permutations(dtypes.FLOATING).map(lambda drawn: [*map(named, drawn)]),
)
def test_another_floating_dtype_keeps_infinities_nan_and_the_sign_of_zero(device, own, others):
    x = torch.tensor(SPECIAL * 5, dtype=own, device=device)
    for dtype in others:
        if dtype != own:
            for convert in CONVERTING:
                assert repr(numbers(convert(x, dtype))) == repr(list(SPECIAL * 5))


@rule("devices.to.converted")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), REAL) | leaves(telling_shapes()), dtype=st.sampled_from(dtypes.FLOATING).map(named))
def test_another_device_makes_a_new_tensor_and_leaves_the_old_one(device, x, dtype):
    here, before = x.device, state(x)
    away = (
        *(x.to("meta"), x.to("meta", dtype), x.to(device="meta"), x.to("meta", non_blocking=True)),
        *(x.to("meta", copy=True), x.to(torch.empty(0, dtype=dtype, device="meta")), x.to(torch.device("meta"))),
        x.to(device="meta", dtype=dtype),
    )
    for moved in away:
        assert moved.device.type == "meta"
        assert moved.shape == x.shape
        assert moved.dtype in (x.dtype, dtype)
    assert x.to("meta").dtype == x.dtype
    assert x.to("meta", dtype).dtype == dtype
    assert x.device == here
    assert state(x) == before


@rule("devices.to.copy")
@also(*UNRECORDED, AS_RESULTS)
@given(drawn=ranges(), special=st.permutations(dtypes.FLOATING).map(lambda drawn: [*map(named, drawn)]))
def test_a_copy_has_the_numbers_of_the_whole_range(device, drawn, special):
    values, own, _ = drawn
    whole = torch.tensor(values * 9, dtype=own, device=device)
    for x in (
        whole,
        whole[1:],
        whole[::2],
        whole[0],
        whole[:0],
        *(torch.tensor(SPECIAL * 5, dtype=of, device=device) for of in special[:2]),
    ):
        for ask in ASKING:
            copied = ask(x, copy=True)
            assert (copied.dtype, copied.device, copied.shape) == (x.dtype, x.device, x.shape)
            assert repr(numbers(copied)) == repr(numbers(x))
            kept = repr(numbers(x))
            copied.fill_(1)
            assert repr(numbers(x)) == kept


@rule("devices.to.copy")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(telling_shapes(), ANY), ask=st.sampled_from(WAYS_TO_ASK).map(Expression))
@example(x=WITH_INFINITIES, ask=Expression(WAYS_TO_ASK[0]))
@example(x=WITH_INFINITIES, ask=Expression(WAYS_TO_ASK[2]))
def test_a_copy_that_is_asked_for_is_made(device, x, ask):
    before = state(x)
    for every in ASKING:
        copied = every(x, copy=True)
        assert copied is not x
        assert (copied.dtype, copied.device, copied.shape) == (x.dtype, x.device, x.shape)
        assert numbers(copied) == numbers(x)
        copied.zero_()
        assert state(x) == before
    columns = torch.stack([x, torch.ones_like(x)]).reshape(2, -1).T
    for source in (x, columns, x[None].transpose(0, -1), x[None].expand(2, *x.shape), x[..., None][..., 0]):
        copied = ask(source, copy=True)
        assert copied is not source
        assert (copied.dtype, copied.device, copied.shape) == (x.dtype, x.device, source.shape)
        assert numbers(copied) == numbers(source)
        filled = numbers(copied.fill_(7))
        assert state(x) == before
        again = ask(source, copy=True)
        assert numbers(again) == numbers(source)
        assert numbers(copied) == filled
