"""spec/operations/broadcasting.md"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]


Wrong = Callable[[Operation, torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


@contextmanager
def _arithmetic(wrong: Wrong) -> Iterator[None]:
    """Replace + - * and == of two tensors."""

    def make(operation: Operation) -> Operation:
        def replacement(x: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
            return wrong(operation, x, y, options)

        return replacement

    with ExitStack() as stack:
        for operator in ("add.Tensor", "sub.Tensor", "mul.Tensor", "eq.Tensor"):
            stack.enter_context(kernel(operator, make))
        yield


@wrong_engine("broadcasting-from-the-left", kind="size")
@contextmanager
def shapes_are_aligned_at_the_first_dimension(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if x.numel() > 1 and x.shape == y.shape[: x.ndim]:
            hit()
            x = x.reshape(x.shape + (1,) * (y.ndim - x.ndim))
        return operation(x, y, **options)

    with _arithmetic(wrong):
        yield


@wrong_engine("broadcasting-fills-empty", kind="size")
@contextmanager
def a_size_of_1_is_not_shrunk_to_0(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        result = operation(x, y, **options)
        if result.numel() or not (x.numel() or y.numel()):
            return result
        hit()
        return x if x.numel() else y

    with _arithmetic(wrong):
        yield


def _refused(wrong: Callable[[Operation, torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    """Replace what torch refuses because shapes do not fit; `wrong` raises again what it leaves refused."""

    def replacement(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        try:
            return operation(x, y, **options)
        except RuntimeError as refusal:
            if "must match the size" not in str(refusal):
                raise
            return wrong(operation, x, y)

    return _arithmetic(replacement)


@wrong_engine("broadcasting-recycles", kind="error")
@contextmanager
def whatever_is_shorter_starts_again(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        dims = max(x.ndim, y.ndim)
        x, y = (each.reshape((1,) * (dims - each.ndim) + each.shape) for each in (x, y))
        for dim in range(dims):
            longest = max(x.shape[dim], y.shape[dim])
            if 0 in (x.shape[dim], y.shape[dim]):
                return operation(x, y)
            x, y = (each.index_select(dim, torch.arange(longest) % each.shape[dim]) for each in (x, y))
        hit()
        return operation(x, y)

    with _refused(wrong):
        yield


@wrong_engine("broadcasting-by-count", kind="error")
@contextmanager
def tensors_of_as_many_elements_are_paired_in_order(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.numel() == y.numel():
            hit()
            y = y.reshape(x.shape)
        return operation(x, y)

    with _refused(wrong):
        yield


@wrong_engine("broadcasting-pairs-by-place", kind="size")
@contextmanager
def a_vector_and_a_column_of_its_length_are_paired_in_order(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if x.ndim == 1 and y.shape == (x.numel(), 1) and x.numel() > 1:
            hit()
            x = x.reshape(y.shape)
        return operation(x, y, **options)

    with _arithmetic(wrong):
        yield


@wrong_engine("broadcasting-warns", kind="error")
@contextmanager
def a_vector_beside_a_column_of_its_length_is_warned_about(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if x.ndim == 1 and y.shape == (x.numel(), 1):
            hit()
            warnings.warn(f"Using operands of different sizes: {x.shape}, {y.shape}", stacklevel=2)
        return operation(x, y, **options)

    with _arithmetic(wrong):
        yield


@wrong_engine("broadcasting-0d-view-reads-the-first", kind="layout", issue="pytorch#187117")
@contextmanager
def a_number_picked_from_a_vector_is_read_from_its_start(hit: Hit) -> Iterator[None]:
    def at_the_start(number: torch.Tensor) -> torch.Tensor:
        if number.ndim or not number.storage_offset():
            return number
        hit()
        return number.as_strided((), (), 0)

    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        return operation(at_the_start(x), at_the_start(y), **options)

    with _arithmetic(wrong):
        yield


@wrong_engine("broadcasting-refused-after-writing", kind="error")
@contextmanager
def an_operand_is_stretched_before_the_other_is_looked_at(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim and x.numel():
            hit()
            x.unsqueeze_(0)
        return operation(x, y)

    with _refused(wrong):
        yield


@wrong_engine("broadcasting-refused-as-value", kind="error")
@contextmanager
def sizes_that_do_not_fit_are_a_value_error(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim == y.ndim:
            return operation(x, y)
        hit()
        raise ValueError("The size of tensor a must match the size of tensor b")

    with _refused(wrong):
        yield


@wrong_engine("broadcasting-only-the-first-is-stretched", kind="order")
@contextmanager
def the_second_operand_keeps_its_size_of_1_where_the_first_is_larger(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        result = operation(x, y, **options)
        if x.ndim != y.ndim or 1 not in y.shape or x.shape == y.shape or 0 in x.shape:
            return result
        hit()
        kept = tuple(slice(0, size) if size == 1 else slice(None) for size in y.shape)
        return result[kept].expand(result.shape).clone()

    with _arithmetic(wrong):
        yield


@contextmanager
def _operators(names: tuple[str, ...], wrong: Wrong) -> Iterator[None]:
    """Replace operators between two tensors and leave their derivatives as they are."""

    def make(operation: Operation) -> Operation:
        def replacement(x: torch.Tensor, y: Any, **options: Any) -> torch.Tensor:
            if not isinstance(y, torch.Tensor):
                return operation(x, y, **options)
            return wrong(operation, x, y, options)

        return replacement

    with ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("broadcasting-middle-dimension-cyclic", kind="size", first_sight="adversary: caught")
@contextmanager
def an_operand_stretched_in_the_middle_is_read_round_and_round(hit: Hit) -> Iterator[None]:
    def read(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.ndim != 3 or y.ndim < 2 or x.shape[1] != 1 or min(x.shape[0], y.shape[-2]) < 2:
            return x
        rows = torch.arange(x.shape[0] * y.shape[-2], device=x.device) % x.shape[0]
        return x[:, 0][rows].reshape(x.shape[0], y.shape[-2], x.shape[2])

    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        right = operation(x, y, **options)
        found = operation(read(x, y), read(y, x), **options)
        if not torch.equal(found, right):
            hit()
        return found

    with _operators(("__add__", "__sub__", "__mul__"), wrong):
        yield


@wrong_engine("broadcasting-nothing-fits-anything", kind="error", first_sight="adversary: caught")
@contextmanager
def a_size_of_0_fits_every_other(hit: Hit) -> Iterator[None]:
    def emptied(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for dim in range(-1, -1 - min(x.ndim, y.ndim), -1):
            if y.shape[dim] == 0 and x.shape[dim] > 1:
                x = x.narrow(dim, 0, 0)
        return x

    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        left, right = emptied(x, y), emptied(y, x)
        found = operation(left, right, **options)
        if left is not x or right is not y:
            hit()
        return found

    with _operators(("__add__", "__sub__", "__mul__", "__eq__"), wrong):
        yield


@wrong_engine("broadcasting-refusal-adds-a-dimension", kind="error", first_sight="adversary: caught")
@contextmanager
def the_operand_of_fewer_dimensions_has_one_more_once_it_is_refused(hit: Hit) -> Iterator[None]:
    def wrong(operation: Operation, x: torch.Tensor, y: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        try:
            return operation(x, y, **options)
        except RuntimeError:
            fewer = min(x, y, key=lambda operand: operand.ndim)
            if x.ndim != y.ndim and not fewer.requires_grad:
                hit()
                fewer.unsqueeze_(0)
            raise

    with _operators(("__add__", "__sub__", "__mul__", "__eq__"), wrong):
        yield


@wrong_engine("broadcasting-pairs-a-vector-with-its-own-column", kind="aliasing", first_sight="sample: missed")
@contextmanager
def a_vector_and_a_column_in_one_memory_are_paired_in_order(hit: Hit) -> Iterator[None]:
    def in_order(x: torch.Tensor, y: torch.Tensor) -> bool:
        column = x.ndim == 1 and y.shape == (x.numel(), 1) and x.numel() > 1 and not x.is_meta
        return column and x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

    def make(operation: Operation) -> Operation:
        def replacement(x: Any, y: Any, **options: Any) -> torch.Tensor:
            if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.device == y.device:
                if in_order(x, y):
                    hit()
                    x = x.reshape(y.shape)
                elif in_order(y, x):
                    hit()
                    y = y.reshape(x.shape)
            return operation(x, y, **options)

        return replacement

    with ExitStack() as stack:
        for name in ("add", "sub", "mul", "div", "eq"):
            stack.enter_context(replaced(torch, name, make))
            stack.enter_context(replaced(torch.Tensor, name, make))
        for name in ("__add__", "__sub__", "__mul__", "__truediv__", "__eq__"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield
