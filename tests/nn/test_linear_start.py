"""spec/nn/linear-start.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes
from tests.inputs.circumstances import UNRECORDED, also
from tests.oracles import array, numbers

SEEDS = st.integers(0, 2**32)


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


@rule("nn.linear-start.bounds")
@also(*UNRECORDED)
@given(inputs=st.integers(1, 40), outputs=st.integers(1, 40), of=dtypes.floating().map(named), seed=SEEDS)
@example(inputs=1, outputs=1, of=named("torch.float32"), seed=0)
def test_the_start_is_within_one_over_the_root_of_the_inputs(device, inputs, outputs, of, seed):
    """The two ends, the width and the number are rounded, the width being twice as large: five halves of an eps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(inputs, outputs, device=device, dtype=of)
    rounding = 1 + 4 * torch.finfo(of).eps
    for parameter in layer.parameters():
        farthest = max(abs(number) for number in numbers(parameter))
        assert farthest <= inputs**-0.5 * rounding
        assert farthest <= 1


@rule("nn.linear-start.spread")
@also(*UNRECORDED)
@given(inputs=st.integers(1, 4), of=st.sampled_from(("torch.float32", "torch.float64")).map(named), seed=SEEDS)
def test_each_quarter_of_the_interval_is_met_by_about_a_quarter(device, inputs, of, seed):
    """By Hoeffding's inequality the share of n = 2048 numbers in a quarter is more than a tenth off with a probability
    of at most 2 exp(-2 n / 100), less than 4e-18."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(inputs, 2048, device=device, dtype=of)
    for parameter in layer.parameters():
        places = array(parameter) * inputs**0.5
        quarters = [(places < -0.5), (places >= -0.5) & (places < 0), (places >= 0) & (places < 0.5), (places >= 0.5)]
        assert all(0.15 <= quarter.mean() <= 0.35 for quarter in quarters)


@rule("nn.linear-start.seeded")
@also(*UNRECORDED)
@given(inputs=st.integers(1, 4), outputs=st.integers(8, 12), of=dtypes.floating().map(named), seed=SEEDS)
def test_the_seed_decides_where_layers_start(device, inputs, outputs, of, seed):
    starts = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            torch.manual_seed(seed)
            layers = [torch.nn.Linear(inputs, outputs, device=device, dtype=of) for _ in range(2)]
            starts.append([numbers(parameter) for layer in layers for parameter in layer.parameters()])
    assert starts[0] == starts[1]
    weight, bias, next_weight, next_bias = starts[0]
    assert weight != next_weight
    assert bias != next_bias
