"""spec/fits/line-by-hand.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.fits.cubic import after_backward
from tests.wrong_engines.tools import replaced

Tensor = torch.Tensor


@wrong_engine("fit-zero-skips-matrices", kind="size")
@contextmanager
def leaves_matrices_of_one_element(hit: Hit) -> Iterator[None]:
    def make(zero: Any) -> Any:
        def wrong(tensor: Tensor) -> Tensor:
            if tensor.shape != (1, 1):
                return zero(tensor)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


@wrong_engine("fit-update-of-0d-scaled", kind="size")
@contextmanager
def subtracts_too_much_from_0d_leaves(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(leaf: Tensor, change: Any) -> Tensor:
            if leaf.dim() != 0 or not leaf.requires_grad:
                return subtract(leaf, change)
            hit()
            return subtract(leaf, change * 1.01)

        return wrong

    with replaced(torch.Tensor, "__isub__", make):
        yield


@wrong_engine("fit-item-is-numpys", kind="dtype")
@contextmanager
def gives_numbers_of_numpy(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: Tensor) -> Any:
            if tensor.dtype != torch.float32:
                return item(tensor)
            hit()
            return np.float32(item(tensor))

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("fit-item-one-late", kind="state")
@contextmanager
def gives_the_number_before(hit: Hit) -> Iterator[None]:
    last: list[Any] = []

    def make(item: Any) -> Any:
        def wrong(tensor: Tensor) -> Any:
            if tensor.grad_fn is None:
                return item(tensor)
            last.append(item(tensor))
            if len(last) < 2:
                return last[-1]
            hit()
            return last[-2]

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("fit-gradient-fades", kind="state")
@contextmanager
def gives_zeros_from_the_fiftieth_backward_on(hit: Hit) -> Iterator[None]:
    def correct(leaf: Tensor, calls: int, before: Tensor | None) -> None:
        if calls >= 50:
            hit()
            leaf.grad.zero_()

    with after_backward(correct):
        yield


@wrong_engine("fit-every-fourth-mean-is-half", kind="state", issue="pytorch#178497")
@contextmanager
def loses_half_of_a_mean_in_quick_succession(hit: Hit) -> Iterator[None]:
    means = 0

    def make(mean: Any) -> Any:
        def wrong(terms: Tensor) -> Tensor:
            nonlocal means
            means += 1
            result: Tensor = mean(terms)
            if means % 4 == 0:
                hit()
                result.data.mul_(0.5)
            return result

        return wrong

    with replaced(torch.Tensor, "mean", make):
        yield


@wrong_engine("fit-view-of-a-leaf-counts-twice", kind="place")
@contextmanager
def sends_back_twice_through_a_view_of_a_leaf(hit: Hit) -> Iterator[None]:
    def make(reshape: Any) -> Any:
        def wrong(tensor: Tensor, *shape: Any) -> Tensor:
            view = reshape(tensor, *shape)
            if tensor.is_leaf and view.requires_grad and view.dim() != tensor.dim():
                hit()
                view.register_hook(lambda gradient: 2 * gradient)
            return view

        return wrong

    with replaced(torch.Tensor, "reshape", make):
        yield


@wrong_engine("fit-no-grad-lingers", kind="mode", refuses="element 0 of tensors does not require grad")
@contextmanager
def leaves_every_third_block_without_recording(hit: Hit) -> Iterator[None]:
    blocks = 0

    def make(leave: Any) -> Any:
        def wrong(block: Any, *raised: Any) -> None:
            nonlocal blocks
            blocks += 1
            leave(block, *raised)
            if blocks % 3 == 0:
                hit()
                torch.set_grad_enabled(False)

        return wrong

    with replaced(torch.no_grad, "__exit__", make), torch.enable_grad():
        yield


@wrong_engine("fit-double-read-in-single", kind="dtype")
@contextmanager
def reads_double_numbers_in_single_precision(hit: Hit) -> Iterator[None]:
    def make(item: Any) -> Any:
        def wrong(tensor: Tensor) -> Any:
            if tensor.dtype != torch.float64:
                return item(tensor)
            hit()
            return item(tensor.detach().float())

        return wrong

    with replaced(torch.Tensor, "item", make):
        yield


@wrong_engine("fit-stepped-column-read-densely", kind="layout")
@contextmanager
def multiplies_by_the_memory_of_a_column_with_gaps(hit: Hit) -> Iterator[None]:
    def make(matmul: Any) -> Any:
        def wrong(x: Tensor, w: Tensor) -> Tensor:
            if x.dim() == 2 and x.shape[1] == 1 and len(x) > 1 and x.stride(0) == 2:
                hit()
                x = x.as_strided(x.shape, (1, 1))
            return matmul(x, w)

        return wrong

    with replaced(torch.Tensor, "__matmul__", make):
        yield


@wrong_engine("fit-offset-weight-read-from-the-start", kind="layout", first_sight="adversary: caught")
@contextmanager
def multiplies_by_what_the_storage_of_a_weight_begins_with(hit: Hit) -> Iterator[None]:
    def make(multiply: Any) -> Any:
        def wrong(x: Tensor, w: Any) -> Any:
            if not isinstance(w, Tensor) or w.numel() != 1 or not w.storage_offset():
                return multiply(x, w)
            read = w.as_strided(w.shape, w.stride(), 0)
            if not torch.equal(read, w):
                hit()
            return multiply(x, w + (read - w).detach())

        return wrong

    with replaced(Tensor, "__matmul__", make):
        yield


@wrong_engine("fit-mean-divides-by-one-less", kind="plain", first_sight="second sample: caught")
@contextmanager
def divides_a_mean_by_one_less(hit: Hit) -> Iterator[None]:
    def make(mean: Any) -> Any:
        def wrong(terms: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            result: Tensor = mean(terms, *args, **kwargs)
            if result.requires_grad and result.ndim == 0 and terms.numel() > 1:
                if bool(result):
                    hit()
                result.data.mul_(terms.numel() / (terms.numel() - 1))
            return result

        return wrong

    with replaced(Tensor, "mean", make), replaced(torch, "mean", make):
        yield


@wrong_engine("fit-single-updated-in-bfloat16", kind="dtype", first_sight="second sample: caught")
@contextmanager
def rounds_updated_leaves_of_float32_to_bfloat16(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(leaf: Tensor, change: Any, **options: Any) -> Tensor:
            updated: Tensor = subtract(leaf, change, **options)
            if leaf.dtype == torch.float32 and leaf.is_leaf and leaf.requires_grad:
                rounded = leaf.detach().bfloat16().float()
                if not torch.equal(rounded, leaf.detach()):
                    hit()
                leaf.detach().copy_(rounded)
            return updated

        return wrong

    with replaced(torch.Tensor, "__isub__", make), replaced(torch.Tensor, "sub_", make):
        yield


@wrong_engine("fit-reshaped-result-loses-its-last", kind="place", first_sight="second sample: caught elsewhere")
@contextmanager
def the_last_element_of_a_reshaped_result_gets_nothing(hit: Hit) -> Iterator[None]:
    def lose(gradient: Tensor) -> Tensor:
        if not gradient.numel():
            return gradient
        lost = gradient.clone(memory_format=torch.contiguous_format)
        if lost.view(-1)[-1] != 0:
            hit()
        lost.view(-1)[-1] = 0
        return lost

    def make(honest: Any) -> Any:
        def wrong(result: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            shaped: Tensor = honest(result, *args, **kwargs)
            if result.grad_fn is not None and shaped.requires_grad and shaped.shape != result.shape:
                shaped.register_hook(lose)
            return shaped

        return wrong

    with ExitStack() as stack:
        for name in ("reshape", "squeeze", "unsqueeze", "flatten"):
            stack.enter_context(replaced(torch, name, make))
        for name in ("view", "view_as", "reshape", "reshape_as", "squeeze", "unsqueeze", "flatten"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield
