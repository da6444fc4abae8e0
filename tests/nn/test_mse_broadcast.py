"""spec/nn/mse-broadcast.md"""

import math
import warnings

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, broadcasting_pairs, dtypes, leaves, like, tensors
from tests.oracles import numbers

BY_HAND = st.sampled_from(
    (
        Expression("lambda input, target: ((input - target) ** 2).mean()"),
        Expression("lambda input, target: (input - target).square().mean()"),
    )
)
MSE = st.sampled_from((Expression("torch.nn.MSELoss()"), Expression("torch.nn.functional.mse_loss")))


def exact(tensor):
    """The elements as an array of NumPy, in double precision."""
    return np.array(numbers(tensor), dtype=float).reshape(tuple(tensor.shape))


def columns_and_lists(n):
    """The shapes of n predictions and n targets as they are often mistaken."""
    return st.just(((n, 1), (n,)))


@st.composite
def stretched(draw, among=None):
    """Two tensors whose shapes broadcast together and are not empty."""
    several = broadcasting_pairs().filter(lambda pair: 0 not in pair[0] + pair[1])
    one, other = draw(several | st.integers(2, 3).flatmap(columns_and_lists) if among is None else among)
    dtype = draw(dtypes.floating())
    return draw(tensors(st.just(one), st.just(dtype))), draw(tensors(st.just(other), st.just(dtype)))


A_COLUMN_AND_A_LIST = (
    Expression("torch.tensor([[0], [1], [2], [3]], dtype=torch.float32, device=device)"),
    Expression("torch.tensor([0, 1, 2, 3], dtype=torch.float32, device=device)"),
)


@rule("nn.mse-broadcast.all-pairs")
@given(pair=stretched(), mean_of_squares=BY_HAND | MSE)
@example(pair=A_COLUMN_AND_A_LIST, mean_of_squares=Expression("lambda input, target: ((input - target) ** 2).mean()"))
def test_the_loss_is_the_mean_over_the_shape_in_common(device, pair, mean_of_squares):
    """A power may be off by 16 eps, the loosest of the published limits, a difference and a division by a few, the sum
    of positive terms by one for each."""
    input, target = pair
    squares = (exact(input) - exact(target)) ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = mean_of_squares(input, target)
    assert loss.shape == ()
    off = abs(loss.item() - squares.mean())
    assert off <= (squares.size + 24) * torch.finfo(input.dtype).eps * squares.mean()


@st.composite
def columns(draw):
    """A column of predictions and a list of targets, a power of two of each, so that their mean is exact."""
    n, dtype = draw(st.sampled_from((2, 4, 8))), draw(dtypes.floating())
    return draw(leaves(st.just((n, 1)), st.just(dtype))), draw(tensors(st.just((n,)), st.just(dtype)))


@rule("nn.mse-broadcast.order-forgotten")
@given(drawn=columns(), mean_of_squares=BY_HAND | MSE, turn=st.integers(0, 7))
def test_each_prediction_is_drawn_to_the_mean_of_all_targets(device, drawn, mean_of_squares, turn):
    prediction, target = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean_of_squares(prediction, target.roll(turn)).backward()
    n, mean = len(target), math.fsum(numbers(target)) / len(target)
    assert prediction.grad.shape == prediction.shape
    assert numbers(prediction.grad) == [2 / n * (number - mean) for number in numbers(prediction)]


def same_shapes():
    """Two tensors of the same shape in layouts of their own."""
    return like(tensors())


@rule("nn.mse-broadcast.warning")
@given(pair=stretched() | same_shapes(), mse=MSE)
@example(pair=A_COLUMN_AND_A_LIST, mse=Expression("torch.nn.MSELoss()"))
def test_mse_loss_warns_of_shapes_that_differ_and_only_of_them(device, pair, mse):
    input, target = pair
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        mse(input, target)
    if input.shape == target.shape:
        assert issued == []
    else:
        assert [warning.category for warning in issued] == [UserWarning]
        message = str(issued[0].message)
        assert str(input.shape) in message
        assert str(target.shape) in message
        assert "broadcasting" in message


@rule("nn.mse-broadcast.by-hand-no-warning")
@given(pair=stretched() | same_shapes(), mean_of_squares=BY_HAND)
@example(pair=A_COLUMN_AND_A_LIST, mean_of_squares=Expression("lambda input, target: ((input - target) ** 2).mean()"))
def test_written_by_hand_nothing_is_said(device, pair, mean_of_squares):
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        mean_of_squares(*pair)
    assert issued == []
