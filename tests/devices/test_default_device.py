"""spec/devices/default-device.md"""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, routes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import numbers

META = Expression('"meta"')
PLACES = (
    META,
    *map(Expression, ('torch.device("meta")', "device", "device", "torch.device(device)", 'torch.device("cpu")')),
)
FACTORIES = (
    "lambda **where: torch.zeros(2, 3, **where)",
    "lambda **where: torch.ones((2, 3), **where)",
    "lambda **where: torch.full((2,), 3.0, **where)",
    "lambda **where: torch.empty(2, 0, **where)",
    "lambda **where: torch.arange(3, **where)",
    "lambda **where: torch.linspace(0, 1, 3, **where)",
    "lambda **where: torch.eye(2, **where)",
    "lambda **where: torch.tensor(3.0, **where)",
    "lambda **where: torch.tensor([1, 2], **where)",
    "lambda **where: torch.as_tensor([1.0, 2.0], **where)",
    "lambda **where: torch.rand(2, **where)",
    "lambda **where: torch.randn(2, 3, **where)",
    "lambda **where: torch.nn.Linear(2, 1, **where).weight",
    "lambda **where: torch.randint(3, (2,), **where)",
    "lambda **where: torch.randperm(3, **where)",
    "lambda **where: torch.logspace(0, 1, 3, **where)",
    "lambda **where: torch.tril_indices(2, 2, **where)",
    "lambda **where: torch.empty_strided((2,), (1,), **where)",
    "lambda **where: torch.scalar_tensor(3.0, **where)",
    "lambda **where: torch.as_tensor(3.0, **where)",
    "lambda **where: torch.triu_indices(2, 2, **where)",
    "lambda **where: torch.hann_window(3, **where)",
    "lambda **where: torch.kaiser_window(3, **where)",
    "lambda **where: torch.fft.fftfreq(4, **where)",
    "lambda **where: torch.full((), True, **where)",
    "lambda **where: torch.nn.Embedding(2, 2, **where).weight",
    "lambda **where: torch.nn.BatchNorm1d(2, **where).running_mean",
    "lambda **where: torch.nn.parameter.Parameter(torch.zeros(2, **where))",
    "lambda **where: torch.zeros((), **where)",
    "lambda **where: torch.ones(0, **where)",
    "lambda **where: torch.tensor([[]], **where)",
    "lambda **where: torch.tensor(True, **where)",
    "lambda **where: torch.tensor([1 + 2j], **where)",
    "lambda **where: torch.rand(17, **where)",
    "lambda **where: torch.zeros(2, dtype=torch.int64, **where)",
    "lambda **where: torch.ones(2, dtype=torch.bool, **where)",
    "lambda **where: torch.empty(2, dtype=torch.float64, **where)",
    "lambda **where: torch.full((2,), 3, **where)",
    "lambda **where: torch.full((2,), 1j, **where)",
    "lambda **where: torch.arange(0.0, 1.0, 0.5, **where)",
    "lambda **where: torch.arange(0, **where)",
    "lambda **where: torch.eye(2, 3, **where)",
    "lambda **where: torch.randint(1, 3, (2,), **where)",
    "lambda **where: torch.tensor([1.0], requires_grad=True, **where)",
    "lambda **where: torch.randn(2, requires_grad=True, **where)",
    "lambda **where: torch.bartlett_window(3, **where)",
    "lambda **where: torch.blackman_window(3, **where)",
    "lambda **where: torch.hamming_window(3, **where)",
    "lambda **where: torch.fft.rfftfreq(4, **where)",
    "lambda **where: torch.nn.Conv1d(1, 1, 1, **where).bias",
    "lambda **where: torch.nn.BatchNorm1d(2, **where).num_batches_tracked",
)
FROM_NUMBERS = (
    "lambda **where: torch.asarray([1.0, 2.0], **where)",
    "lambda **where: torch.asarray(3.0, **where)",
    "lambda **where: torch.asarray(3, dtype=torch.float32, **where)",
    "lambda **where: torch.asarray((True, False), **where)",
    "lambda **where: torch.asarray([[1, 2], [3, 4]], requires_grad=False, **where)",
    "lambda **where: torch.asarray([], **where)",
    "lambda **where: torch.asarray(True, **where)",
    "lambda **where: torch.asarray(1 + 2j, **where)",
    "lambda **where: torch.asarray([1, 2], dtype=torch.float64, **where)",
    "lambda **where: torch.asarray([1.0, 2.0], copy=True, **where)",
    "lambda **where: torch.asarray([0.5], requires_grad=True, **where)",
)
THE_DATAS = (
    "lambda x: x",
    "lambda x: x.clone()",
    "lambda x: torch.zeros_like(x)",
    "lambda x: torch.full_like(x, 2)",
    "lambda x: x.new_ones(2)",
    "lambda x: x.new_zeros(2, 0)",
    "lambda x: x.new_full((2,), 3)",
    "lambda x: x.new_tensor([1, 2])",
    "lambda x: torch.ones_like(x)",
    "lambda x: torch.empty_like(x)",
    "lambda x: torch.ones(2, device=x.device)",
    "lambda x: torch.tensor([1.0, 2.0], device=x.device)",
    "lambda x: torch.rand_like(x)",
    "lambda x: torch.randn_like(x)",
    "lambda x: torch.randint_like(x, 3)",
    "lambda x: torch.zeros_like(x, dtype=torch.int64)",
    "lambda x: torch.ones_like(x[None])",
    "lambda x: x.new_empty(2)",
    "lambda x: x.new_empty_strided((2,), (1,))",
    "lambda x: x.new_ones(2, dtype=torch.bool)",
    "lambda x: x.new_tensor(3.0)",
    "lambda x: x.reshape(-1)",
    "lambda x: x.detach()",
    "lambda x: x.to(torch.int64)",
    "lambda x: torch.nn.Parameter(x.detach())",
    "lambda x: torch.zeros(2, device=x.device)",
    "lambda x: torch.empty((), device=str(x.device))",
    "lambda x: torch.full((2,), 3, device=x.device)",
    "lambda x: torch.arange(3, device=x.device)",
    "lambda x: torch.eye(2, device=x.device)",
    "lambda x: torch.linspace(0, 1, 3, device=x.device)",
    "lambda x: torch.rand(2, device=x.device)",
    "lambda x: torch.randn(2, device=x.device)",
    "lambda x: torch.randint(3, (2,), device=x.device)",
    "lambda x: torch.randperm(3, device=x.device)",
    "lambda x: torch.tensor(3, device=x.device)",
    "lambda x: torch.as_tensor([1.0], device=x.device)",
    "lambda x: torch.asarray([1.0], device=x.device)",
    "lambda x: torch.nn.Linear(2, 1, device=x.device).weight",
)
OPERATIONS = (
    lambda x: x + x,
    lambda x: 2 * x,
    lambda x: 1 - x,
    lambda x: x * 0.5,
    lambda x: -x,
    lambda x: x.abs(),
    lambda x: x.sum(),
    lambda x: x.sum(0) if x.ndim else x.sum(),
    lambda x: x == x,
    lambda x: x > 0,
    lambda x: (x > 0).any(),
    lambda x: torch.where(x > 0, x, 0.0),
    lambda x: torch.where(x > 0, x, x + 1),
    lambda x: torch.cat([x[None], x[None]]),
    lambda x: torch.stack([x, x]),
    lambda x: x.reshape(-1, 1) @ x.reshape(1, -1),
    lambda x: x.reshape(-1).sort().values,
    lambda x: x.reshape(-1).sort(stable=True).indices,
    lambda x: x.reshape(-1).cumsum(0),
    lambda x: x[None][0],
    lambda x: x[None][[0]],
    lambda x: x[x > 0],
    lambda x: x.nonzero(),
    lambda x: x.clone().add_(1),
    lambda x: x.clone().fill_(2),
    lambda x: x.clamp(0, 1),
    lambda x: x.pow(2),
    lambda x: torch.nn.functional.relu(x),
    lambda x: torch.nn.functional.pad(x[None], (1, 1)),
    lambda x: x.to(torch.int64),
    lambda x: torch.maximum(x, x),
    lambda x: torch.broadcast_tensors(x, x[None])[0],
    lambda x: torch.isfinite(x),
)
"""Operations of one tensor on itself and on numbers."""

