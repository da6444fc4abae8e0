"""spec/fits/line-module.md"""

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs.lines import columns, stable_rates, starts, targets
from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, least_squares, losses, losses_bound, rows_of_a_line

CLEARINGS = ("before forward", "after forward", "after step")


def train(x, y, start, rate, passes, clearing="after forward", set_to_none=True):
    """Rows of weight and bias before each pass and after the last one, and the loss of each pass."""
    model = torch.nn.utils.skip_init(torch.nn.Linear, 1, 1, dtype=x.dtype, device=x.device)
    for parameter, number in zip(model.parameters(), start, strict=True):
        torch.nn.init.constant_(parameter, number)
    criterion = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    path, reported = [[parameter.item() for parameter in model.parameters()]], []
    for number in range(passes):
        holder = (optimizer, model)[number % 2]
        if clearing == "before forward":
            holder.zero_grad(set_to_none=set_to_none)
        loss = criterion(model(x), y)
        if clearing == "after forward":
            holder.zero_grad(set_to_none=set_to_none)
        loss.backward()
        optimizer.step()
        if clearing == "after step":
            holder.zero_grad(set_to_none=set_to_none)
        path.append([parameter.item() for parameter in model.parameters()])
        reported.append(loss.item())
    return np.array(path), reported


def foretold(x, y, start, rate, passes):
    """Path and losses by the closed form, and how far rounding can carry a run from each of them."""
    powers, target = rows_of_a_line(np.array(numbers(x))), np.array(numbers(y))
    n, eps = len(target), torch.finfo(x.dtype).eps
    path = descent(powers, target, np.array(start), rate / n, passes)
    off = descent_bound(powers, target, path, rate / n, eps)
    return path, off, losses(powers, target, path) / n, losses_bound(powers, target, path, eps, off) / n


@rule("fits.line-module.closed-form")
@given(
    x=columns(),
    target=targets(),
    start=starts(),
    rate=stable_rates(),
    passes=st.sampled_from((3, 2, 1, 4, 5)),
)
def test_every_pass_is_a_step_of_gradient_descent(device, x, target, start, rate, passes):
    y = target(x)
    expected, bound, _, _ = foretold(x, y, start, rate, passes)
    for clearing, set_to_none in itertools.product(CLEARINGS, (True, False)):
        path, _ = train(x, y, start, rate, passes, clearing, set_to_none)
        assert (abs(path - expected) <= bound).all(), (clearing, set_to_none)


@rule("fits.line-module.report")
@given(
    x=columns(),
    target=targets(),
    start=starts(),
    rate=stable_rates(),
    passes=st.integers(2, 6),
    every=st.integers(1, 3),
)
def test_a_line_after_every_few_passes_shows_the_loss_from_before_the_step(
    device, x, target, start, rate, passes, every
):
    y = target(x)
    _, reported = train(x, y, start, rate, passes)
    lines = {k: f"{loss:.4f}" for k, loss in enumerate(reported, start=1) if k % every == 0}
    assert list(lines) == list(range(every, passes + 1, every))
    _, _, heights, bound = foretold(x, y, start, rate, passes)
    for k, shown in lines.items():
        least, most = heights[k - 1] - bound[k - 1], heights[k - 1] + bound[k - 1]
        assert float(f"{least:.4f}") <= float(shown) <= float(f"{most:.4f}")


@rule("fits.line-module.long-run")
def test_200_passes_of_rate_a_hundredth_leave_three_quarters_of_the_slow_direction(device):
    x = torch.linspace(0, 1, 100, device=device).reshape(-1, 1)
    powers = rows_of_a_line(np.array(numbers(x)))
    curvatures, directions = np.linalg.eigh(2 / 100 * powers.T @ powers)
    kept = (1 - 0.01 * curvatures) ** 200
    assert kept.round(3).tolist() == [0.765, 0.006]
    for start, wobble in (((0.1563, -0.8799), 40), ((-1.0, 1.0), 7)):
        y = 2 * x + 1 + 0.1 * torch.sin(wobble * x + 1)
        path, reported = train(x, y, start, 0.01, 200)
        expected, off, heights, above = foretold(x, y, path[0], 0.01, 200)
        assert (abs(path - expected) <= off).all()
        assert (abs(reported - heights[:-1]) <= above[:-1]).all()
        assert (np.diff(reported) <= above[1:-1] + above[:-2]).all()

        best = least_squares(powers, np.array(numbers(y)))
        before, after = (path[0] - best) @ directions, (path[-1] - best) @ directions
        assert (abs(after - kept * before) <= off[-1] @ abs(directions)).all()
