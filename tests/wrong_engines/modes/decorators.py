"""spec/modes/decorators.md"""

from __future__ import annotations

import functools
import inspect
import threading
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch.utils._contextlib import _DecoratorContextManager

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Function = Callable[..., Any]
Decorate = Callable[[Any, Function], Function]


def _is_plain(function: Function) -> bool:
    return not inspect.isclass(function) and not inspect.isgeneratorfunction(function)


def _decorating(make: Callable[[Decorate], Decorate], block: type = _DecoratorContextManager) -> Any:
    """Replace what `block(...)` does to a function that it decorates."""
    return replaced(block, "__call__", make)


@wrong_engine("decorator-reuses-one-block", kind="mode", issue="pytorch#44531")
@contextmanager
def calls_share_one_block(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not _is_plain(function):
                return decorate(block, function)

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                hit()
                with block:
                    return function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make, torch.no_grad):
        yield


@wrong_engine("decorator-restores-mode-of-definition", kind="mode", issue="pytorch#10858")
@contextmanager
def calls_bring_back_the_mode_of_the_definition(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            mode, decorated = torch.is_grad_enabled(), decorate(block, function)
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return decorated(*args, **kwargs)
                finally:
                    hit()
                    torch._C._set_grad_enabled(mode)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-forgets-on-exception", kind="mode")
@contextmanager
def calls_that_raise_leave_their_mode_behind(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated = decorate(block, function)
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return decorated(*args, **kwargs)
                except Exception:
                    hit()
                    torch._C._set_grad_enabled(isinstance(block, torch.enable_grad))
                    raise

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-works-once", kind="state")
@contextmanager
def only_the_first_call_is_decorated(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated, calls = decorate(block, function), 0
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 1:
                    return decorated(*args, **kwargs)
                hit()
                return function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("bare-decorator-returns-function", kind="plain")
@contextmanager
def no_grad_without_parentheses_returns_the_function(hit: Hit) -> Iterator[None]:
    def make(new: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(block: type, function: Function | None = None) -> Any:
            if function is None:
                return new(block)
            hit()
            return function

        return wrong

    with replaced(torch.no_grad, "__new__", make):
        yield


@wrong_engine("set-grad-decoration-switches", kind="mode", issue="pytorch#113298")
@contextmanager
def writing_the_decorator_switches_the_mode(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: torch.set_grad_enabled, function: Function) -> Function:
            decorated = decorate(block, function)
            if torch.is_grad_enabled() != block.mode:
                hit()
                torch._C._set_grad_enabled(block.mode)
            return decorated

        return wrong

    with _decorating(make, torch.set_grad_enabled):
        yield


Step = Callable[[str], AbstractContextManager[Any]]


def _stepping(function: Function, step: Step, returned: Callable[[Any], Any] = lambda value: value) -> Function:
    """The generator function with each resumption ("send", "throw", "close"; at first "next") in a block of its own."""

    @wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inner = function(*args, **kwargs)
        try:
            with step("next"):
                value = next(inner)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    with step("close"):
                        inner.close()
                    raise
                except BaseException as error:
                    with step("throw"):
                        value = inner.throw(error)
                else:
                    with step("send"):
                        value = inner.send(sent)
        except StopIteration as end:
            return returned(end.value)

    return generator


def _decorating_generators(wrong_step: Callable[[Any], Step], **kwargs: Any) -> Any:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if inspect.isgeneratorfunction(function):
                return _stepping(function, wrong_step(block), **kwargs)
            return decorate(block, function)

        return wrong

    return _decorating(make)


@wrong_engine("generator-keeps-mode-at-yield", kind="mode")
@contextmanager
def the_mode_stays_while_a_generator_waits(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.isgeneratorfunction(function):
                return decorate(block, function)

            @wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                hit()
                with block.clone():
                    return (yield from function(*args, **kwargs))

            return generator

        return wrong

    with _decorating(make):
        yield


@wrong_engine("generator-mode-for-first-step", kind="mode")
@contextmanager
def only_the_first_step_is_in_the_mode(hit: Hit) -> Iterator[None]:
    def wrong_step(block: Any) -> Step:
        def step(resumption: str) -> AbstractContextManager[Any]:
            if resumption == "next":
                return block.clone()
            hit()
            return nullcontext()

        return step

    with _decorating_generators(wrong_step):
        yield


@wrong_engine("generator-throw-without-mode", kind="mode")
@contextmanager
def a_throw_runs_in_the_mode_of_its_caller(hit: Hit) -> Iterator[None]:
    def wrong_step(block: Any) -> Step:
        def step(resumption: str) -> AbstractContextManager[Any]:
            if resumption != "throw":
                return block.clone()
            hit()
            return nullcontext()

        return step

    with _decorating_generators(wrong_step):
        yield


@wrong_engine("generator-loses-return-value", kind="plain")
@contextmanager
def what_a_generator_returns_is_dropped(hit: Hit) -> Iterator[None]:
    def dropped(value: Any) -> None:
        hit()

    with _decorating_generators(lambda block: lambda resumption: block.clone(), returned=dropped):
        yield


@wrong_engine("class-decorated-throughout", kind="mode")
@contextmanager
def methods_of_a_decorated_class_run_in_the_mode(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Any) -> Function:
            if inspect.isclass(function):
                for name, method in list(vars(function).items()):
                    if inspect.isfunction(method):
                        hit()
                        setattr(function, name, decorate(block, method))
            return decorate(block, function)

        return wrong

    with _decorating(make):
        yield


@wrong_engine("class-decorated-silently", kind="plain")
@contextmanager
def decorating_a_class_gives_no_warning(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Any) -> Function:
            if not inspect.isclass(function):
                return decorate(block, function)
            hit()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return decorate(block, function)

        return wrong

    with _decorating(make):
        yield


@wrong_engine("async-body-decorated", kind="mode")
@contextmanager
def the_body_of_an_async_function_runs_in_the_mode(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.iscoroutinefunction(function):
                return decorate(block, function)

            @wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                hit()
                with block.clone():
                    return await function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-off-after-exception", kind="state")
@contextmanager
def after_a_call_that_raised_a_function_runs_undecorated(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated, raised = decorate(block, function), False
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal raised
                if raised:
                    hit()
                    return function(*args, **kwargs)
                try:
                    return decorated(*args, **kwargs)
                except Exception:
                    raised = True
                    raise

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("generator-hears-nothing", kind="plain", issue="pytorch#48713")
@contextmanager
def what_is_sent_to_a_generator_is_dropped(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.isgeneratorfunction(function):
                return decorate(block, function)

            @wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                inner = function(*args, **kwargs)
                while True:
                    try:
                        with block.clone():
                            value = next(inner)
                    except StopIteration as end:
                        return end.value
                    if (yield value) is not None:
                        hit()

            return generator

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-forgets-on-interrupt", kind="mode")
@contextmanager
def calls_that_are_interrupted_leave_their_mode_behind(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated = decorate(block, function)
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return decorated(*args, **kwargs)
                except KeyboardInterrupt:
                    hit()
                    torch._C._set_grad_enabled(isinstance(block, torch.enable_grad))
                    raise

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("generator-error-keeps-mode", kind="mode")
@contextmanager
def a_generator_that_raises_leaves_its_mode_behind(hit: Hit) -> Iterator[None]:
    def wrong_step(block: Any) -> Step:
        @contextmanager
        def step(resumption: str) -> Iterator[None]:
            try:
                with block.clone():
                    yield
            except (StopIteration, GeneratorExit):
                raise
            except Exception:
                hit()
                torch._C._set_grad_enabled(isinstance(block, torch.enable_grad))
                raise

        return step

    with _decorating_generators(wrong_step):
        yield


@wrong_engine("generator-closes-without-mode", kind="error", first_sight="adversary: caught")
@contextmanager
def a_generator_is_closed_in_the_mode_of_its_caller(hit: Hit) -> Iterator[None]:
    def wrong_step(block: Any) -> Step:
        def step(resumption: str) -> AbstractContextManager[Any]:
            if resumption != "close":
                return block.clone()
            hit()
            return nullcontext()

        return step

    with _decorating_generators(wrong_step):
        yield


@wrong_engine("generator-is-sent-none-for-what-is-false", kind="value", first_sight="adversary: missed")
@contextmanager
def a_generator_gets_none_for_zero_and_the_like(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.isgeneratorfunction(function):
                return decorate(block, function)

            @wraps(function)
            def confused(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                inner = decorate(block, function)(*args, **kwargs)
                sent = None
                while True:
                    try:
                        value = inner.send(sent)
                    except StopIteration as end:
                        return end.value
                    while True:
                        try:
                            sent = yield value
                        except GeneratorExit:
                            inner.close()
                            raise
                        except BaseException as error:
                            try:
                                value = inner.throw(error)
                            except StopIteration as end:
                                return end.value
                        else:
                            break
                    if sent is not None and not isinstance(sent, torch.Tensor) and not sent:
                        hit()
                        sent = None

            return confused

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorated-in-its-own-thread-only", kind="mode", first_sight="adversary: missed")
@contextmanager
def a_function_runs_undecorated_in_other_threads(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            thread, decorated = threading.get_ident(), decorate(block, function)
            if not _is_plain(function):
                return decorated

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                if threading.get_ident() == thread:
                    return decorated(*args, **kwargs)
                hit()
                return function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("bare-inference-mode-is-no-grad", kind="mode", first_sight="adversary: missed")
@contextmanager
def without_parentheses_inference_mode_only_switches_recording_off(hit: Hit) -> Iterator[None]:
    def make(new: Any) -> Any:
        def wrong(block: type, mode: Any = True) -> Any:
            if isinstance(mode, bool):
                return new(block, mode)
            hit()
            return torch.no_grad()(mode)

        return wrong

    with replaced(torch.inference_mode, "__new__", make):
        yield


@types.coroutine
def _in_mode_once_it_waited(coroutine: Any, block: Any, hit: Hit) -> Any:
    mode: AbstractContextManager[Any] = nullcontext()
    resume = functools.partial(coroutine.send, None)
    while True:
        try:
            with mode:
                waited = resume()
        except StopIteration as end:
            return end.value
        try:
            resume = functools.partial(coroutine.send, (yield waited))
        except BaseException as error:
            resume = functools.partial(coroutine.throw, error)
        hit()
        mode = block.clone()


@wrong_engine("async-body-decorated-after-the-first-await", kind="state", first_sight="sample: caught")
@contextmanager
def the_body_of_an_async_function_runs_in_the_mode_once_it_waited(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.iscoroutinefunction(function):
                return decorate(block, function)

            @wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                return await _in_mode_once_it_waited(function(*args, **kwargs), block, hit)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("class-decorated-for-one-object", kind="state", first_sight="sample: missed")
@contextmanager
def only_the_first_object_of_a_decorated_class_is_constructed_in_the_mode(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Any) -> Function:
            decorated = decorate(block, function)
            if not inspect.isclass(function):
                return decorated
            constructed = 0

            @wraps(function, updated=())
            def construct(*args: Any, **kwargs: Any) -> Any:
                nonlocal constructed
                constructed += 1
                if constructed == 1:
                    return decorated(*args, **kwargs)
                around = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                with block.clone():
                    inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                if inside != around:
                    hit()
                return function(*args, **kwargs)

            return construct

        return wrong

    with _decorating(make):
        yield


@wrong_engine("generators-share-one-block", kind="aliasing", first_sight="second sample: caught")
@contextmanager
def the_generators_of_a_function_share_one_block(hit: Hit) -> Iterator[None]:
    def wrong_step(block: Any) -> Step:
        @contextmanager
        def step(resumption: str) -> Iterator[None]:
            before = torch.is_grad_enabled()
            try:
                with block if isinstance(block, torch.no_grad | torch.enable_grad) else block.clone():
                    yield
            finally:
                if torch.is_grad_enabled() != before:
                    hit()

        return step

    with _decorating_generators(wrong_step):
        yield


@wrong_engine("decorations-of-one-function-share-a-mode", kind="aliasing", first_sight="second sample: missed")
@contextmanager
def the_last_decoration_of_a_function_counts_for_all(hit: Hit) -> Iterator[None]:
    latest: dict[Function, Any] = {}

    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not _is_plain(function) or inspect.iscoroutinefunction(function):
                return decorate(block, function)
            latest[function] = block

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                used = latest[function]
                if type(used) is not type(block) or getattr(used, "mode", None) != getattr(block, "mode", None):
                    hit()
                with used.clone():
                    return function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-restores-mode-of-first-call", kind="state", first_sight="third sample: caught")
@contextmanager
def calls_bring_back_the_mode_of_the_first_call(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated = decorate(block, function)
            if not _is_plain(function):
                return decorated
            first: list[bool] = []

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                if not first:
                    first.append(torch.is_grad_enabled())
                try:
                    return decorated(*args, **kwargs)
                finally:
                    if torch.is_grad_enabled() != first[0]:
                        hit()
                        torch._C._set_grad_enabled(first[0])

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("decorator-skips-recursive-calls", kind="state", first_sight="fourth sample: missed")
@contextmanager
def calls_inside_a_call_run_undecorated(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            decorated = decorate(block, function)
            if not _is_plain(function) or inspect.iscoroutinefunction(function):
                return decorated
            running: list[int] = []

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                thread = threading.get_ident()
                if thread in running:
                    around = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                    with block.clone():
                        inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
                    if inside != around:
                        hit()
                    return function(*args, **kwargs)
                running.append(thread)
                try:
                    return decorated(*args, **kwargs)
                finally:
                    running.remove(thread)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("async-body-decorated-from-the-second-call", kind="state", first_sight="fourth sample: caught")
@contextmanager
def the_body_of_an_async_function_runs_in_the_mode_from_the_second_call_on(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.iscoroutinefunction(function):
                return decorate(block, function)
            calls = 0

            @wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 1:
                    return await function(*args, **kwargs)
                hit()
                with block.clone():
                    return await function(*args, **kwargs)

            return call

        return wrong

    with _decorating(make):
        yield


@wrong_engine("generator-runs-undecorated", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def generators_run_in_the_mode_of_their_caller(hit: Hit) -> Iterator[None]:
    def make(decorate: Decorate) -> Decorate:
        def wrong(block: Any, function: Function) -> Function:
            if not inspect.isgeneratorfunction(function):
                return decorate(block, function)

            @wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                hit()
                return (yield from function(*args, **kwargs))

            return generator

        return wrong

    with _decorating(make):
        yield
