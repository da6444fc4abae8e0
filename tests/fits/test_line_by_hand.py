"""spec/fits/line-by-hand.md"""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.lines import DTYPES, columns, quarters, stable_rates
from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, least_squares, losses, losses_bound, rows_of_a_line

NOISES = ("lambda x: torch.sin(9 * x) / 10", "lambda x: x * x", "lambda x: 0 * x")
MODELS = (
    "lambda x, w, b: x @ w.reshape(1, 1) + b",
    "lambda x, w, b: x * w + b",
    "lambda x, w, b: (x @ w.reshape(1) + b)[:, None]",
    "lambda x, w, b: torch.nn.functional.linear(x, w.reshape(1, 1), b)",
)
SHAPES = ((1, 1), (1,), ())


def noises() -> st.SearchStrategy[Expression]:
    """What a target has beside its line, by a formula."""
    return st.sampled_from(NOISES).map(Expression)


def models() -> st.SearchStrategy[Expression]:
    """Lines whose prediction has the shape of the target, (n, 1)."""
    return st.sampled_from(MODELS).map(Expression)


def parameters() -> st.SearchStrategy[tuple[Expression, Expression]]:
    """w of one element and b of shape (1,)."""

    def parameter(shape: tuple[int, ...], start: float, dtype: str) -> Expression:
        return Expression(f"torch.full({shape}, {start}, dtype={dtype}, device=device, requires_grad=True)")

    w = st.builds(parameter, st.sampled_from(SHAPES), quarters(), DTYPES)
    return st.tuples(w, st.builds(parameter, st.just((1,)), quarters(), DTYPES))


def fit(x, y, w, b, model, rate, steps):
    """Rows of w and b before each step and after the last one, and the losses that are stored step by step."""
    path, stored = [[w.item(), b.item()]], []
    for _ in range(steps):
        loss = ((model(x, w, b) - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= rate * w.grad
            b -= rate * b.grad
        w.grad.zero_()
        b.grad.zero_()
        path.append([w.item(), b.item()])
        stored.append(loss.item())
    return np.array(path), stored


def foretold(x, y, start, rate, steps):
    """The path by the closed form, and how far rounding can carry a run from it."""
    powers, target = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    path = descent(powers, target, start, rate / len(target), steps)
    return path, descent_bound(powers, target, path, rate / len(target), torch.finfo(x.dtype).eps)


@rule("fits.line-by-hand.closed-form")
@given(
    x=columns(),
    noise=noises(),
    line=st.tuples(quarters(), quarters()),
    start=parameters(),
    model=models(),
    rate=stable_rates(),
    steps=st.integers(1, 6),
)
def test_a_prediction_in_the_shape_of_the_target_goes_to_least_squares(
    device, x, noise, line, start, model, rate, steps
):
    y = line[0] * x + line[1] + noise(x)
    path, _ = fit(x, y, *start, model, rate, steps)
    expected, bound = foretold(x, y, path[0], rate, steps)
    assert (abs(path - expected) <= bound).all()


@rule("fits.line-by-hand.report")
@given(
    x=columns(),
    noise=noises(),
    line=st.tuples(quarters(), quarters()),
    start=parameters(),
    model=models(),
    rate=stable_rates(),
    steps=st.integers(1, 6),
)
def test_the_stored_losses_are_python_floats_from_before_each_update(device, x, noise, line, start, model, rate, steps):
    y = line[0] * x + line[1] + noise(x)
    path, stored = fit(x, y, *start, model, rate, steps)
    assert [type(loss) for loss in stored] == [float] * steps

    expected, off = foretold(x, y, path[0], rate, steps)
    powers, target = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    bound = losses_bound(powers, target, expected, torch.finfo(x.dtype).eps, off)[:-1] / len(target)
    assert (abs(stored - losses(powers, target, expected)[:-1] / len(target)) <= bound).all()
    assert (np.diff(stored) <= bound[1:] + bound[:-1]).all()


@rule("fits.line-by-hand.long-run")
def test_100_steps_bring_w_to_a_thousandth_of_its_way_and_b_to_its_end(device):
    x = torch.linspace(-1, 1, 100, device=device).reshape(-1, 1)
    for start, wobble in (((-0.5672, 0.0), 40), ((4.0, 1.0), 7), ((-3.0, 2.0), 91)):
        y = 2 * x + 1 + 0.1 * torch.sin(wobble * x + 1)
        w = torch.tensor([[start[0]]], device=device, requires_grad=True)
        b = torch.tensor([start[1]], device=device, requires_grad=True)
        path, stored = fit(x, y, w, b, lambda x, w, b: x @ w + b, 0.1, 100)
        expected, bound = foretold(x, y, path[0], 0.1, 100)
        assert (abs(path - expected) <= bound).all()
        assert len(stored) == 100

        best = least_squares(rows_of_a_line(np.array(numbers(x))), np.array(numbers(y)))
        away = abs(path - best)
        assert away[-1, 0] <= away[0, 0] / 1000 + bound[-1, 0]
        assert away[-1, 1] <= away[0, 1] / 10**9 + bound[-1, 1]
