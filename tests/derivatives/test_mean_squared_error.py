"""spec/derivatives/mean-squared-error.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, places, shapes, tails
from tests.inputs.tensors import leaf_of
from tests.oracles import array, numbers

MEANS = (
    "lambda p, t: torch.nn.functional.mse_loss(p, t)",
    "lambda p, t: torch.nn.MSELoss()(p, t)",
    "lambda p, t: ((p - t) * (p - t)).mean()",
)
SUMS = (
    "lambda p, t: torch.nn.functional.mse_loss(p, t, reduction='sum')",
    "lambda p, t: torch.nn.MSELoss(reduction='sum')(p, t)",
    "lambda p, t: ((p - t) * (p - t)).sum()",
)
ALL = (
    (lambda p, t: torch.nn.functional.mse_loss(p, t), True),
    (lambda p, t: torch.nn.MSELoss(reduction="sum")(p, t), False),
    (lambda p, t: torch.nn.MSELoss()(p, t), True),
    (lambda p, t: torch.nn.functional.mse_loss(p, t, reduction="sum"), False),
    (lambda p, t: torch.nn.functional.mse_loss(input=p, target=t, reduction="mean"), True),
    (lambda p, t: ((p - t) ** 2).mean(), True),
)
"""Means and sums of squared errors."""

POWERS_OF_TWO = (1, 2, 4, 8, 16, 32)


NEEDED = (
    "lambda p, t: (p, t.detach())",
    "lambda p, t: (p, t)",
    "lambda p, t: (p.detach(), t)",
    "lambda p, t: [row.detach().requires_grad_() for row in torch.stack([p, t])]",
)
"""A prediction and a target that is data, and the same where the target, or only the target, needs a gradient; or both
do, side by side in one memory."""

MANY_DIGITS = {torch.float64: 2**30 + 1, torch.float32: 2**12 + 1, torch.float16: 2**4 + 1, torch.bfloat16: 3}
"""What makes of a small integer one that a narrower dtype rounds, while its product with an error is still exact."""

MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device).requires_grad_()"),
)


def functions(sources):
    return st.sampled_from(sources).map(Expression)


def losses():
    """(loss, is_mean): a mean or a sum of squared errors."""
    means, sums = ([(source, is_mean) for source in sources] for sources, is_mean in ((MEANS, True), (SUMS, False)))
    return st.sampled_from(means + sums).map(lambda pair: (Expression(pair[0]), pair[1]))


@st.composite
def prediction_and_target(draw):
    """Two leaves of one shape and dtype, each with its own layout."""
    prediction = draw(leaves(shapes() | shapes(min_dims=2, min_side=2) | tails()))
    return prediction, leaf_of(draw, prediction.facts["shape"], prediction.facts["dtype"])


OF_COLUMNS = (
    Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 0.0]], device=device).T.requires_grad_()"),
    Expression("torch.tensor([[1.0, -2.0], [3.0, 2.0], [-1.0, 4.0]], device=device).requires_grad_()"),
)


@rule("derivatives.mean-squared-error.loss")
@given(
    drawn=prediction_and_target(),
    needed=functions(NEEDED),
    loss=losses(),
    weight=st.sampled_from((1, 2, -3)),
    place=places(),
)
@example(
    drawn=OF_COLUMNS,
    needed=Expression(NEEDED[0]),
    loss=(Expression(MEANS[0]), True),
    weight=1,
    place=Expression("lambda x: x"),
)
@example(
    drawn=OF_COLUMNS[::-1],
    needed=Expression(NEEDED[1]),
    loss=(Expression(MEANS[1]), True),
    weight=-3,
    place=Expression("lambda x: x"),
)
@example(
    drawn=MANY,
    needed=Expression(NEEDED[1]),
    loss=(Expression(MEANS[0]), True),
    weight=2,
    place=Expression("lambda x: x"),
)
@example(
    drawn=MANY,
    needed=Expression(NEEDED[1]),
    loss=(Expression(SUMS[0]), False),
    weight=1,
    place=Expression("lambda x: x"),
)
def test_the_prediction_gets_twice_its_error_and_the_target_the_negative(device, drawn, needed, loss, weight, place):
    """Four products or quotients, none of which rounds where the count is a power of two."""
    prediction, target = needed(*drawn)
    digits = MANY_DIGITS[prediction.dtype]
    for spelling, is_mean in (loss, *ALL[:: 1 if prediction.numel() < 9 else 3]):
        error = spelling(place(prediction), target) if is_mean else spelling(prediction, place(target))
        count = max(prediction.numel(), 1) if is_mean else 1
        allowed = 0 if count in POWERS_OF_TWO else 4 * torch.finfo(prediction.dtype).eps
        # Of one graph, in turn, recorded and not.
        for times in (weight * digits, -digits):
            prediction.grad = target.grad = None
            with torch.set_grad_enabled(times == -digits):
                error.backward(torch.full_like(error, times), retain_graph=True)
            expected = 2 * times * (array(prediction) - array(target)) / count
            for operand, sign in ((prediction, 1), (target, -1)):
                if operand.requires_grad:
                    assert operand.grad is not None
                    assert operand.grad.shape == operand.shape
                    assert operand.grad.dtype == operand.dtype
                    assert (abs(array(operand.grad) - sign * expected) <= allowed * abs(expected)).all()
    itself = drawn[0]
    itself.grad = None
    loss[0](place(itself), itself).backward()
    assert itself.grad is not None
    assert numbers(itself.grad) == [0] * itself.numel()