THE_CPUS = (
    "lambda: torch.from_numpy(np.ones(2, dtype=np.float32))",
    "lambda: torch.frombuffer(bytearray(8), dtype=torch.float32)",
    "lambda: torch.from_numpy(np.zeros((2, 0)))",
    "lambda: torch.from_numpy(np.array(3))",
    "lambda: torch.from_numpy(np.ones((2, 3), dtype=bool).T)",
    "lambda: torch.frombuffer(bytearray(8), dtype=torch.uint8, count=2, offset=3)",
    "lambda: torch.frombuffer(bytearray(8), dtype=torch.int64, requires_grad=False)",
)


def places():
    return st.sampled_from(PLACES)


def several(factories, count):
    """Some factories, neighbours in the list: to draw one at a time would leave some out."""
    rounds = [
        [Expression(factories[(start + step) % len(factories)]) for step in range(count)]
        for start in range(0, len(factories), count)
    ]
    return st.sampled_from(rounds)


@rule("devices.default-device.factories")
@also(*UNRECORDED)
@given(makes=several(FACTORIES, 13), place=places())
@example(makes=[Expression("lambda **where: torch.tensor(3.0, **where)")], place=META)
@example(makes=[Expression("lambda **where: torch.randn(3, 4, 5, **where)")], place=META)
@example(makes=[Expression("lambda **where: torch.linspace(-1, 1, 2000, **where)")], place=Expression("device"))
def test_a_factory_makes_its_tensor_on_the_default_device(device, makes, place):
    for make in makes:
        with torch.random.fork_rng(devices=[]):
            assert str(make().device) == "cpu"
            try:
                assert torch.set_default_device("meta") is None
                first = make()
                with pytest.raises(TypeError):
                    torch.tensor("no number")
                assert torch.set_default_device(device=place) is None
                made = make(), make()
            finally:
                assert torch.set_default_device(None) is None
            assert str(make().device) == "cpu"
            assert first.device == torch.device("meta")
            assert [tensor.device for tensor in made] == [make(device=place).device] * 2


