"""spec/fits/square-loop.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, layouts, leaves
from tests.inputs.circumstances import BACKWARD, also
from tests.inputs.lines import quarters
from tests.oracles import numbers
from tests.oracles.descent import descent, descent_bound, losses, losses_bound

ONE, NOTHING = np.ones((1, 1)), np.zeros(1)
"""The square of w as a sum of squares: one point, one coefficient, the target 0."""

DTYPES = st.sampled_from(("torch.float32", "torch.float64"))
LEAVES = (
    "torch.tensor({start}, dtype={dtype}, device=device, requires_grad=True)",
    "torch.tensor([{start}], dtype={dtype}, device=device, requires_grad=True)",
    "torch.tensor([0, {start}], dtype={dtype}, device=device)[1].requires_grad_()",
    "torch.nn.Parameter(torch.tensor({start}, dtype={dtype}, device=device))",
)
UPDATES = (
    lambda w, rate: w.data.sub_(rate * w.grad.data),
    lambda w, rate: w.data.__isub__(rate * w.grad),
    lambda w, rate: torch.no_grad()(w.sub_)(rate * w.grad),
    lambda w, rate: w.detach().sub_(w.grad, alpha=rate),
    lambda w, rate: torch.no_grad()(w.copy_)(w.detach() - rate * w.grad),
    lambda w, rate: torch.optim.SGD([w], lr=rate).step(),
)
"""Functions that subtract the rate times the gradient from a leaf."""
TEN = Expression("torch.tensor(10.0, device=device, requires_grad=True)")


def numbers_to_square() -> st.SearchStrategy[Expression]:
    """A leaf of one element, a view or not."""

    def leaf(form: str, start: float, dtype: str) -> Expression:
        return Expression(form.format(start=start, dtype=dtype), dtypes=frozenset({dtype}))

    return st.builds(leaf, st.sampled_from(LEAVES), quarters(-40, 40), DTYPES)


def rates() -> st.SearchStrategy[float]:
    return st.sampled_from((0.01, 0.1, 0.3, 0.7, 0.9, 0.99, 1.1))


def run(w, offset, update, rate, steps):
    """What a report after each update prints: w as it then is, and the loss that it was before."""
    reports = []
    for _ in range(steps):
        if w.grad is not None:
            w.grad.zero_()
        loss = (w**2 + offset).sum()
        loss.backward()
        update(w, rate)
        reports.append((w.item(), loss.item()))
    return reports


@rule("fits.square-loop.closed-form")
@given(w=numbers_to_square(), offset=quarters(-80, 80), rate=rates(), steps=st.integers(1, 10))
@example(w=TEN, offset=20.0, rate=0.01, steps=30)
def test_every_step_multiplies_w_by_the_same_factor(device, w, offset, rate, steps):
    start, eps = w.item(), torch.finfo(w.dtype).eps
    expected = descent(ONE, NOTHING, np.array([start]), rate, steps)
    bound = descent_bound(ONE, NOTHING, expected, rate, eps)
    for number, update in enumerate(UPDATES):
        with torch.no_grad():
            w.fill_(start)
        path = [start] + [after for after, _ in run(w, offset, update, rate, steps)]
        assert (abs(np.array(path)[:, None] - expected) <= bound).all(), number


@rule("fits.square-loop.exactly")
@also(*BACKWARD)
@given(
    w=leaves(among=layouts.WRITABLE),
    rate=st.sampled_from((0.25, 0.125, 0.5, 0.75, 1.0, 1.5)),
    steps=st.integers(1, 4),
    cleared=st.booleans(),
)
@example(w=Expression("torch.ones(3, device=device)[1:].requires_grad_()"), rate=0.25, steps=1, cleared=False)
def test_at_a_rate_of_few_binary_digits_no_step_is_rounded(device, w, rate, steps, cleared):
    start = w.detach().clone()
    for number, update in enumerate(UPDATES):
        w.data.copy_(start)
        for step in range(1, steps + 1):
            if cleared and w.grad is not None:
                w.grad.zero_()
            else:
                w.grad = None
            (w * w + 1).sum().backward()
            update(w, rate)
            assert numbers(w) == [(1 - 2 * rate) ** step * before for before in numbers(start)], number


@rule("fits.square-loop.report")
@given(
    w=numbers_to_square(),
    offset=quarters(0, 80),
    turn=st.integers(0, 5),
    rate=rates(),
    steps=st.integers(2, 6),
)
@example(w=TEN, offset=20.0, turn=0, rate=0.01, steps=100)
def test_each_line_shows_w_after_the_update_and_the_loss_before_it(device, w, offset, turn, rate, steps):
    start, eps = w.item(), torch.finfo(w.dtype).eps
    lines = [(f"{after:.4f}", f"{loss:.4f}") for after, loss in run(w, offset, UPDATES[turn], rate, steps)]
    path = descent(ONE, NOTHING, np.array([start]), rate, steps)
    bound = descent_bound(ONE, NOTHING, path, rate, eps)
    heights = losses(ONE, NOTHING, path) + offset
    above = losses_bound(ONE, NOTHING, path, eps, bound) + eps * heights  # the sum with the offset is rounded too
    for step, (after, loss) in enumerate(lines):
        center, slack = path[step + 1, 0], bound[step + 1, 0]
        assert float(f"{center - slack:.4f}") <= float(after) <= float(f"{center + slack:.4f}")
        center, slack = heights[step], above[step]
        assert float(f"{center - slack:.4f}") <= float(loss) <= float(f"{center + slack:.4f}")
