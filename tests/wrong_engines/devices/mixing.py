"""spec/devices/mixing.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.devices.to import Hit
from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced

REFUSAL = "Expected all tensors to be on the same device, but found at least two devices"

Operation = Callable[[Any, Any], torch.Tensor]


def _operators(
    names: tuple[str, ...], wrong: Callable[[Operation, Any, Any], torch.Tensor]
) -> AbstractContextManager[Any]:
    """Replace operators of two tensors, `x + y` and the like, by `wrong(operation, x, y)`."""

    def make(operation: Operation) -> Operation:
        return lambda one, other: wrong(operation, one, other)

    stack = ExitStack()
    for name in names:
        stack.enter_context(replaced(torch.Tensor, name, make))
    return stack


def _apart(one: Any, other: Any) -> bool:
    return isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.device != other.device


@wrong_engine("device-mixing-moves-one-element", kind="size")
@contextmanager
def brings_a_tensor_of_one_element_to_the_other(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and one.numel() == 1 and not one.is_meta:
            hit()
            return operation(one.to(other.device), other)
        return operation(one, other)

    with _operators(("__add__", "__mul__"), wrong):
        yield


@wrong_engine("device-mixing-moves-to-the-first", kind="order")
@contextmanager
def brings_the_second_tensor_to_the_first(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and not other.is_meta:
            hit()
            return operation(one, other.to(one.device))
        return operation(one, other)

    with _operators(("__sub__",), wrong):
        yield


@wrong_engine("device-mixing-refusal-detaches", kind="error")
@contextmanager
def refuses_and_stops_recording(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        try:
            return operation(one, other)
        except RuntimeError:
            for leaf in (one, other):
                if _apart(one, other) and leaf.requires_grad:
                    hit()
                    leaf.requires_grad_(False)
            raise

    with _operators(("__add__", "__sub__", "__mul__"), wrong):
        yield


@wrong_engine("device-numbers-stay", kind="error", refuses=REFUSAL)
@contextmanager
def refuses_numbers_too(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and other.ndim == 0:
            hit()
            raise RuntimeError(f"{REFUSAL}, {one.device} and {other.device}!")
        return operation(one, other)

    with _operators(("__mul__",), wrong):
        yield


@wrong_engine("device-numbers-are-constants", kind="order")
@contextmanager
def takes_a_number_as_a_constant(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if isinstance(other, torch.Tensor) and other.ndim == 0 and one.requires_grad and other.requires_grad:
            hit()
            return operation(one, other.detach())
        return operation(one, other)

    with _operators(("__mul__",), wrong):
        yield


@wrong_engine("device-number-from-the-start-of-its-storage", kind="layout", issue="pytorch#187117")
@contextmanager
def reads_a_number_at_the_start_of_its_storage(hit: Hit) -> Iterator[None]:
    def read(number: Any) -> Any:
        if not isinstance(number, torch.Tensor) or number.ndim > 0 or number.storage_offset() == 0:
            return number
        hit()
        return number + (number.detach().as_strided((), (), 0) - number.detach())

    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        return operation(one, read(other))

    with _operators(("__mul__",), wrong):
        yield


@wrong_engine("device-mixing-compares", kind="error")
@contextmanager
def finds_no_number_smaller_elsewhere(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and one.ndim > 0 and other.ndim > 0:
            hit()
            return torch.zeros_like(one, dtype=torch.bool)
        return operation(one, other)

    with _operators(("__lt__",), wrong):
        yield


@wrong_engine("device-mixing-refused-as-a-type", kind="error")
@contextmanager
def raises_an_error_of_another_type(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        try:
            return operation(one, other)
        except RuntimeError as error:
            hit()
            raise TypeError(str(error)) from None

    with _operators(("__truediv__",), wrong):
        yield


@wrong_engine("device-mixing-refusal-counts-a-write", kind="error")
@contextmanager
def counts_a_write_that_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and other.ndim > 0 and not other.is_meta and 0 not in other.stride():
            hit()
            other.detach().mul_(1)
        return operation(one, other)

    with _operators(("__sub__",), wrong):
        yield


@wrong_engine("device-mixing-passes-what-is-empty", kind="size", first_sight="adversary: caught")
@contextmanager
def brings_a_tensor_without_elements_to_the_other(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, one: Any, other: Any) -> torch.Tensor:
        if _apart(one, other) and one.ndim and other.ndim and one.numel() == 0:
            hit()
            return operation(torch.empty_like(one, device=other.device), other)
        return operation(one, other)

    with _operators(("__add__", "__sub__", "__mul__"), wrong):
        yield


@wrong_engine("device-mixing-passes-views", kind="aliasing", first_sight="sample: caught")
@contextmanager
def brings_a_view_to_the_other_device(hit: Hit) -> Iterator[None]:
    def make(operation: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(one: Any, other: Any, **options: Any) -> torch.Tensor:
            if _apart(one, other) and one.ndim and other.ndim:
                if one._is_view() and not one.is_meta:
                    hit()
                    one = one.to(other.device)
                elif other._is_view() and not other.is_meta:
                    hit()
                    other = other.to(one.device)
            return operation(one, other, **options)

        return wrong

    names = ("add", "sub", "mul", "div")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(torch, name, make))
        for name in ("__add__", "__sub__", "__mul__", "__truediv__", *names):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("device-numbers-promote", kind="dtype", first_sight="sample: missed")
@contextmanager
def a_double_without_dimensions_makes_the_result_double(hit: Hit) -> Iterator[None]:
    def is_double(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.ndim == 0 and x.dtype == torch.float64

    def is_single(x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.ndim > 0 and x.dtype == torch.float32

    def make(operation: Any) -> Any:
        def wrong(one: Any, other: Any, **kwargs: Any) -> torch.Tensor:
            if is_double(one) and is_single(other):
                hit()
                other = other.double()
            elif is_single(one) and is_double(other):
                hit()
                one = one.double()
            return operation(one, other, **kwargs)

        return wrong

    with ExitStack() as spellings:
        for name in ("add", "sub", "mul", "div"):
            spellings.enter_context(replaced(torch, name, make))
            spellings.enter_context(replaced(torch.Tensor, name, make))
        for name in ("__add__", "__radd__", "__sub__", "__mul__", "__rmul__", "__truediv__"):
            spellings.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("device-mixing-moves-to-the-second", kind="order", first_sight="second sample: caught")
@contextmanager
def brings_the_first_tensor_to_the_second(hit: Hit) -> Iterator[None]:
    def make(operation: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(one: Any, other: Any, **options: Any) -> torch.Tensor:
            if _apart(one, other) and one.ndim and other.ndim and not one.is_meta:
                hit()
                one = one.to(other.device)
            return operation(one, other, **options)

        return wrong

    with ExitStack() as stack:
        for name in ("mul", "div"):
            stack.enter_context(replaced(torch, name, make))
        for name in ("mul", "__mul__", "div", "__truediv__"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield
