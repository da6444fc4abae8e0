"""spec/operations/matmul.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]

SIXTEEN = 16


def _multiplying(operator: str, wrong: Callable[[Operation, torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    def make(multiply: Operation) -> Operation:
        def replacement(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return wrong(multiply, x, y)

        return replacement

    return kernel(operator, make)


@wrong_engine("matmul-keeps-column", kind="size")
@contextmanager
def a_column_times_a_vector_of_one_stays_a_column(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or y.shape != (1,):
            return multiply(x, y)
        hit()
        return multiply(x, y).unsqueeze(1)

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-ignores-strides", kind="layout")
@contextmanager
def a_transposed_second_factor_is_read_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if y.is_contiguous() or not y.t().is_contiguous():
            return multiply(x, y)
        hit()
        return multiply(x, y.as_strided(y.shape, (y.shape[1], 1)))

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-empty-inner", kind="size", issue="pytorch#175902")
@contextmanager
def a_sum_of_no_products_is_left_at_one(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        result = multiply(x, y)
        if x.shape[-1]:
            return result
        hit()
        return torch.ones_like(result)

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-first-batch-only", kind="size")
@contextmanager
def every_batch_is_multiplied_by_the_first(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if y.shape[0] < 2:
            return multiply(x, y)
        hit()
        return multiply(x, y[:1].expand(y.shape))

    with _multiplying("bmm", wrong):
        yield


@wrong_engine("matmul-mm-is-matmul", kind="error")
@contextmanager
def mm_takes_what_matmul_takes(hit: Hit) -> Iterator[None]:
    def make(multiply: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if x.ndim == y.ndim == 2:
                return multiply(x, y)
            hit()
            return x @ y

        return wrong

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "mm", make))
        yield


@wrong_engine("matmul-swaps-to-fit", kind="error")
@contextmanager
def factors_that_do_not_fit_are_swapped(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim == y.ndim == 2 and x.shape[1] != y.shape[0] and y.shape[1] == x.shape[0]:
            hit()
            x, y = y, x
        return multiply(x, y)

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-longer-vector-cut", kind="error")
@contextmanager
def the_longer_of_two_vectors_is_cut(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.numel() != y.numel():
            hit()
        length = min(x.numel(), y.numel())
        return multiply(x[:length], y[:length])

    with _multiplying("dot", wrong):
        yield


@wrong_engine("matmul-square-times-its-transpose", kind="place", issue="pytorch#86937")
@contextmanager
def a_matrix_times_itself_is_multiplied_by_its_transpose(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.data_ptr() != y.data_ptr() or x.numel() < x.ndim:
            return multiply(x, y)
        hit()
        return multiply(x, y.t())

    with _multiplying("mm", wrong):
        yield


REFUSAL = "cannot reshape tensor of 0 elements into shape [-1, 0]"


@wrong_engine("matmul-refuses-empty-batches", kind="size", issue="pytorch#63352", refuses=REFUSAL)
@contextmanager
def a_batch_with_nothing_to_sum_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim > 2 and y.ndim == 2 and not x.shape[-1]:
            hit()
            raise RuntimeError(REFUSAL)
        return multiply(x, y)

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-outer-columns-lost", kind="size", issue="pytorch#116769")
@contextmanager
def columns_after_the_sixteenth_of_an_outer_product_are_wrong(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        result = multiply(x, y)
        if x.shape[1] != 1 or result.shape[1] <= SIXTEEN:
            return result
        hit()
        result[:, SIXTEEN:] = 0
        return result

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-conjugation-pending", kind="dtype", issue="pytorch#148156")
@contextmanager
def a_factor_that_is_yet_to_be_conjugated_is_read_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def stored(factor: torch.Tensor) -> torch.Tensor:
        if not factor.is_conj():
            return factor
        hit()
        return factor.conj()

    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return multiply(stored(x), stored(y))

    with _multiplying("matmul", wrong):
        yield


@wrong_engine("matmul-double-in-single", kind="dtype")
@contextmanager
def doubles_are_multiplied_in_single_precision(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float64 or y.dtype != torch.float64:
            return multiply(x, y)
        hit()
        return multiply(x.float(), y.float()).double()

    with _multiplying("mm", wrong):
        yield


@wrong_engine("matmul-refused-in-place", kind="error")
@contextmanager
def a_factor_is_turned_before_it_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim == y.ndim == 2 and x.shape[1] != y.shape[0]:
            hit()
            y.t_()
        return multiply(x, y)

    with _multiplying("mm", wrong):
        yield


@contextmanager
def _multiplied_by(wrong: Callable[[Operation, torch.Tensor, torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Replace `@` and `matmul` and leave their derivatives as they are."""

    def make(multiply: Operation) -> Operation:
        return lambda x, y: wrong(multiply, x, y)

    with ExitStack() as stack:
        for owner, name in ((torch.Tensor, "__matmul__"), (torch.Tensor, "matmul"), (torch, "matmul")):
            stack.enter_context(replaced(owner, name, make))
        yield


