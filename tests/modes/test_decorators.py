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
    return st.sampled_from(("KeyError", "RuntimeError", "KeyboardInterrupt", "SystemExit")).map(Expression)


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
        if depth:  # called again from its own mode, and from others
            with (torch.no_grad, torch.enable_grad, definer)[depth % 3]():
                decorated(depth - 1)
        assert now() == inside
        return depth

    def both():
        assert now() == inside
        assert decorated(0) == 0
        assert now() == inside

    with definer():
        decorated = decorator(call)
        other = decorator(both)
        others = [decorator(made) for made in (leaf.mul, leaf.__mul__, lambda factor: leaf * factor)]
        # One function, decorated for each mode.
        each = [torch.no_grad()(now), torch.inference_mode()(now), torch.enable_grad()(now), decorator(now)]
    with caller():
        for _ in range(2):
            assert [one() for one in each] == [(False, False), (False, True), (True, False), inside]
            assert now() == (outside, False)
        for depth in (0, 0, 1, 2, 9):
            assert decorated(depth) == depth
            assert now() == (outside, False)
            assert other() is None
            assert now() == (outside, False)
        for number, one in enumerate(others * 3):
            result = one(number)
            assert result.tolist() == [number, number]
            assert (result.requires_grad, result.is_inference()) == inside
            assert now() == (outside, False)
        with torch.inference_mode():
            for one in each:
                one()
                assert now() == (False, True)
        assert now() == (outside, False)


@rule("modes.decorators.every-call")
@also(NO_GRAD)
@given(
    outermost=modes(called=True),
    second=modes(called=True),
    callers=st.lists(blocks(), min_size=2, max_size=3),
    error=errors(),
)
def test_the_innermost_of_two_decorators_counts_and_each_caller_has_its_own_mode_back(
    device, outermost, second, callers, error
):
    leaf = torch.ones(2, device=device, requires_grad=True)
    (outer, around), (inner, inside) = outermost, second

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @inner
    def found(*, fails=False):
        if fails:
            raise error
        return now()

    @outer
    def calls(function, **options):
        before = now()
        try:
            return before, function(**options)
        finally:
            assert now() == before

    for caller, outside in (*callers, (torch.inference_mode, None)):
        with caller():
            before = now()
            assert outside is None or before == (outside, False)
            _, deep = calls(found)
            assert around[1] or outside is None or deep == inside
            assert now() == before
            with pytest.raises(error):
                calls(found, fails=True)
            assert now() == before
            if outside is not None:
                assert (calls(now), found()) == ((around, around), inside)
            assert now() == before
            with pytest.raises(error):
                found(fails=True)
            assert now() == before


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

        @property
        @decorator
        def double(self):
            return leaf * 2

        @decorator
        def __call__(self, *factors, plus=1, **others):
            return leaf * sum(factors) + plus + sum(others.values())

    class Special(Model):
        def forward(self, times, *, plus):
            _, result = super().forward(times, plus=plus)
            return self, result, leaf * 2

    model, special = Model(), Special()
    with caller():
        for _ in range(2):
            received, result = model.forward(2, plus=1)
            assert received is model
            received, inherited, own = special.forward(2, plus=1)
            assert received is special
            assert own.requires_grad == outside
            owner, of_class = model.of_class(2)
            assert owner is Model
            called_with = model(2, 3, plus=4, more=5)
            assert called_with.tolist() == [14, 14]
            for made in (
                result,
                inherited,
                of_class,
                model.static(2),
                model.static(times=2),
                model.double,
                called_with,
            ):
                assert made.requires_grad == records
                assert made.is_inference() == inference
            assert (leaf * 2).requires_grad == outside
            assert not torch.is_inference_mode_enabled()


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
        for callable_, number in ((leaf.mul, 3), (lambda x: leaf * x, 4)):
            for _ in range(2):
                result = decorator(callable_)(number)
                assert result.tolist() == [number, number]
                assert (result.requires_grad, result.is_inference()) == inside
                assert now() == (outside, False)


@rule("modes.decorators.without-parentheses")
@given(mode=modes(called=False), called=blocks(), error=errors())
def test_classes_and_async_functions_are_decorated_without_parentheses_as_they_are_with_them(
    device, mode, called, error
):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    class Model:
        def __init__(self, *, fails=False):
            self.built = now()
            if fails:
                raise error

        def later(self):
            return now()

    @decorator
    async def recording():
        return now()

    @decorator
    def failing():
        yield now()
        raise error

    with pytest.warns(Warning, match="Decorating classes is deprecated"):
        constructing = decorator(Model)
    with caller():
        for _ in range(2):
            model = constructing()
            assert type(model) is Model
            assert (model.built, model.later(), now()) == (inside, (outside, False), (outside, False))
            with pytest.raises(error):
                constructing(fails=True)
            assert asyncio.run(recording()) == now() == (outside, False)
            generator = failing()
            assert next(generator) == inside
            with pytest.raises(error):
                next(generator)
            assert now() == (outside, False)


