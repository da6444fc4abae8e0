"""spec/random/generators.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("generator-ignored-without-sizes", kind="size")
@contextmanager
def ignores_the_generator_of_a_scalar(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if size == ((),) and kwargs.get("generator") is not None:
                hit()
                kwargs["generator"] = None
            return randn(*size, **kwargs)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("generator-seeded-with-the-default", kind="state")
@contextmanager
def seeds_every_generator(hit: Hit) -> Iterator[None]:
    made: list[torch.Generator] = []

    def make(generator: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Generator:
            made.append(generator(*args, **kwargs))
            return made[-1]

        return wrong

    def seed_all(manual_seed: Any) -> Any:
        def wrong(seed: int) -> torch.Generator:
            for generator in made:
                hit()
                generator.manual_seed(seed)
            return manual_seed(seed)

        return wrong

    with replaced(torch, "Generator", make), replaced(torch, "manual_seed", seed_all):
        yield


@wrong_engine("generator-moves-the-default", kind="plain", issue="pytorch#22710")
@contextmanager
def moves_the_default_generator_too(hit: Hit) -> Iterator[None]:
    def make(randperm: Any) -> Any:
        def wrong(n: int, generator: Any = None, **kwargs: Any) -> torch.Tensor:
            if generator is not None:
                hit()
                torch.rand(1)
            return randperm(n, generator=generator, **kwargs)

        return wrong

    with replaced(torch, "randperm", make):
        yield


@wrong_engine("state-is-only-the-seed", kind="state", issue="pytorch#130613")
@contextmanager
def goes_back_to_the_beginning(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def set_state(self, state: torch.Tensor) -> Any:
                super().set_state(state)
                hit()
                return self.manual_seed(self.initial_seed())

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("state-moves-along", kind="aliasing")
@contextmanager
def gives_a_state_that_moves_along(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def get_state(self) -> torch.Tensor:
                self.given = super().get_state()
                return self.given

            def set_state(self, state: torch.Tensor) -> Any:
                if state is not getattr(self, "given", None):
                    return super().set_state(state)
                hit()
                return self

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("seed-out-of-range-wrapped", kind="error")
@contextmanager
def takes_the_lower_bits_of_any_seed(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def manual_seed(self, seed: int) -> Any:
                if not -(2**63) <= seed < 2**64:
                    hit()
                return super().manual_seed(seed % 2**64)

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("seed-refusal-starts-anew", kind="error")
@contextmanager
def starts_anew_before_it_refuses(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def manual_seed(self, seed: int) -> Any:
                if seed >= 2**64:
                    hit()
                    super().manual_seed(self.initial_seed())
                return super().manual_seed(seed)

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("generator-ignored-in-double", kind="dtype", first_sight="adversary: missed")
@contextmanager
def draws_float64_without_the_generator(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(*size: Any, generator: Any = None, **kwargs: Any) -> torch.Tensor:
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            if generator is None or dtype != torch.float64:
                return draw(*size, generator=generator, **kwargs)
            hit()
            return draw(*size, **kwargs)

        return wrong

    with replaced(torch, "randn", make), replaced(torch, "rand", make):
        yield


@wrong_engine("generators-of-one-seed-are-one", kind="aliasing", first_sight="adversary: caught")
@contextmanager
def generators_with_the_same_seed_share_their_stream(hit: Hit) -> Iterator[None]:
    streams: dict[int, torch.Tensor] = {}

    def make(draw: Any) -> Any:
        def wrong(*size: Any, generator: Any = None, **kwargs: Any) -> torch.Tensor:
            if generator is None:
                return draw(*size, **kwargs)
            seed, state = generator.initial_seed(), generator.get_state()
            begun = not torch.equal(state, torch.Generator(generator.device).manual_seed(seed).get_state())
            if begun and seed in streams and not torch.equal(state, streams[seed]):
                hit()
                generator.set_state(streams[seed])
            drawn = draw(*size, generator=generator, **kwargs)
            streams[seed] = generator.get_state()
            return drawn

        return wrong

    with replaced(torch, "randn", make), replaced(torch, "rand", make), replaced(torch, "randperm", make):
        yield


LONGEST = 2**32


"""The seeds from which on a state is not taken."""


@wrong_engine("state-of-a-long-seed-ignored", kind="value", first_sight="sample: caught")
@contextmanager
def takes_no_state_of_a_long_seed(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def set_state(self, state: torch.Tensor) -> Any:
                other = generator(self.device)
                other.set_state(state)
                if other.initial_seed() < LONGEST:
                    return super().set_state(state)
                if not torch.equal(self.get_state(), state):
                    hit()
                return self

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("generator-refusal-moves-the-default", kind="error", first_sight="sample: missed")
@contextmanager
def a_refused_draw_with_a_generator_moves_the_default(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return draw(*size, **kwargs)
            except RuntimeError:
                if kwargs.get("generator") is not None:
                    hit()
                    torch.empty(1).uniform_()
                raise

        return wrong

    with replaced(torch, "randn", make), replaced(torch, "rand", make), replaced(torch, "randperm", make):
        yield


AT_A_TIME = 4


@wrong_engine("state-amid-four-numbers", kind="size", first_sight="second sample: caught")
@contextmanager
def a_state_amid_four_numbers_goes_on_a_number_later(hit: Hit) -> Iterator[None]:
    drawn: dict[int, int] = {}
    amid: set[bytes] = set()

    def make_draw(draw: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            numbers: torch.Tensor = draw(*args, **kwargs)
            if kwargs.get("generator") is not None:
                drawn[id(kwargs["generator"])] = drawn.get(id(kwargs["generator"]), 0) + numbers.numel()
            return numbers

        return wrong

    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def get_state(self) -> torch.Tensor:
                state: torch.Tensor = super().get_state()
                if drawn.get(id(self), 0) % AT_A_TIME:
                    amid.add(state.numpy().tobytes())
                return state

            def set_state(self, state: torch.Tensor) -> Any:
                super().set_state(state)
                drawn[id(self)] = 0
                if state.numpy().tobytes() in amid:
                    hit()
                    torch.empty(1).uniform_(generator=self)
                    drawn[id(self)] = 0
                return self

        return Wrong

    with replaced(torch, "Generator", make), replaced(torch, "randn", make_draw), replaced(torch, "rand", make_draw):
        yield


@wrong_engine("seed-out-of-range-ignored", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def a_seed_out_of_range_is_passed_over_in_silence(hit: Hit) -> Iterator[None]:
    def make(generator: Any) -> Any:
        class Wrong(generator):  # type: ignore[misc]
            def manual_seed(self, seed: int) -> Any:
                if -(2**63) <= seed < 2**64:
                    return super().manual_seed(seed)
                hit()
                return self

        return Wrong

    with replaced(torch, "Generator", make):
        yield


@wrong_engine("generator-ignored-for-what-is-not-contiguous", kind="layout", first_sight="fourth sample: caught")
@contextmanager
def draws_into_a_strided_tensor_from_the_default_generator(hit: Hit) -> Iterator[None]:
    def make(draw: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("generator") is not None and not tensor.is_contiguous():
                hit()
                kwargs = {**kwargs, "generator": None}
            return draw(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as methods:
        for name in ("uniform_", "normal_", "random_", "bernoulli_", "exponential_"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield
