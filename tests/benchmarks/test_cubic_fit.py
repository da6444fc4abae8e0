"""The fit of spec/fits/cubic.md, timed on every device against its floor.

The floor is the least that the same steps cost on this machine: NumPy, the gradient by hand, the powers made once. It
is timed before each round, for about as long as a round takes, and the figure to keep, `times_the_floor`, is the median
of the rounds' own ratios: what else the machine does slows both. Left out: the start of a device and of its kernels,
which the checks before the clock pay for.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, rows_of_powers

POINTS, RATE = 2000, 1e-5
STEPS, FLOOR_STEPS, ROUNDS = 500, 5000, 7
PARTWAY = STEPS // 3
GROUP = f"{STEPS} steps of the cubic fit over {POINTS} points"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", metafunc.config.pluginmanager.get_plugin("conformance").devices)


def by_autograd(x: torch.Tensor, y: torch.Tensor, steps: int) -> list[float]:
    """The coefficients after that many steps from zero. Reading them waits for the device."""
    a, b, c, d = coefficients = [torch.zeros((), device=x.device, requires_grad=True) for _ in range(4)]
    for _ in range(steps):
        loss = (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for coefficient in coefficients:
                coefficient -= RATE * coefficient.grad
                coefficient.grad = None
    return [coefficient.item() for coefficient in coefficients]


def by_hand(powers: np.ndarray, y: np.ndarray, steps: int) -> list[float]:
    """The same in NumPy."""
    coefficients = np.zeros(4, dtype=powers.dtype)
    for _ in range(steps):
        coefficients -= np.float32(2 * RATE) * ((powers @ coefficients - y) @ powers)
    return coefficients.tolist()


def assert_closed_form(x: np.ndarray, y: np.ndarray, found: list[float], steps: int) -> None:
    powers = rows_of_powers(x)
    path = descent(powers, y, np.zeros(4), RATE, steps)
    bound = descent_bound(powers, y, path, RATE, torch.finfo(torch.float32).eps)
    assert (abs(found - path[-1]) / bound[-1]).max() <= 1


@pytest.mark.benchmark(group=GROUP)
def test_autograd(benchmark: BenchmarkFixture, device: str) -> None:
    x = torch.linspace(-1, 1, POINTS, dtype=torch.float32, device=device)
    y = torch.exp(x)
    points, target = np.array(numbers(x)), np.array(numbers(y))
    powers, single = rows_of_powers(points).astype(np.float32), target.astype(np.float32)
    for steps in (PARTWAY, STEPS):
        assert_closed_form(points, target, by_autograd(x, y, steps), steps)
    floors: list[float] = []

    def time_the_floor() -> None:
        start = time.perf_counter()
        by_hand(powers, single, FLOOR_STEPS)
        floors.append((time.perf_counter() - start) / FLOOR_STEPS)

    found = benchmark.pedantic(by_autograd, args=(x, y, STEPS), setup=time_the_floor, rounds=ROUNDS)
    assert_closed_form(points, target, found, STEPS)
    if benchmark.stats:  # absent where benchmarks are disabled and each runs once, untimed
        steps_took = [seconds / STEPS for seconds in benchmark.stats.stats.data]
        ratios = [took / floor for took, floor in zip(steps_took, floors, strict=True)]
        benchmark.extra_info.update(microseconds_a_step=1e6 * min(steps_took), times_the_floor=median(ratios))


@pytest.mark.benchmark(group=GROUP)
def test_floor(benchmark: BenchmarkFixture) -> None:
    x = np.linspace(-1, 1, POINTS, dtype=np.float32)
    y = np.exp(x)
    powers = rows_of_powers(x)
    for steps in (PARTWAY, STEPS):
        assert_closed_form(x.astype(float), y.astype(float), by_hand(powers, y, steps), steps)
    benchmark.pedantic(by_hand, args=(powers, y, STEPS), rounds=ROUNDS)
