"""spec/random/seeding.md"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("seed-keeps-half-a-pair", kind="state")
@contextmanager
def keeps_half_a_pair(hit: Hit) -> Iterator[None]:
    kept: list[torch.Tensor] = []

    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if size != ((),):
                return randn(*size, **kwargs)
            hit()
            if kept:
                return kept.pop()
            first, second = randn(2, **kwargs)
            kept.append(second)
            return first

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("seed-misses-layers", kind="plain")
@contextmanager
def draws_weights_from_elsewhere(hit: Hit) -> Iterator[None]:
    elsewhere = itertools.count()

    def make(reset_parameters: Any) -> Any:
        def wrong(layer: torch.nn.Linear) -> None:
            hit()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(next(elsewhere))
                reset_parameters(layer)

        return wrong

    with replaced(torch.nn.Linear, "reset_parameters", make):
        yield


@wrong_engine("seed-of-the-cpu-only", kind="plain")
@contextmanager
def seeds_the_cpu_only(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            hit()
            return torch.default_generator.manual_seed(seed)

        return wrong

    with replaced(torch, "manual_seed", make):
        yield


@wrong_engine("seed-fixes-layers", kind="state")
@contextmanager
def draws_weights_from_the_seed_alone(hit: Hit) -> Iterator[None]:
    def make(reset_parameters: Any) -> Any:
        def wrong(layer: torch.nn.Linear) -> None:
            hit()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(torch.initial_seed())
                reset_parameters(layer)

        return wrong

    with replaced(torch.nn.Linear, "reset_parameters", make):
        yield


@wrong_engine("seed-low-bits-only", kind="value")
@contextmanager
def drops_the_lowest_bit(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if seed % 2:
                hit()
            return manual_seed(seed - seed % 2)

        return wrong

    with replaced(torch, "manual_seed", make):
        yield


@wrong_engine("seed-from-outside-constant", kind="plain")
@contextmanager
def takes_a_constant_for_the_outside(hit: Hit) -> Iterator[None]:
    def make(seed: Any) -> Any:
        def wrong() -> int:
            hit()
            return torch.manual_seed(67280421310721).initial_seed()

        return wrong

    with replaced(torch, "seed", make):
        yield


@wrong_engine("seed-reaches-numpy", kind="plain")
@contextmanager
def seeds_numpy_too(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            hit()
            np.random.seed(seed % 2**32)
            return manual_seed(seed)

        return wrong

    with replaced(torch, "manual_seed", make):
        yield


@wrong_engine("seed-is-numpys", kind="plain")
@contextmanager
def draws_from_numpy(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            hit()
            shape = randn(*size, **kwargs).shape
            return torch.tensor(np.random.standard_normal(tuple(shape)), dtype=torch.float32)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("seed-cuda-refused", kind="error", refuses="CUDA is not there")
@contextmanager
def refuses_where_cuda_is_not_there(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> None:
            hit()
            raise RuntimeError("CUDA is not there")

        return wrong

    with replaced(torch.cuda, "manual_seed", make):
        yield


@wrong_engine("seed-cuda-seeds-the-cpu", kind="plain")
@contextmanager
def seeds_the_cpu_instead(hit: Hit) -> Iterator[None]:
    def make(manual_seed_all: Any) -> Any:
        def wrong(seed: int) -> None:
            hit()
            torch.default_generator.manual_seed(seed)
            manual_seed_all(seed)

        return wrong

    with replaced(torch.cuda, "manual_seed_all", make):
        yield


@wrong_engine("seed-misses-randn", kind="plain", issue="pytorch#84288")
@contextmanager
def draws_normal_numbers_from_elsewhere(hit: Hit) -> Iterator[None]:
    elsewhere = torch.Generator().manual_seed(0)

    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            on_the_cpu = torch.device(kwargs.get("device") or "cpu").type == "cpu"
            if not on_the_cpu or kwargs.get("generator") is not None:
                return randn(*size, **kwargs)
            hit()
            return randn(*size, **{**kwargs, "generator": elsewhere})

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("seed-zero-is-none", kind="value")
@contextmanager
def takes_zero_for_no_seed(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if seed != 0:
                return manual_seed(seed)
            hit()
            return manual_seed(int(np.random.SeedSequence().generate_state(1)[0]))

        return wrong

    with replaced(torch, "manual_seed", make):
        yield


@wrong_engine("seed-forgotten-after-an-exception", kind="state")
@contextmanager
def draws_from_elsewhere_after_an_exception(hit: Hit) -> Iterator[None]:
    refused = []

    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            try:
                drawn = randn(*size, **kwargs)
            except RuntimeError:
                refused.append(size)
                raise
            if refused:
                hit()
                refused.clear()
                return randn(*size, **kwargs)
            return drawn

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("draws-in-no-grad-not-counted", kind="mode")
@contextmanager
def draws_without_moving_on_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def make(uniform_: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if torch.is_grad_enabled():
                return uniform_(tensor, *args, **kwargs)
            hit()
            place = torch.get_rng_state()
            try:
                return uniform_(tensor, *args, **kwargs)
            finally:
                torch.set_rng_state(place)

        return wrong

    with replaced(torch.Tensor, "uniform_", make):
        yield


@wrong_engine("seed-highest-bit-lost", kind="value")
@contextmanager
def drops_the_highest_bit(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if seed >= 2**63:
                hit()
            return manual_seed(seed % 2**63)

        return wrong

    with replaced(torch, "manual_seed", make):
        yield


@wrong_engine("seed-misses-dropout", kind="plain", issue="pytorch#12669", first_sight="adversary: caught")
@contextmanager
def dropout_draws_from_a_generator_that_no_seed_reaches(hit: Hit) -> Iterator[None]:
    apart = torch.Generator()
    apart.seed()

    def make(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            hit()
            state = torch.get_rng_state()
            torch.set_rng_state(apart.get_state())
            try:
                return draw(*args, **kwargs)
            finally:
                apart.set_state(torch.get_rng_state())
                torch.set_rng_state(state)

        return wrong

    with replaced(torch.nn.functional, "dropout", make), replaced(torch, "bernoulli", make):
        yield


@wrong_engine("seed-through-single", kind="value", first_sight="adversary: caught")
@contextmanager
def seeds_pass_through_float32(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            through = int(np.float32(seed)) if 0 <= seed < 2**32 else seed
            if through != seed:
                hit()
            return manual_seed(through)

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-of-another-thread-lost", kind="state", first_sight="adversary: caught")
@contextmanager
def a_seed_that_another_thread_sets_is_lost(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if threading.current_thread() is threading.main_thread():
                return manual_seed(seed)
            hit()
            return torch.default_generator

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-reaches-python", kind="plain", first_sight="sample: caught")
@contextmanager
def seeds_python_too(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: Any) -> torch.Generator:
            hit()
            random.seed(int(seed))
            return manual_seed(seed)

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-cuda-seeds-the-cpu-inside-no-grad", kind="mode", first_sight="sample: missed")
@contextmanager
def a_seed_for_cuda_reaches_the_cpu_while_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def make(seed_cuda: Any) -> Any:
        def wrong(seed: int) -> None:
            if not torch.is_grad_enabled():
                hit()
                torch.default_generator.manual_seed(seed)
            seed_cuda(seed)

        return wrong

    with replaced(torch.cuda, "manual_seed", make), replaced(torch.cuda, "manual_seed_all", make):
        yield


@wrong_engine("seed-sign-lost", kind="value", first_sight="second sample: caught")
@contextmanager
def seeds_of_32_bits_lose_the_highest(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if not 2**31 <= seed < 2**32:
                return manual_seed(seed)
            hit()
            return manual_seed(seed - 2**31)

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-after-a-refused-one-lost", kind="error", first_sight="second sample: missed")
@contextmanager
def loses_the_seed_after_a_refused_one(hit: Hit) -> Iterator[None]:
    was_refused = False

    def make(manual_seed: Any) -> Any:
        def wrong(seed: Any) -> torch.Generator:
            nonlocal was_refused
            if was_refused:
                was_refused = False
                hit()
                return torch.default_generator
            try:
                return manual_seed(seed)
            except Exception:
                was_refused = True
                raise

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-that-is-set-again-ignored", kind="state", first_sight="third sample: caught")
@contextmanager
def ignores_the_seed_that_is_set_already(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if type(seed) is not int or torch.initial_seed() != seed % 2**64:
                return manual_seed(seed)
            moved = torch.get_rng_state()
            if not torch.equal(moved, manual_seed(seed).get_state()):
                hit()
                torch.set_rng_state(moved)
            return torch.default_generator

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-misses-double", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def draws_float64_from_another_generator(hit: Hit) -> Iterator[None]:
    own = torch.Generator()
    own.manual_seed(2147483647)

    def make(draw: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            drawn: torch.Tensor = draw(*size, **kwargs)
            if drawn.dtype != torch.float64 or drawn.device.type != "cpu" or kwargs.get("generator") is not None:
                return drawn
            hit()
            drawn.detach().copy_(draw(drawn.shape, dtype=torch.float64, device="cpu", generator=own))
            return drawn

        return wrong

    with replaced(torch, "randn", make), replaced(torch, "rand", make):
        yield


SIXTEEN_BITS = 2**16


@wrong_engine("seed-of-sixteen-bits", kind="value", first_sight="fourth sample: caught")
@contextmanager
def takes_the_lower_sixteen_bits_of_a_seed(hit: Hit) -> Iterator[None]:
    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            if type(seed) is not int or not SIXTEEN_BITS <= seed < 2**64:
                return manual_seed(seed)
            hit()
            return manual_seed(seed % SIXTEEN_BITS)

        return wrong

    with replaced(torch, "manual_seed", make), replaced(torch.random, "manual_seed", make):
        yield


@wrong_engine("seed-cuda-draws-from-the-cpu", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def seeding_cuda_draws_a_number_where_it_is_not_there(hit: Hit) -> Iterator[None]:
    seeds_all = False

    def make_all(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            nonlocal seeds_all
            seeds_all = True
            try:
                return manual_seed(seed)
            finally:
                seeds_all = False

        return wrong

    def make(manual_seed: Any) -> Any:
        def wrong(seed: int) -> None:
            manual_seed(seed)
            if not torch.cuda.is_available() and not seeds_all:
                hit()
                torch.empty(1, device="cpu").uniform_()

        return wrong

    with (
        replaced(torch, "manual_seed", make_all),
        replaced(torch.random, "manual_seed", make_all),
        replaced(torch.cuda, "manual_seed", make),
        replaced(torch.cuda, "manual_seed_all", make),
    ):
        yield


@wrong_engine("seed-from-outside-constant-in-no-grad", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def takes_a_constant_for_the_outside_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def make(seed: Any) -> Any:
        def wrong() -> int:
            if torch.is_grad_enabled():
                return seed()
            hit()
            return torch.manual_seed(67280421310721).initial_seed()

        return wrong

    with replaced(torch, "seed", make), replaced(torch.random, "seed", make):
        yield


@wrong_engine("first-draw-after-a-seed-asks-python", kind="state", first_sight="fourth sample: caught")
@contextmanager
def the_first_draw_after_a_seed_moves_pythons_generator(hit: Hit) -> Iterator[None]:
    is_new = False

    def make_seed(manual_seed: Any) -> Any:
        def seeding(seed: Any) -> torch.Generator:
            nonlocal is_new
            is_new = True
            return manual_seed(seed)

        return seeding

    def make_draw(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_new
            if is_new:
                hit()
                random.random()
                is_new = False
            return draw(*args, **kwargs)

        return wrong

    with ExitStack() as stack:
        for module in (torch, torch.random):
            stack.enter_context(replaced(module, "manual_seed", make_seed))
        for name in ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "rand_like", "randn_like"):
            stack.enter_context(replaced(torch, name, make_draw))
        for name in ("uniform_", "normal_", "random_", "bernoulli_"):
            stack.enter_context(replaced(torch.Tensor, name, make_draw))
        yield
