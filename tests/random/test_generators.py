"""spec/random/generators.md"""

import itertools
import threading

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import numbers

DRAWS = (
    "lambda generator: torch.randn(3, generator=generator, dtype={dtype}, device=device)",
    "lambda generator: torch.randn((), generator=generator, dtype={dtype}, device=device)",
    "lambda generator: torch.randn(17, generator=generator, dtype={dtype}, device=device)",
    "lambda generator: torch.rand(2, 3, generator=generator, dtype={dtype}, device=device)",
    "lambda generator: torch.randint(0, 100, (4,), generator=generator, device=device)",
    "lambda generator: torch.randperm(5, generator=generator, device=device)",
    "lambda generator: torch.empty(3, dtype={dtype}, device=device).normal_(generator=generator)",
    "lambda generator: torch.zeros(3, 2, dtype={dtype}, device=device)[:, 0].uniform_(generator=generator)",
    "lambda generator: torch.normal(0.0, 1.0, (5,), generator=generator, dtype={dtype}, device=device)",
    "lambda generator: torch.multinomial(torch.ones(9, device=device), 5, generator=generator)",
    "lambda generator: torch.empty(4, dtype={dtype}, device=device).exponential_(generator=generator)",
    "lambda generator: torch.empty(4, dtype=torch.int64, device=device).random_(generator=generator)",
    "lambda generator: torch.bernoulli(torch.full((5,), 0.5, dtype={dtype}, device=device), generator=generator)",
)
SIXTEEN = (
    lambda generator: torch.randn(16, generator=generator, device=generator.device),
    lambda generator: torch.rand(4, 4, generator=generator, device=generator.device),
    lambda generator: torch.randint(0, 1000, (32,), generator=generator, device=generator.device),
    lambda generator: torch.randperm(50, generator=generator, device=generator.device),
    lambda generator: torch.empty(17, device=generator.device).normal_(generator=generator),
    lambda generator: torch.empty(17, device=generator.device).uniform_(generator=generator),
)
"""Draws that are equal by chance with a probability far below 10^-50."""
A_FEW_NORMAL = Expression(DRAWS[0].format(dtype="torch.float32"))

EVERY_DRAW = (
    lambda generator, **of: torch.randn(3, generator=generator, **of),
    lambda generator, **of: torch.randn((), generator=generator, **of),
    lambda generator, **of: torch.randn(17, generator=generator, **of),
    lambda generator, **of: torch.rand(2, 3, generator=generator, **of),
    lambda generator, **of: torch.randint(100, (4,), generator=generator, **of),
    lambda generator, **of: torch.randperm(5, generator=generator, **of),
    lambda generator, **of: torch.empty(3, **of).normal_(generator=generator),
    lambda generator, **of: torch.empty(3, dtype=torch.float64, **of).uniform_(generator=generator),
    lambda generator, **of: torch.normal(torch.zeros(3, **of), 1.0, generator=generator),
    lambda generator, **of: torch.multinomial(torch.ones(9, **of), 5, generator=generator),
    lambda generator, **of: torch.empty(4, **of).exponential_(generator=generator),
    lambda generator, **of: torch.empty(4, **of).random_(generator=generator),
    lambda generator, **of: torch.bernoulli(torch.full((5,), 0.5, **of), generator=generator),
    lambda generator, **of: torch.empty(5, **of).bernoulli_(0.5, generator=generator),
)
"""A draw of each kind."""
SEEDS = (42, 0, 1, 43, 1000, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64 - 1)


def seeds():
    return st.sampled_from(SEEDS)


def series():
    """Functions that draw random numbers from a generator, or from the default one if it is None."""
    draw = st.builds(
        lambda source, dtype: Expression(source.format(dtype=dtype), dtypes=frozenset({dtype})),
        st.sampled_from(DRAWS),
        st.sampled_from(("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")),
    )
    return st.lists(draw, min_size=1, max_size=3)


@rule("random.generators.own-stream")
@also(*UNRECORDED)
@given(seed=seeds(), default_seed=seeds(), series=series())
@example(seed=42, default_seed=42, series=[A_FEW_NORMAL])
@example(seed=0, default_seed=1, series=[Expression(draw.format(dtype="torch.float64")) for draw in DRAWS[2:4]])
@example(seed=1, default_seed=0, series=[Expression(draw.format(dtype="torch.float64")) for draw in DRAWS[:2]])
def test_a_generator_has_a_stream_of_its_own(device, seed, default_seed, series):
    with torch.random.fork_rng(devices=[]):
        generator = torch.Generator(device=device).manual_seed(seed)
        alone = [numbers(draw(generator)) for draw in series]
        generator.manual_seed(seed)
        mixed = []
        for draw in series:
            torch.manual_seed(default_seed)
            for another in EVERY_DRAW:
                another(None, device=device)
            torch.nn.Linear(2, 2, device=device)
            torch.nn.functional.dropout(torch.ones(9, device=device))
            with pytest.raises(RuntimeError):
                torch.randn(-1, generator=generator, device=device)
            generator.get_state()
            for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
                with mode():
                    draw(None)
            other = torch.Generator(device=device).manual_seed(seed)
            draw(other)
            torch.Generator(device=device).set_state(other.get_state())
            torch.seed()
            assert generator.initial_seed() == seed
            mixed.append(numbers(draw(generator)))
        generator.manual_seed(seed)
        drawing = threading.Thread(target=lambda: mixed.extend(numbers(draw(generator)) for draw in series))
        drawing.start()
        drawing.join()
    assert mixed == [*alone, *alone]


