"""spec/nn/mse-broadcast.md"""

import itertools
import warnings

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, like, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array, numbers

BY_HAND = st.sampled_from(
    (
        Expression("lambda input, target: ((input - target) ** 2).mean()"),
        Expression("lambda input, target: (input - target).square().mean()"),
    )
)
MSE = st.sampled_from((Expression("torch.nn.MSELoss()"), Expression("torch.nn.functional.mse_loss")))


def narrower(shape):
    """The shapes that broadcast to a shape: sides are 1, and leading ones are left out."""
    for sides in itertools.product(*((1, side) for side in shape)):
        yield from (sides[start:] for start in range(len(shape) + 1) if all(side == 1 for side in sides[:start]))


PAIRS = sorted(
    (one, other)
    for common in ((3,), (2, 3), (3, 3), (2, 1, 3))
    for one, other in itertools.product(set(narrower(common)), repeat=2)
    if one != other and np.broadcast_shapes(one, other) == common
)


DIFFERENT = st.tuples(st.sampled_from(PAIRS), dtypes.floating())


@st.composite
def stretched(draw):
    """Two tensors of different shapes that broadcast together."""
    (one, other), dtype = draw(DIFFERENT)
    return tensor_of(draw, one, dtype), tensor_of(draw, other, dtype)


A_COLUMN_AND_A_LIST = (
    Expression("torch.tensor([[0], [1], [2], [3]], dtype=torch.float32, device=device)"),
    Expression("torch.tensor([0, 1, 2, 3], dtype=torch.float32, device=device)"),
)


@rule("nn.mse-broadcast.all-pairs")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched(), mean_of_squares=BY_HAND | MSE)
@example(pair=A_COLUMN_AND_A_LIST, mean_of_squares=Expression("lambda input, target: ((input - target) ** 2).mean()"))
@example(pair=A_COLUMN_AND_A_LIST, mean_of_squares=Expression("torch.nn.MSELoss()"))
def test_the_loss_is_the_mean_over_the_shape_in_common(device, pair, mean_of_squares):
    """A power may be off by 16 eps, the loosest of the published limits, a difference and a division by a few, the sum
    of positive terms by one for each."""
    input, target = pair
    squares = (array(input) - array(target)) ** 2
    for same in (input, input.clone().requires_grad_(), input.clone().requires_grad_().clone()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = mean_of_squares(same, target)
        assert loss.shape == ()
        off = abs(loss.item() - squares.mean())
        assert off <= (squares.size + 24) * torch.finfo(input.dtype).eps * squares.mean()


LENGTHS = st.tuples(st.integers(2, 8), st.booleans(), dtypes.floating())


@st.composite
def columns_against_lists(draw):
    """Predictions in a column and targets in a list, or the other way round."""
    n, column_first, dtype = draw(LENGTHS)
    predicted, wanted = ((n, 1), (n,)) if column_first else ((n,), (n, 1))
    return leaf_of(draw, predicted, dtype), tensor_of(draw, wanted, dtype)


@rule("nn.mse-broadcast.order-forgotten")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=columns_against_lists(), mean_of_squares=BY_HAND | MSE, turn=st.integers(0, 7))
def test_each_prediction_is_drawn_to_the_mean_of_all_targets(device, drawn, mean_of_squares, turn):
    """The gradient is a sum of n terms, each a power that may be off by 16 eps, the loosest of the published limits,
    divided by n twice and multiplied."""
    prediction, target = drawn
    n, wanted = len(target), np.array(numbers(target))
    for same in (prediction, prediction.clone(), prediction.view_as(prediction)):
        prediction.grad = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mean_of_squares(same, target.roll(turn, dims=0)).backward()
        assert prediction.grad.shape == prediction.shape
        for slope, number in zip(numbers(prediction.grad), numbers(prediction), strict=True):
            off = abs(slope - 2 / n * (number - wanted.mean()))
            assert off <= (n + 24) * torch.finfo(target.dtype).eps * 2 / n * abs(number - wanted).mean()


def same_shapes():
    """Two tensors of the same shape in layouts of their own."""
    return like(tensors())


@rule("nn.mse-broadcast.warning")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched() | same_shapes(), mse=MSE)
@example(pair=A_COLUMN_AND_A_LIST, mse=Expression("torch.nn.MSELoss()"))
def test_mse_loss_warns_of_shapes_that_differ_and_only_of_them(device, pair, mse):
    input, target = pair
    leaf = input.clone().requires_grad_()
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        for same in (input, leaf, leaf.clone()):
            with warnings.catch_warnings(record=True) as issued, mode():
                warnings.simplefilter("always")
                mse(same, target)
            messages = [str(warning.message) for warning in issued if "broadcasting" in str(warning.message)]
            if input.shape == target.shape:
                assert messages == []
            else:
                assert [warning.category for warning in issued if str(warning.message) in messages] == [UserWarning]
                assert str(input.shape) in messages[0]
                assert str(target.shape) in messages[0]


@rule("nn.mse-broadcast.by-hand-no-warning")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched(), mean_of_squares=BY_HAND)
@example(pair=A_COLUMN_AND_A_LIST, mean_of_squares=Expression("lambda input, target: ((input - target) ** 2).mean()"))
def test_written_by_hand_nothing_is_said(device, pair, mean_of_squares):
    input, target = pair
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        for same in (input, input.clone().requires_grad_()):
            with warnings.catch_warnings(record=True) as issued, mode():
                warnings.simplefilter("always")
                mean_of_squares(same, target)
            assert [warning for warning in issued if "broadcast" in str(warning.message)] == []
