"""spec/modes/threads.md"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.modes.no_grad import Below, Product, multiplication
from tests.wrong_engines.tools import replaced

Start = Callable[[threading.Thread], None]


@wrong_engine("new-thread-inherits-mode", kind="mode")
@contextmanager
def a_new_thread_has_the_mode_of_its_starter(hit: Hit) -> Iterator[None]:
    def make(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            mode, run = torch.is_grad_enabled(), thread.run

            def run_in_mode() -> None:
                torch._C._set_grad_enabled(mode)
                run()

            if not mode:
                hit()
                thread.run = run_in_mode  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield


@wrong_engine("new-thread-inherits-inference-mode", kind="mode")
@contextmanager
def a_new_thread_is_in_inference_mode_if_its_starter_is(hit: Hit) -> Iterator[None]:
    def make(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            run = thread.run

            def run_in_mode() -> None:
                with torch.inference_mode():
                    run()

            if torch.is_inference_mode_enabled():
                hit()
                thread.run = run_in_mode  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield


@wrong_engine("one-mode-for-all-threads", kind="mode")
@contextmanager
def the_last_switch_counts_everywhere(hit: Hit) -> Iterator[None]:
    last = torch.is_grad_enabled()
    switch_of_thread = torch._C._set_grad_enabled

    def make_switch(switch: Callable[[bool], None]) -> Callable[[bool], None]:
        def wrong(mode: bool) -> None:
            nonlocal last
            last = mode
            switch(mode)

        return wrong

    def multiply(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() == last or torch.is_inference_mode_enabled():
            return Product.apply(below, one, other)
        hit()
        switch_of_thread(last)
        try:
            return Product.apply(below, one, other)
        finally:
            switch_of_thread(not last)

    with replaced(torch._C, "_set_grad_enabled", make_switch), multiplication(multiply):
        yield


@wrong_engine("thread-end-leaks-mode", kind="mode")
@contextmanager
def who_joins_a_thread_gets_its_mode(hit: Hit) -> Iterator[None]:
    ended_off: set[threading.Thread] = set()

    def make_start(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            run = thread.run

            def run_and_tell() -> None:
                run()
                if not torch.is_grad_enabled():
                    ended_off.add(thread)

            thread.run = run_and_tell  # type: ignore[method-assign]
            start(thread)

        return wrong

    def make_join(join: Callable[..., None]) -> Callable[..., None]:
        def wrong(thread: threading.Thread, *args: Any, **kwargs: Any) -> None:
            join(thread, *args, **kwargs)
            if thread in ended_off:
                hit()
                torch._C._set_grad_enabled(False)

        return wrong

    with replaced(threading.Thread, "start", make_start), replaced(threading.Thread, "join", make_join):
        yield


@wrong_engine("pool-task-runs-in-mode-of-submitter", kind="mode")
@contextmanager
def a_task_of_a_pool_has_the_mode_in_which_it_was_handed_in(hit: Hit) -> Iterator[None]:
    def make(submit: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(pool: ThreadPoolExecutor, task: Callable[..., Any], *args: Any) -> Any:
            mode = torch.is_grad_enabled()

            def in_mode() -> Any:
                if torch.is_grad_enabled() == mode:
                    return task(*args)
                hit()
                with torch.set_grad_enabled(mode):
                    return task(*args)

            return submit(pool, in_mode)

        return wrong

    with replaced(ThreadPoolExecutor, "submit", make):
        yield


@wrong_engine("new-thread-continues-an-ended-one", kind="state", first_sight="adversary: caught")
@contextmanager
def a_new_thread_has_the_mode_that_the_last_one_ended_with(hit: Hit) -> Iterator[None]:
    ended_off = False

    def make(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            run = thread.run

            def run_on() -> None:
                nonlocal ended_off
                if ended_off:
                    hit()
                    torch._C._set_grad_enabled(False)
                try:
                    run()
                finally:
                    ended_off = not torch.is_grad_enabled()

            thread.run = run_on  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield


@wrong_engine("one-stack-of-modes-for-all-threads", kind="order", first_sight="adversary: missed")
@contextmanager
def a_block_brings_back_what_any_thread_found_last(hit: Hit) -> Iterator[None]:
    found: list[bool] = []

    def make_enter(enter: Callable[[Any], None]) -> Callable[[Any], None]:
        def wrong(block: Any) -> None:
            found.append(torch.is_grad_enabled())
            enter(block)

        return wrong

    def make_exit(leave: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: Any, *args: Any) -> None:
            leave(block, *args)
            mode = found.pop()
            if mode != block.prev:
                hit()
                torch._C._set_grad_enabled(mode)

        return wrong

    with ExitStack() as blocks:
        for block in (torch.no_grad, torch.enable_grad):
            blocks.enter_context(replaced(block, "__enter__", make_enter))
            blocks.enter_context(replaced(block, "__exit__", make_exit))
        yield


@wrong_engine("set-grad-enabled-in-all-threads", kind="mode", first_sight="sample: caught")
@contextmanager
def set_grad_enabled_switches_all_running_threads(hit: Hit) -> Iterator[None]:
    switches = [torch.is_grad_enabled()]
    heard = threading.local()
    found, mode_of_thread = torch.is_grad_enabled(), torch.is_grad_enabled

    def catch_up() -> None:
        if getattr(heard, "switches", 1) < len(switches):
            heard.switches = len(switches)
            if mode_of_thread() != switches[-1]:
                hit()
                torch._C._set_grad_enabled(switches[-1])

    def make_switch(switch: Any) -> Any:
        def wrong(switching: Any, mode: bool) -> None:
            if not getattr(heard, "is_in_a_block", False):
                switches.append(mode)
                heard.switches = len(switches)
            switch(switching, mode)

        return wrong

    def make_block(step: Callable[..., None]) -> Callable[..., None]:
        def wrong(*args: Any) -> None:
            heard.is_in_a_block = True  # blocks switch by `set_grad_enabled` themselves
            try:
                step(*args)
            finally:
                heard.is_in_a_block = False

        return wrong

    def make_start(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            run = thread.run

            def run_from_here() -> None:
                heard.switches = len(switches)
                run()

            thread.run = run_from_here  # type: ignore[method-assign]
            start(thread)

        return wrong

    def make_mode(mode: Callable[[], bool]) -> Callable[[], bool]:
        def wrong() -> bool:
            catch_up()
            return mode()

        return wrong

    def multiply(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        catch_up()
        return Product.apply(below, one, other)

    try:
        with (
            replaced(torch.set_grad_enabled, "__init__", make_switch),
            replaced(threading.Thread, "start", make_start),
            replaced(torch, "is_grad_enabled", make_mode),
            multiplication(multiply),
            ExitStack() as blocks,
        ):
            for block in (torch.no_grad, torch.enable_grad):
                blocks.enter_context(replaced(block, "__enter__", make_block))
                blocks.enter_context(replaced(block, "__exit__", make_block))
            yield
    finally:
        torch._C._set_grad_enabled(found)


@wrong_engine("later-threads-inherit-mode", kind="state", first_sight="sample: caught")
@contextmanager
def a_thread_after_the_first_has_the_mode_of_its_starter(hit: Hit) -> Iterator[None]:
    started = 0

    def make(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            nonlocal started
            started += 1
            mode, run = torch.is_grad_enabled(), thread.run

            def run_in_mode() -> None:
                torch._C._set_grad_enabled(mode)
                run()

            if started > 1 and not mode:
                hit()
                thread.run = run_in_mode  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield


@wrong_engine("thread-of-a-thread-inherits-mode", kind="order", first_sight="second sample: caught")
@contextmanager
def the_second_generation_has_the_mode_of_its_starter(hit: Hit) -> Iterator[None]:
    def make(start: Start) -> Start:
        def wrong(thread: threading.Thread) -> None:
            run = thread.run

            def run_without_grad_mode() -> None:
                torch._C._set_grad_enabled(False)
                run()

            if threading.current_thread() is not threading.main_thread() and not torch.is_grad_enabled():
                hit()
                thread.run = run_without_grad_mode  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield
