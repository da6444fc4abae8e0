"""spec/modes/views.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

CREATED_INSIDE = "A view was created in no_grad mode and is being modified inplace with grad mode enabled."

Slice = Callable[[torch.Tensor, Any], torch.Tensor]
Update = Callable[..., torch.Tensor]


def _slicing_inside(wrong: Callable[[Slice, torch.Tensor, Any], torch.Tensor]) -> Any:
    """Replace slicing while grad mode is off."""

    def make(slice_: Slice) -> Slice:
        def replacement(tensor: torch.Tensor, index: Any) -> torch.Tensor:
            return slice_(tensor, index) if torch.is_grad_enabled() else wrong(slice_, tensor, index)

        return replacement

    return replaced(torch.Tensor, "__getitem__", make)


@wrong_engine("no-grad-view-copies-strided", kind="layout")
@contextmanager
def a_slice_of_a_strided_tensor_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if tensor.is_contiguous():
            return slice_(tensor, index)
        hit()
        return slice_(tensor, index).clone()

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-own-version", kind="aliasing")
@contextmanager
def a_slice_counts_its_own_versions(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        return slice_(tensor.data, index)

    with _slicing_inside(wrong):
        yield


def _refused(wrong: Callable[..., torch.Tensor]) -> Any:
    """Replace subtraction in place where torch refuses it because the view was made inside."""

    def make(update: Update) -> Update:
        def replacement(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            try:
                return update(tensor, *args)
            except RuntimeError as refusal:
                if "created in no_grad mode" not in str(refusal):
                    raise
                return wrong(update, refusal, tensor, *args)

        return replacement

    return replaced(torch.Tensor, "sub_", make)


@wrong_engine("no-grad-view-writes-before-refusal", kind="error")
@contextmanager
def a_refused_change_has_been_written(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, refusal: RuntimeError, tensor: torch.Tensor, *args: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args)
        raise refusal

    with _refused(wrong):
        yield


@wrong_engine("no-grad-view-change-allowed", kind="error")
@contextmanager
def a_view_made_inside_is_changed_outside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, refusal: RuntimeError, tensor: torch.Tensor, *args: Any) -> torch.Tensor:
        hit()
        return update(tensor.detach(), *args)

    with _refused(wrong):
        yield


@wrong_engine("no-grad-view-always-refused", kind="error", refuses=CREATED_INSIDE)
@contextmanager
def every_view_made_inside_is_refused(hit: Hit) -> Iterator[None]:
    made_inside = "made_inside_no_grad"

    def mark(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        setattr(view, made_inside, True)
        return view

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            if torch.is_grad_enabled() and hasattr(tensor, made_inside):
                hit()
                raise RuntimeError(CREATED_INSIDE)
            return update(tensor, *args)

        return wrong

    with _slicing_inside(mark), replaced(torch.Tensor, "fill_", make):
        yield


@wrong_engine("no-grad-view-detached", kind="mode")
@contextmanager
def a_slice_made_inside_is_detached(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        return slice_(tensor.detach(), index)

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-recorded", kind="mode")
@contextmanager
def a_slice_made_inside_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        with torch.enable_grad():
            return slice_(tensor, index)

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-switches-leaf-off", kind="mode", issue="pytorch#5851")
@contextmanager
def slicing_a_leaf_inside_takes_its_flag(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        if tensor.is_leaf and tensor.requires_grad:
            hit()
            tensor.requires_grad_(False)
        return view

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-of-view-forgets", kind="place", issue="pytorch#49824")
@contextmanager
def a_view_of_a_view_made_inside_can_be_changed(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            try:
                return update(tensor, *args)
            except RuntimeError as refusal:
                if "a view of a view which was created in no_grad mode" not in str(refusal):
                    raise
                hit()
                return update(tensor.detach(), *args)

        return wrong

    with replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("no-grad-view-copies-side-of-one", kind="size")
@contextmanager
def a_slice_of_a_tensor_with_a_side_of_one_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if 1 not in tensor.shape:
            return slice_(tensor, index)
        hit()
        return slice_(tensor, index).clone()

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-of-data-multiplied-apart", kind="aliasing")
@contextmanager
def multiplying_a_view_of_data_made_inside_changes_a_copy(hit: Hit) -> Iterator[None]:
    made_inside = "made_inside_no_grad"

    def mark(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        setattr(view, made_inside, not view.requires_grad)
        return view

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            if not torch.is_grad_enabled() or not getattr(tensor, made_inside, False):
                return update(tensor, *args)
            hit()
            tensor.data = tensor.clone()
            return update(tensor, *args)

        return wrong

    with _slicing_inside(mark), replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("no-grad-view-of-a-view-can-be-changed", kind="place", issue="pytorch#49824")
@contextmanager
def only_the_first_of_a_chain_of_views_made_inside_is_refused(hit: Hit) -> Iterator[None]:
    def chain(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        sliced = slice_(tensor, index)
        if sliced._is_view() and tensor._is_view() and tensor.grad_fn is None:
            vars(sliced)["_is_second"] = True
        return sliced

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return update(tensor, *args, **kwargs)
            except RuntimeError as refusal:
                if "created in no_grad mode" not in str(refusal) or "_is_second" not in vars(tensor):
                    raise
            hit()
            with torch.no_grad():
                return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as methods:
        methods.enter_context(_slicing_inside(chain))
        for name in ("add_", "sub_", "mul_", "neg_", "zero_", "fill_", "copy_", "__iadd__", "__isub__", "__imul__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield
