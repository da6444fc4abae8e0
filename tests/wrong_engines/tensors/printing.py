"""spec/tensors/printing.md"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import wrong_engine
from tests.wrong_engines.tools import replaced

Hit = Callable[[], None]


@wrong_engine("print-bare-floats")
@contextmanager
def prints_whole_floats_bare(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            if not tensor.is_floating_point():
                return str(printed(tensor, **kwargs))
            hit()
            return re.sub(r"(\d)\.(?=[],)])", r"\1", printed(tensor, **kwargs))

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("print-unaligned")
@contextmanager
def does_not_align(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            text = str(printed(tensor, **kwargs))
            tight = re.sub(r"(?<=[\[,]) +(?=[-\dTF])", " ", text).replace("[ ", "[")
            if tight != text:
                hit()
            return tight

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("print-memory-order")
@contextmanager
def prints_the_memory(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            if tensor.ndim == 2 and tensor.stride(0) < tensor.stride(1) and tensor.numel():
                hit()
                tensor = tensor.t().reshape(tensor.shape)
            return str(printed(tensor, **kwargs))

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("print-device-and-dtype-always")
@contextmanager
def prints_device_and_dtype_always(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            text = str(printed(tensor, **kwargs))
            if tensor.dtype != torch.float32 or tensor.requires_grad or "=" in text:
                return text
            hit()
            return f"{text[:-1]}, device='{tensor.device}', dtype={tensor.dtype})"

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("print-default-is-single")
@contextmanager
def takes_single_precision_for_the_default(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            text = str(printed(tensor, **kwargs))
            if tensor.dtype != torch.float32 or "dtype" not in text:
                return text
            hit()
            return text.replace(", dtype=torch.float32", "")

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("print-history-lost-for-scalars")
@contextmanager
def forgets_how_a_scalar_came_about(hit: Hit) -> Iterator[None]:
    def make(printed: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> str:
            if tensor.ndim == 0 and tensor.grad_fn is not None:
                hit()
                tensor = tensor.detach()
            return str(printed(tensor, **kwargs))

        return wrong

    with replaced(torch.Tensor, "__repr__", make):
        yield


@wrong_engine("format-as-printed")
@contextmanager
def formats_as_it_prints(hit: Hit) -> Iterator[None]:
    def make(formatted: Any) -> Any:
        def wrong(tensor: torch.Tensor, spec: str) -> str:
            if tensor.ndim or spec:
                return str(formatted(tensor, spec))
            hit()
            return str(tensor)

        return wrong

    with replaced(torch.Tensor, "__format__", make):
        yield


@wrong_engine("format-any-single-element")
@contextmanager
def formats_any_single_element_as_a_number(hit: Hit) -> Iterator[None]:
    def make(formatted: Any) -> Any:
        def wrong(tensor: torch.Tensor, spec: str) -> str:
            if tensor.ndim == 0 or tensor.numel() != 1:
                return str(formatted(tensor, spec))
            hit()
            return format(tensor.item(), spec)

        return wrong

    with replaced(torch.Tensor, "__format__", make):
        yield


@wrong_engine("format-parameters-as-numbers")
@contextmanager
def formats_parameters_as_numbers(hit: Hit) -> Iterator[None]:
    def make(formatted: Any) -> Any:
        def wrong(tensor: torch.Tensor, spec: str) -> str:
            if tensor.ndim or not isinstance(tensor, torch.nn.Parameter):
                return str(formatted(tensor, spec))
            hit()
            return format(tensor.item(), spec)

        return wrong

    with replaced(torch.Tensor, "__format__", make):
        yield
