"""spec/fits/broadcast-line.md"""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs.circumstances import UNRECORDED, also
from tests.inputs.lines import columns, stable_rates, starts, targets
from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, losses, losses_bound, rows_of_a_line

LEAVES = (
    lambda number, x: torch.tensor([number], dtype=x.dtype, device=x.device, requires_grad=True),
    lambda number, x: torch.tensor([7, number]).to(x)[1:].requires_grad_(),
    lambda number, x: torch.nn.Parameter(torch.tensor([number], dtype=x.dtype, device=x.device)),
)
"""Functions that make a leaf of shape (1,), in the dtype of x: a view that does not begin its storage, or none."""


def fit(x, y, turn, start, rate, steps):
    """Rows of w and b before each step and after the last one, and the loss before each step."""
    w, b = (LEAVES[(turn + place) % 3](number, x) for place, number in enumerate(start))
    path, heights = [[w.item(), b.item()]], []
    for step in range(steps):
        prediction = x @ w + b  # x of shape (n, 1) times w of shape (1,): of shape (n,)
        loss = ((prediction - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= rate * w.grad
            b -= rate * b.grad
        with torch.set_grad_enabled(step % 2 == 1):
            w.grad.zero_()
            b.grad.zero_()
        path.append([w.item(), b.item()])
        heights.append(loss.item())
    return np.array(path), np.array(heights)


def towards_the_mean(x, y, start, rate, steps):
    """The same from a closed form: a line that is fitted to the mean of y at every point."""
    powers, target = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    return descent(powers, np.full(len(target), target.mean()), np.array(start), rate / len(target), steps)


def all_pairs(x, y):
    """The rows and targets of a sum over all pairs of a prediction and a target, which is what is rounded."""
    powers, target = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    return np.repeat(powers, len(target), axis=0), np.tile(target, len(target))


@rule("fits.broadcast-line.all-pairs")
@also(*UNRECORDED)
@given(x=columns(), target=targets(), start=starts())
def test_the_loss_is_the_mean_over_all_pairs_of_a_prediction_and_a_target(device, x, target, start):
    y = target(x)
    n, points, heights = len(x), np.array(numbers(x)), np.array(numbers(y))
    rows, targets = all_pairs(x, y)
    for slope, intercept in (start, (start[1] - 1, 0.5)):
        expected = ((slope * points + intercept - heights.mean()) ** 2).mean() + heights.var()
        eps = torch.finfo(x.dtype).eps
        bound = losses_bound(rows, targets, np.array([[slope, intercept]]), eps, np.zeros((1, 2))) / n**2
        for turn in range(3):
            w, b = LEAVES[turn](slope, x), LEAVES[turn - 1](intercept, x)
            prediction = x @ w + b
            difference = prediction - y
            loss = (difference**2).mean()
            assert (prediction.shape, y.shape, difference.shape, loss.shape) == ((n,), (n, 1), (n, n), ())
            assert abs(loss.item() - expected) <= bound[0]


@rule("fits.broadcast-line.learns-the-mean")
@given(
    x=columns(),
    target=targets(),
    turn=st.integers(0, 2),
    start=starts(),
    rate=stable_rates(),
    steps=st.integers(1, 5),
)
def test_every_step_goes_towards_a_slope_of_nothing(device, x, target, turn, start, rate, steps):
    y = target(x)
    path, heights = fit(x, y, turn, start, rate, steps)
    expected, eps, pairs = towards_the_mean(x, y, start, rate, steps), torch.finfo(x.dtype).eps, len(x) ** 2
    off = descent_bound(*all_pairs(x, y), expected, rate / pairs, eps)
    assert (abs(path - expected) <= off).all()

    bound = losses_bound(*all_pairs(x, y), expected, eps, off) / pairs
    assert (abs(heights - losses(*all_pairs(x, y), expected)[:-1] / pairs) <= bound[:-1]).all()
    assert (np.diff(heights) <= bound[1:-1] + bound[:-2]).all()
    assert (heights >= np.var(numbers(y)) - bound[:-1]).all()


@rule("fits.broadcast-line.long-run")
def test_100_steps_leave_no_slope_and_the_mean_of_the_targets(device):
    x = torch.linspace(-1, 1, 100, device=device).reshape(-1, 1)
    for turn, (start, wobble) in enumerate((((-0.5672, 0.0), 40), ((2.0, 1.0), 7), ((-3.0, 2.0), 91))):
        y = 2 * x + 1 + 0.1 * torch.sin(wobble * x + 1)
        path, heights = fit(x, y, turn, start, 0.1, 100)
        expected, pairs = towards_the_mean(x, y, path[0], 0.1, 100), len(x) ** 2
        off = descent_bound(*all_pairs(x, y), expected, 0.1 / pairs, torch.finfo(torch.float32).eps)
        assert (abs(path - expected) <= off).all()

        w, b = path[-1]
        mean, variance = np.mean(numbers(y)), np.var(numbers(y))
        bound = losses_bound(*all_pairs(x, y), expected[99:], torch.finfo(torch.float32).eps, off[99:]) / pairs
        assert abs(w) <= abs(start[0]) / 1000 + off[-1][0]
        assert abs(b - mean) <= abs(start[1] - mean) / 10**9 + off[-1][1]
        assert abs(heights[-1] - variance) <= heights[0] / 10**6 + bound[0]