@rule("random.generators.own-stream")
@also(*UNRECORDED)
@given(seed=seeds(), bit=st.integers(0, 31))
def test_another_seed_or_a_draw_more_gives_other_numbers(device, seed, bit):
    generator = torch.Generator(device=device)
    for draw in SIXTEEN:
        first = [numbers(draw(generator.manual_seed(another))) for another in (seed, seed ^ 2**bit)]
        generator.manual_seed(seed)
        later = [numbers(draw(generator)) for _ in range(3)]
        assert later[0] == first[0]
        assert all(one != other for one, other in itertools.combinations([*first, *later[1:]], 2))


@rule("random.generators.default-untouched")
@also(*UNRECORDED)
@given(seed=seeds(), default_seed=seeds(), series=series())
@example(seed=42, default_seed=42, series=[Expression(DRAWS[1].format(dtype="torch.float32"))])
@example(seed=42, default_seed=42, series=[Expression(DRAWS[1].format(dtype="torch.float64"))])
def test_the_default_stream_goes_on_as_if_the_generator_had_not_been(device, seed, default_seed, series):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(default_seed)
        alone = [numbers(draw(None)) for draw in series]
        torch.manual_seed(default_seed)
        mixed = []
        for draw in series:
            generator = torch.Generator(device=device).manual_seed(seed)
            for another in EVERY_DRAW:
                another(generator, device=device)
            for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
                with mode():
                    draw(generator)
            generator.set_state(generator.get_state())
            generator.seed()
            drawing = threading.Thread(target=draw, args=(generator,))
            drawing.start()
            drawing.join()
            for refused in (torch.randn, torch.rand, torch.randperm):
                with pytest.raises(RuntimeError):
                    refused(-1, generator=generator, device=device)
            mixed.append(numbers(draw(None)))
    assert mixed == alone


@rule("random.generators.state")
@also(*UNRECORDED)
@given(seed=seeds(), before=series(), series=series())
@example(seed=42, before=[A_FEW_NORMAL], series=[A_FEW_NORMAL])
@example(seed=42, before=[Expression(DRAWS[1].format(dtype="torch.float32"))], series=[A_FEW_NORMAL])
def test_a_generator_goes_on_from_a_state_as_it_did_before(device, seed, before, series):
    generator = torch.Generator(device=device).manual_seed(seed)
    for draw in before:
        draw(generator)
    state = generator.get_state()
    expected = [numbers(draw(generator)) for draw in series]
    kept, later = numbers(state), generator.get_state()
    after = [numbers(draw(generator)) for draw in series]
    reseeded = torch.Generator(device=device).manual_seed(seed + 1 if seed < 2**63 else 0)
    for another in (generator, generator, torch.Generator(device=device), reseeded, generator.manual_seed(7)):
        another.set_state(state)
        assert another.initial_seed() == seed
        assert [numbers(draw(another)) for draw in series] == expected
        torch.randn((), generator=another, device=device)
        another.set_state(later)
        assert [numbers(draw(another)) for draw in series] == after
        assert numbers(state) == kept


@rule("random.generators.out-of-range")
@also(*UNRECORDED)
@given(seed=seeds(), before=series(), series=series())
def test_a_seed_of_too_many_bits_is_refused_and_changes_nothing(device, seed, before, series):
    generator = torch.Generator(device=device).manual_seed(seed)
    for draw in before:
        draw(generator)
    state = generator.get_state()
    expected = [numbers(draw(generator)) for draw in series]
    for bad in (2**64, 2**64 + 1, 2**64 + 42, 2**70, 2**300, -(2**63) - 1, -(2**64), -(2**70)):
        generator.set_state(state)
        with pytest.raises(Exception, match="Overflow when unpacking") as refusal:
            generator.manual_seed(bad)
        assert refusal.type in (RuntimeError, ValueError), bad
        assert generator.initial_seed() == seed, bad
        assert [numbers(draw(generator)) for draw in series] == expected, bad
        generator.set_state(state)
        mixed = []
        for draw in series:
            with pytest.raises(Exception, match="Overflow when unpacking"):
                generator.manual_seed(bad)
            mixed.append(numbers(draw(generator)))
        assert mixed == expected, bad
