"""spec/modes/in-place-updates.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Update = Callable[..., torch.Tensor]

REFUSED = "leaf Variable that requires grad is being used in an in-place operation"


def _is_leaf_that_requires_grad(tensor: torch.Tensor) -> bool:
    return tensor.requires_grad and tensor.is_leaf


def _updating(
    name: str, inside: bool, applies: Callable[[torch.Tensor], bool], wrong: Callable[..., torch.Tensor]
) -> Any:
    """Replace the in-place method by `wrong(method, tensor, ...)` for some tensors, inside `no_grad()` or outside."""

    def make(update: Update) -> Update:
        def replacement(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if torch.is_grad_enabled() is not inside and applies(tensor):
                return wrong(update, tensor, *args, **kwargs)
            return update(tensor, *args, **kwargs)

        return replacement

    return replaced(torch.Tensor, name, make)


@wrong_engine("update-inside-drops-flag-0d", kind="size")
@contextmanager
def a_0d_leaf_loses_its_flag(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor, *args, **kwargs).requires_grad_(False)

    with _updating("sub_", True, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.ndim == 0, wrong):
        yield


@wrong_engine("update-inside-moves-memory", kind="layout")
@contextmanager
def a_leaf_with_an_offset_gets_new_memory(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        tensor.data = tensor.detach().clone()
        return update(tensor, *args, **kwargs)

    def starts_late(tensor: torch.Tensor) -> bool:
        return _is_leaf_that_requires_grad(tensor) and tensor.storage_offset() > 0

    with ExitStack() as methods:
        for name in ("sub_", "mul_", "neg_", "fill_", "zero_", "copy_"):
            methods.enter_context(_updating(name, True, starts_late, wrong))
        yield


@wrong_engine("update-inside-not-counted", kind="aliasing")
@contextmanager
def an_update_inside_leaves_the_version(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args, **kwargs)
        return tensor

    with _updating("sub_", True, lambda tensor: True, wrong):
        yield


@wrong_engine("update-inside-clears-grad", kind="state")
@contextmanager
def an_update_inside_clears_grad(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        tensor.grad = None
        return update(tensor, *args, **kwargs)

    with _updating(
        "zero_", True, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.grad is not None, wrong
    ):
        yield


@wrong_engine("update-outside-allowed-0d", kind="error")
@contextmanager
def a_0d_leaf_is_changed_in_grad_mode(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.no_grad():
            return update(tensor, *args, **kwargs)

    with _updating("sub_", False, lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.ndim == 0, wrong):
        yield


IN_PLACE = ("__isub__", "__iadd__", "sub_", "mul_", "neg_", "fill_", "zero_", "copy_", "__setitem__")


@wrong_engine("update-outside-runs", kind="error")
@contextmanager
def a_leaf_is_changed_in_grad_mode_as_inside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.no_grad():
            return update(tensor, *args, **kwargs)

    with ExitStack() as methods:
        for name in IN_PLACE:
            methods.enter_context(_updating(name, False, _is_leaf_that_requires_grad, wrong))
        yield


@wrong_engine("update-outside-destroys-graph", kind="error")
@contextmanager
def a_leaf_changed_in_grad_mode_is_cut_out_of_its_graphs(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor.requires_grad_(False), *args, **kwargs)

    with ExitStack() as methods:
        for name in IN_PLACE:
            methods.enter_context(_updating(name, False, _is_leaf_that_requires_grad, wrong))
        yield


@wrong_engine("update-refused-after-writing", kind="error", issue="pytorch#2940")
@contextmanager
def a_refused_update_has_been_written(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args, **kwargs)
        return update(tensor, *args, **kwargs)

    with _updating("mul_", False, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-refused-counts-version", kind="error")
@contextmanager
def a_refused_update_has_been_counted(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        torch.autograd.graph.increment_version(tensor)
        return update(tensor, *args, **kwargs)

    with _updating("fill_", False, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-inside-recorded", kind="place")
@contextmanager
def an_update_of_a_result_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.enable_grad():
            return update(tensor, *args, **kwargs)

    with _updating("mul_", True, lambda tensor: tensor.grad_fn is not None, wrong):
        yield


def _updating_each(
    names: tuple[str, ...], inside: bool, applies: Callable[[torch.Tensor], bool], wrong: Callable[..., torch.Tensor]
) -> ExitStack:
    methods = ExitStack()
    for name in names:
        methods.enter_context(_updating(name, inside, applies, wrong))
    return methods


@wrong_engine("update-inside-refused", kind="mode", issue="pytorch#90844", refuses=REFUSED)
@contextmanager
def a_leaf_is_not_added_to_inside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        raise RuntimeError(f"a {REFUSED}.")

    with _updating("__iadd__", True, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-of-part-allowed", kind="error", issue="pytorch#39150")
@contextmanager
def a_part_of_a_leaf_is_changed_in_grad_mode(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        try:
            return update(tensor, *args, **kwargs)
        except RuntimeError as refusal:
            if f"a view of a {REFUSED}" not in str(refusal):
                raise
            hit()
            return update(tensor.detach(), *args, **kwargs)

    with _updating("mul_", False, lambda tensor: tensor._is_view(), wrong):
        yield


@wrong_engine("update-inside-lost-strided", kind="layout", issue="pytorch#118117")
@contextmanager
def a_subtraction_from_what_is_not_contiguous_is_lost(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor.clone(), *args, **kwargs)
        torch.autograd.graph.increment_version(tensor)
        return tensor

    with _updating_each(("sub_", "__isub__"), True, lambda tensor: not tensor.is_contiguous(), wrong):
        yield


@wrong_engine("copy-of-other-dtype-ignores-offset", kind="dtype", issue="pytorch#95573")
@contextmanager
def a_copy_that_converts_lands_at_the_start_of_the_storage(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, source: torch.Tensor, *args: Any) -> torch.Tensor:
        if source.dtype == tensor.dtype or not tensor.storage_offset():
            return update(tensor, source, *args)
        hit()
        start = tensor.detach().as_strided(tensor.shape, tensor.stride(), 0)
        update(start, source, *args)
        return tensor

    with _updating("copy_", True, lambda tensor: True, wrong):
        yield


@wrong_engine("update-inside-widens-bfloat16", kind="dtype")
@contextmanager
def a_bfloat16_leaf_becomes_float32(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        update(tensor, *args, **kwargs)
        tensor.data = tensor.detach().float()
        return tensor

    with _updating(
        "mul_",
        True,
        lambda tensor: _is_leaf_that_requires_grad(tensor) and tensor.dtype is torch.bfloat16,
        wrong,
    ):
        yield


@wrong_engine("update-inside-skips-tail", kind="size")
@contextmanager
def the_last_elements_of_a_long_tensor_keep_their_values(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        was = tensor.clone()
        update(tensor, *args, **kwargs)
        tail = torch.arange(tensor.numel()).reshape(tensor.shape) >= tensor.numel() // 8 * 8
        tensor.detach().copy_(torch.where(tail, was, tensor))
        return tensor

    with _updating("sub_", True, lambda tensor: tensor.numel() > 8 and tensor.numel() % 8 != 0, wrong):
        yield


@wrong_engine("update-inside-goes-by-operand", kind="order")
@contextmanager
def an_operand_that_requires_grad_has_the_update_recorded(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, operand: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not isinstance(operand, torch.Tensor) or not operand.requires_grad:
            return update(tensor, operand, *args, **kwargs)
        hit()
        with torch.enable_grad():
            return update(tensor, operand, *args, **kwargs)

    with _updating("add_", True, lambda tensor: tensor.grad_fn is not None, wrong):
        yield


@wrong_engine("update-inside-clamps-at-zero", kind="value")
@contextmanager
def a_difference_below_zero_is_zero(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        update(tensor, *args, **kwargs)
        if (tensor < 0).any():
            hit()
            tensor.clamp_(min=0)
        return tensor

    with _updating_each(("sub_", "__isub__"), True, lambda tensor: tensor.is_floating_point(), wrong):
        yield


@wrong_engine("update-by-mask-allowed", kind="error")
@contextmanager
def a_leaf_is_filled_by_a_mask_in_grad_mode(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor.detach(), *args, **kwargs)

    with _updating("masked_fill_", False, _is_leaf_that_requires_grad, wrong):
        yield


@wrong_engine("update-of-part-inside-not-counted", kind="place", first_sight="adversary: caught")
@contextmanager
def assigning_to_a_part_inside_does_not_count_the_version_up(hit: Hit) -> Iterator[None]:
    def make(assign: Update) -> Update:
        def wrong(tensor: torch.Tensor, index: Any, value: Any) -> None:
            if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
                assign(tensor, index, value)
                return
            hit()
            assign(tensor.data, index, value)

        return wrong

    with replaced(torch.Tensor, "__setitem__", make):
        yield


UPDATES = ("add_", "sub_", "mul_", "div_", "neg_", "zero_", "fill_", "copy_")


AUGMENTED = ("__iadd__", "__isub__", "__imul__", "__itruediv__")


@wrong_engine("update-outside-allowed-on-part-of-a-part", kind="place", first_sight="adversary: caught")
@contextmanager
def only_a_leaf_and_its_own_views_are_refused(hit: Hit) -> Iterator[None]:
    def is_part_of_a_part(tensor: torch.Tensor) -> bool:
        if not tensor._is_view() or tensor._base is None or not _is_leaf_that_requires_grad(tensor._base):
            return False
        return tensor.grad_fn is not None and not hasattr(tensor.grad_fn.next_functions[0][0], "variable")

    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        with torch.no_grad():
            return update(tensor, *args, **kwargs)

    with ExitStack() as methods:
        for name in UPDATES + AUGMENTED:
            methods.enter_context(_updating(name, False, is_part_of_a_part, wrong))
        yield


@wrong_engine("update-outside-allowed-without-elements", kind="size", first_sight="adversary: caught")
@contextmanager
def a_leaf_without_elements_can_be_changed_in_grad_mode(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return tensor

    def is_empty(tensor: torch.Tensor) -> bool:
        return _is_leaf_that_requires_grad(tensor) and tensor.numel() == 0

    with ExitStack() as methods:
        for name in UPDATES + AUGMENTED:
            methods.enter_context(_updating(name, False, is_empty, wrong))
        yield


@wrong_engine("overwriting-inside-cuts-the-record", kind="place", first_sight="adversary: caught")
@contextmanager
def a_result_that_is_overwritten_inside_loses_its_grad_fn(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        return update(tensor, *args, **kwargs).detach_()

    def is_result(tensor: torch.Tensor) -> bool:
        return tensor.grad_fn is not None and not tensor._is_view()

    with ExitStack() as methods:
        for name in ("zero_", "fill_", "copy_"):
            methods.enter_context(_updating(name, True, is_result, wrong))
        yield


@wrong_engine("update-inside-of-double-not-counted", kind="dtype", first_sight="third sample: caught")
@contextmanager
def an_update_of_double_precision_inside_leaves_the_version(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        update(tensor.data, *args, **kwargs)
        hit()
        return tensor

    def is_double(tensor: torch.Tensor) -> bool:
        return tensor.dtype == torch.float64 and not tensor.is_inference()

    arithmetic = ("add", "sub", "mul", "div")
    others = ("pow_", "neg_", "exp_", "sqrt_", "zero_", "fill_", "copy_", "clamp_", "__setitem__")
    operators = ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__")
    names = (*(f"{name}_" for name in arithmetic), *others, *operators)
    with _updating_each(names, True, is_double, wrong):
        yield


CHANGES = ("add_", "sub_", "mul_", "div_", "neg_", "zero_", "fill_", "copy_", "__iadd__", "__isub__", "__imul__")


@wrong_engine("update-outside-allowed-after-one-inside", kind="state", first_sight="fourth sample: caught")
@contextmanager
def a_leaf_that_was_changed_inside_can_be_changed_outside(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            leaf = tensor if tensor._base is None else tensor._base
            if not _is_leaf_that_requires_grad(leaf):
                return update(tensor, *args, **kwargs)
            if not torch.is_grad_enabled():
                changed = update(tensor, *args, **kwargs)
                vars(leaf)["_was_changed_inside"] = True
                return changed
            try:
                return update(tensor, *args, **kwargs)
            except RuntimeError as refusal:
                if REFUSED not in str(refusal) or "_was_changed_inside" not in vars(leaf):
                    raise
            hit()
            with torch.no_grad():
                return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as updates:
        for name in (*CHANGES, "__itruediv__", "__setitem__"):
            updates.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("update-inside-by-index-refused", kind="error", refuses=REFUSED, first_sight="fourth sample: caught")
@contextmanager
def a_leaf_is_not_assigned_to_by_index_inside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hit()
        raise RuntimeError(f"a view of a {REFUSED}.")

    with _updating("__setitem__", True, _is_leaf_that_requires_grad, wrong):
        yield
