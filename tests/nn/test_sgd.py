"""spec/nn/sgd.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, layouts, leaves, like
from tests.inputs.circumstances import AS_RESULTS, NO_GRAD, UNRECORDED, also
from tests.oracles import numbers

FOREACH = st.sampled_from((None, True, False))
DYADIC = st.sampled_from((0.25, 0.5, 1.0, 2.0, 0.0))
RATES = st.sampled_from((0.01, 0.1, 1e-3, 0.3))


def by_hand():
    """Steps as they are written without an optimizer."""
    return st.sampled_from(
        (
            Expression("lambda p, rate: p.__isub__(rate * p.grad)"),
            Expression("lambda p, rate: p.sub_(p.grad, alpha=rate)"),
            Expression("lambda p, rate: p.copy_(p - rate * p.grad)"),
        )
    )


def steps():
    """A step of one parameter at a rate: with an optimizer, or by hand."""
    return by_hand() | FOREACH.map(
        lambda foreach: Expression(f"lambda p, rate: torch.optim.SGD([p], lr=rate, foreach={foreach}).step()")
    )


def with_gradients():
    """A leaf and what its gradient will be."""
    return like(leaves(among=layouts.WRITABLE))


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_gradients(), rate=DYADIC, step=steps())
def test_a_step_by_a_power_of_two_is_exact(device, pair, rate, step):
    p, gradient = pair
    p.grad = gradient
    expected = [old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)]
    with torch.no_grad():
        step(p, rate)
    assert numbers(p) == expected


IN_DOUBLE = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.tensor([2, -1], dtype=torch.float64, device=device).requires_grad_()",
        "torch.tensor([3, 1], dtype=torch.float64, device=device)",
    )
)


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pair=with_gradients(), rate=RATES, step=steps())
@example(pair=IN_DOUBLE, rate=0.1, step=Expression("lambda p, rate: torch.optim.SGD([p], lr=rate).step()"))
def test_a_step_of_any_rate_is_right_up_to_rounding(device, pair, rate, step):
    """The rate, the product and the difference are rounded, each by half an eps of its size."""
    p, gradient = pair
    p.grad = gradient
    old, move = np.array(numbers(p)), rate * np.array(numbers(gradient))
    with torch.no_grad():
        step(p, rate)
    off = abs(np.array(numbers(p)) - (old - move))
    assert (off <= 2 * torch.finfo(p.dtype).eps * (abs(move) + abs(old - move))).all()


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
    expected = [old - rate * slope - rate * later for old, slope in zip(numbers(p), numbers(gradient), strict=True)]
    optimizer = torch.optim.SGD([p], lr=rate, foreach=foreach)
    for slopes in (gradient, torch.full_like(p, later, requires_grad=False)):
        p.grad = slopes
        optimizer.step()
    assert numbers(p) == expected


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pairs=st.lists(st.tuples(with_gradients(), DYADIC), min_size=2, max_size=3), foreach=FOREACH)
def test_each_group_has_its_rate(device, pairs, foreach):
    groups, expected = [], []
    for (p, gradient), rate in pairs:
        p.grad = gradient
        groups.append({"params": [torch.zeros((), device=device, requires_grad=True), p], "lr": rate})
        expected.append([old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)])
    torch.optim.SGD(groups, lr=8, foreach=foreach).step()
    assert [numbers(p) for (p, _), _ in pairs] == expected


@rule("nn.sgd.step")
@also(*UNRECORDED, AS_RESULTS)
@given(pairs=st.lists(with_gradients(), min_size=3, max_size=5), rate=DYADIC, foreach=FOREACH)
def test_every_parameter_of_a_group_is_updated(device, pairs, rate, foreach):
    expected = []
    for p, gradient in pairs:
        p.grad = gradient
        expected.append([old - rate * slope for old, slope in zip(numbers(p), numbers(gradient), strict=True)])
    torch.optim.SGD([p for p, _ in pairs], lr=rate, foreach=foreach).step()
    assert [numbers(p) for p, _ in pairs] == expected


@rule("nn.sgd.same-leaf")
@also(NO_GRAD, AS_RESULTS)
@given(pair=with_gradients(), rate=DYADIC, foreach=FOREACH, decay=st.sampled_from((0, 2)), block=blocks())
def test_the_parameter_stays_the_leaf_that_it_was_and_keeps_its_gradient(device, pair, rate, foreach, decay, block):
    p, gradient = pair
    p.grad = gradient
    mode, records = block
    optimizer = torch.optim.SGD([p], lr=rate, foreach=foreach, weight_decay=decay)
    alias, version, slopes = p.detach(), p._version, numbers(gradient)
    expected = [old - rate * (slope + decay * old) for old, slope in zip(numbers(p), slopes, strict=True)]
    with mode():
        assert optimizer.step() is None
        assert torch.is_grad_enabled() == records
    assert optimizer.param_groups[0]["params"][0] is p
    assert numbers(alias) == numbers(p) == expected
    assert p._version > version
    assert p.is_leaf
    assert p.requires_grad
    assert p.grad_fn is None
    assert p.grad is gradient
    assert numbers(gradient) == slopes
    if p._base is not None:  # between the elements stand zeros
        alias.zero_()
        assert not p._base.any()


SETTINGS = ("{}", "{'momentum': 0.5}", "{'weight_decay': 0.5}", "{'momentum': 0.5, 'weight_decay': 0.5}")


@rule("nn.sgd.skipped")
@also(NO_GRAD, AS_RESULTS)
@given(
    reached=with_gradients(),
    skipped=leaves(among=layouts.WRITABLE),
    rate=DYADIC,
    foreach=FOREACH,
    settings=st.sampled_from(SETTINGS).map(Expression),
    times=st.integers(1, 2),
    moved=st.booleans(),
)
def test_a_parameter_without_a_gradient_is_passed_over(device, reached, skipped, rate, foreach, settings, times, moved):
    p, gradient = reached
    p.grad = gradient
    optimizer = torch.optim.SGD([skipped, p], lr=rate, foreach=foreach, **settings)
    if moved:
        skipped.grad = torch.ones_like(skipped, requires_grad=False)
        optimizer.step()
        skipped.grad = None
    was, version = numbers(skipped), skipped._version
    for _ in range(times):
        optimizer.step()
    assert numbers(skipped) == was
    assert skipped._version == version
    assert skipped.grad is None


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
    start, gradient = pair
    ends = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            p = start.detach().clone().requires_grad_()
            p.grad = gradient.clone()
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            optimizer = torch.optim.SGD([p], lr=rate, foreach=foreach, **settings)
            for _ in range(3):
                optimizer.step()
            ends.append(numbers(p))
            assert torch.equal(torch.get_rng_state(), before)
    assert ends[0] == ends[1]
