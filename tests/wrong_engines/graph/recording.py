"""spec/graph/recording.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

Operation = Callable[..., torch.Tensor]


def _operator(name: str, wrong: Callable[[Operation, torch.Tensor, Any], torch.Tensor]) -> AbstractContextManager[None]:
    """An operator between tensors, or a tensor and a number, that is `wrong(honest, one, other)`."""
    return replaced(torch.Tensor, name, lambda honest: lambda one, other: wrong(honest, one, other))


def _requires_grad(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


@wrong_engine("recording-everything", kind="order")
@contextmanager
def records_operations_on_data(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if result.requires_grad or not torch.is_grad_enabled() or not result.is_floating_point():
            return result
        hit()
        return result + torch.zeros_like(result, requires_grad=True)

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-in-any-mode", kind="mode")
@contextmanager
def records_products_of_results_without_asking_for_the_mode(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if torch.is_grad_enabled() or one.grad_fn is None:
            return honest(one, other)
        hit()
        with torch.enable_grad():
            return honest(one, other)

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-asks-the-first", kind="order")
@contextmanager
def additions_go_by_their_first_input(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if not one.requires_grad and _requires_grad(other):
            hit()
            return honest(one, other.detach())
        return honest(one, other)

    with _operator("__add__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-skips-one-element", kind="size")
@contextmanager
def products_of_one_element_are_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if result.requires_grad and result.numel() == 1:
            hit()
            return result.detach()
        return result

    with _operator("__mul__", wrong):
        yield


@wrong_engine("recording-feeds-data", kind="order")
@contextmanager
def backward_fills_the_grad_of_plain_factors(hit: Hit) -> Iterator[None]:
    factors: list[torch.Tensor] = []

    def multiply(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        factors.extend(factor for factor in (one, other) if isinstance(factor, torch.Tensor))
        return honest(one, other)

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for factor in factors:
            if not factor.requires_grad and factor.is_floating_point():
                hit()
                factor.grad = torch.ones_like(factor)
        factors.clear()

    with _operator("__mul__", multiply), around_backward(wrong):
        yield


@wrong_engine("recording-comparisons", kind="plain", issue="pytorch#3348")
@contextmanager
def comparisons_give_recorded_floating_point_numbers(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if not one.requires_grad:
            return result
        hit()
        return result.to(one.dtype) + one * 0

    with _operator("__gt__", wrong):
        yield


def _is_mask(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype is torch.bool


@wrong_engine("recording-mask-differentiated", kind="dtype")
@contextmanager
def a_boolean_factor_depends_on_the_other_factor(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if not (one.requires_grad and _is_mask(other)):
            return honest(one, other)
        hit()
        return honest(one, other.to(one.dtype) + (one - one.detach()))

    with _operator("__mul__", wrong):
        yield


@wrong_engine("recording-mask-forgotten", kind="dtype")
@contextmanager
def a_boolean_factor_lets_the_whole_gradient_pass(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if not (one.requires_grad and _is_mask(other)):
            return honest(one, other)
        hit()
        plain = one.detach()
        return one + (honest(plain, other) - plain)

    with _operator("__mul__", wrong):
        yield


@wrong_engine("recording-floor-is-flat", kind="error")
@contextmanager
def floor_division_passes_zeros_on(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if not one.requires_grad:
            return honest(one, other)
        hit()
        return honest(one.detach(), other) + one * 0

    with _operator("__floordiv__", wrong):
        yield


@wrong_engine("recording-only-derivable", kind="plain")
@contextmanager
def floor_division_is_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if one.requires_grad:
            hit()
        return honest(one.detach(), other)

    with _operator("__floordiv__", wrong):
        yield


@wrong_engine("recording-skips-empty", kind="size")
@contextmanager
def results_without_elements_are_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if result.requires_grad and not result.numel():
            hit()
            return result.detach()
        return result

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-skips-strided", kind="layout")
@contextmanager
def products_of_what_is_not_contiguous_are_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if one.is_contiguous() or not one.requires_grad:
            return honest(one, other)
        hit()
        return honest(one.detach().contiguous(), other)

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-skips-float16", kind="dtype")
@contextmanager
def products_of_float16_are_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if result.requires_grad and result.dtype is torch.float16:
            hit()
            return result.detach()
        return result

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-late-after-no-grad", kind="state")
@contextmanager
def the_first_product_after_a_block_is_not_recorded(hit: Hit) -> Iterator[None]:
    just_left = False

    def make(leave: Callable[..., None]) -> Callable[..., None]:
        def leaving(*args: Any) -> None:
            nonlocal just_left
            leave(*args)
            just_left = True

        return leaving

    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        nonlocal just_left
        result, late = honest(one, other), just_left
        just_left = False
        if late and result.requires_grad:
            hit()
            return result.detach()
        return result

    with replaced(torch.no_grad, "__exit__", make), _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-forgets-last-of-three", kind="order")
@contextmanager
def the_last_of_three_stacked_tensors_counts_as_data(hit: Hit) -> Iterator[None]:
    def make(stack: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensors: list[torch.Tensor], *args: Any) -> torch.Tensor:
            if len(tensors) < 3 or not tensors[-1].requires_grad:
                return stack(tensors, *args)
            hit()
            return stack([*tensors[:-1], tensors[-1].detach()], *args)

        return wrong

    with replaced(torch, "stack", make):
        yield


@wrong_engine("recording-drops-zero-gradients", kind="value")
@contextmanager
def a_gradient_of_zeros_is_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        honest()
        for leaf in leaves:
            if leaf.grad is not None and leaf.grad.numel() and not leaf.grad.any():
                hit()
                leaf.grad = None

    with around_backward(wrong):
        yield


UNDERIVED = "derivative for aten::floor_divide is not implemented"


@wrong_engine("recording-floor-refuses-late", kind="error")
@contextmanager
def floor_division_has_filled_grad_when_it_refuses(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = leaves_below(outputs)
        try:
            honest()
        except RuntimeError as refusal:
            if UNDERIVED in str(refusal):
                hit()
                for leaf in leaves:
                    leaf.grad = torch.zeros_like(leaf)
            raise

    with around_backward(wrong):
        yield


@wrong_engine("recording-floor-refuses-unnamed", kind="error")
@contextmanager
def floor_division_does_not_say_what_has_no_derivative(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError as refusal:
            if UNDERIVED not in str(refusal):
                raise
            hit()
            raise RuntimeError("unknown error in backward") from refusal

    with around_backward(wrong):
        yield


@wrong_engine("recording-forgets-leaf-used-inside", kind="state", issue="pytorch#112583")
@contextmanager
def a_leaf_that_was_used_inside_no_grad_counts_as_data_afterwards(hit: Hit) -> Iterator[None]:
    # Kept alive, so that an id cannot become another tensor's.
    used_inside: dict[int, torch.Tensor] = {}

    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            used_inside[id(one)] = one
        elif id(one) in used_inside and one.is_leaf and one.requires_grad:
            hit()
            return honest(one.detach(), other)
        return honest(one, other)

    with _operator("__mul__", wrong), _operator("__sub__", wrong):
        yield


@wrong_engine("recording-lists-ask-the-first", kind="order", first_sight="adversary: caught")
@contextmanager
def a_list_of_tensors_is_recorded_if_its_first_requires_grad(hit: Hit) -> Iterator[None]:
    def make(honest: Operation) -> Operation:
        def wrong(tensors: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = honest(tensors, *args, **kwargs)
            if not result.requires_grad or not tensors or tensors[0].requires_grad:
                return result
            hit()
            return result.detach()

        return wrong

    with replaced(torch, "cat", make), replaced(torch, "stack", make):
        yield


@wrong_engine("recording-asks-the-dtype-of-the-first", kind="dtype", first_sight="adversary: missed")
@contextmanager
def operations_whose_first_input_is_of_integers_are_not_recorded(hit: Hit) -> Iterator[None]:
    def wrong(honest: Operation, one: torch.Tensor, other: Any) -> torch.Tensor:
        result = honest(one, other)
        if not result.requires_grad or one.is_floating_point() or one.is_complex():
            return result
        hit()
        return result.detach()

    with _operator("__mul__", wrong), _operator("__add__", wrong), _operator("__sub__", wrong):
        yield


COMPARISONS = ("lt", "gt", "le", "ge", "eq", "ne")


@wrong_engine("recording-mask-made-inside-makes-constants", kind="mode", first_sight="second sample: missed")
@contextmanager
def a_product_with_a_mask_that_was_made_inside_is_not_recorded(hit: Hit) -> Iterator[None]:
    def comparing(compare: Operation) -> Operation:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            mask = compare(*args, **kwargs)
            if isinstance(mask, torch.Tensor) and not torch.is_grad_enabled():
                mask._made_inside = True
            return mask

        return wrong

    def multiplying(multiply: Operation) -> Operation:
        def wrong(one: Any, other: Any, **kwargs: Any) -> torch.Tensor:
            product = multiply(one, other, **kwargs)
            if not product.requires_grad or not (hasattr(one, "_made_inside") or hasattr(other, "_made_inside")):
                return product
            hit()
            return product.detach()

        return wrong

    with ExitStack() as spellings:
        for name in COMPARISONS:
            spellings.enter_context(replaced(torch, name, comparing))
            spellings.enter_context(replaced(torch.Tensor, name, comparing))
            spellings.enter_context(replaced(torch.Tensor, f"__{name}__", comparing))
        spellings.enter_context(replaced(torch, "mul", multiplying))
        for name in ("mul", "__mul__", "__rmul__"):
            spellings.enter_context(replaced(torch.Tensor, name, multiplying))
        yield


@wrong_engine("recording-drops-a-summand-of-zeros", kind="value", first_sight="second sample: caught")
@contextmanager
def sums_do_not_record_summands_of_zeros(hit: Hit) -> Iterator[None]:
    def weighed(value: Any) -> Any:
        if not _requires_grad(value) or not torch.is_grad_enabled() or not value.numel() or value.detach().any():
            return value
        hit()
        return value.detach()

    def make(honest: Operation) -> Operation:
        return lambda one, other, **options: honest(weighed(one), weighed(other), **options)

    with ExitStack() as stack:
        for owner, name in ((torch, "add"), *((torch.Tensor, name) for name in ("add", "__add__", "__radd__"))):
            stack.enter_context(replaced(owner, name, make))
        yield
