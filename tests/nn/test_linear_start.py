"""spec/nn/linear-start.md"""

import threading

import pytest
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


WIDTHS = st.integers(1, 40) | st.sampled_from((64, 100, 257, 1025))


@rule("nn.linear-start.bounds")
@also(*UNRECORDED)
@given(inputs=WIDTHS, outputs=st.integers(1, 40), of=dtypes.floating().map(named), seed=SEEDS)
@example(inputs=1, outputs=1, of=named("torch.float32"), seed=0)
@example(inputs=9, outputs=17, of=named("torch.float16"), seed=1)
@example(inputs=9, outputs=17, of=named("torch.bfloat16"), seed=1)
def test_the_start_is_within_one_over_the_root_of_the_inputs(device, inputs, outputs, of, seed):
    """The two ends, the width and the number are rounded, the width being twice as large: five halves of an eps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(inputs, outputs, biased, device=device, dtype=of) for biased in (True, False, True)]
        with torch.no_grad():
            layers.append(torch.nn.Linear(in_features=inputs, out_features=outputs + 1, device=device, dtype=of))
        narrow = torch.nn.Linear(1, outputs, device=device, dtype=of)
        layers.append(torch.nn.Linear(inputs, outputs, device=device, dtype=of))
    rounding = 1 + 4 * torch.finfo(of).eps
    assert max(abs(array(parameter)).max() for parameter in narrow.parameters()) <= rounding
    for layer in layers:
        for parameter in layer.parameters():
            farthest = abs(array(parameter)).max()
            assert farthest <= inputs**-0.5 * rounding
            assert farthest <= 1


@rule("nn.linear-start.spread")
@also(*UNRECORDED)
@given(inputs=st.integers(1, 4), of=dtypes.floating().map(named), seed=SEEDS)
@example(inputs=2, of=named("torch.float64"), seed=0)
def test_each_quarter_of_the_interval_is_met_by_about_a_quarter(device, inputs, of, seed):
    """By Hoeffding's inequality the share of n = 2048 numbers in a quarter is more than 0.095 off with a probability of
    at most 2 exp(-2 n 0.095^2), less than 2e-16; half precision shifts a quarter by less than 0.005."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(inputs, 2048, biased, device=device, dtype=of) for biased in (True, False)]
        layers.append(torch.nn.Linear(2048, 1, device=device, dtype=of))
    for parameter in (*layers[0].parameters(), layers[1].weight, layers[2].weight):
        places = array(parameter) * (2048 if parameter is layers[2].weight else inputs) ** 0.5
        quarters = [(places < -0.5), (places >= -0.5) & (places < 0), (places >= 0) & (places < 0.5), (places >= 0.5)]
        assert all(0.15 <= quarter.mean() <= 0.35 for quarter in quarters)


@rule("nn.linear-start.seeded")
@also(*UNRECORDED)
@given(inputs=st.integers(1, 4), outputs=st.integers(8, 12), of=dtypes.floating().map(named), seed=SEEDS)
@example(inputs=2, outputs=9, of=named("torch.float64"), seed=0)
@example(inputs=3, outputs=8, of=named("torch.float64"), seed=2**32)
def test_the_seed_decides_where_layers_start(device, inputs, outputs, of, seed):
    starts = []

    def start():
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(inputs, outputs, device=device, dtype=of) for _ in range(2)]
        layers += [torch.nn.Linear(1, 1, device=device, dtype=of), torch.nn.Linear(5, 5, False, device=device)]
        starts.append([numbers(parameter) for layer in layers for parameter in layer.parameters()])

    with torch.random.fork_rng(devices=[]):
        start()
        torch.randn(3, device=device)  # what else is drawn from the generator before it is seeded again
        with pytest.raises(RuntimeError):
            torch.nn.Linear(-1, 2, device=device)
        with torch.no_grad():
            start()
        torch.nn.Linear(2, 3, device=device)
        starting = threading.Thread(target=start)
        starting.start()
        starting.join()
    assert starts[0] == starts[1] == starts[2]
    weight, bias, next_weight, next_bias, *_ = starts[0]
    assert weight != next_weight
    assert bias != next_bias
