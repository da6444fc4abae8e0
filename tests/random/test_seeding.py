"""spec/random/seeding.md"""

import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import numbers

DRAWS = (
    "lambda: torch.randn((), dtype={dtype}, device={device})",
    "lambda: torch.randn(3, dtype={dtype}, device={device})",
    "lambda: torch.randn(2, 17, dtype={dtype}, device={device})",
    "lambda: torch.rand(2, 3, dtype={dtype}, device={device})",
    "lambda: torch.randint(0, 100, (4,), device={device})",
    "lambda: torch.randperm(5, device={device})",
    "lambda: torch.empty(3, dtype={dtype}, device={device}).normal_(1, 2)",
    "lambda: torch.bernoulli(torch.full((5,), 0.5, dtype={dtype}, device={device}))",
    "lambda: torch.nn.functional.dropout(torch.ones(9, device={device}))",
    "lambda: torch.empty(5, dtype={dtype}, device={device}).uniform_(-1, 1)",
    "lambda: torch.normal(1.0, 2.0, (3,), dtype={dtype}, device={device})",
    "lambda: torch.rand_like(torch.ones(5, dtype={dtype}, device={device}))",
    "lambda: torch.multinomial(torch.ones(9, device={device}), 5)",
    "lambda: torch.empty(4, dtype={dtype}, device={device}).exponential_()",
    "lambda: torch.nn.Linear(3, 2, dtype={dtype}, device={device}).weight",
)

SIXTEEN_NUMBERS = (
    "lambda: torch.randn(2, 8, device=device)",
    "lambda: torch.rand(4, 4, device=device)",
    "lambda: torch.empty(16, device=device).normal_(1, 2)",
    "lambda: torch.nn.Linear(4, 4, device=device).weight",
)
EACH_SIXTEEN = (
    lambda device: torch.randn(16, device=device),
    lambda device: torch.rand(2, 8, device=device),
    lambda device: torch.randn(17, device=device),
    lambda device: torch.rand(33, device=device),
    lambda device: torch.empty(4, 4, device=device).normal_(),
    lambda device: torch.empty(16, device=device).uniform_(-1, 1),
    lambda device: torch.randn_like(torch.ones(16, device=device)),
    lambda device: torch.rand_like(torch.ones(4, 4, device=device)),
    lambda device: torch.normal(0.0, 1.0, (16,), device=device),
    lambda device: torch.empty(16, device=device).exponential_(),
    lambda device: torch.nn.Linear(4, 4, device=device).weight,
)
MOVERS = (
    lambda device: torch.randn((), device=device),
    lambda device: torch.rand(1, device=device),
    lambda device: torch.randint(100, (3,), device=device),
    lambda device: torch.randperm(5, device=device),
    lambda device: torch.bernoulli(torch.full((2,), 0.5, device=device)),
    lambda device: torch.nn.functional.dropout(torch.ones(9, device=device)),
    lambda device: torch.multinomial(torch.ones(9, device=device), 5),
    lambda device: torch.empty(2, device=device).exponential_(),
    lambda device: torch.empty(3, device=device).normal_(),
    lambda device: torch.empty(3, device=device).uniform_(),
    lambda device: torch.randn(17, dtype=torch.float64, device=device),
    lambda device: torch.nn.Linear(1, 1, device=device),
)
"""Draws of each kind, each of which moves the generator on."""

EARLIER = (
    "lambda: None",
    "lambda: torch.randn((), device=device)",
    "lambda: torch.randn(3, device=device)",
    "lambda: torch.rand(5, device=device)",
    "lambda: torch.nn.Linear(1, 1, device=device)",
)

SEEDS = (42, 0, 1, 2, 43, 1000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1, -1, -42, -(2**63))

DTYPES = ("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")
SEEDERS = ("torch.cuda.manual_seed", "torch.cuda.manual_seed_all")


def seeds():
    """Seeds from all over the range that torch takes."""
    return st.sampled_from(SEEDS)


def draws(device):
    """A function that draws random numbers."""
    return st.builds(
        lambda source, dtype: Expression(source.format(dtype=dtype, device=device), dtypes=frozenset({dtype})),
        st.sampled_from(DRAWS),
        st.sampled_from(DTYPES),
    )


def series(*devices):
    """Five draws of different kinds, in an order of their own."""

    def drawn(start, step, dtype):
        sources = [DRAWS[(start + step * place) % len(DRAWS)] for place in range(5)]
        return [
            Expression(source.format(dtype=dtype, device=devices[place % len(devices)]), dtypes=frozenset({dtype}))
            for place, source in enumerate(sources)
        ]

    return st.builds(drawn, st.sampled_from(range(len(DRAWS))), st.sampled_from((1, 2, 4, 7)), st.sampled_from(DTYPES))


