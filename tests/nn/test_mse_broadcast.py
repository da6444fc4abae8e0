"""spec/nn/mse-broadcast.md"""

import functools
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

BY_HAND = (
    lambda input, target: ((input - target) ** 2).mean(),
    lambda input, target: (input - target).square().mean(),
)
MSE = (torch.nn.MSELoss(), torch.nn.functional.mse_loss)
ALL_BY_HAND = (
    *BY_HAND,
    lambda input, target: torch.mean((input - target).pow(2)),
    lambda input, target: torch.mean(torch.square(torch.sub(target, input))),
    lambda input, target: ((input - target) * (input - target)).mean(),
)


def narrower(shape):
    """The shapes that broadcast to a shape: sides are 1, and leading ones are left out."""
    for sides in itertools.product(*((1, side) for side in shape)):
        yield from (sides[start:] for start in range(len(shape) + 1) if all(side == 1 for side in sides[:start]))


PAIRS = sorted(
    (one, other)
    for common in ((1,), (1, 1), (3,), (2, 3), (3, 3), (2, 1, 3))
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


OF_ONE = (
    Expression("torch.tensor([[3.0]], device=device)"),
    Expression("torch.tensor(1.0, device=device)"),
)


SEVENTEEN = tuple(
    Expression(f"(torch.arange(17) % 7 - 3).to(torch.float64).to(device){column}", dtypes=frozenset({"torch.float64"}))
    for column in ("[:, None]", "")
)


def learning(input, target):
    """The pair as data, and as leaves and results of which one requires grad or both do."""
    yield input, target
    for learns, follows in ((True, False), (False, True), (True, True)):
        leaves = [
            tensor.detach().clone().requires_grad_(flag)
            for tensor, flag in zip((input, target), (learns, follows), strict=True)
        ]
        yield leaves
        yield [leaf.view_as(leaf) * 1 for leaf in leaves]


@rule("nn.mse-broadcast.all-pairs")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched(), turn=st.integers(0, 3))
@example(pair=A_COLUMN_AND_A_LIST, turn=0)
@example(pair=A_COLUMN_AND_A_LIST, turn=2)
@example(pair=SEVENTEEN, turn=0)
@example(pair=SEVENTEEN[::-1], turn=2)
@example(pair=OF_ONE, turn=0)
@example(pair=OF_ONE, turn=2)
def test_the_loss_is_the_mean_over_the_shape_in_common(device, pair, turn):
    """A power may be off by 16 eps, the loosest of the published limits, a difference and a division by a few, the sum
    of positive terms by one for each."""
    of_one_memory = pair[1].reshape(-1, 1), pair[1].reshape(-1)
    for one, other in (pair, pair[::-1], of_one_memory):
        squares = (array(one) - array(other)) ** 2
        for number, (input, target) in enumerate(learning(one, other), start=turn):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loss = (*BY_HAND, *MSE)[number % 4](input, target)
            assert loss.shape == ()
            off = abs(loss.item() - squares.mean())
            assert off <= (squares.size + 24) * torch.finfo(input.dtype).eps * squares.mean()


LENGTHS = st.tuples(st.integers(1, 8) | st.sampled_from((9, 16, 17, 33)), st.booleans(), dtypes.floating())


@st.composite
def columns_against_lists(draw):
    """Predictions in a column and targets in a list, or the other way round."""
    n, column_first, dtype = draw(LENGTHS)
    predicted, wanted = ((n, 1), (n,)) if column_first else ((n,), (n, 1))
    return leaf_of(draw, predicted, dtype), tensor_of(draw, wanted, dtype)


@rule("nn.mse-broadcast.order-forgotten")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=columns_against_lists(), turn=st.integers(0, 7), follows=st.booleans())
def test_each_prediction_is_drawn_to_the_mean_of_all_targets(device, drawn, turn, follows):
    """The gradient is a sum of n terms, each a power that may be off by 16 eps, the loosest of the published limits,
    divided by n twice and multiplied."""
    prediction, target = drawn
    n, wanted = len(target), np.array(numbers(target))
    places = (prediction, prediction.clone(), prediction.view_as(prediction))
    for number, mean_of_squares in enumerate((*BY_HAND, *MSE, *MSE), start=turn):
        prediction.grad = None
        targets = target.detach().roll(number, dims=0).requires_grad_(follows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mean_of_squares(places[number % 3], targets).backward(retain_graph=True)
        assert prediction.grad.shape == prediction.shape
        for slope, p in zip(numbers(prediction.grad), numbers(prediction), strict=True):
            off = abs(slope - 2 / n * (p - wanted.mean()))
            assert off <= (n + 24) * torch.finfo(target.dtype).eps * 2 / n * abs(p - wanted).mean()


def same_shapes():
    """Two tensors of the same shape in layouts of their own."""
    return like(tensors())


EMPTY = tuple(
    Expression(f"torch.zeros({shape}, dtype=torch.float32, device=device)", dtypes=frozenset({"torch.float32"}))
    for shape in ((3, 1), (0,))
)
TO_WHAT = ("mean", "sum", "none")


@rule("nn.mse-broadcast.warning")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched() | same_shapes(), turn=st.integers(0, 5))
@example(pair=A_COLUMN_AND_A_LIST, turn=0)
@example(pair=EMPTY, turn=0)
@example(pair=EMPTY[::-1], turn=0)
@example(pair=OF_ONE, turn=0)
@example(pair=OF_ONE[::-1], turn=1)
def test_mse_loss_warns_of_shapes_that_differ_and_only_of_them(device, pair, turn):
    for number, (input, target) in enumerate(learning(*pair), start=turn):
        reduction = TO_WHAT[number % 3]
        functions = torch.nn.MSELoss(reduction=reduction), functools.partial(MSE[1], reduction=reduction)
        for mse in (*functions, *MSE) if number % 3 else functions:
            with warnings.catch_warnings(record=True) as issued:
                warnings.simplefilter("always")
                mse(input, target)
            messages = [str(warning.message) for warning in issued if "broadcasting" in str(warning.message)]
            if input.shape == target.shape:
                assert messages == []
            else:
                assert [warning.category for warning in issued if str(warning.message) in messages] == [UserWarning]
                assert str(input.shape) in messages[0]
                assert str(target.shape) in messages[0]


@rule("nn.mse-broadcast.by-hand-no-warning")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=stretched())
@example(pair=A_COLUMN_AND_A_LIST)
@example(pair=EMPTY)
@example(pair=EMPTY[::-1])
def test_written_by_hand_nothing_is_said(device, pair):
    for input, target in learning(*pair):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MSE[1](input, target)
        for mean_of_squares in ALL_BY_HAND:
            with warnings.catch_warnings(record=True) as issued:
                warnings.simplefilter("always")
                mean_of_squares(input, target)
            assert [warning for warning in issued if "broadcast" in str(warning.message)] == []