@rule("modes.decorators.without-parentheses")
@also(NO_GRAD)
@given(mode=modes(called=False), called=blocks())
def test_methods_and_generators_are_decorated_without_parentheses_too(device, mode, called):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, inside = mode
    caller, outside = called

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    class Model:
        @decorator
        def method(self, said, *, also):
            return self, said, also, now()

        @staticmethod
        @decorator
        def static(said, *, also):
            return said, also, now()

        @decorator
        def generator(self, said):
            try:
                while said != "last":
                    try:
                        said = yield said, now()
                    except KeyError:
                        said = "thrown"
                return now()
            finally:
                closed.append(now())

    model, here, closed = Model(), decorator(now), []
    with ThreadPoolExecutor(max_workers=1) as pool, caller():
        for _ in range(2):
            assert model.method("said", also=2) == (model, "said", 2, inside)
            assert Model.static("said", also=2) == ("said", 2, inside)
            assert pool.submit(here).result() == inside
            assert pool.submit(now).result() == (True, False)
            generator, other = model.generator("first"), model.generator(said="other")
            assert (next(generator), next(other)) == (("first", inside), ("other", inside))
            assert now() == (outside, False)
            assert generator.send("second") == ("second", inside)
            assert generator.throw(KeyError()) == ("thrown", inside)
            assert now() == (outside, False)
            with pytest.raises(StopIteration) as end:
                generator.send("last")
            assert end.value.value == inside
            other.close()
            assert closed == [inside] * 2
            assert now() == (outside, False)
            closed.clear()


@rule("modes.decorators.set-grad-enabled")
@also(NO_GRAD)
@given(
    mode=st.booleans(),
    defined=blocks() | st.just((Expression("torch.inference_mode"), False)),
    callers=st.lists(blocks(), min_size=2, max_size=3),
    error=errors(),
)
def test_set_grad_enabled_decorates_and_switches_nothing(device, mode, defined, callers, error):
    leaf = torch.ones(2, device=device, requires_grad=True)
    definer, around = defined

    def now():
        return (leaf * 2).requires_grad

    with definer():

        @torch.set_grad_enabled(mode)
        def recording(depth=0, *, fails=False):
            found = now()
            if fails and not depth:
                raise error
            if depth:
                assert recording(depth - 1, fails=fails) == mode
                assert now() == mode
            return found

        assert now() == around

        @torch.set_grad_enabled(mode=mode)
        def steps(said):
            while True:
                said = yield said, now()

        class Model:
            @torch.set_grad_enabled(mode)
            def method(self, *, said):
                return self, said, now()

        assert now() == around
    generator, model = steps("first"), Model()
    both = [torch.set_grad_enabled(False)(now), torch.set_grad_enabled(True)(now)]
    with ThreadPoolExecutor(max_workers=1) as pool:
        for caller, outside in callers:
            with caller():
                assert [one() for one in both * 2] == [False, True] * 2
                assert now() == outside
                for depth in (0, 0, 1):
                    assert recording(depth) == mode
                    assert now() == outside
                    with pytest.raises(error):
                        recording(depth, fails=True)
                    assert now() == outside
                assert generator.send(None) in (("first", mode), (None, mode))
                assert now() == outside
                assert generator.send("second") == ("second", mode)
                assert now() == outside
                assert model.method(said=2) == (model, 2, mode)
                assert now() == outside
                assert pool.submit(recording).result() == mode
                assert pool.submit(now).result()
                assert now() == outside


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
@also(NO_GRAD)
@given(mode=modes(called=True), other_mode=modes(called=True), callers=st.lists(blocks(), min_size=3, max_size=5))
def test_generators_that_take_turns_run_each_in_its_mode_whatever_mode_they_are_resumed_in(
    device, mode, other_mode, callers
):
    leaf = torch.ones(2, device=device, requires_grad=True)
    (decorator, inside), (other_decorator, other_inside) = mode, other_mode

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    def count(depth):
        yield depth, now()
        while True:
            if depth:
                yield from count(depth - 1)
            yield depth, now()

    @other_decorator
    def other():
        while True:
            yield now()

    with torch.no_grad():
        waiting = [count(0), count(0), count(depth=1), other()]
    for caller, outside in callers:
        with caller():
            for generator, expected in zip(waiting, (inside, inside, inside, other_inside), strict=True):
                found = next(generator)
                assert (found if generator is waiting[-1] else found[1]) == expected
                assert now() == (outside, False)
    with torch.inference_mode():
        before = now()
        for generator in waiting:
            next(generator)
            assert now() == before
            generator.close()
            assert now() == before


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
        for close in (lambda generator: generator.close(), lambda generator: None):
            generator = endless()
            next(generator)
            close(generator)
            del generator  # which closes it, too
            assert found == [inside]
            assert now() == (outside, False)
            found.clear()
        generator = endless()
        generator.close()  # before it has begun
        assert found == []
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
        for _ in range(2):
            generator = failing()
            with pytest.raises(error):
                list(generator)
            assert (leaf * 2).requires_grad == outside
            assert not torch.is_inference_mode_enabled()
            with pytest.raises(StopIteration):
                next(generator)
            assert (leaf * 2).requires_grad == outside
    with torch.inference_mode():
        with pytest.raises(error):
            list(failing())
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()


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
    decorator, inside = mode

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    class Plain(torch.nn.Module):
        def __init__(self, factor, *, shift=0):
            super().__init__()
            self.built = now(), factor, shift
            if factor == 0:
                raise KeyError

        def forward(self):
            return now()

        def steps(self):
            yield now()

        def __len__(self):
            self.counted = now()
            return 1

    class Derived(Plain):
        @staticmethod
        def static():
            return now()

        @property
        def current(self):
            return now()

    for undecorated in (Plain, Derived):
        with pytest.warns(Warning, match="Decorating classes is deprecated"):
            constructing = decorator(undecorated)
        for caller, outside in (called, (torch.no_grad, False), (torch.enable_grad, True), called):
            with caller():
                model = constructing(2, shift=1)
                assert type(model) is undecorated
                assert model.built == (inside, 2, 1)
                assert now() == (outside, False)
                with pytest.raises(KeyError):
                    constructing(0)
                assert now() == (outside, False)
                assert len(model) == 1
                found = [model(), model.forward(), next(model.steps()), model.counted]
                found += [model.static(), model.current] if undecorated is Derived else []
                assert found == [(outside, False)] * len(found)
                assert torch.is_grad_enabled() == outside


@rule("modes.decorators.async-functions")
@also(NO_GRAD)
@given(mode=modes(called=True), called=blocks(), ran=blocks())
def test_the_body_of_a_decorated_async_function_runs_in_the_mode_of_whoever_runs_it(device, mode, called, ran):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, _ = mode
    caller, _ = called
    runner, records = ran

    def now():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    @decorator
    async def recording(depth=0):
        before = now()
        await asyncio.sleep(0)
        deeper = await recording(depth - 1) if depth else now()
        return deeper if before == deeper == now() else "they differ"

    @decorator
    async def steps():
        yield now()
        await asyncio.sleep(0)
        yield now()

    async def collected(generator):
        return [found async for found in generator]

    async def all_of(*coroutines):
        return [await coroutine for coroutine in coroutines]

    class Model:
        @decorator
        async def method(self, said):
            await asyncio.sleep(0)
            return self, said, now()

    model = Model()
    for _ in range(2):
        with caller():
            coroutine, deeper, generator, bound = recording(), recording(depth=1), steps(), model.method("said")
        with runner():
            assert asyncio.run(all_of(coroutine, deeper, bound, collected(generator))) == [
                (records, False),
                (records, False),
                (model, "said", (records, False)),
                [(records, False)] * 2,
            ]


@rule("modes.decorators.async-functions")
@also(NO_GRAD)
@given(mode=modes(called=True), runners=st.lists(blocks(), min_size=2, max_size=4))
def test_each_piece_of_a_decorated_async_function_runs_in_the_mode_of_whoever_runs_that_piece(device, mode, runners):
    leaf = torch.ones(2, device=device, requires_grad=True)
    decorator, _ = mode
    found = []

    class Waiting:
        def __await__(self):
            yield

    @decorator
    async def work():
        try:
            while True:
                found.append(((leaf * 2).requires_grad, torch.is_inference_mode_enabled()))
                await Waiting()
        finally:
            found.append(((leaf * 2).requires_grad, torch.is_inference_mode_enabled()))

    coroutine = work()
    for runner, _ in runners:
        with runner():
            coroutine.send(None)
    runner, records = runners[0]
    with runner():
        coroutine.close()
    assert found == [(mode, False) for _, mode in runners] + [(records, False)]
