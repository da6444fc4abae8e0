"""spec/indexing/views.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Read = Callable[[torch.Tensor, Any], torch.Tensor]


def reading(wrong: Callable[[Read, torch.Tensor, Any], torch.Tensor]) -> Any:
    def make(read: Read) -> Read:
        def replacement(tensor: torch.Tensor, index: Any) -> torch.Tensor:
            return wrong(read, tensor, index)

        return replacement

    return replaced(torch.Tensor, "__getitem__", make)


def parts_of(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


@wrong_engine("indexing-step-from-zero", kind="plain")
@contextmanager
def a_step_counts_from_the_first_element(hit: Hit) -> Iterator[None]:
    def mended(part: Any) -> Any:
        if isinstance(part, slice) and part.start is not None and part.start > 0 and (part.step or 1) > 1:
            hit()
            return slice(0, part.stop, part.step)
        return part

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        return read(tensor, tuple(mended(part) for part in parts_of(index)))

    with reading(wrong):
        yield


@wrong_engine("indexing-none-leads", kind="order")
@contextmanager
def a_last_none_becomes_the_first_dimension(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        if len(parts) < 2 or parts[-1] is not None:
            return read(tensor, index)
        hit()
        return read(tensor, parts[:-1]).unsqueeze(0)

    with reading(wrong):
        yield


@wrong_engine("indexing-column-copies", kind="aliasing")
@contextmanager
def elements_with_gaps_between_them_are_copied(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        if not tensor.is_contiguous() or picked.is_contiguous():
            return picked
        hit()
        return picked.clone()

    with reading(wrong):
        yield


@wrong_engine("indexing-copies-transposed", kind="aliasing")
@contextmanager
def what_is_picked_from_a_transposed_tensor_is_copied(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        if tensor.ndim < 2 or tensor.stride(-1) <= tensor.stride(-2):
            return picked
        hit()
        return picked.clone()

    with reading(wrong):
        yield


@wrong_engine("indexing-wraps-around", kind="error")
@contextmanager
def an_integer_past_the_end_starts_again(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        last = parts[-1] if parts else None
        if isinstance(last, int) and Ellipsis not in parts and len(parts) <= tensor.ndim:
            size = tensor.shape[len(parts) - 1 - parts.count(None)]
            if size and not -size <= last < size:
                hit()
                return read(tensor, (*parts[:-1], last % size))
        return read(tensor, index)

    with reading(wrong):
        yield


@wrong_engine("indexing-runs-backward", kind="error")
@contextmanager
def a_negative_step_is_carried_out(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        for dimension, part in enumerate(parts_of(index)):
            if isinstance(part, slice) and (part.step or 1) < 0:
                hit()
                positions = range(tensor.shape[dimension])[part]
                tensor = tensor.index_select(dimension, torch.tensor(list(positions), dtype=torch.int64))
                index = (*parts_of(index)[:dimension], slice(None), *parts_of(index)[dimension + 1 :])
        return read(tensor, index)

    with reading(wrong):
        yield
