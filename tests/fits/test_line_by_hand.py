"""spec/fits/line-by-hand.md"""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.lines import columns, stable_rates, starts, targets
from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, least_squares, losses, losses_bound, rows_of_a_line

MODELS = (
    lambda x, w, b: x @ w.reshape(1, 1) + b,
    lambda x, w, b: x * w + b,
    lambda x, w, b: (x @ w.reshape(1) + b)[:, None],
    lambda x, w, b: (x @ w.reshape(1) + b).reshape(-1, 1),
    lambda x, w, b: torch.unsqueeze(x.squeeze(1) * w.reshape(1) + b, 1),
    lambda x, w, b: torch.nn.functional.linear(x, w.reshape(1, 1), b),
)
"""Lines whose prediction has the shape of the target, (n, 1)."""
LEAVES = (
    "lambda number, shape, x: torch.full(shape, number, dtype=x.dtype, device=x.device, requires_grad=True)",
    "lambda number, shape, x: torch.tensor([7, number]).to(x)[1:].reshape(shape).requires_grad_()",
    "lambda number, shape, x: torch.nn.Parameter(torch.full(shape, number, dtype=x.dtype, device=x.device))",
)
"""Functions that make a leaf of one element, in the dtype of x: a view that does not begin its storage, or none."""

SHAPES = ((1, 1), (1,), ())


def leaf_makers() -> st.SearchStrategy[Expression]:
    return st.sampled_from(LEAVES).map(Expression)


def fit(x, y, leaf, start, shape, model, rate, steps):
    """Rows of w, of that shape, and b before each step and after the last one, and the losses that are stored."""
    w, b = leaf(start[0], shape, x), leaf(start[1], (1,), x)
    path, stored = [[w.item(), b.item()]], []
    for step in range(steps):
        loss = ((model(x, w, b) - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= rate * w.grad
            b -= rate * b.grad
        with torch.set_grad_enabled(step % 2 == 1):
            w.grad.zero_()
            b.grad.zero_()
        path.append([w.item(), b.item()])
        stored.append(loss.item())
    return np.array(path), stored


def foretold(x, y, start, rate, steps):
    """The path by the closed form, and how far rounding can carry a run from it."""
    powers, heights = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    path = descent(powers, heights, start, rate / len(heights), steps)
    return path, descent_bound(powers, heights, path, rate / len(heights), torch.finfo(x.dtype).eps)


@rule("fits.line-by-hand.closed-form")
@given(
    x=columns(),
    target=targets(),
    leaf=leaf_makers(),
    start=starts(),
    shape=st.sampled_from(SHAPES),
    rate=stable_rates(),
    steps=st.integers(1, 6),
)
def test_a_prediction_in_the_shape_of_the_target_goes_to_least_squares(
    device, x, target, leaf, start, shape, rate, steps
):
    y = target(x)
    expected, bound = foretold(x, y, np.array(start), rate, steps)
    for number, model in enumerate(MODELS):
        path, _ = fit(x, y, leaf, start, shape, model, rate, steps)
        assert (abs(path - expected) <= bound).all(), number


@rule("fits.line-by-hand.report")
@given(
    x=columns(),
    target=targets(),
    leaf=leaf_makers(),
    start=starts(),
    shape=st.sampled_from(SHAPES),
    rate=stable_rates(),
    steps=st.integers(1, 6),
)
def test_the_stored_losses_are_python_floats_from_before_each_update(
    device, x, target, leaf, start, shape, rate, steps
):
    y = target(x)
    expected, off = foretold(x, y, np.array(start), rate, steps)
    powers, heights = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    bound = losses_bound(powers, heights, expected, torch.finfo(x.dtype).eps, off)[:-1] / len(y)
    for number, model in enumerate(MODELS):
        _, stored = fit(x, y, leaf, start, shape, model, rate, steps)
        assert [type(loss) for loss in stored] == [float] * steps
        assert (abs(stored - losses(powers, heights, expected)[:-1] / len(y)) <= bound).all(), number
        assert (np.diff(stored) <= bound[1:] + bound[:-1]).all()


@rule("fits.line-by-hand.long-run")
def test_100_steps_bring_w_to_a_thousandth_of_its_way_and_b_to_its_end(device):
    def leaf(number, shape, x):
        return torch.full(shape, number, device=device, requires_grad=True)

    x = torch.linspace(-1, 1, 100, device=device).reshape(-1, 1)
    for start, wobble in (((-0.5672, 0.0), 40), ((4.0, 1.0), 7), ((-3.0, 2.0), 91)):
        y = 2 * x + 1 + 0.1 * torch.sin(wobble * x + 1)
        path, stored = fit(x, y, leaf, start, (1, 1), lambda x, w, b: x @ w + b, 0.1, 100)
        expected, bound = foretold(x, y, path[0], 0.1, 100)
        assert (abs(path - expected) <= bound).all()
        assert len(stored) == 100

        best = least_squares(rows_of_a_line(np.array(numbers(x))), np.array(numbers(y)))
        away = abs(path - best)
        assert away[-1, 0] <= away[0, 0] / 1000 + bound[-1, 0]
        assert away[-1, 1] <= away[0, 1] / 10**9 + bound[-1, 1]
