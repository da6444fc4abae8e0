"""spec/modes/decorators.md"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks
from tests.inputs.circumstances import NO_GRAD, UNRECORDED, also

MODES = (
    ("torch.no_grad", (False, False)),
    ("torch.enable_grad", (True, False)),
    ("torch.inference_mode", (False, True)),
)
RESUMPTIONS = (
    ("next", None),
    ("lambda generator: generator.send('sent')", "sent"),
    ("lambda generator: generator.throw(KeyError('thrown'))", "thrown"),
)


def modes(*, called):
    """(decorator, mode): a decorator, and whether what it decorates records and is in inference mode.

    called: with parentheses.
    """
    return st.sampled_from(MODES).map(lambda pair: (Expression(f"{pair[0]}{'()' if called else ''}"), pair[1]))


def resumptions():
    """Ways to resume a generator, each with what the generator hears."""
    ways = st.sampled_from(RESUMPTIONS).map(lambda pair: (Expression(pair[0]), pair[1]))
    return st.lists(ways, min_size=1, max_size=3)


def errors():
    """A class of errors; an interrupt is one that `except Exception` lets through."""
    return st.sampled_from(("KeyError", "RuntimeError", "KeyboardInterrupt")).map(Expression)


@rule("modes.decorators.every-call")
@also(NO_GRAD)
@given(mode=modes(called=True), defined=blocks(), called=blocks())
@example(
    mode=(Expression("torch.no_grad()"), (False, False)),
    defined=(Expression("torch.enable_grad"), True),
    called=(Expression("torch.enable_grad"), True),
)
def test_a_decorated_function_runs_in_its_mode_at_every_call(device, mode, defined, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    definer, _ = defined
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    def call(depth):
        assert now() == inside
        if depth:
            decorated(depth - 1)
        assert now() == inside
        return depth

    with definer():
        decorated = decorator(call)
    with caller():
        for depth in (0, 0, 1, 2):
            assert decorated(depth) == depth
            assert now() == (outside, False)


@rule("modes.decorators.every-call")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks())
def test_a_decorated_function_runs_in_its_mode_in_whatever_thread(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    here = decorator(now)
    with ThreadPoolExecutor(max_workers=1) as pool, caller():
        there = pool.submit(decorator, now).result()
        for decorated in (here, there):
            for _ in range(2):
                assert pool.submit(decorated).result() == inside
                assert pool.submit(now).result() == (True, False)
                assert decorated() == inside
                assert now() == (outside, False)


@rule("modes.decorators.every-call")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks(), error=errors())
def test_a_decorated_function_that_raises_gives_its_caller_the_mode_back(device, mode, called, error):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def fail():
        assert now() == inside
        raise error

    with caller():
        for _ in range(2):
            with pytest.raises(error):
                fail()
            assert now() == (outside, False)


@rule("modes.decorators.every-call")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks())
def test_a_decorated_method_runs_in_its_mode(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, (records, inference) = mode
    caller, outside = called

    class Model:
        @decorator
        def forward(self, times, *, plus):
            return self, leaf * times + plus

        @staticmethod
        @decorator
        def static(times):
            return leaf * times

        @classmethod
        @decorator
        def of_class(cls, times):
            return cls, leaf * times

    model = Model()
    with caller():
        received, result = model.forward(2, plus=1)
        assert received is model
        owner, of_class = model.of_class(2)
        assert owner is Model
        for made in (result, of_class, model.static(2)):
            assert made.requires_grad == records
            assert made.is_inference() == inference
        assert (leaf * 2).requires_grad == outside


@rule("modes.decorators.without-parentheses")
@also(NO_GRAD)
@given(mode=modes(called=False), called=blocks(), error=errors())
def test_a_mode_decorates_without_parentheses(device, mode, called, error):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def call(depth, *, fails):
        found = [now()] + (call(depth - 1, fails=fails) if depth else [])
        if fails and not depth:
            raise error
        return [*found, now()]

    @decorator
    def steps():
        yield now()
        yield now()

    with caller():
        for _ in range(2):
            assert call(1, fails=False) == [inside] * 4
            assert now() == (outside, False)
            with pytest.raises(error):
                call(1, fails=True)
            assert now() == (outside, False)
        for found in steps():
            assert found == inside
            assert now() == (outside, False)


@rule("modes.decorators.set-grad-enabled")
@also(NO_GRAD)
@given(mode=st.booleans(), defined=blocks(), called=blocks())
def test_set_grad_enabled_decorates_and_switches_nothing(device, mode, defined, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    definer, around = defined
    caller, outside = called
    with definer():

        @torch.set_grad_enabled(mode)
        def recording():
            return (leaf * 2).requires_grad

        assert (leaf * 2).requires_grad == around
    with caller():
        for _ in range(2):
            assert recording() == mode
            assert (leaf * 2).requires_grad == outside


@rule("modes.decorators.generators")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks(), steps=resumptions())
def test_a_decorated_generator_runs_in_its_mode_and_its_caller_in_its_own(device, mode, called, steps):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def conversation():
        heard = []
        while len(heard) < len(steps):
            try:
                heard.append((yield now()))
            except KeyError as error:
                heard.append(error.args[0])
        return heard, now()

    with caller():
        generator = conversation()
        assert next(generator) == inside
        assert now() == (outside, False)
        for resume, _ in steps[:-1]:
            assert resume(generator) == inside
            assert now() == (outside, False)
        with pytest.raises(StopIteration) as end:
            steps[-1][0](generator)
        assert end.value.value == ([said for _, said in steps], inside)
        assert now() == (outside, False)


@rule("modes.decorators.generators")
@also(*UNRECORDED)
@given(mode=modes(called=True), called=blocks(), error=errors())
def test_what_passes_through_a_decorated_generator_is_the_very_thing(device, mode, called, error):
    decorator, _ = mode
    caller, _ = called
    values = [None, 0, False, "", (), [], {}, 0.0, torch.zeros((), device=device), torch.ones(2, device=device), error]

    @decorator
    def echo(said, last, *, thrown):
        while said is not last:
            try:
                said = yield said
            except thrown as found:
                said = found
        return last

    with caller():
        for value in values:
            last = object()
            generator = echo("first", last, thrown=error)
            assert next(generator) == "first"
            assert generator.send(value) is value
            raised = error()
            assert generator.throw(raised) is raised
            assert generator.send(value) is value
            with pytest.raises(StopIteration) as end:
                generator.send(last)
            assert end.value.value is last
            with pytest.raises(StopIteration) as end:
                next(echo(value, value, thrown=error))
            assert end.value.value is value


@rule("modes.decorators.generators")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks())
def test_a_decorated_generator_is_closed_in_its_mode(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called
    found = []

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def endless():
        try:
            while True:
                yield
        finally:
            found.append(now())

    with caller():
        generator = endless()
        next(generator)
        generator.close()
        assert found == [inside]
        assert now() == (outside, False)


@rule("modes.decorators.generators")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks(), error=errors(), first=st.booleans())
def test_a_decorated_generator_that_raises_gives_its_caller_the_mode_back(device, mode, called, error, first):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, _ = mode
    caller, outside = called

    @decorator
    def failing():
        if not first:
            yield
        raise error
        yield

    with caller():
        generator = failing()
        with pytest.raises(error):
            list(generator)
        assert (leaf * 2).requires_grad == outside
        assert not torch.is_inference_mode_enabled()


@rule("modes.decorators.generators")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks())
def test_a_decorated_generator_keeps_its_mode_when_another_thread_resumes_it(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def steps():
        for _ in range(3):
            yield now()

    with ThreadPoolExecutor(max_workers=1) as pool, caller():
        generator = steps()
        assert next(generator) == inside
        assert pool.submit(next, generator).result() == inside
        assert pool.submit(now).result() == (True, False)
        assert next(generator) == inside
        assert now() == (outside, False)


@rule("modes.decorators.classes")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks())
def test_of_a_decorated_class_only_the_construction_runs_in_the_mode(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, (records, _) = mode
    caller, outside = called
    with pytest.warns(Warning, match="Decorating classes is deprecated"):

        @decorator
        class Model:
            def __init__(self, factor, *, shift=0):
                self.built = (leaf * factor + shift).requires_grad

            def recording(self):
                return (leaf * 2).requires_grad

    for caller, outside in (called, (torch.no_grad, False), (torch.enable_grad, True), called):
        with caller():
            model = Model(2, shift=1)
            assert model.built == records
            assert model.recording() == outside
            assert torch.is_grad_enabled() == outside


@rule("modes.decorators.async-functions")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks(), ran=blocks())
def test_the_body_of_a_decorated_async_function_runs_in_the_mode_of_whoever_runs_it(device, mode, called, ran):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, _ = mode
    caller, _ = called
    runner, records = ran

    @decorator
    async def recording():
        before = (leaf * 2).requires_grad
        await asyncio.sleep(0)
        return before, (leaf * 2).requires_grad

    with caller():
        coroutine = recording()
    with runner():
        assert asyncio.run(coroutine) == (records, records)
