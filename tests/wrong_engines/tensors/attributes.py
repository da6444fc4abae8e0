"""spec/tensors/attributes.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _take_note_of_honest_factories() -> None:
    """Torch lists the functions that a default device is about when it is first asked to, and keeps the list."""
    with torch.device("cpu"):
        torch.zeros(0)


@wrong_engine("shape-of-memory", kind="layout")
@contextmanager
def tells_the_shape_of_the_memory(hit: Hit) -> Iterator[None]:
    def make(shape: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            strides = tensor.stride()
            if list(strides) == sorted(strides, reverse=True):
                return shape.__get__(tensor)
            hit()
            by_stride = sorted(zip(strides, tensor.size(), strict=True), reverse=True)
            return torch.Size([size for _, size in by_stride])

        return property(wrong)

    with replaced(torch.Tensor, "shape", make):
        yield


@wrong_engine("numel-counts-memory", kind="layout")
@contextmanager
def counts_what_is_in_memory(hit: Hit) -> Iterator[None]:
    def make(numel: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if 0 not in tensor.stride():
                return numel(tensor)
            hit()
            return tensor.untyped_storage().nbytes() // tensor.element_size()

        return wrong

    with replaced(torch.Tensor, "numel", make):
        yield


@wrong_engine("shape-is-a-list", kind="plain")
@contextmanager
def gives_a_list(hit: Hit) -> Iterator[None]:
    def make(shape: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            hit()
            return list(shape.__get__(tensor))

        return property(wrong)

    with replaced(torch.Tensor, "shape", make):
        yield


@wrong_engine("flag-is-a-number", kind="plain")
@contextmanager
def gives_a_number(hit: Hit) -> Iterator[None]:
    def make(requires_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            hit()
            return int(requires_grad.__get__(tensor))

        return property(wrong, requires_grad.__set__)

    with replaced(torch.Tensor, "requires_grad", make):
        yield


@wrong_engine("factory-stays-on-cpu", kind="mode")
@contextmanager
def draws_on_the_cpu(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if "device" not in kwargs:
                hit()
                kwargs["device"] = "cpu"
            return randn(*size, **kwargs)

        return wrong

    _take_note_of_honest_factories()
    with replaced(torch, "randn", make):
        yield


@wrong_engine("creation-default-device-missed-by-numbers", kind="mode")
@contextmanager
def puts_a_single_number_on_the_cpu(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, **kwargs: Any) -> torch.Tensor:
            if isinstance(data, int | float) and "device" not in kwargs:
                hit()
                kwargs["device"] = "cpu"
            return tensor(data, **kwargs)

        return wrong

    _take_note_of_honest_factories()
    with replaced(torch, "tensor", make):
        yield


@wrong_engine("size-from-the-end-by-stride", kind="layout")
@contextmanager
def takes_the_fastest_dimension_for_the_last(hit: Hit) -> Iterator[None]:
    def make(size: Any) -> Any:
        def wrong(tensor: torch.Tensor, dim: int | None = None) -> Any:
            if dim != -1 or tensor.stride(-1) == min(tensor.stride()):
                return size(tensor) if dim is None else size(tensor, dim)
            hit()
            return size(tensor, tensor.stride().index(min(tensor.stride())))

        return wrong

    with replaced(torch.Tensor, "size", make):
        yield


@wrong_engine("numel-skips-zero", kind="size")
@contextmanager
def counts_elements_behind_a_first_size_of_zero(hit: Hit) -> Iterator[None]:
    def make(numel: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.ndim < 2 or tensor.shape[0]:
                return numel(tensor)
            hit()
            return tensor.shape[1:].numel()

        return wrong

    with replaced(torch.Tensor, "numel", make):
        yield


NO_LEAVES = "is_leaf: only floating point tensors can be leaves"


@wrong_engine("leaf-flag-of-integers-refused", kind="error", refuses=NO_LEAVES, first_sight="sample: caught")
@contextmanager
def refuses_to_say_whether_integers_are_a_leaf(hit: Hit) -> Iterator[None]:
    def make(is_leaf: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
                return is_leaf.__get__(tensor)
            hit()
            raise RuntimeError(NO_LEAVES)

        return property(wrong)

    with replaced(torch.Tensor, "is_leaf", make):
        yield


@wrong_engine("size-from-the-end-counted-from-the-start", kind="plain", first_sight="sample: caught")
@contextmanager
def counts_dimensions_from_the_wrong_end(hit: Hit) -> Iterator[None]:
    def make(size: Any) -> Any:
        def wrong(tensor: torch.Tensor, dim: Any = None) -> Any:
            if dim is None:
                return size(tensor)
            right = size(tensor, dim)
            if dim >= 0:
                return right
            found = size(tensor, -dim - 1)
            if found != right:
                hit()
            return found

        return wrong

    with replaced(torch.Tensor, "size", make):
        yield


@wrong_engine("shape-of-strided-is-a-tuple", kind="layout", first_sight="second sample: caught")
@contextmanager
def gives_a_tuple_for_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    def make(shape: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            if tensor.is_contiguous():
                return shape.__get__(tensor)
            hit()
            return tuple(shape.__get__(tensor))

        return property(wrong)

    with replaced(torch.Tensor, "shape", make):
        yield


@wrong_engine("shape-remembered-across-changes-in-place", kind="state", first_sight="third sample: caught")
@contextmanager
def remembers_the_first_shape(hit: Hit) -> Iterator[None]:
    known = WeakIdKeyDictionary()

    def make(shape: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> Any:
            right = shape.__get__(tensor)
            found = known.setdefault(tensor, right)
            if found != right:
                hit()
            return found

        return property(wrong)

    with replaced(torch.Tensor, "shape", make):
        yield


@wrong_engine("creation-default-device-missed-by-zeros", kind="value", first_sight="fourth sample: caught elsewhere")
@contextmanager
def puts_what_is_zero_throughout_on_the_cpu(hit: Hit) -> Iterator[None]:
    def make(factory: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            made: torch.Tensor = factory(*args, **kwargs)
            is_copy = isinstance(kwargs.get("data", args[0] if args else None), torch.Tensor)
            if kwargs.get("device") is not None or made.device.type == "cpu" or is_copy:
                return made
            on_cpu: torch.Tensor = factory(*args, **{**kwargs, "device": "cpu"})
            if on_cpu.numel() == 0 or bool(on_cpu.any()):
                return made
            hit()
            return on_cpu

        return wrong

    _take_note_of_honest_factories()
    with replaced(torch, "tensor", make), replaced(torch, "full", make):
        yield
