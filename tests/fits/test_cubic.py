"""spec/fits/cubic.md"""

import math

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves
from tests.inputs.circumstances import AS_RESULTS, also
from tests.oracles import numbers
from tests.oracles.descent import (
    descent,
    descent_bound,
    gradient,
    gradient_bound,
    least_squares,
    losses,
    losses_bound,
    rows_of_powers,
    swing,
    swing_bound,
)

TAYLOR = (1, 1, 1 / 2, 1 / 6)
FIRST_LINE = (0.987654, 1.012345, 0.498765, 0.165432)
"""What a document prints after 99 steps."""

SIZES = st.shared(st.sampled_from((1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 17, 32, 33, 33, 64, 65)), key="number of points")
DTYPES = st.shared(st.sampled_from(("torch.float32", "torch.float64")), key="dtype")

POINTS = (
    "torch.linspace(-1, 1, {n}, dtype={dtype}, device=device)",
    "torch.linspace(-1, 1, {n} * 2 - 1, dtype={dtype}, device=device)[::2]",
    "torch.linspace(-1, 1, {n}, dtype={dtype}, device=device).reshape({rows}, -1).T",
)
LEAVES = (
    lambda number, x: torch.tensor(number, dtype=x.dtype, device=x.device, requires_grad=True),
    lambda number, x: torch.tensor([number], dtype=x.dtype, device=x.device, requires_grad=True),
    lambda number, x: torch.tensor([0, number], dtype=x.dtype, device=x.device)[1].requires_grad_(),
    lambda number, x: torch.nn.Parameter(torch.tensor(number, dtype=x.dtype, device=x.device)),
)
"""Functions that make a leaf of one element, 0-d or not, a view or not."""
CLEARINGS = (
    lambda leaf: setattr(leaf, "grad", None),
    lambda leaf: leaf.grad.zero_(),
    lambda leaf: setattr(leaf, "grad", torch.zeros_like(leaf)),
)
TURNS = st.integers(0, 11)
"""Where to begin among those: the four coefficients are of different kinds, and cleared in different ways."""
TWO_THOUSAND_POINTS = Expression("torch.linspace(-1, 1, 2000, device=device)")


def written(form: str, dtype: str, n: int = 1) -> Expression:
    return Expression(form.format(n=n, rows=2 - n % 2, dtype=dtype), dtypes=frozenset({dtype}))


def points() -> st.SearchStrategy[Expression]:
    """The same evenly spaced points of [-1, 1] in different layouts."""
    return st.builds(written, st.sampled_from(POINTS), DTYPES, SIZES)


def coefficients(numbers, x, turn):
    """Leaves that hold these numbers, each of another kind."""
    return [LEAVES[(turn + place) % 4](number, x) for place, number in enumerate(numbers)]


def clearings(turn):
    """For each of the four a function that clears its gradient."""
    return [CLEARINGS[(turn + place) % 3] for place in range(4)]


def starts() -> st.SearchStrategy[tuple[float, ...]]:
    """Four coefficients, constant first."""
    return st.tuples(*[quarters(-12, 12)] * 4)


def starts_above() -> st.SearchStrategy[tuple[float, ...]]:
    """Cubics that lie above exp by a constant, mostly: the steepest direction has something to grow from."""
    return st.tuples(quarters(8, 12), *[quarters(0, 4)] * 3)


def quarters(first: int, last: int) -> st.SearchStrategy[float]:
    """Numbers that are exact in every dtype."""
    return st.integers(first, last).map(lambda quarter: quarter / 4)


def rates(*parts: float) -> st.SearchStrategy[float]:
    """Rates that are about these parts of the stable limit for the points."""

    def rate(n: int, part: float) -> float:
        a = rows_of_powers(np.linspace(-1, 1, n))
        return float(f"{part * 2 / np.linalg.eigvalsh(2 * a.T @ a).max():.3g}")

    return st.builds(rate, SIZES, st.sampled_from(parts))


def stable_rates() -> st.SearchStrategy[float]:
    return rates(0.9, 0.02, 0.1, 0.25, 0.5, 0.75, 0.98)


def fit(x, y, coefficients, rate, steps, clears):
    """Rows of the coefficients, and the losses, before each step and after the last one."""
    a, b, c, d = coefficients
    squares, cubes = x**2, x**3
    path, heights = [], []
    for step in range(steps + 1):
        prediction = a + b * x + c * squares + d * cubes
        loss = (prediction - y).pow(2).sum()
        path.append([coefficient.item() for coefficient in coefficients])
        heights.append(loss.item())
        if step < steps:
            loss.backward()
            with torch.no_grad():
                for coefficient, clear in zip(coefficients, clears, strict=True):
                    coefficient -= rate * coefficient.grad
                    clear(coefficient)
    return np.array(path), np.array(heights)


