"""spec/nn/mse-loss.md"""

import itertools
import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, like, places, shapes, tails, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import array

MEANS = (
    torch.nn.MSELoss(),
    torch.nn.functional.mse_loss,
    lambda input, target: ((input - target) ** 2).mean(),
    lambda input, target: (input - target).square().mean(),
)
SUMS = (
    torch.nn.MSELoss(reduction="sum"),
    lambda input, target: torch.nn.functional.mse_loss(input, target, reduction="sum"),
    lambda input, target: (input - target).pow(2).sum(),
)
NONES = (
    torch.nn.MSELoss(reduction="none"),
    lambda input, target: torch.nn.functional.mse_loss(input, target, reduction="none"),
)
ROUNDINGS = 24
"""How many eps an element may be off: 16 for a power, the loosest of the published limits, and some for a division."""


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
IN_DOUBLE = (
    plain("torch.tensor([1 + 2**-30, 3, 2**-40], dtype=torch.float64, device=device)", "torch.float64"),
    plain("torch.tensor([0, 2**-26, 2**-41], dtype=torch.float64, device=device)", "torch.float64"),
)
TRANSPOSED = (TWO_BY_THREE[0], plain("torch.tensor([[1, 4], [0, 2], [3, -1]], dtype=torch.float32, device=device).T"))
OF_ONE = (plain("torch.tensor([3.0], device=device)"), plain("torch.tensor([1.0], device=device)"))


def elements(n):
    """A vector and zeros of n elements, the last of which is the largest."""
    return (
        plain(f"torch.arange({n}).sub({n // 2}).to(torch.float32).to(device)"),
        plain(f"torch.zeros({n}, dtype=torch.float32, device=device)"),
    )


def laid_out(input, target):
    """The pair as it is, either half of it with two dimensions swapped in memory, both in one memory, and results."""
    yield input, target
    yield input, turned(target)
    yield turned(input), target
    yield torch.stack((input.detach(), target.detach())).unbind()


def learning(input, target):
    """The pair as leaves and as results, whichever of the two require grad."""
    for learns, follows in itertools.product((False, True), repeat=2):
        leaves = input.requires_grad_(learns), target.requires_grad_(follows)
        yield leaves
        yield leaves[0].clone(), leaves[1].view_as(leaves[1])


@rule("nn.mse-loss.mean")
@also(*UNRECORDED)
@given(pair=pairs(min_side=1), turn=st.integers(0, 3))
@example(pair=TWO_BY_THREE, turn=0)
@example(pair=TRANSPOSED, turn=0)
@example(pair=elements(17), turn=0)
@example(pair=elements(1025), turn=1)
@example(pair=elements(1301), turn=0)
@example(pair=IN_DOUBLE, turn=0)
@example(pair=IN_DOUBLE, turn=2)
def test_the_mean_is_over_all_elements(device, pair, turn):
    """The terms are positive: whatever the order, n additions round n times."""
    squares = (array(pair[0]) - array(pair[1])) ** 2
    bound = (squares.size + ROUNDINGS) * torch.finfo(pair[0].dtype).eps * squares.mean()
    for number, together in enumerate(laid_out(*pair), start=turn):
        for input, target in learning(*together):
            loss = MEANS[number % len(MEANS)](input, target)
            assert abs(loss.item() - squares.mean()) <= bound
    for mean_of_squares in MEANS:
        assert abs(mean_of_squares(*pair[::-1]).item() - squares.mean()) <= bound
        assert mean_of_squares(pair[0], pair[0]).item() == mean_of_squares(pair[1].detach(), pair[1]).item() == 0
        parameter = torch.nn.Parameter(pair[0].detach().clone())
        mean_of_squares(parameter, pair[1])
        with torch.no_grad():
            parameter.copy_(pair[1])
        assert mean_of_squares(parameter, pair[1]).item() == 0


@rule("nn.mse-loss.mean")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=like(tensors(shapes(min_side=1))), beyond=st.sampled_from((math.inf, -math.inf, math.nan)))
def test_what_is_not_finite_is_part_of_the_mean(device, pair, beyond):
    input, target = pair
    for place in range(input.numel()):
        for mean_of_squares in (*MEANS, *SUMS):
            far = input.detach().clone(memory_format=torch.contiguous_format)
            far.view(-1)[place] = beyond
            for loss in (mean_of_squares(far, target), mean_of_squares(target, far)):
                assert str(loss.item()) == str(abs(beyond))