def earlier():
    """What may stand before the draw that is looked at."""
    return st.sampled_from(EARLIER).map(Expression)


def sixteen_numbers():
    """Functions that draw sixteen float32 numbers."""
    return st.sampled_from(SIXTEEN_NUMBERS).map(Expression)


def seeders():
    return st.sampled_from(SEEDERS).map(Expression)


@rule("random.seeding.repeats")
@also(*UNRECORDED)
@given(seed=seeds(), series=series("'cpu'"), before=st.lists(draws("'cpu'"), max_size=2))
@example(seed=42, series=[Expression("lambda: torch.randn(5, device='cpu')")], before=[])
@example(seed=0, series=[Expression("lambda: torch.rand(5, device='cpu')")], before=[])
@example(seed=2**64 - 1, series=[Expression("lambda: torch.randn(5, device='cpu')")], before=[])
@example(
    seed=42,
    series=[Expression("lambda: torch.randn(100, 1)"), Expression("lambda: torch.nn.Linear(1, 1).weight")],
    before=[Expression("lambda: torch.randn(())")],
)
def test_the_same_seed_gives_the_same_numbers_whatever_was_drawn_before(device, seed, series, before):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = [numbers(draw()) for draw in series]
        for draw in before:
            draw()
        for draw_more in MOVERS:
            draw_more("cpu")
        with pytest.raises(RuntimeError):
            torch.randn(-1)
        seeding = threading.Thread(target=lambda: torch.manual_seed(seed))
        seeding.start()
        seeding.join()
        assert [numbers(draw()) for draw in series] == first
        torch.seed()
        with torch.no_grad():
            torch.manual_seed(seed=seed)
        assert [numbers(draw()) for draw in series] == first
        torch.manual_seed(seed)
        later = []
        drawing = threading.Thread(target=lambda: later.extend(numbers(draw()) for draw in series))
        drawing.start()
        drawing.join()
        assert later == first


@rule("random.seeding.every-device")
@also(*UNRECORDED)
@given(seed=seeds(), series=series("device", "'cpu'") | series("'cpu'", "device"))
@example(seed=42, series=[Expression("lambda: torch.randn(5, device=device)")])
def test_one_seed_is_enough_for_all_devices(device, seed, series):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = [numbers(draw()) for draw in series]
        with pytest.raises(ValueError, match="invalid literal"):
            torch.manual_seed("a number")
        with pytest.raises((RuntimeError, ValueError)):
            torch.manual_seed(2**64)
        with pytest.raises(RuntimeError):
            torch.rand(-1, device=device)
        for draw_more in MOVERS:
            draw_more(device)
        torch.manual_seed(seed)
        assert [numbers(draw()) for draw in series] == first


@rule("random.seeding.handed-on")
@also(*UNRECORDED)
@given(seed=st.integers(0, 2**64 - 1))
@example(seed=42)
@example(seed=0)
@example(seed=2**63)
@example(seed=2**32)
@example(seed=2**64 - 1)
def test_the_seed_is_handed_on_to_the_generators_of_cuda(device, seed):
    handed_on = []
    seed_cuda = torch.cuda.manual_seed_all
    torch.cuda.manual_seed_all = handed_on.append
    try:
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with torch.random.fork_rng(devices=[]), mode():
                torch.manual_seed(seed=seed)
                assert torch.initial_seed() == seed
                torch.randn(3)
                with pytest.raises(RuntimeError):
                    torch.randn(-1)
                torch.Generator().manual_seed(7)
                assert torch.initial_seed() == seed
        with torch.random.fork_rng(devices=[]):
            seeding = threading.Thread(target=lambda: torch.manual_seed(seed))
            seeding.start()
            seeding.join()
            assert torch.initial_seed() == seed
    finally:
        torch.cuda.manual_seed_all = seed_cuda
    assert handed_on == [seed] * 4


@rule("random.seeding.order")
@also(*UNRECORDED)
@given(seed=st.integers(2**24, 2**32 - 1), first_bit=st.integers(0, 7), draw=sixteen_numbers(), earlier=earlier())
@example(seed=3 * 2**30, first_bit=0, draw=Expression(SIXTEEN_NUMBERS[0]), earlier=Expression("lambda: None"))
@example(seed=42, first_bit=0, draw=Expression("lambda: torch.randn(100, 1)"), earlier=Expression("lambda: None"))
def test_another_seed_gives_other_numbers(device, seed, first_bit, draw, earlier):
    seeds = [seed, *(seed ^ 2**bit for bit in (*range(first_bit, 31, 8), 31))]
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for another in seeds:
            torch.manual_seed(another)
            earlier()
            drawn.append([tuple(numbers(draw())), *(tuple(numbers(draws(device))) for draws in EACH_SIXTEEN)])
    for of_one_kind in zip(*drawn, strict=True):
        assert len(set(of_one_kind)) == len(seeds)


@rule("random.seeding.order")
@also(*UNRECORDED)
@given(seed=seeds(), draw=sixteen_numbers(), start=st.integers(0, 3))
@example(seed=42, draw=Expression("lambda: torch.nn.Linear(4, 4).weight"), start=0)
@example(seed=42, draw=Expression(SIXTEEN_NUMBERS[0]), start=1)
@example(seed=42, draw=Expression(SIXTEEN_NUMBERS[0]), start=3)
def test_a_draw_put_in_before_gives_other_numbers(device, seed, draw, start):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        without = numbers(draw())
        for move in MOVERS[start::4]:
            torch.manual_seed(seed)
            move(device)
            assert numbers(draw()) != without


@rule("random.seeding.from-outside")
@also(*UNRECORDED)
@given(draw=sixteen_numbers())
def test_a_seed_from_outside_is_another_one_each_time(device, draw):
    seeds, drawn = [], []
    with torch.random.fork_rng(devices=[]):
        for number in range(4):
            if number:
                torch.manual_seed(42)
            seeds.append(torch.seed())
            assert type(seeds[-1]) is int
            assert torch.initial_seed() == seeds[-1]
            drawn.append(numbers(draw()))
        torch.manual_seed(seeds[-1])
        assert numbers(draw()) == drawn[-1]
    assert any(seed != seeds[0] for seed in seeds)
    assert any(other != drawn[0] for other in drawn)


@rule("random.seeding.others-alone")
@also(*UNRECORDED)
@given(seed=seeds(), others=st.integers(0, 1000), draw=draws("device"))
@example(seed=42, others=42, draw=Expression("lambda: torch.randn(5)"))
def test_torch_does_not_move_the_generators_of_numpy_and_python(device, seed, others, draw):
    np.random.seed(others)
    random.seed(others)
    np.random.standard_normal()  # NumPy and Python make normal numbers in pairs and keep the second
    random.gauss(0, 1)
    expected = [np.random.standard_normal(), random.gauss(0, 1), np.random.rand(), random.random()]
    np.random.seed(others)
    random.seed(others)
    np.random.standard_normal()
    random.gauss(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw()
        for another in (*MOVERS, *EACH_SIXTEEN):
            another(device)
        torch.seed()
        generator = torch.Generator(device=device).manual_seed(seed)
        torch.randn(5, generator=generator, device=device)
        generator.seed()
        torch.set_rng_state(torch.get_rng_state())
        torch.randperm(17)
        with pytest.raises(RuntimeError):
            torch.randn(-1)
    assert [np.random.standard_normal(), random.gauss(0, 1), np.random.rand(), random.random()] == expected


@rule("random.seeding.others-alone")
@also(*UNRECORDED)
@given(seed=seeds(), others=st.integers(0, 1000), draw=draws("device"))
def test_numpy_and_python_do_not_move_the_generators_of_torch(device, seed, others, draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = [numbers(draw()), *(numbers(another(device)) for another in EACH_SIXTEEN)]
        torch.manual_seed(seed)
        drawn = []
        for another in (lambda device: draw(), *EACH_SIXTEEN):
            np.random.seed(others)
            random.seed(others)
            np.random.rand()
            np.random.randn(3)
            np.random.permutation(5)
            np.random.shuffle([1, 2, 3])
            np.random.default_rng(others).random()
            random.random()
            random.gauss(0, 1)
            random.sample(range(9), 3)
            random.shuffle([1, 2, 3])
            drawn.append(numbers(another(device)))
        assert drawn == expected


@rule("random.seeding.without-cuda")
@also(*UNRECORDED)
@given(seed=seeds(), seed_cuda=seeders(), number=st.integers(0, 2**64 - 1))
@example(seed=42, seed_cuda=Expression("torch.cuda.manual_seed"), number=42)
def test_seeding_cuda_is_harmless_whether_or_not_cuda_is_there(device, seed, seed_cuda, number):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        available = torch.cuda.is_available()
        for mode in (torch.enable_grad, torch.no_grad):
            for every in (torch.cuda.manual_seed, torch.cuda.manual_seed_all):
                with mode():
                    assert every(number) is None
                assert torch.equal(torch.get_rng_state(), before)
        assert seed_cuda(seed=number) is None
        assert torch.equal(torch.get_rng_state(), before)
        seeding = threading.Thread(target=seed_cuda, args=(number,))
        seeding.start()
        seeding.join()
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.cuda.is_available() is available
