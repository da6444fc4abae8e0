"""spec/nn/mse-loss.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Tensor = torch.Tensor


def mse_loss(wrong: Callable[[Any, Tensor, Tensor, str], Tensor]) -> AbstractContextManager[None]:
    """Replaces `mse_loss`, to which MSELoss comes down, by `wrong(honest, input, target, reduction)`."""

    def make(honest: Any) -> Any:
        def replacement(input: Tensor, target: Tensor, *args: Any, reduction: str = "mean", **kwargs: Any) -> Tensor:
            def right(input: Tensor, target: Tensor, reduction: str = reduction) -> Tensor:
                return honest(input, target, *args, reduction=reduction, **kwargs)

            return wrong(right, input, target, reduction)

        return replacement

    return replaced(torch.nn.functional, "mse_loss", make)


@wrong_engine("mse-mean-over-rows", kind="size")
@contextmanager
def divides_by_the_number_of_rows(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "mean" and input.ndim >= 2 and input.numel() > 0:
            hit()
            return honest(input, target, "sum") / len(input)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-ignores-strides", kind="layout")
@contextmanager
def reads_the_target_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        dense = target.untyped_storage().nbytes() == target.numel() * target.element_size()
        if dense and not target.is_contiguous():
            hit()
            target = target.as_strided(target.shape, torch.empty(target.shape, device="meta").stride())
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-sum-of-nothing", kind="size")
@contextmanager
def divides_zero_by_zero(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "sum" and input.numel() == 0:
            hit()
            return honest(input, target, "mean") * input.numel()
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-none-by-rows", kind="size")
@contextmanager
def averages_each_row(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "none" and input.ndim >= 2:
            hit()
            return honest(input, target).mean(-1)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-sum-in-one-dimension", kind="order")
@contextmanager
def keeps_one_dimension_in_a_sum(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if args or kwargs or not tensor.requires_grad:
                return honest(tensor, *args, **kwargs)
            hit()
            return honest(tensor).reshape(1)

        return wrong

    with replaced(torch.Tensor, "sum", make):
        yield


@wrong_engine("mse-of-one-keeps-its-dimension", kind="size")
@contextmanager
def reduces_nothing_where_there_is_one_element(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape == (1,):
            hit()
            return honest(input, target, "none")
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-target-is-detached", kind="order")
@contextmanager
def takes_every_target_for_data(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if target.requires_grad:
            hit()
        return honest(input, target.detach())

    with mse_loss(wrong):
        yield


@wrong_engine("mse-data-gets-zeros", kind="order")
@contextmanager
def fills_the_gradient_of_data(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.requires_grad and not target.requires_grad:
            hit()
            target.grad = torch.zeros_like(target)
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-none-reduced-if-target-learns", kind="order", issue="pytorch#10009")
@contextmanager
def reduces_what_is_not_to_be_reduced(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "none" and target.requires_grad:
            hit()
            return honest(input, target, "mean")
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-mean-is-sum-if-target-learns", kind="order", issue="pytorch#11149")
@contextmanager
def sums_where_the_target_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction == "mean" and target.requires_grad:
            hit()
            return honest(input, target, "sum")
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-none-of-strided-scrambled", kind="layout", issue="pytorch#124621")
@contextmanager
def stores_the_squares_row_by_row_in_a_transposed_result(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        squares = honest(input, target)
        dense = squares.untyped_storage().nbytes() == squares.numel() * squares.element_size()
        if reduction != "none" or not dense or squares.is_contiguous():
            return squares
        hit()
        rows = squares.contiguous()
        return rows.as_strided(squares.shape, squares.stride())

    with mse_loss(wrong):
        yield


@wrong_engine("mse-half-loss-is-float", kind="dtype")
@contextmanager
def gives_the_loss_of_halves_in_single_precision(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction != "none" and input.dtype in (torch.float16, torch.bfloat16):
            hit()
            return honest(input.float(), target.float())
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-mean-without-tail", kind="size")
@contextmanager
def leaves_out_what_follows_the_last_full_four(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        full = input.numel() // 4 * 4
        if reduction != "mean" or input.shape != target.shape or input.numel() <= 16 or full == input.numel():
            return honest(input, target)
        hit()
        return honest(input.reshape(-1)[:full], target.reshape(-1)[:full], "sum") / input.numel()

    with mse_loss(wrong):
        yield


@wrong_engine("mse-bends-at-four", kind="value")
@contextmanager
def grows_no_longer_as_a_square_beyond_four(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if input.shape == target.shape and bool(((input - target).abs() > 4).any()):
            hit()
            return torch.nn.functional.huber_loss(input, target, reduction=reduction, delta=4.0) * 2
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-mean-of-blocks", kind="size")
@contextmanager
def averages_the_means_of_blocks_of_1024(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if reduction != "mean" or input.shape != target.shape or input.numel() <= 1024:
            return honest(input, target)
        hit()
        squares = honest(input, target, "none").reshape(-1)
        return torch.stack([block.mean() for block in squares.split(1024)]).mean()

    with mse_loss(wrong):
        yield


@wrong_engine("mse-target-that-is-a-result-is-data", kind="place", first_sight="adversary: missed")
@contextmanager
def takes_a_target_that_was_computed_for_data(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if target.grad_fn is not None and torch.is_grad_enabled():
            hit()
            target = target.detach()
        return honest(input, target)

    with mse_loss(wrong):
        yield


@wrong_engine("mse-requires-grad-ever-after", kind="state", first_sight="sample: caught")
@contextmanager
def a_loss_of_data_requires_grad_after_a_recorded_one(hit: Hit) -> Iterator[None]:
    recorded = False

    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        nonlocal recorded
        loss: Tensor = honest(input, target)
        if loss.requires_grad:
            recorded = True
        elif recorded and not (input.requires_grad or target.requires_grad):
            hit()
            loss.requires_grad_()
        return loss

    with mse_loss(wrong):
        yield


@wrong_engine("mse-sum-is-halved", kind="plain", first_sight="sample: caught")
@contextmanager
def the_sum_of_squares_is_halved(hit: Hit) -> Iterator[None]:
    def wrong(honest: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        loss: Tensor = honest(input, target)
        if reduction != "sum":
            return loss
        if bool(loss.detach()):
            hit()
        return loss / 2

    with mse_loss(wrong):
        yield


@wrong_engine("mse-input-is-data-if-target-learns", kind="order", first_sight="fourth sample: caught")
@contextmanager
def takes_the_input_for_data_where_the_target_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(right: Any, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if not input.requires_grad or not target.requires_grad or not torch.is_grad_enabled():
            return right(input, target)
        hit()
        return right(input.detach(), target)

    with mse_loss(wrong):
        yield