@wrong_engine("matmul-conjugate-bit-ignored", kind="layout", first_sight="adversary: caught")
@contextmanager
def factors_are_read_unconjugated(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        read = [factor.conj() if factor.is_conj() else factor for factor in (x, y)]
        found = multiply(*read)
        if not torch.equal(found, multiply(x, y)):
            hit()
        return found

    with _multiplied_by(wrong):
        yield


@wrong_engine("matmul-inner-tail-after-sixteen", kind="size", first_sight="adversary: caught")
@contextmanager
def an_inner_size_above_16_is_cut_to_full_sixteens(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        right = multiply(x, y)
        inner = x.shape[-1]
        if inner < 16 or inner % 16 == 0:
            return right
        found = multiply(x.narrow(-1, 0, inner // 16 * 16), y.narrow(max(y.ndim - 2, 0), 0, inner // 16 * 16))
        if not torch.equal(found, right):
            hit()
        return found

    with _multiplied_by(wrong):
        yield


@wrong_engine("matmul-vector-of-one-stretched", kind="error", first_sight="adversary: missed")
@contextmanager
def a_vector_of_one_element_fits_any_inner_size(hit: Hit) -> Iterator[None]:
    def wrong(multiply: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape == (1,) and y.ndim > 1 and y.shape[-2] != 1:
            hit()
            x = x.expand(y.shape[-2])
        elif y.shape == (1,) and x.ndim > 1 and x.shape[-1] != 1:
            hit()
            y = y.expand(x.shape[-1])
        return multiply(x, y)

    with _multiplied_by(wrong):
        yield


@wrong_engine("matmul-surplus-rows-cut", kind="order", first_sight="second sample: caught")
@contextmanager
def surplus_rows_of_the_second_matrix_are_cut(hit: Hit) -> Iterator[None]:
    def make(multiply: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.ndim == 2 and y.ndim == 2 and y.shape[0] > x.shape[1]:
                hit()
                y = y.narrow(0, 0, x.shape[1])
            return multiply(x, y, **options)

        return wrong

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            for name in ("matmul", "mm"):
                stack.enter_context(replaced(owner, name, make))
        stack.enter_context(replaced(torch.Tensor, "__matmul__", make))
        yield


@wrong_engine("matmul-mm-takes-any-rank-after-a-refusal", kind="state", first_sight="fourth sample: caught")
@contextmanager
def mm_refuses_other_ranks_only_once(hit: Hit) -> Iterator[None]:
    has_refused = False

    def make(multiply: Operation) -> Operation:
        def wrong(x: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
            nonlocal has_refused
            try:
                return multiply(x, y, **options)
            except RuntimeError:
                if x.ndim == y.ndim == 2:
                    raise
                if not has_refused:
                    has_refused = True
                    raise
            found = torch.matmul(x, y)
            hit()
            return found

        return wrong

    with replaced(torch, "mm", make), replaced(torch.Tensor, "mm", make):
        yield