@rule("devices.default-device.asarray")
@also(*UNRECORDED)
@given(makes=several(FROM_NUMBERS, 5), place=places())
@example(makes=[Expression(source) for source in FROM_NUMBERS], place=META)
def test_what_asarray_makes_of_numbers_is_on_the_default_device(device, makes, place):
    for make in makes:
        assert str(make().device) == "cpu"
        for default in ("meta", place):
            try:
                torch.set_default_device(default)
                made, again = make(), make()
                with torch.device("cpu"):
                    assert str(make().device) == "cpu"
            finally:
                torch.set_default_device(None)
            with torch.device(default):
                inside = make()
            assert made.device == again.device == inside.device == make(device=default).device
        assert str(make().device) == "cpu"


@rule("devices.default-device.data-decides")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(), makes=several(THE_DATAS, 13), place=places())
def test_what_is_made_from_data_is_where_the_data_is(device, x, makes, place):
    where = x.device
    for default in (place, "meta"):
        for make in makes:
            with torch.random.fork_rng(devices=[]):
                try:
                    torch.set_default_device(default)
                    made = make(x)
                finally:
                    torch.set_default_device(None)
                with torch.device(default):
                    inside = make(x)
            assert made.device == inside.device == x.device == where


@rule("devices.default-device.data-decides")
@also(*UNRECORDED)
@given(makes=several(THE_CPUS, 7), place=places())
def test_what_shares_memory_of_the_cpu_is_on_the_cpu(device, makes, place):
    for make in makes:
        for default in ("meta", place):
            try:
                torch.set_default_device(default)
                made, again = make(), make()
            finally:
                torch.set_default_device(None)
            with torch.device(default):
                inside = make()
            assert made.device == again.device == inside.device == make().device == torch.device("cpu")


@rule("devices.default-device.operands-decide")
@also(*BACKWARD)
@given(leaf=leaves(), operation=elementwise(), route=routes(), place=places())
def test_an_operation_runs_where_its_operands_are(device, leaf, operation, route, place):
    function, derivative = operation
    expected = numbers(function(leaf))
    try:
        torch.set_default_device(place)
        result = function(leaf)
        assert result.device == leaf.device
        output = route(result)
        output.backward(torch.ones_like(output), retain_graph=True)
        output.sum().backward()
        (third,) = torch.autograd.grad(function(leaf).sum(), leaf)
        assert leaf.grad.device == third.device == leaf.device
    finally:
        torch.set_default_device(None)
    assert numbers(result) == expected
    slopes = [derivative(value) for value in numbers(leaf)]
    assert numbers(third) == slopes
    assert numbers(leaf.grad) == [2 * slope for slope in slopes]


