"""spec/nn/mse-loss.md"""

import itertools

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, layouts, like, places, shapes, tensors
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
from tests.oracles import array

MEANS = (
    "torch.nn.MSELoss()",
    "torch.nn.functional.mse_loss",
    "lambda input, target: ((input - target) ** 2).mean()",
    "lambda input, target: (input - target).square().mean()",
)
SUMS = (
    'torch.nn.MSELoss(reduction="sum")',
    'lambda input, target: torch.nn.functional.mse_loss(input, target, reduction="sum")',
    "lambda input, target: (input - target).pow(2).sum()",
)
NONES = (
    'torch.nn.MSELoss(reduction="none")',
    'lambda input, target: torch.nn.functional.mse_loss(input, target, reduction="none")',
)
ROUNDINGS = 24
"""How many eps an element may be off: 16 for a power, the loosest of the published limits, and some for a division."""


FLAGS = st.tuples(st.booleans(), st.booleans())
"""Whether input and target require grad."""


def one_of(sources):
    return st.sampled_from(sources).map(Expression)


def pairs(min_side=0):
    """An input and a target of the same shape; half of the shapes are large enough for layouts to differ."""
    return like(tensors(shapes(min_side=min_side) | shapes(min_dims=2, min_side=2)))


def plain(source, dtype="torch.float32"):
    return Expression(source, dtypes=frozenset({dtype}))


def turned(x):
    """The same elements, with two dimensions swapped in memory."""
    middle = x.ndim // 2
    return x.detach().transpose(0, middle).contiguous().transpose(0, middle)


TWO_BY_THREE = (
    plain("torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.float32, device=device)"),
    plain("torch.zeros(2, 3, dtype=torch.float32, device=device)"),
)
TRANSPOSED = (TWO_BY_THREE[0], plain("torch.tensor([[1, 4], [0, 2], [3, -1]], dtype=torch.float32, device=device).T"))
OF_ONE = (plain("torch.tensor([3.0], device=device)"), plain("torch.tensor([1.0], device=device)"))


def elements(n):
    """A vector and zeros of n elements, the last of which is the largest."""
    return (
        plain(f"torch.arange({n}).sub({n // 2}).to(torch.float32).to(device)"),
        plain(f"torch.zeros({n}, dtype=torch.float32, device=device)"),
    )


@rule("nn.mse-loss.mean")
@also(*UNRECORDED)
@given(pair=pairs(min_side=1), mean_of_squares=one_of(MEANS))
@example(pair=TWO_BY_THREE, mean_of_squares=Expression("torch.nn.MSELoss()"))
@example(pair=TRANSPOSED, mean_of_squares=Expression("torch.nn.MSELoss()"))
@example(pair=elements(17), mean_of_squares=Expression("torch.nn.MSELoss()"))
@example(pair=elements(1025), mean_of_squares=Expression("torch.nn.functional.mse_loss"))
def test_the_mean_is_over_all_elements(device, pair, mean_of_squares):
    """The terms are positive: whatever the order, n additions round n times."""
    squares = (array(pair[0]) - array(pair[1])) ** 2
    bound = (squares.size + ROUNDINGS) * torch.finfo(pair[0].dtype).eps * squares.mean()
    for input, target in (pair, (pair[0], turned(pair[1])), (turned(pair[0]), pair[1])):
        for learns, follows in itertools.product((False, True), repeat=2):
            loss = mean_of_squares(input.requires_grad_(learns), target.requires_grad_(follows))
            assert abs(loss.item() - squares.mean()) <= bound


@rule("nn.mse-loss.other-reductions")
@also(*UNRECORDED)
@given(pair=pairs(), squares_of=one_of(NONES), sum_of_squares=one_of(SUMS))
@example(pair=TRANSPOSED, squares_of=Expression(NONES[0]), sum_of_squares=Expression(SUMS[0]))
@example(pair=elements(0), squares_of=Expression(NONES[0]), sum_of_squares=Expression(SUMS[0]))
def test_none_keeps_the_squares_and_sum_adds_them_up(device, pair, squares_of, sum_of_squares):
    squares = (array(pair[0]) - array(pair[1])) ** 2
    bound = (squares.size + ROUNDINGS) * torch.finfo(pair[0].dtype).eps * squares.sum()
    for input, target in (pair, (pair[0], turned(pair[1])), (turned(pair[0]), pair[1])):
        for learns, follows in itertools.product((False, True), repeat=2):
            unreduced = squares_of(input.requires_grad_(learns), target.requires_grad_(follows))
            assert unreduced.shape == squares.shape
            assert array(unreduced).tolist() == squares.tolist()
            assert abs(sum_of_squares(input, target).item() - squares.sum()) <= bound


REDUCTIONS = (*MEANS, *SUMS, "lambda input, target: (input - target).sum()", "lambda input, target: input.mean()")


@rule("nn.mse-loss.no-dimension")
@also(*UNRECORDED)
@given(pair=like(tensors(shapes() | shapes(max_side=1))), reduction=one_of(REDUCTIONS), recorded=st.booleans())
@example(pair=OF_ONE, reduction=Expression(MEANS[0]), recorded=False)
def test_a_loss_is_a_tensor_without_dimensions(device, pair, reduction, recorded):
    input, target = pair
    input.requires_grad_(recorded)
    loss = reduction(input, target)
    assert torch.is_tensor(loss)
    assert loss.shape == ()
    assert loss.ndim == 0
    assert loss.dtype == input.dtype


def losses():
    """A loss, and whether it is a mean."""
    return st.sampled_from(
        [(Expression(source), True) for source in MEANS]
        + [(Expression(source), False) for source in SUMS]
        + [(Expression(f"lambda input, target: {source}(input, target).sum()"), False) for source in NONES[:1]]
    )


@rule("nn.mse-loss.only-what-requires")
@also(*BACKWARD)
@given(pair=like(tensors(), among=layouts.WRITABLE), loss=losses(), flags=FLAGS, place=places())
@example(
    pair=TWO_BY_THREE,
    loss=(Expression("torch.nn.MSELoss()"), True),
    flags=(True, False),
    place=Expression("lambda x: x"),
)
@example(
    pair=TRANSPOSED,
    loss=(Expression("torch.nn.MSELoss()"), True),
    flags=(False, True),
    place=Expression("lambda x: x.clone()"),
)
def test_data_gets_no_gradient(device, pair, loss, flags, place):
    function, _ = loss
    for tensor, flag in zip(pair, flags, strict=True):
        tensor.requires_grad_(flag)
    input, target = pair
    for one, other in (pair, (place(input), target), (input, place(target)), (place(input), place(target))):
        input.grad = target.grad = None
        result = function(one, other)
        assert result.requires_grad == any(flags)
        if any(flags):
            result.backward()
        assert [tensor.grad is not None for tensor in pair] == list(flags)
