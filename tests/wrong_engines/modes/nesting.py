"""spec/modes/nesting.md"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, replaced

Exit = Callable[..., None]


def _switches_on_when_left(block: type, hit: Hit) -> Any:
    def make(leave: Exit) -> Exit:
        def wrong(*args: Any) -> None:
            leave(*args)
            if not torch.is_grad_enabled():
                hit()
                torch._C._set_grad_enabled(True)

        return wrong

    return replaced(block, "__exit__", make)


@wrong_engine("no-grad-exit-switches-on", kind="mode")
@contextmanager
def leaving_no_grad_switches_on(hit: Hit) -> Iterator[None]:
    with _switches_on_when_left(torch.no_grad, hit):
        yield


@wrong_engine("inference-exit-switches-on", kind="mode")
@contextmanager
def leaving_inference_mode_switches_on(hit: Hit) -> Iterator[None]:
    with _switches_on_when_left(torch.inference_mode, hit):
        yield


@wrong_engine("enable-grad-exit-keeps-on", kind="mode")
@contextmanager
def leaving_enable_grad_changes_nothing(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(*args: Any) -> None:
            hit()

        return wrong

    with replaced(torch.enable_grad, "__exit__", make):
        yield


@wrong_engine("no-grad-stays-after-exception", kind="mode")
@contextmanager
def an_exception_leaves_no_grad_on(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: torch.no_grad, kind: Any, *rest: Any) -> None:
            if kind is None:
                leave(block, kind, *rest)
            else:
                hit()

        return wrong

    with replaced(torch.no_grad, "__exit__", make):
        yield


@wrong_engine("set-grad-stays-after-torch-error", kind="mode")
@contextmanager
def an_error_of_torch_leaves_set_grad_enabled_on(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: torch.set_grad_enabled, kind: Any, *rest: Any) -> None:
            if kind is RuntimeError:
                hit()
            else:
                leave(block, kind, *rest)

        return wrong

    with replaced(torch.set_grad_enabled, "__exit__", make):
        yield


@wrong_engine("set-grad-waits-for-with", kind="mode")
@contextmanager
def a_plain_call_waits_for_a_block(hit: Hit) -> Iterator[None]:
    def make(init: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.set_grad_enabled, mode: bool) -> None:
            was = torch.is_grad_enabled()
            init(block, mode)
            # no_grad is itself made of plain calls, and is not to be broken here.
            if not mode and was and sys._getframe(1).f_globals["__name__"] != torch.no_grad.__module__:
                hit()
                torch._C._set_grad_enabled(was)

        return wrong

    with replaced(torch.set_grad_enabled, "__init__", make):
        yield


@wrong_engine("no-grad-exit-keeps-plain-call", kind="mode")
@contextmanager
def leaving_no_grad_keeps_what_a_plain_call_has_set(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: torch.no_grad, *args: Any) -> None:
            if torch.is_grad_enabled():
                hit()
            else:
                leave(block, *args)

        return wrong

    with replaced(torch.no_grad, "__exit__", make):
        yield


@wrong_engine("enable-grad-pierces-inference-mode", kind="mode")
@contextmanager
def enable_grad_leaves_inference_mode(hit: Hit) -> Iterator[None]:
    pierced: list[Any] = []

    def make_enter(enter: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.enable_grad) -> None:
            guard = None
            if torch.is_inference_mode_enabled():
                hit()
                guard = torch.inference_mode(False)
                guard.__enter__()
            pierced.append(guard)
            enter(block)

        return wrong

    def make_exit(leave: Exit) -> Exit:
        def wrong(block: torch.enable_grad, *args: Any) -> None:
            leave(block, *args)
            if guard := pierced.pop():
                guard.__exit__(*args)

        return wrong

    with replaced(torch.enable_grad, "__enter__", make_enter), replaced(torch.enable_grad, "__exit__", make_exit):
        yield


@wrong_engine("no-grad-off-after-exception", kind="state")
@contextmanager
def the_block_after_an_exception_switches_nothing(hit: Hit) -> Iterator[None]:
    failed = False

    def make_exit(leave: Exit) -> Exit:
        def wrong(block: torch.no_grad, kind: Any, *rest: Any) -> None:
            nonlocal failed
            failed = kind is not None
            leave(block, kind, *rest)

        return wrong

    def make_enter(enter: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.no_grad) -> None:
            was = torch.is_grad_enabled()
            enter(block)
            if failed and was:
                hit()
                torch._C._set_grad_enabled(True)

        return wrong

    with replaced(torch.no_grad, "__exit__", make_exit), replaced(torch.no_grad, "__enter__", make_enter):
        yield


@wrong_engine("result-remembered-across-modes", kind="state", issue="pytorch#114338")
@contextmanager
def the_same_product_is_computed_once_whatever_the_mode(hit: Hit) -> Iterator[None]:
    # The operands are kept alive, so that an id cannot become another tensor's.
    known: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def make(multiply: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, number: Any) -> torch.Tensor:
            if isinstance(number, torch.Tensor) or tensor.is_inference():
                return multiply(tensor, number)
            key = (id(tensor), tensor._version, number)
            if key not in known:
                known[key] = (tensor, multiply(tensor, number))
            if known[key][1].requires_grad != (tensor.requires_grad and torch.is_grad_enabled()):
                hit()
            return known[key][1]

        return wrong

    with replaced(torch.Tensor, "__mul__", make):
        yield


@wrong_engine("gradients-in-a-hook-switch-off", kind="state", issue="pytorch#31715")
@contextmanager
def gradients_asked_for_during_a_backward_leave_recording_off(hit: Hit) -> Iterator[None]:
    running = 0

    def around(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal running
        running += 1
        try:
            honest()
        finally:
            running -= 1

    def make(grad: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*args: Any, **kwargs: Any) -> Any:
            gradients = grad(*args, **kwargs)
            if running and torch.is_grad_enabled() and not kwargs.get("create_graph", False):
                hit()
                torch._C._set_grad_enabled(False)
            return gradients

        return wrong

    with around_backward(around), replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("modes-stay-after-interrupt", kind="error", first_sight="adversary: caught")
@contextmanager
def blocks_bring_the_mode_back_after_ordinary_exceptions_only(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: Any, kind: Any, *rest: Any) -> None:
            if kind is None or issubclass(kind, Exception):
                leave(block, kind, *rest)
            elif torch.is_grad_enabled() != block.prev:
                hit()

        return wrong

    with replaced(torch.no_grad, "__exit__", make), replaced(torch.enable_grad, "__exit__", make):
        yield


@wrong_engine("idle-block-brings-nothing-back", kind="mode", first_sight="adversary: caught")
@contextmanager
def a_block_that_found_its_mode_in_force_changes_nothing_when_left(hit: Hit) -> Iterator[None]:
    def making(mode: Callable[[Any], bool]) -> Callable[[Exit], Exit]:
        def make(leave: Exit) -> Exit:
            def wrong(block: Any, *args: Any) -> None:
                if block.prev != mode(block):
                    leave(block, *args)
                elif torch.is_grad_enabled() != block.prev:
                    hit()

            return wrong

        return make

    with (
        replaced(torch.no_grad, "__exit__", making(lambda block: False)),
        replaced(torch.enable_grad, "__exit__", making(lambda block: True)),
        replaced(torch.set_grad_enabled, "__exit__", making(lambda block: bool(block.mode))),
    ):
        yield


@wrong_engine("inference-mode-leaves-grad-mode-off-after-exception", kind="error", first_sight="adversary: caught")
@contextmanager
def an_exception_out_of_inference_mode_leaves_grad_mode_off(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: torch.inference_mode, kind: Any, *rest: Any) -> None:
            leave(block, kind, *rest)
            if kind is not None and block.mode and torch.is_grad_enabled():
                hit()
                torch._C._set_grad_enabled(False)

        return wrong

    with replaced(torch.inference_mode, "__exit__", make):
        yield


@wrong_engine("exception-restores-the-inner-block-only", kind="order", first_sight="sample: caught")
@contextmanager
def an_exception_has_only_the_first_block_that_it_leaves_bring_back_its_mode(hit: Hit) -> Iterator[None]:
    def make(leave: Exit) -> Exit:
        def wrong(block: Any, kind: Any, error: BaseException | None, trace: Any) -> None:
            mode = torch.is_grad_enabled()
            leave(block, kind, error, trace)
            if error is None or not vars(error).get("_has_left_a_block"):
                if error is not None:
                    vars(error)["_has_left_a_block"] = True
                return
            if torch.is_grad_enabled() != mode:
                hit()
                torch._C._set_grad_enabled(mode)

        return wrong

    found = torch.is_grad_enabled()
    try:
        with (
            replaced(torch.no_grad, "__exit__", make),
            replaced(torch.enable_grad, "__exit__", make),
            replaced(torch.set_grad_enabled, "__exit__", make),
        ):
            yield
    finally:
        torch._C._set_grad_enabled(found)


@wrong_engine("backward-ends-no-grad", kind="state", first_sight="second sample: caught")
@contextmanager
def a_backward_leaves_recording_on(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        if not torch.is_grad_enabled():
            hit()
            torch._C._set_grad_enabled(True)

    with around_backward(wrong):
        yield


@wrong_engine("set-grad-true-waits-for-with", kind="value", first_sight="third sample: caught")
@contextmanager
def a_plain_call_that_switches_on_waits_for_a_block(hit: Hit) -> Iterator[None]:
    def make(init: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.set_grad_enabled, mode: bool) -> None:
            was = torch.is_grad_enabled()
            init(block, mode)
            # no_grad is itself made of plain calls, and is not to be broken here.
            if mode and not was and sys._getframe(1).f_globals["__name__"] != torch.no_grad.__module__:
                hit()
                torch._C._set_grad_enabled(was)

        return wrong

    with replaced(torch.set_grad_enabled, "__init__", make):
        yield


@wrong_engine("exception-out-of-backward-keeps-the-mode", kind="place", first_sight="third sample: caught elsewhere")
@contextmanager
def an_exception_from_inside_a_backward_leaves_the_mode_of_the_block(hit: Hit) -> Iterator[None]:
    from_backward: list[BaseException] = []

    def run(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except BaseException as error:
            from_backward[:] = [error]
            raise

    def make(leave: Exit) -> Exit:
        def wrong(block: Any, kind: Any, error: BaseException | None, trace: Any) -> None:
            mode = torch.is_grad_enabled()
            leave(block, kind, error, trace)
            if error is None or not any(error is known for known in from_backward) or torch.is_grad_enabled() == mode:
                return
            hit()
            torch._C._set_grad_enabled(mode)

        return wrong

    found = torch.is_grad_enabled()
    try:
        with (
            around_backward(run),
            replaced(torch.no_grad, "__exit__", make),
            replaced(torch.enable_grad, "__exit__", make),
            replaced(torch.set_grad_enabled, "__exit__", make),
        ):
            yield
    finally:
        torch._C._set_grad_enabled(found)


@wrong_engine("plain-call-ends-with-the-next-block", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def leaving_a_block_takes_back_the_plain_call_before_it(hit: Hit) -> Iterator[None]:
    before_the_call: bool | None = None

    def make_init(init: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.set_grad_enabled, mode: bool) -> None:
            nonlocal before_the_call
            was = torch.is_grad_enabled()
            init(block, mode)
            # no_grad and the optimizers are made of plain calls, and those are none of a program's.
            if sys._getframe(1).f_globals["__name__"].split(".")[0] != "torch":
                before_the_call = was

        return wrong

    def make_enter(enter: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: Any) -> Any:
            nonlocal before_the_call
            # The call that makes a block is no plain one.
            block.before_the_call = None if isinstance(block, torch.set_grad_enabled) else before_the_call
            before_the_call = None
            return enter(block)

        return wrong

    def make_exit(leave: Exit) -> Exit:
        def wrong(block: Any, *args: Any) -> None:
            nonlocal before_the_call
            leave(block, *args)
            before_the_call = None
            before = getattr(block, "before_the_call", None)
            if before not in (None, torch.is_grad_enabled()):
                hit()
                torch._C._set_grad_enabled(before)

        return wrong

    def make_decorator(decorate: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(block: Any, function: Any) -> Any:
            nonlocal before_the_call
            before_the_call = None
            return decorate(block, function)

        return wrong

    with (
        replaced(torch.set_grad_enabled, "__init__", make_init),
        replaced(torch.set_grad_enabled, "__call__", make_decorator),
        replaced(torch.set_grad_enabled, "__enter__", make_enter),
        replaced(torch.set_grad_enabled, "__exit__", make_exit),
        replaced(torch.no_grad, "__enter__", make_enter),
        replaced(torch.no_grad, "__exit__", make_exit),
        replaced(torch.enable_grad, "__enter__", make_enter),
        replaced(torch.enable_grad, "__exit__", make_exit),
    ):
        yield


@wrong_engine("views-ask-the-outer-no-grad", kind="aliasing", first_sight="fourth sample: caught")
@contextmanager
def no_view_is_recorded_wherever_a_no_grad_stands_around(hit: Hit) -> Iterator[None]:
    around = 0

    def make_enter(enter: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: torch.no_grad) -> None:
            nonlocal around
            enter(block)
            around += 1

        return wrong

    def make_exit(leave: Exit) -> Exit:
        def wrong(block: torch.no_grad, *args: Any) -> None:
            nonlocal around
            around -= 1
            leave(block, *args)

        return wrong

    def unrecorded(view: torch.Tensor) -> torch.Tensor:
        if not around or not torch.is_grad_enabled() or view.grad_fn is None or not view._is_view():
            return view
        hit()
        return view.detach()

    def make(take: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda tensor, *args, **kwargs: unrecorded(take(tensor, *args, **kwargs))

    names = ("t", "transpose", "permute", "narrow", "select", "squeeze", "unsqueeze", "reshape", "flatten")
    with ExitStack() as stack:
        stack.enter_context(replaced(torch.no_grad, "__enter__", make_enter))
        stack.enter_context(replaced(torch.no_grad, "__exit__", make_exit))
        for name in names:
            stack.enter_context(replaced(torch, name, make))
        for name in (*names, "__getitem__", "view", "view_as", "expand", "expand_as"):
            if hasattr(torch.Tensor, name):
                stack.enter_context(replaced(torch.Tensor, name, make))
        for name in ("T", "mT"):
            stack.enter_context(
                replaced(torch.Tensor, name, lambda of: property(lambda tensor: unrecorded(of.__get__(tensor))))
            )
        yield