@rule("devices.default-device.operands-decide")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(), place=places())
def test_every_operation_runs_where_its_operands_are(device, x, place):
    expected = [numbers(operation(x)) for operation in OPERATIONS]
    for default in (place, "meta"):
        try:
            torch.set_default_device(default)
            results = [operation(x) for operation in OPERATIONS]
        finally:
            torch.set_default_device(None)
        with torch.device(default):
            inside = [operation(x) for operation in OPERATIONS]
        assert {result.device for result in (*results, *inside)} == {x.device}
        assert [numbers(result) for result in results] == [numbers(result) for result in inside] == expected


@rule("devices.default-device.blocks")
@also(*UNRECORDED)
@given(default=places() | st.none(), outer=places(), inner=places(), fails=st.booleans())
def test_the_innermost_block_counts_and_leaving_it_brings_back_what_was(device, default, outer, inner, fails):
    def made(**where):
        of_sizes = [torch.ones(size, **where).device for size in ((2,), (0, 3), (), (17,), (1, 2, 1))]
        others = (
            torch.zeros(2, **where),
            torch.empty(1, **where),
            torch.arange(3, **where),
            torch.full((2,), 3, **where),
        )
        of_contents = [torch.tensor(content, **where).device for content in (3.0, [], [1, 2])]
        return of_sizes + of_contents + [tensor.device for tensor in others]

    try:
        torch.set_default_device(default)
        before = made()
        with contextlib.suppress(KeyError), torch.device(outer):
            assert made() == made(device=outer)
            with contextlib.suppress(KeyError), torch.device(inner):
                assert made() == made(device=inner)
                if fails:
                    raise KeyError
            assert made() == made(device=outer)
            block = torch.device(inner)
            for _ in range(2):
                with block:
                    with torch.device("meta"), block:
                        assert torch.ones(2).device == torch.ones(2, device=inner).device
                    assert torch.ones(2).device == torch.ones(2, device=inner).device
                assert torch.ones(2).device == torch.ones(2, device=outer).device
            if fails:
                raise KeyError
        assert made() == before
    finally:
        torch.set_default_device(None)


@rule("devices.default-device.threads")
@also(*UNRECORDED)
@given(place=places(), other=places())
@example(place=META, other=META)
def test_a_default_device_is_seen_in_its_own_thread_only(device, place, other):
    def made():
        return torch.ones(2).device

    block = torch.device(other)
    with ThreadPoolExecutor(1) as running, ThreadPoolExecutor(1) as new, ThreadPoolExecutor(1) as newer:
        assert running.submit(made).result().type == "cpu"
        try:
            running.submit(torch.set_default_device, other).result()
            assert running.submit(made).result() == torch.ones(2, device=other).device
            assert made().type == new.submit(made).result().type == "cpu"
            for setting in (place, None):
                torch.set_default_device(setting)
                new.submit(torch.set_default_device, setting).result()
                assert running.submit(made).result() == torch.ones(2, device=other).device
        finally:
            torch.set_default_device(None)
            new.submit(torch.set_default_device, None).result()
            running.submit(torch.set_default_device, None).result()
        with torch.device(place):
            assert made() == torch.ones(2, device=place).device
            assert running.submit(made).result().type == new.submit(made).result().type == "cpu"
            with ThreadPoolExecutor(1) as newest:
                assert newest.submit(made).result().type == "cpu"
        running.submit(block.__enter__).result()
        assert made().type == new.submit(made).result().type == "cpu"
        running.submit(block.__exit__, None, None, None).result()
        try:
            torch.set_default_device(place)
            assert running.submit(made).result().type == "cpu"
            assert new.submit(made).result().type == newer.submit(made).result().type == "cpu"
            running.submit(block.__enter__).result()
            assert made() == torch.ones(2, device=place).device
            assert running.submit(made).result() == torch.ones(2, device=other).device
            running.submit(block.__exit__, None, None, None).result()
        finally:
            torch.set_default_device(None)
