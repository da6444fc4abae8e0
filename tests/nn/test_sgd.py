"""spec/nn/sgd.md"""

import math

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, layouts, leaves, like
from tests.inputs.circumstances import AS_RESULTS, NO_GRAD, UNRECORDED, also
from tests.oracles import numbers

FOREACH = st.sampled_from((None, True, False))
DYADIC = st.sampled_from((0.25, 0.5, 1.0, 2.0, 0.0))
DTYPES = dtypes.floating() | dtypes.floating() | dtypes.complex_()
RATES = st.sampled_from((0.01, 0.1, 1e-3, 0.3))


STEPS = (
    lambda p, rate: p.__isub__(rate * p.grad),
    lambda p, rate: p.sub_(p.grad, alpha=rate),
    lambda p, rate: p.copy_(p - rate * p.grad),
    lambda p, rate: p.add_(p.grad, alpha=-rate),
    lambda p, rate: torch.optim.SGD(iter([p]), rate).step(),
    lambda p, rate: torch.optim.SGD([{"params": p}], lr=rate, foreach=True).step(),
    lambda p, rate: torch.optim.SGD([p], lr=rate, foreach=False).step(),
)
"""A step of one parameter at a rate: by hand, or with an optimizer."""


def with_gradients():
    """A leaf and what its gradient will be."""
    return like(leaves(dtypes=DTYPES, among=layouts.WRITABLE))


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_gradients(), rate=DYADIC)
def test_a_step_by_a_power_of_two_is_exact(device, pair, rate):
    p, gradient = pair
    p.grad = gradient
    start = p.detach().clone()
    expected = [old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)]
    for number, step in enumerate(STEPS):
        with torch.no_grad():
            p.copy_(start)
            step(p, rate)
        assert numbers(p) == expected, number


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(p=leaves(among=layouts.WRITABLE), rate=st.sampled_from((0.5, 0.25, 2.0)))
def test_gradients_that_are_not_finite_are_subtracted_too(device, p, rate):
    start = p.detach().clone()
    for slope, end in ((math.inf, -math.inf), (-math.inf, math.inf), (math.nan, math.nan)):
        far = [place % 3 == 0 for place in range(p.numel())]
        slopes = [slope if is_far else 1 for is_far in far]
        p.grad = torch.tensor(slopes, dtype=p.dtype, device=device).reshape(p.shape)
        expected = [str(end if is_far else old - rate) for old, is_far in zip(numbers(start), far, strict=True)]
        for number, step in enumerate(STEPS):
            with torch.no_grad():
                p.copy_(start)
                step(p, rate)
            assert [str(new) for new in numbers(p)] == expected, number


IN_DOUBLE = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.tensor([2, -1], dtype=torch.float64, device=device).requires_grad_()",
        "torch.tensor([3, 1], dtype=torch.float64, device=device)",
    )
)


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_gradients(), rate=RATES)
@example(pair=IN_DOUBLE, rate=0.1)
@example(pair=IN_DOUBLE, rate=0.3)
def test_a_step_of_any_rate_is_right_up_to_rounding(device, pair, rate):
    """The rate, the product and the difference are rounded, each by half an eps of its size."""
    p, gradient = pair
    p.grad = gradient
    start, old, move = p.detach().clone(), np.array(numbers(p)), rate * np.array(numbers(gradient))
    for number, step in enumerate(STEPS):
        with torch.no_grad():
            p.copy_(start)
            step(p, rate)
        off = abs(np.array(numbers(p)) - (old - move))
        assert (off <= 2 * torch.finfo(p.dtype).eps * (abs(move) + abs(old - move))).all(), number


NUMBERS = tuple(
    Expression(source, dtypes=frozenset({"torch.float32"}))
    for source in (
        "torch.tensor(2, dtype=torch.float32, device=device).requires_grad_()",
        "torch.tensor(3, dtype=torch.float32, device=device)",
    )
)


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_gradients(), later=st.sampled_from((2, -1, 0)), rate=DYADIC, foreach=FOREACH)
@example(pair=NUMBERS, later=2, rate=0.5, foreach=True)
def test_each_step_takes_the_gradient_that_is_there_then(device, pair, later, rate, foreach):
    p, gradient = pair
    optimizer = torch.optim.SGD([p], lr=rate, foreach=foreach)
    same = torch.tensor(later, dtype=p.dtype, device=device).expand(p.shape)
    stepped = torch.stack((gradient.detach(), same), dim=-1)[..., 0]
    slopes = [gradient, gradient, torch.full_like(p, later, requires_grad=False), gradient.clone(), same, stepped]
    for number, (slope, part) in enumerate(zip(slopes, (1, 1, 1, 0.5, 0.5, 1), strict=True)):
        p.grad = None
        optimizer.step()
        p.grad = slope
        optimizer.param_groups[0]["lr"] = part * rate
        expected = [old - part * rate * move for old, move in zip(numbers(p), numbers(slope), strict=True)]
        optimizer.step()
        assert numbers(p) == expected, number


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pairs=st.lists(st.tuples(with_gradients(), DYADIC), min_size=2, max_size=3), foreach=FOREACH, late=st.booleans())
def test_each_group_has_its_rate(device, pairs, foreach, late):
    groups, expected = [], []
    for (p, gradient), rate in pairs:
        p.grad = gradient
        groups.append({"params": [torch.zeros((), device=device, requires_grad=True), p], "lr": rate})
        expected.append([old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)])
    optimizer = torch.optim.SGD(groups[: len(groups) - late], lr=8, foreach=foreach)
    for group in groups[len(groups) - late :]:
        optimizer.add_param_group(group)
    optimizer.step()
    assert [numbers(p) for (p, _), _ in pairs] == expected


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pairs=st.lists(with_gradients(), min_size=3, max_size=5), rate=DYADIC)
def test_every_parameter_of_a_group_is_updated(device, pairs, rate):
    expected = []
    for p, gradient in pairs:
        p.grad = gradient
        expected.append([old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)])
    starts = [p.detach().clone() for p, _ in pairs]
    for foreach in (None, True, False):
        block = torch.zeros(6, device=device)
        halves = [block[:3].requires_grad_(), block[3:].requires_grad_()]  # two in one memory, and one gradient
        halves[0].grad = halves[1].grad = torch.ones(3, device=device)
        for (p, _), start in zip(pairs, starts, strict=True):
            p.detach().copy_(start)
        torch.optim.SGD([*halves, *(p for p, _ in pairs)], lr=rate, foreach=foreach).step()
        assert [numbers(p) for p, _ in pairs] == expected, foreach
        assert numbers(block) == [-rate] * 6, foreach


@rule("nn.sgd.same-leaf")
@also(NO_GRAD, AS_RESULTS)
@given(
    pair=with_gradients(),
    rate=DYADIC,
    foreach=FOREACH,
    decay=st.sampled_from((0, 2)),
    momentum=st.sampled_from((0, 0.5)),
    block=blocks(),
)
def test_the_parameter_stays_the_leaf_that_it_was_and_keeps_its_gradient(
    device, pair, rate, foreach, decay, momentum, block
):
    p, gradient = pair
    first = torch.zeros(2, device=device, requires_grad=True)
    p.grad = gradient
    first.grad = zeros = torch.zeros(2, device=device)
    mode, records = block
    optimizer = torch.optim.SGD([first, p], lr=rate, foreach=foreach, weight_decay=decay, momentum=momentum)
    alias, slopes = p.detach(), numbers(gradient)
    expected = [old - rate * (slope + decay * old) for old, slope in zip(numbers(p), slopes, strict=True)]
    for times in range(2):
        version = p._version
        with mode():
            assert optimizer.step() is None
            assert torch.is_grad_enabled() == records
        assert first.is_leaf
        assert first.requires_grad
        assert first.grad is zeros
        assert numbers(zeros) == [0, 0]
        assert optimizer.param_groups[0]["params"][1] is p
        assert numbers(alias) == numbers(p)
        assert numbers(p) == expected or times
        assert p._version > version
        assert p.is_leaf
        assert p.requires_grad
        assert p.grad_fn is None
        assert p.grad is gradient
        assert numbers(gradient) == slopes
    if p._base is not None:  # between the elements stand zeros, or i
        alias.zero_()
        assert set(numbers(p._base)) <= {0, 1j}


SETTINGS = (
    "{}",
    "{'momentum': 0.5}",
    "{'weight_decay': 0.5}",
    "{'momentum': 0.5, 'weight_decay': 0.5}",
    "{'momentum': 0.5, 'nesterov': True}",
    "{'weight_decay': 0.5, 'maximize': True}",
)


@rule("nn.sgd.skipped")
@also(NO_GRAD, AS_RESULTS)
@given(
    reached=with_gradients(),
    skipped=leaves(dtypes=DTYPES, among=layouts.WRITABLE),
    rate=DYADIC,
    foreach=FOREACH,
    settings=st.sampled_from(SETTINGS).map(Expression),
    times=st.integers(1, 2),
)
def test_a_parameter_without_a_gradient_is_passed_over(device, reached, skipped, rate, foreach, settings, times):
    p, gradient = reached
    p.grad = gradient
    last, frozen = skipped.detach().clone().requires_grad_(), skipped.detach().clone()
    was, version = numbers(skipped), skipped._version
    torch.optim.SGD([skipped, last], lr=rate, foreach=foreach, **settings).step()
    assert numbers(skipped) == numbers(last) == was
    assert skipped._version == version
    optimizer = torch.optim.SGD([skipped, p, last, frozen], lr=rate, foreach=foreach, **settings)
    for moved in (False, True):
        if moved:
            for parameter in (skipped, last):
                parameter.grad = torch.ones_like(parameter, requires_grad=False)
            optimizer.step()
            skipped.grad = last.grad = None
        for parameter in (skipped, last, frozen):
            was, version = numbers(parameter), parameter._version
            for _ in range(times):
                optimizer.step()
            assert numbers(parameter) == was
            assert parameter._version == version
            assert parameter.grad is None


@rule("nn.sgd.nothing-random")
@also(*UNRECORDED, AS_RESULTS)
@given(
    pair=with_gradients(),
    rate=RATES,
    foreach=FOREACH,
    settings=st.sampled_from(SETTINGS).map(Expression),
    seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)),
)
@example(
    pair=(
        Expression("torch.tensor([[0.5]], dtype=torch.float32, device=device).requires_grad_()"),
        Expression("torch.tensor([[-3.0]], dtype=torch.float32, device=device)"),
    ),
    rate=0.01,
    foreach=None,
    settings=Expression("{}"),
    seeds=(0, 100),
)
def test_the_same_start_leads_to_the_same_bits(device, pair, rate, foreach, settings, seeds):
    start, gradient = (tensor.detach() for tensor in pair)
    ends = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            several = [start.clone(), *torch.stack((start, start)), torch.stack((start, start), -1)[..., 1]]
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            for parameters in (several[:1], several[1:], [torch.nn.Parameter(start.clone())]):
                for p in parameters:
                    p.requires_grad_()
                    p.grad = gradient.clone()
                optimizer = torch.optim.SGD(parameters, lr=rate, foreach=foreach, **settings)
                for _ in range(3):
                    optimizer.step()
                ends.append([numbers(p) for p in parameters])
                assert torch.equal(torch.get_rng_state(), before)
    assert ends[:3] == ends[3:]
