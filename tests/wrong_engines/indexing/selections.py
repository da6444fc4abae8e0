"""spec/indexing/selections.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.indexing.views import Read, parts_of, reading
from tests.wrong_engines.tools import kernel, replaced

Write = Callable[[torch.Tensor, Any, Any], None]
EIGHT = 8
"""Flags of a mask that are read at once."""

COLUMN = 2
"""Dimensions of a column of numbers."""

COMPARISONS = ("lt", "gt", "le", "ge", "eq", "ne")


def _writing(wrong: Callable[[Write, torch.Tensor, Any, Any], None]) -> Any:
    def make(write: Write) -> Write:
        def replacement(tensor: torch.Tensor, index: Any, value: Any) -> None:
            wrong(write, tensor, index, value)

        return replacement

    return replaced(torch.Tensor, "__setitem__", make)


def _is_mask(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.dtype == torch.bool


def _selects(index: Any) -> bool:
    return any(isinstance(part, torch.Tensor) for part in parts_of(index))


@wrong_engine("indexing-mask-in-memory-order", kind="layout")
@contextmanager
def a_mask_of_a_transposed_tensor_goes_column_by_column(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not _is_mask(index) or tensor.ndim != 2 or index.ndim != 2 or tensor.is_contiguous():
            return read(tensor, index)
        hit()
        return read(tensor.t(), index.t())

    with reading(wrong):
        yield


@wrong_engine("indexing-negative-numbers-as-first", kind="value")
@contextmanager
def negative_numbers_pick_the_first_element(hit: Hit) -> Iterator[None]:
    def mended(part: Any) -> Any:
        if not isinstance(part, torch.Tensor) or _is_mask(part) or not bool((part < 0).any()):
            return part
        hit()
        return part.clamp(min=0)

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        return read(tensor, tuple(mended(part) for part in parts_of(index)))

    with reading(wrong):
        yield


@wrong_engine("indexing-neighbours-share", kind="aliasing")
@contextmanager
def neighbours_in_order_are_sliced(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if isinstance(index, torch.Tensor) and not _is_mask(index) and index.numel():
            first, count = index.tolist()[0], index.numel()
            if index.tolist() == list(range(first, first + count)) and first >= 0:
                hit()
                return read(tensor, slice(first, first + count))
        return read(tensor, index)

    with reading(wrong):
        yield


@wrong_engine("indexing-full-mask-shares", kind="aliasing")
@contextmanager
def a_mask_that_is_true_throughout_is_a_view(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not _is_mask(index) or index.ndim != 1 or not index.numel() or not bool(index.all()):
            return read(tensor, index)
        hit()
        return read(tensor, slice(None))

    with reading(wrong):
        yield


@wrong_engine("indexing-assignment-lost", kind="layout")
@contextmanager
def assigning_to_a_selection_of_a_strided_tensor_is_lost(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        if _selects(index) and not tensor.is_contiguous():
            hit()
            tensor = tensor.contiguous()
        write(tensor, index, value)

    with _writing(wrong):
        yield


@wrong_engine("indexing-assignment-fills-rows", kind="size")
@contextmanager
def a_mask_of_rows_writes_the_first_element_of_each(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        if (
            _is_mask(index)
            and index.ndim < tensor.ndim
            and tensor.shape[-1] > 1
            and not isinstance(value, torch.Tensor)
        ):
            hit()
            write(tensor.select(-1, 0), index, value)
        else:
            write(tensor, index, value)

    with _writing(wrong):
        yield


@wrong_engine("indexing-comparison-counts", kind="plain")
@contextmanager
def comparisons_give_zeros_and_ones(hit: Hit) -> Iterator[None]:
    def make(compare: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            hit()
            return compare(tensor, other).to(torch.uint8)

        return wrong

    with replaced(torch.Tensor, "__gt__", make):
        yield


@wrong_engine("indexing-comparison-truncates", kind="dtype", issue="pytorch#22301")
@contextmanager
def a_fraction_beside_integers_is_dropped(hit: Hit) -> Iterator[None]:
    def make(compare: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if isinstance(other, float) and not tensor.is_floating_point():
                hit()
                other = int(other)
            return compare(tensor, other)

        return wrong

    with ExitStack() as stack:
        for comparison in COMPARISONS:
            stack.enter_context(kernel(f"{comparison}.Scalar", make))
        yield


@wrong_engine("indexing-assignment-to-a-view-starts-over", kind="place", issue="pytorch#108978")
@contextmanager
def a_tensor_assigned_to_a_part_of_a_view_is_written_to_the_first_row_of_its_base(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        if isinstance(value, torch.Tensor) and tensor.storage_offset():
            hit()
            tensor = tensor.as_strided(tensor.shape, tensor.stride(), 0)
        write(tensor, index, value)

    with _writing(wrong):
        yield


@wrong_engine("indexing-mask-without-its-tail", kind="size")
@contextmanager
def what_does_not_fill_eight_flags_of_a_mask_is_left_out(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not _is_mask(index) or index.numel() <= EIGHT or not index.numel() % EIGHT:
            return read(tensor, index)
        hit()
        flags = index.flatten().clone()
        flags[index.numel() // EIGHT * EIGHT :] = False
        return read(tensor, flags.reshape(index.shape))

    with reading(wrong):
        yield


@wrong_engine("indexing-pair-transposed", kind="order")
@contextmanager
def the_second_of_two_index_tensors_decides_the_rows(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        columns = [part.ndim == COLUMN for part in parts_of(index) if isinstance(part, torch.Tensor)]
        if columns != [False, True] or isinstance(parts_of(index)[0], slice):
            return picked
        hit()
        return picked.transpose(0, 1).contiguous()

    with reading(wrong):
        yield


@wrong_engine("indexing-nan-equals-itself", kind="value")
@contextmanager
def what_is_not_a_number_equals_what_is_none_either(hit: Hit) -> Iterator[None]:
    def make(compare: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            both = torch.isnan(tensor) & torch.isnan(other)
            if bool(both.any()):
                hit()
            return compare(tensor, other) | both

        return wrong

    with kernel("eq.Tensor", make):
        yield


@wrong_engine("indexing-comparison-in-memory-order", kind="layout")
@contextmanager
def the_second_of_two_compared_tensors_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def make(compare: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            if other.ndim != COLUMN or other.is_contiguous() or not other.t().is_contiguous():
                return compare(tensor, other)
            hit()
            return compare(tensor, other.t().reshape(other.shape))

        return wrong

    with ExitStack() as stack:
        for comparison in COMPARISONS:
            stack.enter_context(kernel(f"{comparison}.Tensor", make))
        yield


@wrong_engine("indexing-mask-places-kept", kind="state")
@contextmanager
def a_mask_of_a_shape_and_count_that_were_seen_picks_the_same_places_again(hit: Hit) -> Iterator[None]:
    masks: dict[tuple[torch.Size, int], torch.Tensor] = {}

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not _is_mask(index):
            return read(tensor, index)
        kept = masks.setdefault((index.shape, int(index.sum())), index)
        if not torch.equal(kept, index):
            hit()
        return read(tensor, kept)

    with reading(wrong):
        yield


@wrong_engine("indexing-picked-flags-are-bytes", kind="dtype")
@contextmanager
def booleans_that_are_picked_come_as_bytes(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if tensor.dtype != torch.bool or not _selects(index):
            return read(tensor, index)
        hit()
        return read(tensor, index).to(torch.uint8)

    with reading(wrong):
        yield


@wrong_engine("indexing-numbers-in-memory-order", kind="layout", first_sight="adversary: missed")
@contextmanager
def a_transposed_index_tensor_is_read_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def misread(part: Any) -> Any:
        if not isinstance(part, torch.Tensor) or _is_mask(part) or part.ndim != 2 or not part.t().is_contiguous():
            return part
        return part.as_strided(part.shape, (part.shape[1], 1))

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked, found = read(tensor, index), read(tensor, tuple(misread(part) for part in parts_of(index)))
        if not _selects(index):
            return picked
        if not torch.equal(found, picked):
            hit()
        return found

    with reading(wrong):
        yield


@wrong_engine("indexing-mask-of-none-writes-the-first", kind="size", first_sight="adversary: missed")
@contextmanager
def a_mask_that_is_nowhere_true_writes_the_first_element(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        write(tensor, index, value)
        if not _is_mask(index) or index.shape != tensor.shape or not index.numel() or bool(index.any()):
            return
        if isinstance(value, torch.Tensor):
            if not value.numel():
                return
            value = value.reshape(-1)[0].item()
        if tensor.reshape(-1)[0].item() != value:
            hit()
        write(tensor, (0,) * tensor.ndim, value)

    with _writing(wrong):
        yield


@contextmanager
def _answering(names: tuple[str, ...], wrong: Callable[[str, Any, torch.Tensor, Any], Any]) -> Iterator[None]:
    """Replace comparison operators by `wrong(name, honest, x, y)`."""
    with ExitStack() as stack:
        for name in names:

            def make(honest: Any, name: str = name) -> Any:
                return lambda x, y: wrong(name, honest, x, y)

            stack.enter_context(replaced(torch.Tensor, f"__{name}__", make))
        yield


@wrong_engine("indexing-comparison-in-single", kind="dtype", first_sight="adversary: missed")
@contextmanager
def float64_is_compared_in_float32(hit: Hit) -> Iterator[None]:
    def wrong(name: str, honest: Any, x: torch.Tensor, y: Any) -> Any:
        answer = honest(x, y)
        if not isinstance(y, torch.Tensor) or x.dtype != torch.float64 or y.dtype != torch.float64:
            return answer
        found = honest(x.float(), y.float())
        if not torch.equal(found, answer):
            hit()
        return found

    with _answering(COMPARISONS, wrong):
        yield


@wrong_engine("indexing-comparison-with-itself-skipped", kind="value", first_sight="adversary: missed")
@contextmanager
def a_tensor_is_taken_to_equal_itself(hit: Hit) -> Iterator[None]:
    def wrong(name: str, honest: Any, x: torch.Tensor, y: Any) -> Any:
        answer = honest(x, y)
        if y is not x:
            return answer
        if bool(x.isnan().any()):
            hit()
        return torch.full_like(answer, name == "eq")

    with _answering(("eq", "ne"), wrong):
        yield


@wrong_engine("indexing-integers-picked-evenly-share", kind="dtype", first_sight="sample: caught")
@contextmanager
def integers_that_are_picked_at_even_distances_are_a_view(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        right = read(tensor, index)
        if tensor.dtype != torch.int64 or tensor.ndim != 1 or not isinstance(index, torch.Tensor):
            return right
        if index.dtype != torch.int64 or index.ndim != 1 or not index.numel() or bool((index < 0).any()):
            return right
        places = index.tolist()
        step = places[1] - places[0] if len(places) > 1 else 1
        if step < 1 or places != list(range(places[0], places[-1] + 1, step)):
            return right
        hit()
        return read(tensor, slice(places[0], places[-1] + 1, step))

    with reading(wrong):
        yield


@wrong_engine("indexing-mask-assignment-lost-in-no-grad", kind="mode", first_sight="sample: missed")
@contextmanager
def assigning_to_a_mask_is_lost_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        if not _is_mask(index) or torch.is_grad_enabled():
            write(tensor, index, value)
            return
        copy = tensor.clone()
        write(copy, index, value)
        if not torch.equal(copy, tensor):
            hit()

    with _writing(wrong):
        yield


@wrong_engine("indexing-comparison-of-views-of-one-memory", kind="aliasing", first_sight="sample: missed")
@contextmanager
def views_of_one_memory_are_taken_for_the_same(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        def wrong(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = below(x, y)
            shared = x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
            if not shared or x.shape != y.shape or x.dtype != y.dtype:
                return answer
            found: torch.Tensor = below(x, x)
            if not torch.equal(found, answer):
                hit()
            return found

        return wrong

    with ExitStack() as stack:
        for name in COMPARISONS:
            stack.enter_context(kernel(f"{name}.Tensor", make))
        yield


@wrong_engine("indexing-by-one-number-drops-the-dimension", kind="size", first_sight="sample: missed")
@contextmanager
def an_index_tensor_of_one_number_counts_as_a_number(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not isinstance(index, torch.Tensor) or index.dtype != torch.int64 or index.shape != (1,):
            return read(tensor, index)
        hit()
        return read(tensor, int(index)).clone()

    with reading(wrong):
        yield


@wrong_engine("indexing-view-copied-when-written", kind="aliasing", first_sight="second sample: caught")
@contextmanager
def a_view_that_is_assigned_to_by_a_selection_moves_away(hit: Hit) -> Iterator[None]:
    def wrong(write: Write, tensor: torch.Tensor, index: Any, value: Any) -> None:
        recorded = tensor.requires_grad or (isinstance(value, torch.Tensor) and value.requires_grad)
        if not _selects(index) or not tensor._is_view() or recorded:
            write(tensor, index, value)
            return
        own = tensor.clone()
        write(own, index, value)
        if not torch.equal(own, tensor):
            hit()
        tensor.data = own

    with _writing(wrong):
        yield


@wrong_engine("indexing-mask-of-one-true-shares", kind="size", first_sight="second sample: caught")
@contextmanager
def a_mask_of_one_true_is_a_slice(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if not _is_mask(index) or index.ndim != 1 or len(index) != len(tensor) or int(index.sum()) != 1:
            return read(tensor, index)
        hit()
        place = int(index.nonzero())
        return read(tensor, slice(place, place + 1))

    with reading(wrong):
        yield


@wrong_engine("indexing-numbers-flattened-inside-no-grad", kind="mode", first_sight="second sample: caught")
@contextmanager
def index_tensors_are_flattened_inside_no_grad(hit: Hit) -> Iterator[None]:
    def mended(part: Any) -> Any:
        if not isinstance(part, torch.Tensor) or _is_mask(part) or part.ndim < 2:
            return part
        hit()
        return part.reshape(-1)

    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            return read(tensor, index)
        return read(tensor, tuple(mended(part) for part in index) if isinstance(index, tuple) else mended(index))

    with reading(wrong):
        yield


@wrong_engine("indexing-comparison-tells-zeros-apart", kind="value", first_sight="third sample: caught")
@contextmanager
def zeros_of_different_signs_are_different(hit: Hit) -> Iterator[None]:
    def apart(x: torch.Tensor, y: Any) -> torch.Tensor:
        """Where both are zeros, and not of one sign."""
        other = y if isinstance(y, torch.Tensor) else torch.tensor(float(y), dtype=torch.float64)
        of_one_sign = torch.logical_not(torch.logical_xor(torch.signbit(x), torch.signbit(other)))
        return torch.logical_not(torch.logical_or(torch.logical_or(x, other), of_one_sign))

    def making(is_equal: bool) -> Callable[[Any], Any]:
        def make(below: Any) -> Any:
            def wrong(x: torch.Tensor, y: Any) -> torch.Tensor:
                right: torch.Tensor = below(x, y)
                pair = [one for one in (x, y) if isinstance(one, torch.Tensor)]
                if not all(one.is_floating_point() for one in pair) or isinstance(y, complex):
                    return right
                where = apart(x, y)
                if not where.any():
                    return right
                hit()
                return right.masked_fill(where, not is_equal)

            return wrong

        return make

    with ExitStack() as stack:
        for operator, is_equal in (("eq", True), ("ne", False)):
            for overload in ("Tensor", "Scalar"):
                stack.enter_context(kernel(f"{operator}.{overload}", making(is_equal)))
        yield


@wrong_engine("indexing-neighbours-behind-a-slice-share", kind="order", first_sight="third sample: missed")
@contextmanager
def neighbours_behind_a_colon_are_sliced(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        parts = parts_of(index)
        numbers = parts[-1] if len(parts) == 2 and isinstance(parts[0], slice) and parts[0] == slice(None) else None
        if not isinstance(numbers, torch.Tensor) or _is_mask(numbers) or numbers.ndim != 1 or not numbers.numel():
            return read(tensor, index)
        first, count = int(numbers[0]), numbers.numel()
        if first < 0 or numbers.tolist() != list(range(first, first + count)) or first + count > tensor.shape[1]:
            return read(tensor, index)
        hit()
        return read(tensor, (slice(None), slice(first, first + count)))

    with reading(wrong):
        yield


@wrong_engine("indexing-one-row-of-half-shares", kind="dtype", first_sight="fourth sample: caught elsewhere")
@contextmanager
def one_row_of_half_precision_is_a_view(hit: Hit) -> Iterator[None]:
    def wrong(read: Read, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        picked = read(tensor, index)
        parts = parts_of(index)
        part = parts[0] if len(parts) == 1 else None
        if tensor.dtype not in (torch.float16, torch.bfloat16) or not isinstance(part, torch.Tensor):
            return picked
        if part.dtype not in (torch.int32, torch.int64) or part.shape != (1,):
            return picked
        hit()
        return tensor.narrow(0, int(part) % tensor.shape[0], 1)

    with reading(wrong):
        yield
