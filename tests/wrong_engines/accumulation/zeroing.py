"""spec/accumulation/zeroing.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

TAKEN = "_taken_out_of_grad"
"""The attribute in which a leaf remembers, here, the tensor that was taken out of its `.grad`."""


def _remembering_what_none_took_out(grad: Any) -> property:
    def forget(leaf: torch.Tensor, value: Any) -> None:
        if value is None and leaf.is_leaf and grad.__get__(leaf) is not None:
            setattr(leaf, TAKEN, grad.__get__(leaf))
        grad.__set__(leaf, value)

    return property(grad.__get__, forget, grad.__delete__)


@wrong_engine("none-only-forgets", kind="state")
@contextmanager
def what_none_took_out_comes_back(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and hasattr(leaf, TAKEN):
                hit()
                leaf.grad.add_(leaf.__dict__.pop(TAKEN))

    with replaced(torch.Tensor, "grad", _remembering_what_none_took_out), around_backward(wrong):
        yield


@wrong_engine("none-recycles-memory", kind="aliasing")
@contextmanager
def the_next_backward_writes_into_what_none_took_out(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and hasattr(leaf, TAKEN):
                hit()
                leaf.grad = leaf.__dict__.pop(TAKEN).copy_(leaf.grad).view_as(leaf)

    with replaced(torch.Tensor, "grad", _remembering_what_none_took_out), around_backward(wrong):
        yield


@wrong_engine("none-means-zeros", kind="plain")
@contextmanager
def none_leaves_a_tensor_of_zeros(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def assign(leaf: torch.Tensor, value: Any) -> None:
            if value is None and leaf.is_leaf and grad.__get__(leaf) is not None:
                hit()
                value = torch.zeros_like(leaf)
            grad.__set__(leaf, value)

        return property(grad.__get__, assign, grad.__delete__)

    with replaced(torch.Tensor, "grad", make):
        yield


@wrong_engine("zero-multiplies", kind="value")
@contextmanager
def zero_multiplies_by_zero(hit: Hit) -> Iterator[None]:
    def make(zero_: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            hit()
            return tensor.mul_(0)

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


@wrong_engine("zero-skips-strided", kind="layout")
@contextmanager
def zero_clears_one_row_of_a_strided_tensor(hit: Hit) -> Iterator[None]:
    def make(zero_: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.is_contiguous():
                return zero_(tensor)
            hit()
            zero_(tensor[0])
            return tensor

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


@wrong_engine("zero-grad-leaves-zeros", kind="plain")
@contextmanager
def zero_grad_fills_with_zeros_unless_told_otherwise(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(owner: Any, set_to_none: bool = False) -> None:
            hit()
            zero_grad(owner, set_to_none)

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make), replaced(torch.optim.Optimizer, "zero_grad", make):
        yield


@wrong_engine("module-zeroes-in-place", kind="aliasing")
@contextmanager
def module_zero_grad_writes_zeros_first(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(module: torch.nn.Module, set_to_none: bool = True) -> None:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    hit()
                    parameter.grad.zero_()
            zero_grad(module, set_to_none)

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("optimizer-clears-first-group", kind="order")
@contextmanager
def optimizer_zero_grad_clears_its_first_group(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:
            groups = optimizer.param_groups
            if len(groups) > 1:
                hit()
            optimizer.param_groups = groups[:1]
            zero_grad(optimizer, set_to_none)
            optimizer.param_groups = groups

        return wrong

    with replaced(torch.optim.Optimizer, "zero_grad", make):
        yield


@wrong_engine("zeros-for-none", kind="state")
@contextmanager
def module_zero_grad_makes_zeros_where_there_was_none(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(module: torch.nn.Module, set_to_none: bool = True) -> None:
            zero_grad(module, set_to_none)
            for parameter in module.parameters():
                if parameter.grad is None and not set_to_none:
                    hit()
                    parameter.grad = torch.zeros_like(parameter)

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("zeros-keep-the-graph", kind="state")
@contextmanager
def module_zero_grad_zeroes_without_detaching(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(module: torch.nn.Module, set_to_none: bool = True) -> None:
            grads = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            if set_to_none or not any(grad.requires_grad for grad in grads):
                zero_grad(module, set_to_none)
                return
            hit()
            with torch.no_grad():
                for grad in grads:
                    grad.zero_()

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("zero-skips-the-tail", kind="size")
@contextmanager
def zero_stops_at_the_last_multiple_of_four(hit: Hit) -> Iterator[None]:
    def make(zero_: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            whole = tensor.numel() // 4 * 4
            if not tensor.is_contiguous() or whole in (0, tensor.numel()):
                return zero_(tensor)
            hit()
            zero_(tensor.view(-1)[:whole])
            return tensor

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


def _zeroing_only(is_zeroed: Callable[[torch.Tensor, list[torch.Tensor]], bool], hit: Hit) -> Any:
    """Torch whose Optimizer.zero_grad(set_to_none=False) zeroes those grads, of all, for which is_zeroed(grad, all)."""

    def make(zero_grad: Any) -> Any:
        def wrong(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:
            grads = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
            kept = [(grad, grad.detach().clone()) for grad in grads if not set_to_none and not is_zeroed(grad, grads)]
            zero_grad(optimizer, set_to_none)
            for grad, values in kept:
                hit()
                grad.copy_(values)

        return wrong

    return replaced(torch.optim.Optimizer, "zero_grad", make)


@wrong_engine("optimizer-zeroes-contiguous-grads", kind="layout")
@contextmanager
def optimizer_zero_grad_skips_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    with _zeroing_only(lambda grad, grads: grad.is_contiguous(), hit):
        yield


@wrong_engine("optimizer-zeroes-one-dtype", kind="dtype")
@contextmanager
def optimizer_zero_grad_zeroes_grads_of_the_first_dtype(hit: Hit) -> Iterator[None]:
    with _zeroing_only(lambda grad, grads: grad.dtype == grads[0].dtype, hit):
        yield


@wrong_engine("module-clears-its-own", kind="place")
@contextmanager
def module_zero_grad_leaves_the_parameters_of_its_parts_alone(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(module: torch.nn.Module, set_to_none: bool = True) -> None:
            own = {id(parameter) for parameter in module.parameters(recurse=False)}
            inner = [(one, one.grad) for one in module.parameters() if one.grad is not None and id(one) not in own]
            if not inner:
                zero_grad(module, set_to_none)
                return
            for parameter, _ in inner:
                hit()
                parameter.grad = None
            zero_grad(module, set_to_none)
            for parameter, held in inner:
                parameter.grad = held

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("zero-grad-skips-frozen", kind="order")
@contextmanager
def zero_grad_skips_parameters_that_need_no_gradient(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            frozen = [(one, one.grad) for one in parameters if not one.requires_grad and one.grad is not None]
            for parameter, _ in frozen:
                hit()
                parameter.grad = None
            zero_grad(optimizer, set_to_none)
            for parameter, held in frozen:
                parameter.grad = held

        return wrong

    with replaced(torch.optim.Optimizer, "zero_grad", make):
        yield


@wrong_engine("zeroed-grad-is-replaced", kind="value", first_sight="adversary: caught")
@contextmanager
def a_grad_of_zeros_counts_as_none(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(leaf, leaf.grad) for leaf in leaves_below(outputs) if leaf.grad is not None and not leaf.grad.any()]
        honest()
        for leaf, zeros in held:
            if leaf.grad is zeros and zeros.any() and not zeros.requires_grad:
                hit()
                leaf.grad = zeros.clone()
                zeros.zero_()

    with around_backward(wrong):
        yield


@wrong_engine("module-zero-grad-stops-at-its-children", kind="place", first_sight="adversary: missed")
@contextmanager
def zero_grad_of_a_module_leaves_what_is_in_modules_of_its_modules(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(module: torch.nn.Module, set_to_none: bool = True) -> None:
            near = {id(one) for part in (module, *module.children()) for one in part.parameters(recurse=False)}
            far = [(one, one.grad) for one in module.parameters() if id(one) not in near and one.grad is not None]
            values = [grad.detach().clone() for _, grad in far]
            zero_grad(module, set_to_none)
            for (one, grad), value in zip(far, values, strict=True):
                hit()
                one.grad = grad.detach().copy_(value)

        return wrong

    with replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("none-ignored-for-strided-grad", kind="layout", first_sight="sample: caught")
@contextmanager
def none_does_not_replace_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> property:
        def put(leaf: torch.Tensor, value: Any) -> None:
            held = grad.__get__(leaf) if leaf.is_leaf else None
            if value is None and held is not None and not held.is_contiguous():
                hit()
                return
            grad.__set__(leaf, value)

        return property(grad.__get__, put, grad.__delete__)

    with replaced(torch.Tensor, "grad", make):
        yield


@wrong_engine("zero-trusts-the-first-element", kind="value", first_sight="sample: missed")
@contextmanager
def zero_looks_at_the_first_element_only(hit: Hit) -> Iterator[None]:
    def make(zero_: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.device.type != "cpu" or not tensor.numel() or tensor[(0,) * tensor.ndim].item() != 0:
                return zero_(tensor)
            if tensor.count_nonzero().item():
                hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


@wrong_engine("optimizer-zeroes-before-none", kind="plain", first_sight="second sample: caught")
@contextmanager
def an_optimizer_writes_zeros_before_none(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(optimizer: torch.optim.Optimizer, set_to_none: bool = True) -> None:
            for group in optimizer.param_groups:
                for grad in [one.grad for one in group["params"] if set_to_none and one.grad is not None]:
                    if grad.any():
                        hit()
                    grad.detach().zero_()
            zero_grad(optimizer, set_to_none)

        return wrong

    with replaced(torch.optim.Optimizer, "zero_grad", make):
        yield


@wrong_engine("none-only-forgets-for-a-strided-leaf", kind="layout", first_sight="second sample: caught")
@contextmanager
def what_none_took_out_of_a_strided_leaf_comes_back(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for leaf in leaves_below(outputs):
            if leaf.grad is not None and hasattr(leaf, TAKEN) and not leaf.is_contiguous():
                hit()
                leaf.grad.add_(leaf.__dict__.pop(TAKEN))

    with replaced(torch.Tensor, "grad", _remembering_what_none_took_out), around_backward(wrong):
        yield


WITH_A_GRAPH = "a gradient that is part of a graph cannot be zeroed in place"


@wrong_engine(
    "zeroing-refuses-a-grad-with-a-graph", kind="error", refuses=WITH_A_GRAPH, first_sight="fourth sample: caught"
)
@contextmanager
def refuses_to_zero_a_grad_that_was_recorded(hit: Hit) -> Iterator[None]:
    def make(zero_grad: Any) -> Any:
        def wrong(owner: Any, set_to_none: bool = True) -> None:
            if isinstance(owner, torch.nn.Module):
                parameters = list(owner.parameters())
            else:
                parameters = [one for group in owner.param_groups for one in group["params"]]
            if not set_to_none and any(one.grad is not None and one.grad.requires_grad for one in parameters):
                hit()
                raise RuntimeError(WITH_A_GRAPH)
            zero_grad(owner, set_to_none)

        return wrong

    with replaced(torch.optim.Optimizer, "zero_grad", make), replaced(torch.nn.Module, "zero_grad", make):
        yield


@wrong_engine("none-only-forgets-for-later-leaves", kind="order", first_sight="fourth sample: caught")
@contextmanager
def what_none_took_out_comes_back_but_for_the_first_leaf(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        for place, leaf in enumerate(leaves_below(outputs)):
            taken = leaf.__dict__.pop(TAKEN, None) if leaf.grad is not None else None
            if place and taken is not None and taken.any():
                hit()
                leaf.grad.add_(taken)

    with replaced(torch.Tensor, "grad", _remembering_what_none_took_out), around_backward(wrong):
        yield