@rule("nn.mse-loss.other-reductions")
@also(*UNRECORDED)
@given(pair=pairs(), turn=st.integers(0, 5))
@example(pair=TRANSPOSED, turn=0)
@example(pair=elements(0), turn=0)
@example(pair=elements(17), turn=0)
@example(pair=IN_DOUBLE, turn=0)
def test_none_keeps_the_squares_and_sum_adds_them_up(device, pair, turn):
    squares = (array(pair[0]) - array(pair[1])) ** 2
    bound = (squares.size + ROUNDINGS) * torch.finfo(pair[0].dtype).eps * squares.sum()
    for number, together in enumerate(laid_out(*pair), start=turn):
        for input, target in learning(*together):
            unreduced = NONES[number % len(NONES)](input, target)
            assert unreduced.shape == squares.shape
            assert unreduced.dtype == input.dtype
            assert (abs(array(unreduced) - squares) <= ROUNDINGS * torch.finfo(input.dtype).eps * squares).all()
            assert abs(SUMS[number % len(SUMS)](input, target).item() - squares.sum()) <= bound


TO_ONE = (
    *MEANS,
    *SUMS,
    lambda input, target: (input - target).sum(),
    lambda input, target: torch.sum(input),
    lambda input, target: input.mean(),
    lambda input, target: torch.mean(target - input),
)


@rule("nn.mse-loss.no-dimension")
@also(*UNRECORDED)
@given(pair=like(tensors(shapes() | shapes(max_side=1) | tails())))
@example(pair=OF_ONE)
def test_a_loss_is_a_tensor_without_dimensions(device, pair):
    for input, target in learning(*pair):
        for reduction in TO_ONE:
            loss = reduction(input, target)
            assert torch.is_tensor(loss)
            assert loss.shape == ()
            assert loss.ndim == 0
            assert loss.dtype == input.dtype


@rule("nn.mse-loss.no-dimension")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors(dtypes=dtypes.complex_() | dtypes.integral()))
def test_sum_and_mean_of_other_dtypes_have_no_dimension_either(device, x):
    for number in (x.sum(), torch.sum(x)):
        assert number.shape == ()
        assert number.dtype == (x.dtype if x.is_complex() else torch.int64)
    if x.is_complex():
        for number in (x.mean(), torch.mean(x)):
            assert number.shape == ()
            assert number.dtype == x.dtype


LOSSES = (*MEANS, *SUMS, lambda input, target: NONES[0](input, target).sum())


@rule("nn.mse-loss.only-what-requires")
@also(*BACKWARD)
@given(pair=like(tensors(), among=layouts.WRITABLE), place=places(), turn=st.integers(0, 3))
@example(pair=TWO_BY_THREE, place=Expression("lambda x: x"), turn=0)
@example(pair=TRANSPOSED, place=Expression("lambda x: x.clone()"), turn=2)
def test_data_gets_no_gradient(device, pair, place, turn):
    held = [torch.zeros_like(tensor, requires_grad=False) for tensor in pair]
    for start, flags in enumerate(itertools.product((False, True), repeat=2), start=turn):
        input, target = (tensor.requires_grad_(flag) for tensor, flag in zip(pair, flags, strict=True))
        places = (pair, (place(input), target), (input, place(target)), (place(input), place(target)))
        with torch.no_grad():
            assert not LOSSES[start](input, target).requires_grad
        for number, loss in enumerate(LOSSES[start % 3 :: 3], start=start):
            input.grad = target.grad = None
            one, other = places[number % len(places)]
            result = loss(one, other)
            assert result.requires_grad == any(flags)
            assert [tensor.requires_grad for tensor in pair] == list(flags)
            if any(flags):
                result.backward(retain_graph=True)
            assert [tensor.grad is not None for tensor in pair] == list(flags)
        for tensor, flag, zeros in zip(pair, flags, held, strict=True):
            tensor.grad = None if flag else zeros
        if any(flags):
            LOSSES[turn](input, target).backward()
            assert all(tensor.grad is zeros for tensor, flag, zeros in zip(pair, flags, held, strict=True) if not flag)
            assert not any(zeros.any() for zeros in held)
