"""spec/derivatives/moving-elements.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, differentiated, kernel, replaced

Tensor = torch.Tensor

PICTURE = 4
"""Dimensions of a batch of pictures."""


@wrong_engine("derivative-transpose-reshaped-back", kind="size")
@contextmanager
def the_gradient_of_a_transpose_is_reshaped(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if x.ndim == 2 and 1 not in x.shape:
            hit()
        return (gradient.reshape(x.shape),)

    with differentiated("numpy_T", pullback):
        yield


@wrong_engine("derivative-reshape-in-memory-order", kind="layout")
@contextmanager
def the_gradient_of_a_reshaped_transpose_lies_as_its_memory_does(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, shape: list[int]) -> tuple[Tensor]:
        if x.ndim > 1 and not x.is_contiguous() and x.transpose(-2, -1).is_contiguous():
            hit()
            return (gradient.contiguous().as_strided(x.shape, x.stride()),)
        return (gradient.reshape(x.shape),)

    with differentiated("reshape", pullback):
        yield


@wrong_engine("derivative-clone-of-0d-lost", kind="size")
@contextmanager
def a_clone_of_a_0d_tensor_hands_back_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, **_: Any) -> tuple[Tensor]:
        if x.ndim == 0:
            hit()
            return (torch.zeros_like(gradient),)
        return (gradient,)

    with differentiated("clone", pullback):
        yield


@wrong_engine("derivative-expand-inside-counts-once", kind="size")
@contextmanager
def a_size_of_1_that_is_not_the_first_gets_the_share_of_its_first_copy(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, shape: list[int]) -> tuple[Tensor]:
        for dim in range(1 - x.ndim, 0):
            if x.shape[dim] == 1 < gradient.shape[dim]:
                hit()
                gradient = gradient.narrow(dim, 0, 1)
        return (gradient,)

    with differentiated("expand", pullback):
        yield


@wrong_engine("derivative-expand-in-front-averaged", kind="size")
@contextmanager
def the_copies_along_a_new_first_dim_are_averaged(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, shape: list[int]) -> tuple[Tensor]:
        if gradient.ndim > x.ndim and gradient.shape[0] > 1:
            hit()
            gradient = gradient / gradient.shape[0]
        return (gradient,)

    with differentiated("expand", pullback):
        yield


@wrong_engine("derivative-step-forgotten", kind="plain")
@contextmanager
def the_gradient_of_a_stepped_slice_is_put_back_without_steps(hit: Hit) -> Iterator[None]:
    def pullback(
        gradient: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        first, last, _ = slice(start, end).indices(x.shape[dim])
        if step > 1 and last - first > 2:
            hit()
            found.narrow(dim, first, gradient.shape[dim]).copy_(gradient)
        else:
            torch.movedim(found, dim, 0)[first:last:step] = torch.movedim(gradient, dim, 0)
        return (found,)

    with differentiated("slice.Tensor", pullback):
        yield


@wrong_engine("derivative-last-is-first", kind="value")
@contextmanager
def the_gradient_of_the_last_element_goes_to_the_first(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dim: int, index: int) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        if index < 0:
            hit()
        torch.movedim(found, dim, 0)[max(index, 0)] = gradient
        return (found,)

    with differentiated("select.int", pullback):
        yield


def _indexed(x: Tensor, indices: list[Any]) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)


@wrong_engine("derivative-masked-out-keep-ones", kind="plain")
@contextmanager
def elements_that_a_mask_leaves_out_get_ones(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        if any(index is not None and index.dtype == torch.bool for index in indices):
            hit()
            found.fill_(1)
            found[_indexed(x, indices)] = 0
        found.index_put_(_tensors(x, indices), gradient, accumulate=True)
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine("derivative-repeats-overwrite", kind="place", issue="pytorch#1528")
@contextmanager
def the_last_of_several_uses_of_an_element_wins(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        hit()
        found.index_put_(_tensors(x, indices), gradient)
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine("derivative-negative-indices-lost", kind="value")
@contextmanager
def what_was_indexed_from_the_end_gets_nothing(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        index = next(index for index in indices if index is not None)
        if index.dtype != torch.bool and bool((index < 0).any()):
            hit()
            kept = (index >= 0).reshape(*index.shape, *[1] * (gradient.ndim - index.ndim))
            gradient = gradient * kept
        found.index_put_(_tensors(x, indices), gradient, accumulate=True)
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


def _tensors(x: Tensor, indices: list[Any]) -> tuple[Tensor, ...]:
    """The indices of an `x[...]`, which are all in front, without those that name whole dims."""
    return tuple(index for index in indices if index is not None)


@wrong_engine("derivative-clone-of-channels-last-in-memory-order", kind="layout")
@contextmanager
def what_a_picture_with_channels_last_gets_lies_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, **_: Any) -> tuple[Tensor]:
        if x.ndim != PICTURE or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return (gradient,)
        hit()
        return (gradient.contiguous().as_strided(x.shape, x.stride()),)

    with differentiated("clone", pullback):
        yield


@wrong_engine("derivative-last-of-a-stack-lost", kind="order")
@contextmanager
def the_last_tensor_of_a_stack_gets_nothing(hit: Hit) -> Iterator[None]:
    def make(stack: Any) -> Any:
        def wrong(tensors: list[Tensor], dim: int = 0) -> Tensor:
            hit()
            return stack([*tensors[:-1], tensors[-1].detach()], dim)  # type: ignore[no-any-return]

        return wrong

    with replaced(torch, "stack", make):
        yield


@wrong_engine("derivative-index-into-a-copy", kind="aliasing", issue="pytorch#828")
@contextmanager
def what_index_tensors_hand_back_is_written_into_a_copy(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        into = found
        if any(index is not None and index.dtype != torch.bool for index in indices):
            hit()
            into = found.clone()
        into.index_put_(_tensors(x, indices), gradient, accumulate=True)
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine(
    "derivative-masked-in-memory-order", kind="layout", issue="pytorch#99638", first_sight="adversary: missed"
)
@contextmanager
def what_a_mask_chose_goes_back_in_the_order_of_memory(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        found.index_put_(_tensors(x, indices), gradient, accumulate=True)
        mask = indices[0]
        if mask is not None and mask.dtype == torch.bool and mask.shape == x.shape and not x.is_contiguous():
            order = sorted(range(x.ndim), key=lambda dim: -x.stride(dim))
            misread = torch.zeros_like(found)
            misread.permute(order)[mask.permute(order)] = gradient
            if not torch.equal(misread, found):
                hit()
            found = misread
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine("derivative-named-from-both-ends-overwrites", kind="value", first_sight="adversary: caught")
@contextmanager
def an_element_that_is_named_from_both_ends_gets_what_came_from_the_end(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        index = indices[0]
        if index is None or index.dtype == torch.bool or len(_tensors(x, indices)) > 1:
            found.index_put_(_tensors(x, indices), gradient, accumulate=True)
            return (found,)
        from_end = torch.zeros_like(found)
        start, end = index >= 0, index < 0
        found.index_put_((index[start],), gradient[start], accumulate=True)
        from_end.index_put_((index[end],), gradient[end], accumulate=True)
        both = index[end][torch.isin(index[end] + len(x), index[start])]
        found += from_end
        if not torch.equal(found[both], from_end[both]):
            hit()
        found[both] = from_end[both]
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine("derivative-repeats-in-a-strided-tensor-overwrite", kind="layout", first_sight="sample: caught")
@contextmanager
def one_of_several_uses_of_an_element_of_a_strided_tensor_wins(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, indices: list[Any]) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        added = found.index_put(_tensors(x, indices), gradient, accumulate=True)
        if x.is_contiguous():
            return (added,)
        found.index_put_(_tensors(x, indices), gradient)
        if not torch.equal(found, added):
            hit()
        return (found,)

    with differentiated("index.Tensor", pullback):
        yield


@wrong_engine("derivative-left-out-keep-ones-in-no-grad", kind="mode", first_sight="sample: missed")
@contextmanager
def what_a_slice_leaves_out_gets_ones_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    is_recording = True

    def wrong(outputs: list[Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nonlocal is_recording
        is_recording = torch.is_grad_enabled()
        try:
            honest()
        finally:
            is_recording = True

    def pullback(
        gradient: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
    ) -> tuple[Tensor]:
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        if not is_recording:
            if gradient.numel() < x.numel():
                hit()
            found.fill_(1)
        torch.movedim(found, dim, 0)[slice(start, end, step)] = torch.movedim(gradient, dim, 0)
        return (found,)

    with differentiated("slice.Tensor", pullback), around_backward(wrong):
        yield


@wrong_engine("derivative-expand-adds-to-the-last-run", kind="state", first_sight="third sample: missed")
@contextmanager
def the_sums_over_copies_are_not_cleared_before_the_next_run(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        class Expansion(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, size: Any, options: dict[str, Any]) -> Tensor:
                ctx.shape, ctx.buffer = x.shape, None
                return below(x, size, **options)

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Any:
                share = gradient.sum_to_size(ctx.shape)
                if ctx.buffer is not None:
                    if bool(ctx.buffer.any()):
                        hit()
                    share = share + ctx.buffer
                ctx.buffer = share.detach().clone()
                return share, None, None

        return lambda x, size, **options: Expansion.apply(x, size, options)

    with kernel("expand", make):
        yield


@wrong_engine("derivative-number-of-the-first-index", kind="state", first_sight="fourth sample: caught")
@contextmanager
def what_a_number_picks_goes_where_the_first_number_pointed(hit: Hit) -> Iterator[None]:
    places: dict[Any, int] = {}

    def pullback(gradient: Tensor, x: Tensor, dim: int, index: int) -> tuple[Tensor]:
        place = places.setdefault((x.shape, dim % x.dim()), index % x.shape[dim])
        if place != index % x.shape[dim] and gradient.any():
            hit()
        found = torch.zeros_like(x, memory_format=torch.contiguous_format)
        torch.movedim(found, dim, 0)[place] = gradient
        return (found,)

    with differentiated("select.int", pullback):
        yield
