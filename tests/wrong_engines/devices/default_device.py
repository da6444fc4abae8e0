"""spec/devices/default-device.md"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._device import DeviceContext, _device_constructors

from tests.wrong_engines.devices.to import Hit
from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced

Call = Callable[[], Any]
Around = Callable[[DeviceContext, Callable[..., Any], tuple[Any, ...], dict[str, Any], Call], Any]


def _in_context(wrong: Around) -> AbstractContextManager[None]:
    """Replace what a default device, set by a call or a block, does with every call of torch.

    `wrong(context, function, args, kwargs, honest)`; `honest()` does what was asked for.
    """

    def make(handle: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(
            context: DeviceContext, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            return wrong(context, function, args, kwargs, lambda: handle(context, function, types, args, kwargs))

        return replacement

    return replaced(DeviceContext, "__torch_function__", make)


def _has_default() -> bool:
    """Whether this thread has a default device, set by a call or a block."""
    return torch._C._len_torch_function_stack() > 0


def _making_ones(wrong: Callable[..., torch.Tensor]) -> AbstractContextManager[None]:
    """Replace `torch.ones(*args, **kwargs)`, where it is given no device, by `wrong(ones, *args, **kwargs)`."""
    _device_constructors()  # torch lists its factories when it first needs them: before one is replaced

    def make(ones: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def replacement(*args: Any, **kwargs: Any) -> torch.Tensor:
            return ones(*args, **kwargs) if kwargs.get("device") is not None else wrong(ones, *args, **kwargs)

        return replacement

    return replaced(torch, "ones", make)


@wrong_engine("device-randn-always-on-cpu", kind="plain")
@contextmanager
def draws_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function is not torch.randn or kwargs.get("device") is not None:
            return honest()
        hit()
        return function(*args, **{**kwargs, "device": "cpu"})

    with _in_context(wrong):
        yield


@wrong_engine("device-default-for-lists-only", kind="size")
@contextmanager
def makes_numbers_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        is_number = function is torch.tensor and isinstance(args[0], float)
        if not is_number or kwargs.get("device") is not None:
            return honest()
        hit()
        return function(*args, **kwargs)

    with _in_context(wrong):
        yield


@wrong_engine("device-set-default-tells-the-old", kind="plain")
@contextmanager
def returns_what_it_replaces(hit: Hit) -> Iterator[None]:
    def make(set_default: Callable[[Any], None]) -> Callable[[Any], Any]:
        def wrong(device: Any) -> Any:
            before = torch.empty(0).device
            set_default(device)
            hit()
            return before

        return wrong

    with replaced(torch, "set_default_device", make):
        yield


@wrong_engine("device-default-overrules", kind="plain")
@contextmanager
def ignores_the_cpu_that_a_call_names(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if str(kwargs.get("device")) == "cpu" and context.device.type != "cpu":
            hit()
            kwargs["device"] = None
        return honest()

    with _in_context(wrong):
        yield


@wrong_engine("device-default-for-likes", kind="plain")
@contextmanager
def makes_zeros_like_on_the_default_device(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function is not torch.zeros_like:
            return honest()
        hit()
        return function(*args, **{**kwargs, "device": context.device})

    with _in_context(wrong):
        yield


@wrong_engine("device-default-takes-arrays", kind="plain")
@contextmanager
def moves_arrays_to_the_default_device(hit: Hit) -> Iterator[None]:
    def make(from_numpy: Callable[[Any], torch.Tensor]) -> Callable[[Any], torch.Tensor]:
        def wrong(array: Any) -> torch.Tensor:
            hit()
            return from_numpy(array).to(torch.empty(0).device)

        return wrong

    with replaced(torch, "from_numpy", make):
        yield


@wrong_engine("device-computes-on-the-default", kind="plain")
@contextmanager
def multiplies_on_the_default_device(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        result = honest()
        if getattr(function, "__name__", "") not in ("mul", "__mul__") or not isinstance(result, torch.Tensor):
            return result
        hit()
        return result.to(context.device)

    with _in_context(wrong):
        yield


@wrong_engine("device-outer-block-wins", kind="mode")
@contextmanager
def asks_the_outer_default_first(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if not _has_default():
            return honest()
        hit()
        return function(*args, **kwargs)

    with _in_context(wrong):
        yield


@wrong_engine("device-block-lingers", kind="mode")
@contextmanager
def remembers_the_last_block(hit: Hit) -> Iterator[None]:
    last: list[torch.device] = []

    def wrong(ones: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        if last and not _has_default():
            hit()
            kwargs["device"] = last[0]
        made = ones(*args, **kwargs)
        if _has_default():
            last[:] = [made.device]
        return made

    with _making_ones(wrong):
        yield


@wrong_engine("device-default-for-all-threads", kind="mode")
@contextmanager
def has_one_default_for_the_process(hit: Hit) -> Iterator[None]:
    default: list[Any] = [None]

    def make_set(set_default: Callable[[Any], None]) -> Callable[[Any], None]:
        def wrong(device: Any) -> None:
            default[0] = device
            set_default(device)

        return wrong

    def wrong_ones(ones: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        if default[0] is not None and not _has_default():
            hit()
            kwargs["device"] = default[0]
        return ones(*args, **kwargs)

    with replaced(torch, "set_default_device", make_set), _making_ones(wrong_ones):
        yield


@wrong_engine("device-default-inherited", kind="mode")
@contextmanager
def a_new_thread_has_the_default_of_its_starter(hit: Hit) -> Iterator[None]:
    def make(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
        def wrong(thread: threading.Thread) -> None:
            device, run = torch.empty(0).device, thread.run

            def run_there() -> None:
                with device:
                    run()

            if device.type != "cpu":
                hit()
                thread.run = run_there  # type: ignore[method-assign]
            start(thread)

        return wrong

    with replaced(threading.Thread, "start", make):
        yield


@wrong_engine("device-inner-block-ends-both", kind="mode")
@contextmanager
def is_back_on_the_cpu_after_an_inner_block(hit: Hit) -> Iterator[None]:
    before = 0

    def wrong(ones: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal before
        now = torch._C._len_torch_function_stack()
        if 0 < now < before:
            hit()
            kwargs["device"] = "cpu"
        before = now
        return ones(*args, **kwargs)

    with _making_ones(wrong):
        yield


@wrong_engine("device-permutations-on-cpu", kind="dtype")
@contextmanager
def makes_random_integers_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function not in (torch.randperm, torch.randint) or kwargs.get("device") is not None:
            return honest()
        hit()
        return function(*args, **kwargs)

    with _in_context(wrong):
        yield


SEED_ELSEWHERE = "expected all tensors to be on the same device as the gradient of one"


@wrong_engine(
    "device-seeds-backward-on-the-default", kind="mode", refuses=SEED_ELSEWHERE, first_sight="adversary: missed"
)
@contextmanager
def makes_the_gradient_of_one_on_the_default_device(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            seeds = gradient is None and output.numel() == 1 and output.requires_grad
            if seeds and torch.empty(0).device != output.device:
                hit()
                raise RuntimeError(SEED_ELSEWHERE)
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("device-default-for-what-is-made-from-data", kind="place", first_sight="adversary: caught")
@contextmanager
def new_tensors_of_a_view_are_made_on_the_default_device(hit: Hit) -> Iterator[None]:
    def make(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            made = honest(tensor, *args, **kwargs)
            default = torch.empty(0).device
            if kwargs.get("device") is not None or not tensor._is_view() or made.device == default:
                return made
            hit()
            return made.to(default)

        return wrong

    with ExitStack() as methods:
        for name in ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("device-asarray-always-on-cpu", kind="plain", issue="pytorch#106773", first_sight="adversary: missed")
@contextmanager
def makes_arrays_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function is not torch.asarray or kwargs.get("device") is not None or isinstance(args[0], torch.Tensor):
            return honest()
        made = function(*args, **{**kwargs, "device": "cpu"})
        if made.device != context.device:
            hit()
        return made

    with _in_context(wrong):
        yield


ARITHMETIC = ("add", "__add__", "sub", "__sub__", "mul", "__mul__", "matmul", "__matmul__")


@wrong_engine("device-first-result-after-setting-goes-to-the-default", kind="state", first_sight="sample: caught")
@contextmanager
def makes_the_first_result_after_setting_on_the_default_device(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        result = honest()
        if getattr(function, "__name__", "") not in ARITHMETIC or not isinstance(result, torch.Tensor):
            return result
        if vars(context).setdefault("_first_result", result) is not result or result.device == context.device:
            return result
        hit()
        return result.to(context.device)

    with _in_context(wrong):
        yield


MAIN_THREAD_ONLY = "the default device can only be set in the main thread"


@wrong_engine("device-block-forgets-what-is-empty", kind="size", first_sight="sample: missed")
@contextmanager
def a_block_makes_what_is_empty_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        made = honest()
        is_block = context is not getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        if not is_block or function not in _device_constructors() or kwargs.get("device") is not None:
            return made
        if made.numel() or made.device.type == "cpu":
            return made
        hit()
        return function(*args, **{**kwargs, "device": "cpu"})

    with _in_context(wrong):
        yield


@wrong_engine(
    "device-default-set-in-the-main-thread-only", kind="error", refuses=MAIN_THREAD_ONLY, first_sight="sample: missed"
)
@contextmanager
def refuses_to_set_a_default_in_another_thread(hit: Hit) -> Iterator[None]:
    def make(set_default_device: Callable[[Any], None]) -> Callable[[Any], None]:
        def wrong(device: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                hit()
                raise RuntimeError(MAIN_THREAD_ONLY)
            set_default_device(device)

        return wrong

    with replaced(torch, "set_default_device", make):
        yield


@wrong_engine("device-default-cleared-in-all-threads", kind="value", first_sight="second sample: missed")
@contextmanager
def none_clears_the_default_of_every_thread(hit: Hit) -> Iterator[None]:
    cleared = 0

    def make(set_default_device: Callable[[Any], None]) -> Callable[[Any], None]:
        def wrong(device: Any) -> None:
            nonlocal cleared
            set_default_device(device)
            if device is None:
                cleared += 1
            else:
                torch._GLOBAL_DEVICE_CONTEXT.device_context._set_after = cleared

        return wrong

    def wrong_call(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        gone = vars(context).get("_set_after", cleared) < cleared and context.device.type != "cpu"
        if not gone or function not in _device_constructors() or kwargs.get("device") is not None:
            return honest()
        hit()
        return function(*args, **{**kwargs, "device": "cpu"})

    with replaced(torch, "set_default_device", make), _in_context(wrong_call):
        yield


NO_LISTS = "asarray: lists can only be read on the CPU"


@wrong_engine("device-asarray-refuses-lists", kind="error", refuses=NO_LISTS, first_sight="second sample: caught")
@contextmanager
def refuses_lists_under_a_default_device(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function is torch.asarray and kwargs.get("device") is None and args and isinstance(args[0], list | tuple):
            hit()
            raise NotImplementedError(NO_LISTS)
        return honest()

    with _in_context(wrong):
        yield


@wrong_engine("device-default-lost-in-no-grad", kind="mode", first_sight="third sample: caught")
@contextmanager
def makes_tensors_on_the_cpu_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if torch.is_grad_enabled() or function not in _device_constructors() or kwargs.get("device") is not None:
            return honest()
        if context.device.type != "cpu":
            hit()
        return function(*args, **{**kwargs, "device": "cpu"})

    with _in_context(wrong):
        yield


@wrong_engine("device-block-of-the-cpu-does-not-count", kind="order", first_sight="third sample: caught")
@contextmanager
def a_block_of_the_cpu_leaves_the_device_from_outside(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        is_block = context is not getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        makes = function in _device_constructors() and kwargs.get("device") is None
        if not is_block or not makes or context.device.type != "cpu":
            return honest()
        made = function(*args, **kwargs)
        if isinstance(made, torch.Tensor) and made.device.type != "cpu":
            hit()
        return made

    with _in_context(wrong):
        yield


@wrong_engine("device-ranges-on-cpu", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def makes_ranges_on_the_cpu(hit: Hit) -> Iterator[None]:
    def wrong(context: DeviceContext, function: Any, args: Any, kwargs: dict[str, Any], honest: Call) -> Any:
        if function not in (torch.arange, torch.linspace, torch.logspace) or kwargs.get("device") is not None:
            return honest()
        if context.device.type != "cpu":
            hit()
        return function(*args, **{**kwargs, "device": "cpu"})

    with _in_context(wrong):
        yield
