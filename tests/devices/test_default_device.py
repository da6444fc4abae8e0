"""spec/devices/default-device.md"""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, elementwise, leaves, routes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import numbers

META = Expression('"meta"')
PLACES = (META, *map(Expression, ('torch.device("meta")', "device", "torch.device(device)", 'torch.device("cpu")')))
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
)
FROM_NUMBERS = (
    "lambda **where: torch.asarray([1.0, 2.0], **where)",
    "lambda **where: torch.asarray(3.0, **where)",
    "lambda **where: torch.asarray(3, dtype=torch.float32, **where)",
    "lambda **where: torch.asarray((True, False), **where)",
    "lambda **where: torch.asarray([[1, 2], [3, 4]], requires_grad=False, **where)",
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
)
THE_CPUS = (
    "lambda: torch.from_numpy(np.ones(2, dtype=np.float32))",
    "lambda: torch.frombuffer(bytearray(8), dtype=torch.float32)",
)


def places():
    return st.sampled_from(PLACES)


def several(factories):
    """Four factories: to draw one at a time would leave some out."""
    return st.lists(st.sampled_from(factories).map(Expression), min_size=4, max_size=4)


def at_a_place(functions):
    """A function and a default device, every function with the meta device first."""
    return st.sampled_from([(Expression(function), place) for place in PLACES for function in functions])


@rule("devices.default-device.factories")
@also(*UNRECORDED)
@given(makes=several(FACTORIES), place=places())
@example(makes=[Expression("lambda **where: torch.tensor(3.0, **where)")], place=META)
@example(makes=[Expression("lambda **where: torch.randn(3, 4, 5, **where)")], place=META)
@example(makes=[Expression("lambda **where: torch.linspace(-1, 1, 2000, **where)")], place=Expression("device"))
def test_a_factory_makes_its_tensor_on_the_default_device(device, makes, place):
    for make in makes:
        with torch.random.fork_rng(devices=[]):
            assert str(make().device) == "cpu"
            try:
                assert torch.set_default_device(place) is None
                made = make()
            finally:
                torch.set_default_device(None)
            assert made.device == make(device=place).device


@rule("devices.default-device.asarray")
@also(*UNRECORDED)
@given(makes=several(FROM_NUMBERS), place=places())
@example(makes=[Expression(source) for source in FROM_NUMBERS], place=META)
def test_what_asarray_makes_of_numbers_is_on_the_default_device(device, makes, place):
    for make in makes:
        assert str(make().device) == "cpu"
        try:
            torch.set_default_device(place)
            made = make()
        finally:
            torch.set_default_device(None)
        with torch.device(place):
            inside = make()
        assert made.device == inside.device == make(device=place).device


@rule("devices.default-device.data-decides")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(), makes=several(THE_DATAS), place=places())
def test_what_is_made_from_data_is_where_the_data_is(device, x, makes, place):
    where = x.device
    for default in (place, "meta"):
        for make in makes:
            try:
                torch.set_default_device(default)
                made = make(x)
            finally:
                torch.set_default_device(None)
            assert made.device == x.device == where


@rule("devices.default-device.data-decides")
@also(*UNRECORDED)
@given(drawn=at_a_place(THE_CPUS))
def test_what_shares_memory_of_the_cpu_is_on_the_cpu(device, drawn):
    make, place = drawn
    try:
        torch.set_default_device(place)
        made = make()
    finally:
        torch.set_default_device(None)
    assert made.device == torch.device("cpu")


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


@rule("devices.default-device.blocks")
@also(*UNRECORDED)
@given(default=places() | st.none(), outer=places(), inner=places(), fails=st.booleans())
def test_the_innermost_block_counts_and_leaving_it_brings_back_what_was(device, default, outer, inner, fails):
    def made(**where):
        of_sizes = [torch.ones(size, **where).device for size in ((2,), (0, 3), (), (17,), (1, 2, 1))]
        return of_sizes + [torch.tensor(content, **where).device for content in (3.0, [], [1, 2])]

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
        finally:
            running.submit(torch.set_default_device, None).result()
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
