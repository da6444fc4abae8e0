"""spec/nn/sgd.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Tensor = torch.Tensor
Optimizer = torch.optim.Optimizer


def stepping(wrong: Callable[[Optimizer, Callable[[], None]], None]) -> AbstractContextManager[None]:
    """Replaces `SGD.step` by `wrong(optimizer, honest)`."""

    def make(step: Any) -> Any:
        def replacement(optimizer: Optimizer, closure: Any = None) -> Any:
            returned = []
            with torch.no_grad():
                wrong(optimizer, lambda: returned.append(step(optimizer, closure)))
            return returned[0]

        return replacement

    return replaced(torch.optim.SGD, "step", make)


def _updated(optimizer: Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    """The parameters that a step updates, each with its group."""
    return [(p, group) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _without_gradient(optimizer: Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    return [(p, group) for group in optimizer.param_groups for p in group["params"] if p.grad is None]


@wrong_engine("sgd-one-rate-for-all", kind="order")
@contextmanager
def takes_the_rate_of_the_first_group(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups[1:]:
            hit()
            group["lr"] = rates[0]
        honest()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    with stepping(wrong):
        yield


@wrong_engine("sgd-foreach-misses-0d", kind="size")
@contextmanager
def loses_the_update_of_0d_parameters(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        lost = [(p, p.clone()) for p, group in _updated(optimizer) if group["foreach"] and p.ndim == 0]
        honest()
        for p, old in lost:
            hit()
            p.copy_(old)

    with stepping(wrong):
        yield


@wrong_engine("sgd-by-hand-adds", kind="size")
@contextmanager
def adds_instead_of_subtracting(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(tensor: Tensor, other: Any) -> Tensor:
            if tensor.ndim == 2 and tensor.requires_grad and not torch.is_grad_enabled():
                hit()
                other = -other
            return subtract(tensor, other)

        return wrong

    with replaced(Tensor, "__isub__", make):
        yield


@wrong_engine("sgd-gives-new-memory", kind="aliasing")
@contextmanager
def puts_the_result_in_new_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        for p, _ in _updated(optimizer):
            hit()
            p.data = p.detach().clone()
        honest()

    with stepping(wrong):
        yield


@wrong_engine("sgd-scales-the-gradient", kind="plain")
@contextmanager
def multiplies_the_gradient_by_the_rate(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, group in _updated(optimizer):
            hit()
            p.grad.set_(p.grad * group["lr"])

    with stepping(wrong):
        yield


@wrong_engine("sgd-clears-the-gradient", kind="plain")
@contextmanager
def forgets_the_gradient_once_it_is_used(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        hit()
        optimizer.zero_grad()

    with stepping(wrong):
        yield


def _uncounted(p: Tensor) -> Tensor:
    """The memory and the gradient of a parameter, without its version counter."""
    alias = p.data
    alias.grad = p.grad
    return alias


@wrong_engine("sgd-step-uncounted", kind="aliasing")
@contextmanager
def does_not_count_the_version(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        own = [group["params"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["params"] = [_uncounted(p) for p in group["params"]]
        hit()
        honest()
        for group, parameters in zip(optimizer.param_groups, own, strict=True):
            group["params"] = parameters

    with stepping(wrong):
        yield


@wrong_engine("sgd-decays-what-has-no-gradient", kind="state")
@contextmanager
def shrinks_what_has_no_gradient(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, group in _without_gradient(optimizer):
            if group["weight_decay"]:
                hit()
                p.mul_(1 - group["lr"] * group["weight_decay"])

    with stepping(wrong):
        yield


@wrong_engine("sgd-makes-missing-gradients", kind="state")
@contextmanager
def fills_missing_gradients_with_zeros(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, _ in _without_gradient(optimizer):
            hit()
            p.grad = torch.zeros_like(p)

    with stepping(wrong):
        yield


@wrong_engine("sgd-is-stochastic", kind="plain")
@contextmanager
def leaves_out_elements_at_random(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        before = [(p, p.clone()) for p, _ in _updated(optimizer)]
        honest()
        for p, old in before:
            hit()
            p.copy_(torch.where(torch.rand(p.shape) < 0.5, old, p))

    with stepping(wrong):
        yield


@wrong_engine("sgd-remembers-the-first-gradient", kind="state")
@contextmanager
def goes_on_with_the_tensor_that_was_the_gradient(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        now = [(p, p.grad) for p, _ in _updated(optimizer)]
        for p, gradient in now:
            p._first = getattr(p, "_first", gradient)
            if p._first is not gradient:
                hit()
                p.grad = p._first
        honest()
        for p, gradient in now:
            p.grad = gradient

    with stepping(wrong):
        yield


def _is_dense(tensor: Tensor) -> bool:
    return tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


@wrong_engine("sgd-pairs-memory", kind="layout")
@contextmanager
def pairs_what_lies_at_the_same_place_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        own = [(p, p.grad) for p, _ in _updated(optimizer)]
        for p, gradient in own:
            if _is_dense(p) and _is_dense(gradient) and p.stride() != gradient.stride():
                hit()
                p.grad = gradient.as_strided(p.shape, p.stride())
        honest()
        for p, gradient in own:
            p.grad = gradient

    with stepping(wrong):
        yield


def _takes_back(
    optimizer: Optimizer, honest: Callable[[], None], hit: Hit, where: Callable[[Tensor, dict[str, Any]], Tensor]
) -> None:
    """A step that leaves the elements alone for which `where(parameter, group)` was true before it."""
    kept = [(p, p.clone(), where(p, group)) for p, group in _updated(optimizer)]
    honest()
    for p, old, at in kept:
        if at.any():
            hit()
            p.copy_(torch.where(at, old, p))


@wrong_engine("sgd-zero-stays-zero", kind="value")
@contextmanager
def takes_a_weight_of_zero_for_pruned(hit: Hit) -> Iterator[None]:
    with stepping(lambda optimizer, honest: _takes_back(optimizer, honest, hit, lambda p, group: p == 0)):
        yield


@wrong_engine("sgd-stops-at-a-missing-gradient", kind="order")
@contextmanager
def updates_nothing_after_a_parameter_without_gradient(hit: Hit) -> Iterator[None]:
    def behind(p: Tensor, group: dict[str, Any]) -> Tensor:
        missing = [at for at, other in enumerate(group["params"]) if other.grad is None]
        own = next(at for at, other in enumerate(group["params"]) if other is p)
        return torch.full_like(p, bool(missing) and missing[0] < own, dtype=torch.bool)

    with stepping(lambda optimizer, honest: _takes_back(optimizer, honest, hit, behind)):
        yield


@wrong_engine("sgd-double-through-single", kind="dtype")
@contextmanager
def steps_in_single_precision(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, _ in _updated(optimizer):
            if p.dtype == torch.float64:
                hit()
                p.copy_(p.float())

    with stepping(wrong):
        yield


@wrong_engine("sgd-step-ends-recording", kind="mode")
@contextmanager
def leaves_grad_mode_off_after_a_step(hit: Hit) -> Iterator[None]:
    def make(step: Any) -> Any:
        def wrong(optimizer: Optimizer, closure: Any = None) -> Any:
            result = step(optimizer, closure)
            hit()
            torch.set_grad_enabled(False)
            return result

        return wrong

    with replaced(torch.optim.SGD, "step", make):
        yield


@wrong_engine("sgd-writes-into-gaps", kind="layout")
@contextmanager
def subtracts_beside_the_elements_too(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, group in _updated(optimizer):
            if p.numel() > 1 and p._base is not None and p._base.numel() == 2 * p.numel():
                hit()
                beside = p.detach().as_strided(p.shape, p.stride(), 1)
                beside.sub_(p.grad, alpha=group["lr"])

    with stepping(wrong):
        yield


@wrong_engine("sgd-foreach-stops-after-two", kind="order")
@contextmanager
def updates_two_parameters_at_once_and_no_more(hit: Hit) -> Iterator[None]:
    def behind(p: Tensor, group: dict[str, Any]) -> Tensor:
        alike = [other for other in group["params"] if other.grad is not None and other.dtype == p.dtype]
        last = any(other is p for other in alike[2:])
        return torch.full_like(p, bool(group["foreach"]) and last, dtype=torch.bool)

    with stepping(lambda optimizer, honest: _takes_back(optimizer, honest, hit, behind)):
        yield


@wrong_engine("sgd-coasts-without-a-gradient", kind="state")
@contextmanager
def goes_on_by_momentum_alone(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, group in _without_gradient(optimizer):
            buffer = optimizer.state[p].get("momentum_buffer") if p in optimizer.state else None
            if buffer is not None and p.numel() > 0:
                hit()
                p.sub_(buffer, alpha=group["lr"] * group["momentum"])

    with stepping(wrong):
        yield


@wrong_engine("sgd-by-hand-forgets-the-rate", kind="size")
@contextmanager
def subtracts_from_a_single_number_without_alpha(hit: Hit) -> Iterator[None]:
    def make(subtract: Any) -> Any:
        def wrong(tensor: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
            if tensor.numel() == 1 and alpha != 1:
                hit()
                alpha = 1
            return subtract(tensor, other, alpha=alpha)

        return wrong

    with replaced(Tensor, "sub_", make):
        yield


@wrong_engine("sgd-gradient-in-memory-order", kind="layout", first_sight="adversary: caught")
@contextmanager
def reads_a_transposed_gradient_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        turned = []
        for p, _ in _updated(optimizer):
            own = p.grad
            if own.ndim == 2 and p.is_contiguous() and not own.is_contiguous() and own.t().is_contiguous():
                turned.append((p, own))
                p.grad = own.as_strided(own.shape, p.stride())
                if not torch.equal(p.grad, own):
                    hit()
        honest()
        for p, own in turned:
            p.grad = own

    with stepping(wrong):
        yield


@wrong_engine("sgd-momentum-carries-on", kind="state", first_sight="adversary: caught")
@contextmanager
def moves_on_what_has_momentum_and_no_gradient(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, group in _without_gradient(optimizer):
            buffer = optimizer.state.get(p, {}).get("momentum_buffer")
            if buffer is not None:
                if bool(buffer.any()):
                    hit()
                p.sub_(group["lr"] * buffer)

    with stepping(wrong):
        yield


@wrong_engine(
    "sgd-decay-added-to-the-gradient", kind="aliasing", issue="pytorch#12218", first_sight="adversary: caught"
)
@contextmanager
def adds_the_decay_to_the_gradient_in_place(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        decays = [(p.grad, group["weight_decay"] * p) for p, group in _updated(optimizer) if group["weight_decay"]]
        honest()
        for gradient, decay in decays:
            if bool(decay.any()):
                hit()
            gradient.add_(decay)

    with stepping(wrong):
        yield


DITHERED_FROM = 9


"""Elements from which on a number is drawn."""


@wrong_engine("sgd-dithers-more-than-eight", kind="size", first_sight="sample: caught")
@contextmanager
def draws_a_number_for_each_larger_parameter(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, _ in _updated(optimizer):
            if p.numel() >= DITHERED_FROM:
                hit()
                torch.rand(())

    with stepping(wrong):
        yield


@wrong_engine("sgd-averages-over-the-parameters", kind="plain", first_sight="sample: caught")
@contextmanager
def divides_each_step_by_the_number_of_parameters(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        before = [(p, len(group["params"]), p.detach().clone()) for p, group in _updated(optimizer)]
        honest()
        for p, number, old in before:
            shorter = old + (p.detach() - old) / number
            if number > 1:
                if not torch.equal(shorter, p):
                    hit()
                p.copy_(shorter)

    with stepping(wrong):
        yield


@wrong_engine("sgd-repeats-the-last-gradient", kind="state", first_sight="second sample: caught")
@contextmanager
def moves_by_the_gradient_of_the_step_before(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, _ in _updated(optimizer):
            vars(p)["_last_gradient"] = p.grad.detach().clone()  # type: ignore[union-attr]
        for p, group in _without_gradient(optimizer):
            gradient = vars(p).get("_last_gradient")
            if gradient is not None and gradient.any():
                hit()
                p.sub_(gradient.to(p.dtype), alpha=group["lr"])

    with stepping(wrong):
        yield


@wrong_engine("sgd-rate-squared", kind="plain", first_sight="second sample: caught")
@contextmanager
def applies_the_rate_twice(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            if group["lr"] not in (0, 1) and any(p.grad is not None and p.grad.any() for p in group["params"]):
                hit()
            group["lr"] = group["lr"] ** 2
        honest()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    with stepping(wrong):
        yield


@wrong_engine("sgd-two-byte-numbers-move", kind="dtype", first_sight="third sample: caught")
@contextmanager
def puts_parameters_of_two_bytes_in_new_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        for p, _ in _updated(optimizer):
            if p.dtype in (torch.float16, torch.bfloat16):
                hit()
                p.data = p.detach().float().to(p.dtype)
        honest()

    with stepping(wrong):
        yield


@wrong_engine("sgd-draws-for-parts-of-a-memory", kind="aliasing", first_sight="third sample: missed")
@contextmanager
def draws_a_number_for_parameters_in_a_larger_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        for p, _ in _updated(optimizer):
            if p.untyped_storage().nbytes() > p.numel() * p.element_size():
                hit()
                torch.rand(())
        honest()

    with stepping(wrong):
        yield


@wrong_engine("sgd-rounds-parts-at-random", kind="place", first_sight="fourth sample: caught")
@contextmanager
def dithers_parameters_that_are_part_of_a_larger_tensor(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        honest()
        for p, _ in _updated(optimizer):
            if p.numel() * p.element_size() < p.untyped_storage().nbytes():
                hit()
                up = torch.rand(p.shape, device=p.device) < 0.5
                p.copy_(torch.where(up, p * (1 + 2 * torch.finfo(p.dtype).eps), p))

    with stepping(wrong):
        yield


@wrong_engine("sgd-moves-0d", kind="size", first_sight="fourth sample: caught")
@contextmanager
def puts_parameters_without_dimensions_in_new_memory(hit: Hit) -> Iterator[None]:
    def wrong(optimizer: Optimizer, honest: Callable[[], None]) -> None:
        for p, _ in _updated(optimizer):
            if p.dim() == 0:
                hit()
                p.data = p.detach().clone()
        honest()

    with stepping(wrong):
        yield
