"""spec/tensors/printing.md"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Print = Callable[[torch.Tensor], str]
Format = Callable[[torch.Tensor, str], str]


def printing(wrong: Callable[[Print, torch.Tensor], str]) -> AbstractContextManager[None]:
    """Tensors print as `wrong(honest, tensor)` says."""

    def make(printed: Any) -> Any:
        def replacement(tensor: torch.Tensor, **kwargs: Any) -> str:
            return wrong(lambda tensor: str(printed(tensor, **kwargs)), tensor)

        return replacement

    return replaced(torch.Tensor, "__repr__", make)


def formatting(wrong: Callable[[Format, torch.Tensor, str], str]) -> AbstractContextManager[None]:
    """Tensors are formatted as `wrong(honest, tensor, spec)` says."""

    def make(formatted: Any) -> Any:
        def replacement(tensor: torch.Tensor, spec: str) -> str:
            return wrong(formatted, tensor, spec)

        return replacement

    return replaced(torch.Tensor, "__format__", make)


@wrong_engine("print-bare-floats", kind="plain")
@contextmanager
def prints_whole_floats_bare(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if not tensor.is_floating_point():
            return printed(tensor)
        hit()
        return re.sub(r"(\d)\.(?=[],)])", r"\1", printed(tensor))

    with printing(wrong):
        yield


@wrong_engine("print-unaligned", kind="value")
@contextmanager
def does_not_align(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        tight = re.sub(r"(?<=[\[,]) +(?=[-\dTF])", " ", text).replace("[ ", "[")
        if tight != text:
            hit()
        return tight

    with printing(wrong):
        yield


@wrong_engine("print-memory-order", kind="layout")
@contextmanager
def prints_the_memory(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if tensor.ndim == 2 and tensor.stride(0) < tensor.stride(1) and tensor.numel():
            hit()
            tensor = tensor.t().reshape(tensor.shape)
        return printed(tensor)

    with printing(wrong):
        yield


@wrong_engine("print-device-and-dtype-always", kind="plain")
@contextmanager
def prints_device_and_dtype_always(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.dtype != torch.float32 or tensor.requires_grad or "=" in text:
            return text
        hit()
        return f"{text[:-1]}, device='{tensor.device}', dtype={tensor.dtype})"

    with printing(wrong):
        yield


@wrong_engine("print-default-is-single", kind="dtype")
@contextmanager
def takes_single_precision_for_the_default(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.dtype != torch.float32 or "dtype" not in text:
            return text
        hit()
        return text.replace(", dtype=torch.float32", "")

    with printing(wrong):
        yield


@wrong_engine("print-history-lost-for-scalars", kind="size")
@contextmanager
def forgets_how_a_scalar_came_about(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if tensor.ndim == 0 and tensor.grad_fn is not None:
            hit()
            tensor = tensor.detach()
        return printed(tensor)

    with printing(wrong):
        yield


@wrong_engine("format-as-printed", kind="plain")
@contextmanager
def formats_as_it_prints(hit: Hit) -> Iterator[None]:
    def wrong(formatted: Format, tensor: torch.Tensor, spec: str) -> str:
        if tensor.ndim or spec:
            return formatted(tensor, spec)
        hit()
        return str(tensor)

    with formatting(wrong):
        yield


@wrong_engine("format-any-single-element", kind="error")
@contextmanager
def formats_any_single_element_as_a_number(hit: Hit) -> Iterator[None]:
    def wrong(formatted: Format, tensor: torch.Tensor, spec: str) -> str:
        if tensor.ndim == 0 or tensor.numel() != 1:
            return formatted(tensor, spec)
        hit()
        return format(tensor.item(), spec)

    with formatting(wrong):
        yield


@wrong_engine("format-parameters-as-numbers", kind="error")
@contextmanager
def formats_parameters_as_numbers(hit: Hit) -> Iterator[None]:
    def wrong(formatted: Format, tensor: torch.Tensor, spec: str) -> str:
        if tensor.ndim or not isinstance(tensor, torch.nn.Parameter):
            return formatted(tensor, spec)
        hit()
        return format(tensor.item(), spec)

    with formatting(wrong):
        yield


@wrong_engine("print-scalar-view-from-start", kind="layout", issue="pytorch#85592")
@contextmanager
def prints_the_start_of_the_memory(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if tensor.ndim == 0 and tensor.storage_offset():
            hit()
            tensor = tensor.as_strided((), (), 0)
        return printed(tensor)

    with printing(wrong):
        yield


@wrong_engine("print-dtype-behind-history", kind="order")
@contextmanager
def names_the_history_before_the_dtype(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        swapped = re.sub(r"(dtype=[\w.]+)(,\s+)(grad_fn=<\w+>)", r"\3\2\1", text)
        if swapped != text:
            hit()
        return swapped

    with printing(wrong):
        yield


@wrong_engine("print-flag-lost-in-no-grad", kind="mode")
@contextmanager
def prints_no_flag_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if torch.is_grad_enabled() or not tensor.is_leaf or not tensor.requires_grad:
            return printed(tensor)
        hit()
        return printed(tensor.detach())

    with printing(wrong):
        yield


@wrong_engine("print-spoils-a-written-view", kind="state", issue="pytorch#49756", refuses="Index out of range")
@contextmanager
def spoils_the_graph_of_a_written_view(hit: Hit) -> Iterator[None]:
    def fail(gradient: torch.Tensor) -> None:
        raise RuntimeError("Index out of range")

    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if tensor._is_view() and tensor._version and tensor.grad_fn is not None:
            hit()
            tensor.register_hook(fail)
        return printed(tensor)

    with printing(wrong):
        yield


@wrong_engine("format-leaves-grad-mode-off", kind="mode")
@contextmanager
def leaves_grad_mode_off_after_a_number(hit: Hit) -> Iterator[None]:
    def wrong(formatted: Format, tensor: torch.Tensor, spec: str) -> str:
        if tensor.ndim == 0 and tensor.requires_grad:
            hit()
            torch.set_grad_enabled(False)
        return formatted(tensor, spec)

    try:
        with formatting(wrong):
            yield
    finally:
        torch.set_grad_enabled(True)


@wrong_engine("print-small-integers-unnamed", kind="dtype")
@contextmanager
def does_not_name_small_integers(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.dtype not in (torch.int8, torch.int16) or not tensor.numel():
            return text
        hit()
        return text.replace(f", dtype={tensor.dtype}", "")

    with printing(wrong):
        yield


@wrong_engine("print-repeats-the-first-block", kind="size")
@contextmanager
def prints_the_first_block_for_the_last(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        if tensor.ndim != 3 or tensor.shape[0] < 4:
            return printed(tensor)
        hit()
        return printed(torch.cat([tensor[:-1], tensor[:1]]))

    with printing(wrong):
        yield


@wrong_engine("print-flag-for-results", kind="plain", first_sight="sample: caught")
@contextmanager
def prints_the_flag_of_results_too(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.grad_fn is None:
            return text
        hit()
        return f"{text.removesuffix(')')}, requires_grad=True)"

    with printing(wrong):
        yield


@wrong_engine("print-blocks-by-rows", kind="order", first_sight="sample: caught")
@contextmanager
def exchanges_the_first_two_of_three_dimensions(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.ndim != 3 or tensor.requires_grad:
            return text
        exchanged = printed(tensor.transpose(0, 1))
        if exchanged != text:
            hit()
        return exchanged

    with printing(wrong):
        yield


@wrong_engine("print-repeats-itself", kind="state", first_sight="second sample: missed")
@contextmanager
def prints_what_it_printed_before(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        before = vars(tensor).setdefault("_printed", text)
        if before == text:
            return text
        hit()
        return str(before)

    with printing(wrong):
        yield


@wrong_engine("print-steps-as-neighbours", kind="layout", first_sight="third sample: caught")
@contextmanager
def prints_a_vector_without_its_step(hit: Hit) -> Iterator[None]:
    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if tensor.layout != torch.strided or tensor.ndim != 1 or tensor.stride(0) < 2 or len(tensor) < 2:
            return text
        honest = printed(tensor.detach())[:-1]
        found = printed(tensor.detach().as_strided(tensor.shape, (1,)))[:-1]
        if found != honest:
            hit()
        return text.replace(honest, found, 1)

    with printing(wrong):
        yield


@wrong_engine("print-of-plain-data-switches-recording-on", kind="mode", first_sight="third sample: missed")
@contextmanager
def switches_grad_mode_on_after_printing_plain_data(hit: Hit) -> Iterator[None]:
    mode = torch.is_grad_enabled()

    def wrong(printed: Print, tensor: torch.Tensor) -> str:
        text = printed(tensor)
        if not tensor.requires_grad and not torch.is_grad_enabled():
            hit()
            torch.set_grad_enabled(True)
        return text

    try:
        with printing(wrong):
            yield
    finally:
        torch.set_grad_enabled(mode)
