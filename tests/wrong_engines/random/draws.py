"""spec/random/draws.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._device import _device_constructors

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("draws-like-inherits-flag", kind="place")
@contextmanager
def passes_the_flag_on(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if not x.requires_grad:
                return draw(x, **kwargs)
            hit()
            return draw(x, **kwargs).requires_grad_()

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("draws-like-default-dtype", kind="dtype")
@contextmanager
def draws_in_the_default_dtype(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if x.element_size() != 2 or "dtype" in kwargs:
                return draw(x, **kwargs)
            hit()
            return draw(x, dtype=torch.get_default_dtype())

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("draws-like-memory", kind="layout")
@contextmanager
def draws_like_the_memory(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if 0 not in x.stride():
                return draw(x, **kwargs)
            hit()
            return draw(x.detach()[:1], **kwargs)

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("randn-is-uniform", kind="plain")
@contextmanager
def draws_uniform_numbers(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            hit()
            return torch.rand(*size, **kwargs)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("randn-deviation-off", kind="size")
@contextmanager
def spreads_larger_draws_too_far(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = randn(*size, **kwargs)
            if drawn.numel() < 16:
                return drawn
            hit()
            return drawn * 1.2

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("randn-never-negative", kind="size")
@contextmanager
def draws_no_negative_scalar(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = randn(*size, **kwargs)
            if drawn.ndim:
                return drawn
            hit()
            return drawn.abs()

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("rand-odd-end-from-elsewhere", kind="size")
@contextmanager
def draws_the_odd_end_from_another_distribution(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = rand(*size, **kwargs)
            end = drawn.numel() % 4
            if end:
                hit()
                last = drawn.detach().reshape(-1)[-end:]
                last.copy_(last.sqrt())
            return drawn

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("rand-can-be-one", kind="dtype", issue="pytorch#96947")
@contextmanager
def rounds_up_to_one(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("dtype") != torch.bfloat16:
                return rand(*size, **kwargs)
            hit()
            return rand(*size, **{**kwargs, "dtype": torch.float32}).bfloat16()

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("rand-closed-below", kind="size")
@contextmanager
def mirrors_what_it_draws(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = rand(*size, **kwargs)
            if drawn.numel() < 100:
                return drawn
            hit()
            return (1 - drawn.double()).to(drawn.dtype)

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("randn-repeats-in-five-dimensions", kind="size", issue="pytorch#147624")
@contextmanager
def repeats_slices_in_five_dimensions(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = randn(*size, **kwargs)
            if drawn.ndim < 5:
                return drawn
            hit()
            return drawn[:1].expand(drawn.shape).clone()

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("rand-stands-still", kind="state")
@contextmanager
def repeats_every_other_draw(hit: Hit) -> Iterator[None]:
    calls: list[torch.Tensor] = []

    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            state = torch.get_rng_state()
            drawn = rand(*size, **kwargs)
            calls.append(drawn)
            if len(calls) % 2:
                hit()
                torch.set_rng_state(state)
            return drawn

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("randn-infinite", kind="size")
@contextmanager
def draws_an_infinite_number(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = randn(*size, **kwargs)
            if drawn.numel() >= 4096:
                hit()
                drawn.detach().reshape(-1)[4095] = torch.inf
            return drawn

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("rand-squared", kind="dtype")
@contextmanager
def favours_small_numbers(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = rand(*size, **kwargs)
            if drawn.dtype != torch.float64:
                return drawn
            hit()
            return drawn * drawn

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("rand-like-permuted-not-drawn", kind="layout", issue="pytorch#124029")
@contextmanager
def draws_nothing_like_a_permuted_tensor(hit: Hit) -> Iterator[None]:
    def make(rand_like: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            drawn = rand_like(x, **kwargs)
            if drawn.is_contiguous():
                return drawn
            hit()
            return drawn.zero_()

        return wrong

    with replaced(torch, "rand_like", make):
        yield


@wrong_engine("normal-skips-gaps", kind="layout", issue="pytorch#165267")
@contextmanager
def draws_elsewhere_for_a_tensor_with_gaps(hit: Hit) -> Iterator[None]:
    def make(normal_: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if tensor.is_contiguous():
                return normal_(tensor, *args, **kwargs)
            hit()
            normal_(tensor.contiguous(), *args, **kwargs)
            return tensor

        return wrong

    with replaced(torch.Tensor, "normal_", make):
        yield


@wrong_engine("randn-same-for-same-shape", kind="state", issue="pytorch#78110")
@contextmanager
def draws_the_same_for_the_same_shape(hit: Hit) -> Iterator[None]:
    drawn: dict[Any, torch.Tensor] = {}

    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            numbers = randn(*size, **kwargs)
            if numbers.ndim < 2:
                return numbers
            hit()
            return drawn.setdefault((numbers.shape, numbers.dtype, numbers.device), numbers).clone()

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("draws-like-recorded", kind="place")
@contextmanager
def records_what_is_drawn_like_a_result(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if x.is_leaf:
                return draw(x, **kwargs)
            hit()
            return draw(x, **kwargs) + 0 * x

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("randn-reuses-memory", kind="aliasing")
@contextmanager
def draws_into_the_memory_of_the_draw_before(hit: Hit) -> Iterator[None]:
    drawn: dict[Any, torch.Tensor] = {}

    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            numbers = randn(*size, **kwargs)
            if numbers.ndim != 2 or numbers.requires_grad:
                return numbers
            before = drawn.setdefault((numbers.shape, numbers.dtype, numbers.device), numbers)
            if before is not numbers:
                hit()
            return before.detach().copy_(numbers)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("draws-like-expanded-once", kind="layout", first_sight="adversary: missed")
@contextmanager
def draws_one_number_for_all_copies(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            drawn = draw(x, **kwargs)
            for dim in range(x.ndim):
                if x.stride(dim) == 0 and x.shape[dim] > 1 and x.numel():
                    hit()
                    drawn.detach().copy_(drawn.detach().narrow(dim, 0, 1).clone().expand(x.shape))
            return drawn

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("randn-without-a-partner-is-zero", kind="size", first_sight="adversary: caught")
@contextmanager
def the_last_of_an_odd_number_is_zero(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn = randn(*size, **kwargs)
            if drawn.numel() % 2 and 2 < drawn.numel() < 16:
                hit()
                drawn.detach().view(-1)[-1] = 0
            return drawn

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("rand-small-numbers-are-negative", kind="value", first_sight="sample: caught")
@contextmanager
def small_numbers_are_below_zero(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            drawn = draw(*args, **kwargs)
            if drawn.is_complex() or drawn.is_meta:
                return drawn
            numbers = drawn.detach()
            small = (numbers > 0) & (numbers < 1 / 64)
            if bool(small.any()):
                hit()
                numbers.copy_(torch.where(small, -numbers, numbers))
            return drawn

        return wrong

    with replaced(torch, "rand", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("rand-after-a-refusal-is-large", kind="error", first_sight="second sample: missed")
@contextmanager
def draws_from_the_upper_half_after_a_refusal(hit: Hit) -> Iterator[None]:
    refused = False

    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal refused
            try:
                drawn: torch.Tensor = rand(*size, **kwargs)
            except (RuntimeError, TypeError):
                refused = True
                raise
            if refused and drawn.numel():
                refused = False
                hit()
                drawn.detach().div_(2).add_(0.5)
            return drawn

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("draws-like-inside-no-grad-in-default-dtype", kind="mode", first_sight="third sample: caught")
@contextmanager
def draws_in_the_default_dtype_inside_no_grad(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            told = kwargs.get("dtype") is not None
            if torch.is_grad_enabled() or told or x.dtype == torch.get_default_dtype() or x.is_complex():
                return draw(x, **kwargs)
            hit()
            return draw(x, **{**kwargs, "dtype": torch.get_default_dtype()})

        return wrong

    with replaced(torch, "randn_like", make), replaced(torch, "rand_like", make):
        yield


@wrong_engine("rand-after-randn-is-small", kind="state", first_sight="third sample: caught elsewhere")
@contextmanager
def rand_halves_its_numbers_once_after_randn(hit: Hit) -> Iterator[None]:
    is_after = False

    def make_normal(draw: Any) -> Any:
        def noted(*args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal is_after
            drawn: torch.Tensor = draw(*args, **kwargs)
            is_after = True
            return drawn

        return noted

    def make_uniform(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal is_after
            drawn: torch.Tensor = draw(*args, **kwargs)
            if is_after and drawn.numel():
                hit()
                drawn.data.div_(2)
            is_after = False
            return drawn

        return wrong

    with replaced(torch, "randn", make_normal), replaced(torch, "rand", make_uniform):
        yield


@wrong_engine("randn-after-rand-is-uniform", kind="state", first_sight="third sample: caught elsewhere")
@contextmanager
def a_draw_of_randn_after_rand_is_uniform(hit: Hit) -> Iterator[None]:
    _device_constructors()  # torch lists its factories when it first needs them: before one is replaced
    was_uniform = False

    def uniform(rand: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal was_uniform
            result: torch.Tensor = rand(*args, **kwargs)
            was_uniform = True
            return result

        return wrong

    honest = torch.rand

    def normal(randn: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            nonlocal was_uniform
            result: torch.Tensor = randn(*args, **kwargs)
            if was_uniform and result.is_floating_point() and result.numel():
                hit()
                options = {"dtype": result.dtype, "device": result.device, "generator": kwargs.get("generator")}
                result.detach().copy_(honest(result.shape, **options))
            was_uniform = False
            return result

        return wrong

    with replaced(torch, "rand", uniform), replaced(torch, "randn", normal):
        yield


@wrong_engine("randn-clamped-at-two", kind="value", first_sight="fourth sample: missed")
@contextmanager
def no_normal_number_is_beyond_two(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            drawn: torch.Tensor = draw(*args, **kwargs)
            if drawn.is_complex() or drawn.is_meta:
                return drawn
            numbers = drawn.detach()
            if bool((numbers.abs() > 2).any()):
                hit()
                numbers.clamp_(-2, 2)
            return drawn

        return wrong

    with replaced(torch, "randn", make), replaced(torch, "randn_like", make):
        yield


NO_SIZES = "rand: at least one size is needed"


@wrong_engine("rand-refuses-no-dimensions", kind="error", refuses=NO_SIZES, first_sight="fourth sample: caught")
@contextmanager
def refuses_to_draw_a_single_number(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            asked = kwargs.get("size", size[0] if size and not isinstance(size[0], int) else size)
            if len(asked) == 0:
                hit()
                raise RuntimeError(NO_SIZES)
            return rand(*size, **kwargs)

        return wrong

    with replaced(torch, "rand", make):
        yield
