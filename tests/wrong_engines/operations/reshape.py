"""spec/operations/reshape.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]

REFUSAL = "view size is not compatible"

PICTURE = 4
"""Dimensions of a batch of pictures."""


@contextmanager
def _reshaping(wrong: Callable[[Operation, torch.Tensor, tuple[int, ...]], torch.Tensor]) -> Iterator[None]:
    def make(reshape: Operation) -> Operation:
        def replacement(x: torch.Tensor, *shape: Any) -> torch.Tensor:
            sizes = shape[0] if shape and not isinstance(shape[0], int) else shape
            return wrong(lambda tensor, asked: reshape(tensor, asked), x, tuple(sizes))

        return replacement

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "reshape", make))
        yield


def _viewing(wrong: Callable[[Operation, torch.Tensor, tuple[int, ...]], torch.Tensor]) -> Any:
    def make(view: Operation) -> Operation:
        def replacement(x: torch.Tensor, *shape: Any) -> torch.Tensor:
            sizes = shape[0] if shape and not isinstance(shape[0], int) else shape
            return wrong(view, x, tuple(sizes))

        return replacement

    return replaced(torch.Tensor, "view", make)


@wrong_engine("reshape-memory-order", kind="layout")
@contextmanager
def a_transposed_tensor_is_reshaped_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(reshape: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if x.ndim < 2 or x.is_contiguous() or not x.transpose(-2, -1).is_contiguous():
            return reshape(x, shape)
        hit()
        return reshape(x.transpose(-2, -1), shape)

    with _reshaping(wrong):
        yield


@wrong_engine("reshape-missing-size-leads", kind="order")
@contextmanager
def the_missing_size_comes_first(hit: Hit) -> Iterator[None]:
    def wrong(reshape: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if -1 not in shape[1:]:
            return reshape(x, shape)
        hit()
        return reshape(x, (-1, *(size for size in shape if size != -1)))

    with _reshaping(wrong):
        yield


@wrong_engine("view-copies-strided", kind="aliasing")
@contextmanager
def a_view_of_a_strided_tensor_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        seen = view(x, shape)
        if x.is_contiguous():
            return seen
        hit()
        return seen.clone()

    with _viewing(wrong):
        yield


@wrong_engine("view-contiguous-only", kind="layout", refuses=REFUSAL)
@contextmanager
def every_strided_tensor_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if not x.is_contiguous():
            hit()
            raise RuntimeError(REFUSAL)
        return view(x, shape)

    with _viewing(wrong):
        yield


@wrong_engine("view-never-refuses", kind="error")
@contextmanager
def what_cannot_be_viewed_is_copied(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        try:
            return view(x, shape)
        except RuntimeError as refusal:
            if REFUSAL not in str(refusal):
                raise
            hit()
            return view(x.contiguous(), shape)

    with _viewing(wrong):
        yield


@wrong_engine("reshape-fills-up", kind="error")
@contextmanager
def elements_that_are_missing_are_zeros(hit: Hit) -> Iterator[None]:
    def wrong(reshape: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if shape != (x.numel() + 1,):
            return reshape(x, shape)
        hit()
        return torch.cat([reshape(x, (-1,)), x.new_zeros(1)])

    with _reshaping(wrong):
        yield


@wrong_engine("transpose-copies-square", kind="aliasing")
@contextmanager
def a_square_matrix_is_copied(hit: Hit) -> Iterator[None]:
    def make(turned: Any) -> Any:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = turned.__get__(x)
            if x.ndim != 2 or x.shape[0] != x.shape[1]:
                return result
            hit()
            return result.clone()

        return property(wrong)

    with replaced(torch.Tensor, "T", make):
        yield


@wrong_engine("transpose-forgets-offset", kind="layout")
@contextmanager
def the_transpose_of_a_slice_starts_at_its_base(hit: Hit) -> Iterator[None]:
    def make(turn: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.ndim != 2 or not x.storage_offset():
                return turn(x)
            hit()
            return x.as_strided(x.shape[::-1], x.stride()[::-1], 0)

        return wrong

    with kernel("t", make):
        yield


@wrong_engine("reshape-channels-last-as-they-lie", kind="layout")
@contextmanager
def a_picture_with_channels_last_is_reshaped_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(reshape: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if x.ndim != PICTURE or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return reshape(x, shape)
        hit()
        return reshape(x.permute(0, 2, 3, 1), shape)

    with _reshaping(wrong):
        yield


@wrong_engine("reshape-missing-size-of-nothing", kind="size")
@contextmanager
def the_missing_size_of_an_empty_tensor_is_1(hit: Hit) -> Iterator[None]:
    def wrong(reshape: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        result = reshape(x, shape)
        if x.numel() or -1 not in shape:
            return result
        hit()
        return x.new_zeros([1 if size == -1 else size for size in shape])

    with _reshaping(wrong):
        yield


@wrong_engine("view-refused-half-done", kind="error")
@contextmanager
def what_cannot_be_viewed_is_laid_out_anew_before_it_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        try:
            return view(x, shape)
        except RuntimeError as refusal:
            if REFUSAL in str(refusal):
                hit()
                x.set_(x.contiguous())  # type: ignore[call-overload]
            raise

    with _viewing(wrong):
        yield


@wrong_engine("view-of-a-view-copies", kind="place")
@contextmanager
def a_view_of_what_has_a_base_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        seen = view(x, shape)
        if not x._is_view() or not x.is_contiguous():
            return seen
        hit()
        return seen.clone()

    with _viewing(wrong):
        yield


@wrong_engine("view-refuses-sizes-of-one-between-gaps", kind="layout", refuses=REFUSAL, first_sight="adversary: caught")
@contextmanager
def a_dimension_of_one_element_counts_as_a_gap(hit: Hit) -> Iterator[None]:
    def make(view: Operation) -> Operation:
        def wrong(x: torch.Tensor, *shape: Any) -> torch.Tensor:
            right = view(x, *shape)
            if x.is_contiguous() or 1 not in x.shape or right.shape == x.shape:
                return right
            hit()
            raise RuntimeError(f"{REFUSAL} with input tensor's size and stride")

        return wrong

    with replaced(torch.Tensor, "view", make):
        yield


@wrong_engine("view-with-a-missing-last-size-copies", kind="order", first_sight="sample: missed")
@contextmanager
def a_view_whose_last_size_is_missing_copies(hit: Hit) -> Iterator[None]:
    def wrong(view: Operation, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        try:
            return view(x, shape)
        except RuntimeError as error:
            if REFUSAL not in str(error) or shape[-1] != -1:
                raise
            hit()
            return x.reshape(shape)

    with _viewing(wrong):
        yield


@wrong_engine("transpose-of-a-transposed-copies", kind="layout", first_sight="second sample: caught")
@contextmanager
def a_matrix_that_is_not_contiguous_is_copied(hit: Hit) -> Iterator[None]:
    def copied(x: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.is_contiguous():
            return turned
        hit()
        return turned.clone()

    def make(turn: Operation) -> Operation:
        return lambda x, *dims, **named: copied(x, turn(x, *dims, **named))

    def make_attribute(turn: Any) -> property:
        return property(lambda x: copied(x, turn.__get__(x)))

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            for name in ("t", "transpose"):
                stack.enter_context(replaced(owner, name, make))
        for name in ("T", "mT"):
            stack.enter_context(replaced(torch.Tensor, name, make_attribute))
        yield


@wrong_engine("reshape-matrix-column-by-column", kind="order", first_sight="third sample: missed")
@contextmanager
def a_matrix_is_filled_column_by_column(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, x: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
        right = honest(x, sizes)
        if x.ndim != 2 or right.ndim != 2 or right.shape == x.shape or 1 in right.shape or not x.numel():
            return right
        found = honest(x, tuple(right.shape[::-1])).t()
        if not torch.equal(found, right):
            hit()
        return found

    with _reshaping(wrong):
        yield


@wrong_engine("view-after-reshape-copies", kind="state", first_sight="fourth sample: missed")
@contextmanager
def what_has_been_reshaped_is_viewed_in_a_copy(hit: Hit) -> Iterator[None]:
    def make_reshape(reshape: Operation) -> Operation:
        def remembering(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = reshape(x, *args, **kwargs)
            x._was_reshaped = True  # type: ignore[attr-defined]
            return result

        return remembering

    def make(view: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return view(x, *args, **kwargs)
            except RuntimeError as refusal:
                if REFUSAL not in str(refusal) or "_was_reshaped" not in vars(x):
                    raise
            hit()
            return view(x.contiguous(), *args, **kwargs)

        return wrong

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "reshape", make_reshape))
        stack.enter_context(replaced(torch.Tensor, "view", make))
        yield


WRITES = ("add_", "sub_", "mul_", "div_", "neg_", "zero_", "fill_", "copy_", "clamp_", "exp_", "sqrt_", "__setitem__")


@wrong_engine("view-leaves-when-written", kind="aliasing", first_sight="fourth sample: caught")
@contextmanager
def a_view_that_is_written_to_moves_first(hit: Hit) -> Iterator[None]:
    def make_view(view: Operation) -> Operation:
        def shared(x: torch.Tensor, *shape: Any, **kwargs: Any) -> torch.Tensor:
            made = view(x, *shape, **kwargs)
            vars(made)["_shares"] = True
            return made

        return shared

    def make_write(write: Operation) -> Operation:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            is_free = not (tensor.requires_grad and torch.is_grad_enabled()) and not tensor.is_inference()
            if is_free and tensor.numel() and vars(tensor).pop("_shares", False):
                hit()
                tensor.data = tensor.detach().clone()
            return write(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as stack:
        stack.enter_context(replaced(torch.Tensor, "view", make_view))
        for name in (*WRITES, "__iadd__", "__isub__", "__imul__", "__itruediv__"):
            stack.enter_context(replaced(torch.Tensor, name, make_write))
        yield
