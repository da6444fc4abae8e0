"""spec/leaves/leaf.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated, replaced


def _is_leaf(wrong: Callable[[torch.Tensor, bool], bool]) -> Any:
    """`is_leaf` that says `wrong(tensor, the truth)`."""

    def make(honest: Any) -> property:
        return property(lambda tensor: wrong(tensor, honest.__get__(tensor)))

    return replaced(torch.Tensor, "is_leaf", make)


@wrong_engine("leaf-means-requires-grad", kind="plain")
@contextmanager
def only_what_requires_grad_is_a_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if truth and not tensor.requires_grad:
            hit()
            return False
        return truth

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-includes-views", kind="place")
@contextmanager
def a_view_of_a_leaf_is_a_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if not truth and tensor._is_view() and tensor._base is not None and tensor._base.grad_fn is None:
            hit()
            return True
        return truth

    with _is_leaf(wrong):
        yield


def _new_leaf(result: torch.Tensor) -> torch.Tensor:
    return result.detach().requires_grad_()


@wrong_engine("leaf-copy-is-a-leaf", kind="plain")
@contextmanager
def copying_a_leaf_by_to_gives_a_leaf(hit: Hit) -> Iterator[None]:
    def make(to: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = to(tensor, *args, **kwargs)
            if tensor.is_leaf and result.requires_grad and result is not tensor:
                hit()
                return _new_leaf(result)
            return result

        return wrong

    with replaced(torch.Tensor, "to", make):
        yield


@wrong_engine("leaf-clone-of-0d-is-a-leaf", kind="size")
@contextmanager
def cloning_a_0d_leaf_gives_a_leaf(hit: Hit) -> Iterator[None]:
    def make(clone: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = clone(tensor, *args, **kwargs)
            if tensor.ndim == 0 and tensor.is_leaf and result.requires_grad:
                hit()
                return _new_leaf(result)
            return result

        return wrong

    with replaced(torch.Tensor, "clone", make):
        yield


@wrong_engine("leaf-indexed-write-not-recorded", kind="order", issue="pytorch#169179")
@contextmanager
def a_write_by_indices_into_a_plain_tensor_is_not_recorded(hit: Hit) -> Iterator[None]:
    def make(index_put_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, indices: Any, values: torch.Tensor, *args: Any) -> torch.Tensor:
            if values.requires_grad and not tensor.requires_grad:
                hit()
                values = values.detach()
            return index_put_(tensor, indices, values, *args)

        return wrong

    with replaced(torch.Tensor, "index_put_", make):
        yield


@wrong_engine("leaf-copy-shares-memory", kind="aliasing")
@contextmanager
def to_with_copy_gives_a_view_of_a_contiguous_tensor(hit: Hit) -> Iterator[None]:
    def make(to: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("copy") and tensor.is_contiguous() and args == (tensor.dtype,):
                hit()
                return tensor.view_as(tensor)
            return to(tensor, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "to", make):
        yield


@wrong_engine("leaf-clone-passes-nothing-at-zero", kind="value")
@contextmanager
def a_clone_passes_no_gradient_to_elements_that_are_zero(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, tensor: torch.Tensor, **options: Any) -> tuple[torch.Tensor, ...]:
        if bool((tensor == 0).any()):
            hit()
        return (gradient * (tensor != 0),)

    with differentiated("clone", pullback):
        yield


@wrong_engine("leaf-never-of-int64", kind="dtype")
@contextmanager
def a_tensor_of_int64_is_no_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if truth and tensor.dtype == torch.int64 and tensor.ndim:
            hit()
            return False
        return truth

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-includes-strided-views", kind="layout")
@contextmanager
def a_strided_view_is_a_leaf(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if not truth and tensor._is_view() and not tensor.is_contiguous():
            hit()
            return True
        return truth

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-answer-is-remembered", kind="state", first_sight="adversary: missed")
@contextmanager
def is_leaf_repeats_its_first_answer(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        first = vars(tensor).setdefault("_was_leaf", truth)
        if first != truth:
            hit()
        return bool(first)

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-written-into-another-dtype-is-lost", kind="dtype", first_sight="adversary: missed")
@contextmanager
def what_is_written_into_a_tensor_of_another_dtype_is_a_constant(hit: Hit) -> Iterator[None]:
    def constant(target: torch.Tensor, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.requires_grad or value.dtype == target.dtype:
            return value
        if torch.is_grad_enabled() and target.is_floating_point():
            hit()
        return value.detach()

    def make_set(honest: Any) -> Any:
        return lambda target, index, value: honest(target, index, constant(target, value))

    def make_copy(honest: Any) -> Any:
        return lambda target, value, *args, **kwargs: honest(target, constant(target, value), *args, **kwargs)

    with replaced(torch.Tensor, "__setitem__", make_set), replaced(torch.Tensor, "copy_", make_copy):
        yield


@wrong_engine("leaf-stacked-twice-counts-once", kind="order", first_sight="adversary: caught")
@contextmanager
def a_tensor_that_is_listed_twice_in_a_stack_counts_once(hit: Hit) -> Iterator[None]:
    def make(stack: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensors: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            listed: list[torch.Tensor] = []
            for tensor in tensors:
                again = any(tensor is earlier for earlier in listed) and tensor.requires_grad
                if again and torch.is_grad_enabled():
                    hit()
                listed.append(tensor.detach() if again else tensor)
            return stack(listed, *args, **kwargs)

        return wrong

    with replaced(torch, "stack", make):
        yield


@wrong_engine("leaf-is-everything-in-no-grad", kind="mode", first_sight="second sample: caught elsewhere")
@contextmanager
def every_tensor_is_a_leaf_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, truth: bool) -> bool:
        if truth or torch.is_grad_enabled():
            return truth
        hit()
        return True

    with _is_leaf(wrong):
        yield


@wrong_engine("leaf-strided-in-a-stack-gets-memory-order", kind="layout", first_sight="fourth sample: caught elsewhere")
@contextmanager
def what_a_strided_leaf_gets_through_a_stack_lies_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    class Member(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, leaf: torch.Tensor) -> torch.Tensor:
            ctx.strides = torch.empty_like(leaf).stride()
            return leaf.view_as(leaf)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            found = gradient.contiguous().as_strided(gradient.shape, ctx.strides)
            if not torch.equal(found, gradient):
                hit()
            return found

    def member(tensor: torch.Tensor) -> torch.Tensor:
        strided = tensor.is_leaf and tensor.requires_grad and not tensor.is_contiguous()
        return Member.apply(tensor) if strided else tensor

    def make(stack: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda tensors, *args, **kwargs: stack([member(tensor) for tensor in tensors], *args, **kwargs)

    with replaced(torch, "stack", make):
        yield