def report(x, y, coefficients, rate, steps, every):
    """The lines of a loop that prints before backward, in every so many-th step, by the number of the step."""
    a, b, c, d = coefficients
    lines, first = {}, 1.0
    for step in range(steps):
        loss = (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()
        if step == 0:
            first = loss.item()
        if step % every == every - 1:
            shown = [loss.item() / first, *[coefficient.item() for coefficient in coefficients]]
            lines[step] = f"{step:4d}" + "".join(f"{number:10.6f}" for number in shown)
        loss.backward()
        with torch.no_grad():
            for coefficient in coefficients:
                coefficient -= rate * coefficient.grad
                coefficient.grad = None
    return lines


@rule("fits.cubic.closed-form")
@given(x=points(), turn=TURNS, start=starts(), rate=stable_rates(), steps=st.integers(1, 8))
def test_every_step_ends_where_the_closed_form_puts_it(device, x, turn, start, rate, steps):
    y = torch.exp(x)
    path, _ = fit(x, y, coefficients(start, x, turn), rate, steps, clearings(turn))
    powers, target = rows_of_powers(np.array(numbers(x))), np.array(numbers(y))
    expected = descent(powers, target, path[0], rate, steps)
    bound = descent_bound(powers, target, expected, rate, torch.finfo(x.dtype).eps)
    assert (abs(path - expected) / bound).max() <= 1


@rule("fits.cubic.closed-form")
def test_a_run_goes_on_by_the_closed_form_from_where_a_document_prints_it_after_99_steps(device):
    x = torch.linspace(-1, 1, 2000, dtype=torch.float32, device=device)
    y = torch.exp(x)
    leaves = [torch.tensor(number, dtype=torch.float32, device=device, requires_grad=True) for number in FIRST_LINE]
    path, _ = fit(x, y, leaves, 1e-5, 100, [CLEARINGS[0]] * 4)
    powers, target = rows_of_powers(np.array(numbers(x))), np.array(numbers(y))
    expected = descent(powers, target, path[0], 1e-5, 100)
    bound = descent_bound(powers, target, expected, 1e-5, torch.finfo(torch.float32).eps)
    assert (abs(path - expected) / bound).max() <= 1


@rule("fits.cubic.loss-falls")
@given(x=points(), turn=TURNS, start=starts(), rate=stable_rates(), steps=st.integers(1, 8))
def test_the_loss_falls_at_every_step_to_that_of_the_closed_form(device, x, turn, start, rate, steps):
    y = torch.exp(x)
    path, heights = fit(x, y, coefficients(start, x, turn), rate, steps, clearings(turn))
    powers, target, eps = rows_of_powers(np.array(numbers(x))), np.array(numbers(y)), torch.finfo(x.dtype).eps
    expected = descent(powers, target, path[0], rate, steps)
    bound = losses_bound(powers, target, expected, eps, descent_bound(powers, target, expected, rate, eps))
    assert (np.diff(heights) <= bound[1:] + bound[:-1]).all()
    assert (abs(heights - losses(powers, target, expected)) / bound).max() <= 1


@rule("fits.cubic.loss-falls")
def test_how_far_the_loss_falls_in_100_steps_depends_on_the_start(device):
    x = torch.linspace(-1, 1, 2000, dtype=torch.float32, device=device)
    y = torch.exp(x)
    powers, target, eps = rows_of_powers(np.array(numbers(x))), np.array(numbers(y)), torch.finfo(torch.float32).eps
    for start in ((0.0, 0.0, 0.0, 0.0), (1.5, -0.25, -2.25, 0.5), FIRST_LINE):
        leaves = [torch.tensor(number, dtype=torch.float32, device=device, requires_grad=True) for number in start]
        path, heights = fit(x, y, leaves, 1e-5, 100, [CLEARINGS[0]] * 4)
        expected = descent(powers, target, path[0], 1e-5, 100)
        bound = losses_bound(powers, target, expected, eps, descent_bound(powers, target, expected, 1e-5, eps))
        assert (abs(heights - losses(powers, target, expected)) / bound).max() <= 1


@rule("fits.cubic.unstable-rate")
@given(
    x=points(),
    turn=TURNS,
    start=starts_above(),
    rate=rates(1.25, 1.5, 2, 3),
    steps=st.integers(8, 10),
)
def test_above_the_stable_limit_the_loss_ends_above_its_beginning(device, x, turn, start, rate, steps):
    y = torch.exp(x)
    path, heights = fit(x, y, coefficients(start, x, turn), rate, steps, clearings(turn))
    powers, target = rows_of_powers(np.array(numbers(x))), np.array(numbers(y))
    expected = descent(powers, target, path[0], rate, steps)
    bound = descent_bound(powers, target, expected, rate, torch.finfo(x.dtype).eps)
    assert (abs(path - expected) / bound).max() <= 1
    assert heights[-1] > heights[0]


@rule("fits.cubic.uncleared")
@given(x=points(), turn=TURNS, start=starts(), rate=stable_rates(), steps=st.integers(2, 12))
def test_without_clearing_the_coefficients_swing_and_keep_their_swing(device, x, turn, start, rate, steps):
    y = torch.exp(x)
    path, _ = fit(x, y, coefficients(start, x, turn), rate, steps, [lambda leaf: None] * 4)
    powers, target = rows_of_powers(np.array(numbers(x))), np.array(numbers(y))
    expected = swing(powers, target, path[0], rate, steps)
    bound = swing_bound(powers, target, expected, rate, torch.finfo(x.dtype).eps)
    assert (abs(path - expected) / bound).max() <= 1


@rule("fits.cubic.gradients")
@given(x=points(), turn=TURNS, start=starts())
def test_the_gradients_vanish_at_the_least_squares_cubic_and_not_at_taylors(device, x, turn, start):
    y = torch.exp(x)
    powers, target, eps = rows_of_powers(np.array(numbers(x))), np.array(numbers(y)), torch.finfo(x.dtype).eps
    best = least_squares(powers, target)
    for cubic in (start, best.tolist(), TAYLOR):
        a, b, c, d = leaves = coefficients(cubic, x, turn)
        (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum().backward()
        found = np.array([coefficient.grad.item() for coefficient in leaves])
        held = np.array([coefficient.item() for coefficient in leaves])
        bound = gradient_bound(powers, target, held, eps)
        assert (abs(found - gradient(powers, target, held)) / bound).max() <= 1
        if cubic is TAYLOR:
            assert (abs(found) > bound).all()


@rule("fits.cubic.report")
@given(
    x=points(),
    turn=TURNS,
    start=starts(),
    rate=stable_rates(),
    steps=st.integers(3, 7),
    every=st.integers(2, 3),
)
@example(x=TWO_THOUSAND_POINTS, turn=0, start=(0.5, 0.0, -1.5, 0.75), rate=1e-5, steps=300, every=100)
def test_a_line_before_backward_shows_the_loss_of_the_coefficients_beside_it(
    device, x, turn, start, rate, steps, every
):
    y = torch.exp(x)
    lines = report(x, y, coefficients(start, x, turn), rate, steps, every)
    assert list(lines) == list(range(every - 1, steps, every))

    powers, target, eps = rows_of_powers(np.array(numbers(x))), np.array(numbers(y)), torch.finfo(x.dtype).eps
    path = descent(powers, target, np.array(start), rate, steps)
    off = descent_bound(powers, target, path, rate, eps)
    heights, above = losses(powers, target, path), losses_bound(powers, target, path, eps, off)
    for step, line in lines.items():
        assert line.startswith(f"{step:4d}")
        shown = [float(line[end - 10 : end]) for end in range(14, 55, 10)]
        assert line == f"{step:4d}" + "".join(f"{number:10.6f}" for number in shown)
        ratio = heights[step] / heights[0]
        bounds = [(above[step] + ratio * above[0]) / (heights[0] - above[0]), *off[step]]
        for number, expected, bound in zip(shown, (ratio, *path[step]), bounds, strict=True):
            assert round(expected - bound, 6) <= number <= round(expected + bound, 6)


FAR_POINTS = Expression(
    "torch.tensor([-math.inf, -200, -104, -30, 40, 88, 700, math.inf], dtype=torch.float32, device=device)"
    ".requires_grad_()"
)


@rule("fits.cubic.taylor")
@also(AS_RESULTS)
@given(x=leaves(dtypes=st.sampled_from(("torch.float32", "torch.float64"))))
@example(x=Expression("torch.zeros((), device=device, requires_grad=True)"))
@example(x=FAR_POINTS)
def test_exp_is_each_of_its_derivatives(device, x):
    """Each derivative is that of the one before times 1, without rounding. OpenCL, the loosest of the published limits,
    allows exp to be off by 3 eps, and Python's may be off by another of float64."""
    for place in (x, x.clone(), x.view_as(x)):
        for exp in (torch.exp, torch.Tensor.exp):
            y = exp(place)
            expected, derivative = numbers(y), y
            for _ in range(3):
                (derivative,) = torch.autograd.grad(derivative.sum(), x, create_graph=True)
                assert numbers(derivative) == expected
            for number, point in zip(expected, numbers(x), strict=True):
                if abs(point) <= 40:
                    assert abs(number - math.exp(point)) <= 4 * torch.finfo(x.dtype).eps * math.exp(point)
            at_zero = [number for number, point in zip(expected, numbers(x), strict=True) if point == 0]
            assert all(abs(number - 1) <= 3 * torch.finfo(x.dtype).eps for number in at_zero)


@rule("fits.cubic.long-run")
def test_5000_steps_settle_the_even_coefficients_and_not_the_odd_ones(device):
    x = torch.linspace(-1, 1, 2000, dtype=torch.float32, device=device)
    y = torch.exp(x)
    start = [torch.tensor(0.0, dtype=torch.float32, device=device, requires_grad=True) for _ in range(4)]
    path, _ = fit(x, y, start, 1e-5, 5000, [CLEARINGS[0]] * 4)
    powers, target = rows_of_powers(np.array(numbers(x))), np.array(numbers(y))
    expected = descent(powers, target, path[0], 1e-5, 5000)
    bound = descent_bound(powers, target, expected, 1e-5, torch.finfo(torch.float32).eps)
    assert (abs(path - expected) / bound).max() <= 1

    assert [round(path[-1][power], 3) for power in (0, 2)] == [0.996, 0.537]
    best = least_squares(powers, target)
    assert (abs(path[-1] - best) > bound[-1]).tolist() == [False, True, False, True]
