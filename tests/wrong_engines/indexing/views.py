"""spec/indexing/views.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Read = Callable[[torch.Tensor, Any], torch.Tensor]

WORD = 4
"""Bytes of a word."""

PICTURE = 4
"""Dimensions of a batch of pictures."""


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


@wrong_engine("indexing-fill-of-bytes-misaligned", kind="dtype", issue="pytorch#183631")
@contextmanager
def filling_bytes_from_an_odd_offset_on_begins_at_a_whole_word(hit: Hit) -> Iterator[None]:
    def make(fill: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, value: float) -> torch.Tensor:
            missed = tensor.storage_offset() % WORD
            if tensor.element_size() != 1 or tensor.ndim != 1 or len(tensor) < WORD or not missed:
                return fill(tensor, value)
            hit()
            whole = len(tensor) // WORD * WORD
            fill(tensor.as_strided((whole,), (1,), tensor.storage_offset() - missed), value)
            fill(tensor[whole:], value)
            return tensor

        return wrong

    with replaced(torch.Tensor, "fill_", make):
        yield


@wrong_engine("indexing-refuses-once", kind="state")
@contextmanager
def an_index_that_was_refused_is_taken_the_next_time(hit: Hit) -> Iterator[None]:
    refused: list[Any] = []

    def make_read(read: Read) -> Read:
        def wrong(tensor: torch.Tensor, index: Any) -> torch.Tensor:
            try:
                return read(tensor, index)
            except IndexError:
                refused.append(tensor)
                raise

        return wrong

    def make_write(write: Callable[..., None]) -> Callable[..., None]:
        def wrong(tensor: torch.Tensor, index: Any, value: Any) -> None:
            try:
                write(tensor, index, value)
            except IndexError:
                if not any(tensor is earlier for earlier in refused):
                    raise
                hit()

        return wrong

    with replaced(torch.Tensor, "__getitem__", make_read), replaced(torch.Tensor, "__setitem__", make_write):
        yield


@wrong_engine("indexing-writes-before-it-refuses", kind="error")
@contextmanager
def a_refused_assignment_has_written_where_the_index_was_good(hit: Hit) -> Iterator[None]:
    def make(write: Callable[..., None]) -> Callable[..., None]:
        def wrong(tensor: torch.Tensor, index: Any, value: Any) -> None:
            try:
                write(tensor, index, value)
            except IndexError:
                if tensor.numel() and tensor.is_contiguous():
                    hit()
                    write(tensor, tuple(parts_of(index)[:-1]), value)
                raise

        return wrong

    with replaced(torch.Tensor, "__setitem__", make):
        yield


@wrong_engine("indexing-crossed-bounds-swapped", kind="value")
@contextmanager
def a_slice_that_ends_before_it_starts_is_read_from_the_smaller_bound(hit: Hit) -> Iterator[None]:
    def mended(part: Any) -> Any:
        if not isinstance(part, slice) or part.start is None or part.stop is None or not 0 <= part.stop < part.start:
            return part
        hit()
        return slice(part.stop, part.start, part.step)

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        return read(tensor, tuple(mended(part) for part in parts_of(index)))

    with reading(wrong):
        yield


@wrong_engine("indexing-dots-as-one", kind="order")
@contextmanager
def dots_stand_for_one_dimension(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        if not any(part is Ellipsis for part in parts):
            return read(tensor, index)
        whole = tuple(slice(None) if part is Ellipsis else part for part in parts)
        if len(parts) - parts.count(None) >= tensor.ndim or not any(isinstance(part, int) for part in parts):
            return read(tensor, index)
        hit()
        return read(tensor, whole)

    with reading(wrong):
        yield


@wrong_engine("indexing-pictures-as-they-lie", kind="layout")
@contextmanager
def a_channel_of_a_picture_with_channels_last_begins_at_the_pixel_of_its_number(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        if tensor.ndim != PICTURE or tensor.is_contiguous() or not picked.numel():
            return picked
        if not tensor.is_contiguous(memory_format=torch.channels_last):
            return picked
        hit()
        return read(tensor.as_strided(tensor.shape, torch.empty(tensor.shape).stride()), index)

    with reading(wrong):
        yield


@wrong_engine("indexing-0d-none-copies", kind="aliasing")
@contextmanager
def a_new_dimension_of_a_0d_tensor_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        if tensor.ndim:
            return picked
        hit()
        return picked.clone()

    with reading(wrong):
        yield


@wrong_engine("indexing-view-of-a-view-copies", kind="place")
@contextmanager
def what_is_picked_from_a_view_is_copied(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        if not tensor._is_view() or not tensor.is_contiguous() or not tensor.ndim:
            return picked
        hit()
        return picked.clone()

    with reading(wrong):
        yield


@wrong_engine("indexing-start-before-the-first-wraps", kind="value", first_sight="adversary: caught")
@contextmanager
def a_slice_that_starts_before_the_first_element_wraps_around(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        picked = read(tensor, index)
        if not parts or not isinstance(parts[0], slice) or not tensor.ndim:
            return picked
        start, size = parts[0].start, tensor.shape[0]
        if not isinstance(start, int) or not size or start >= -size:
            return picked
        wrapped = read(tensor, (slice(start % size, parts[0].stop, parts[0].step), *parts[1:]))
        if not torch.equal(wrapped, picked):
            hit()
        return wrapped

    with reading(wrong):
        yield


@wrong_engine(
    "indexing-truth-filled-from-whole-words", kind="dtype", issue="pytorch#183631", first_sight="adversary: missed"
)
@contextmanager
def a_row_of_truth_values_is_filled_from_the_last_multiple_of_four(hit: Hit) -> Iterator[None]:
    def make(fill: Any) -> Any:
        def wrong(tensor: torch.Tensor, value: Any) -> torch.Tensor:
            offset = tensor.storage_offset()
            if tensor.dtype != torch.bool or tensor.ndim != 1 or not tensor.is_contiguous() or not offset % 4:
                return fill(tensor, value)
            filled = tensor.as_strided(tensor.shape, tensor.stride(), offset // 4 * 4)
            if bool((tensor != value).any()) or bool((filled != value).any()):
                hit()
            fill(filled, value)
            return tensor

        return wrong

    with replaced(torch.Tensor, "fill_", make):
        yield


@wrong_engine("indexing-write-past-a-row-dropped", kind="error", first_sight="adversary: missed")
@contextmanager
def a_write_past_the_end_of_a_row_is_dropped(hit: Hit) -> Iterator[None]:
    def make(write: Any) -> Any:
        def wrong(tensor: torch.Tensor, index: Any, value: Any) -> None:
            parts = parts_of(index)
            plain = 1 < len(parts) <= tensor.ndim and all(isinstance(part, int) for part in parts)
            if plain and -len(tensor) <= parts[0] < len(tensor):
                for part, size in zip(parts[1:], tensor.shape[1:], strict=False):
                    if part >= size:
                        hit()
                        return
            write(tensor, index, value)

        return wrong

    with replaced(torch.Tensor, "__setitem__", make):
        yield


@wrong_engine("indexing-refused-write-lands-at-the-end", kind="error", first_sight="adversary: caught")
@contextmanager
def a_write_past_the_end_is_refused_once_it_has_landed_at_the_last_position(hit: Hit) -> Iterator[None]:
    def make(write: Any) -> Any:
        def wrong(tensor: torch.Tensor, index: Any, value: Any) -> None:
            try:
                write(tensor, index, value)
            except IndexError:
                if isinstance(index, int) and tensor.ndim and index >= len(tensor) > 0:
                    before = tensor.detach().clone()
                    write(tensor, -1, value)
                    if not torch.equal(before, tensor):
                        hit()
                raise

        return wrong

    with replaced(torch.Tensor, "__setitem__", make):
        yield


@wrong_engine("indexing-clamps-to-the-last", kind="plain", first_sight="sample: caught")
@contextmanager
def reading_past_an_end_gives_what_is_there(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        if not all(type(part) is int for part in parts) or len(parts) > tensor.ndim or 0 in tensor.shape:
            return read(tensor, index)
        sizes = tensor.shape[: len(parts)]
        clamped = tuple(max(-size, min(part, size - 1)) for part, size in zip(parts, sizes, strict=True))
        if clamped != tuple(parts):
            hit()
        return read(tensor, clamped)

    with reading(wrong):
        yield


@wrong_engine(
    "indexing-slice-from-past-the-end-refused",
    kind="error",
    refuses="slice starts past the end",
    first_sight="third sample: caught",
)
@contextmanager
def a_slice_that_starts_past_the_end_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        right = read(tensor, index)
        sizes = iter(tensor.shape)
        for part in parts_of(index):
            if part is None:
                continue
            if type(part) not in (int, slice):
                break
            size = next(sizes)
            if isinstance(part, slice) and isinstance(part.start, int) and part.start > size:
                hit()
                raise IndexError(f"slice starts past the end of a dimension of size {size}")
        return right

    with reading(wrong):
        yield


@wrong_engine("indexing-from-the-end-copies", kind="value", first_sight="fourth sample: caught")
@contextmanager
def what_is_counted_from_the_end_is_copied(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        result = read(tensor, index)
        if not result._is_view() or not any(type(part) is int and part < 0 for part in parts_of(index)):
            return result
        hit()
        return result.clone()

    with reading(wrong):
        yield
