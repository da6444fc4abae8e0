"""spec/nn/linear-start.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes
from tests.oracles import numbers

SEEDS = st.integers(0, 2**32)


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


@rule("nn.linear-start.bounds")
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
@given(inputs=st.integers(1, 16), seed=SEEDS)
def test_each_quarter_of_the_interval_is_met(device, inputs, seed):
    """A quarter is missed by 256 independent numbers with probability (3/4)^256, less than 2e-32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(inputs, 256, device=device, dtype=torch.float32)
    for parameter in layer.parameters():
        places = [number * inputs**0.5 for number in numbers(parameter)]
        assert min(places) < -0.5
        assert any(-0.5 < place < 0 for place in places)
        assert any(0 < place < 0.5 for place in places)
        assert max(places) > 0.5


@rule("nn.linear-start.seeded")
@given(inputs=st.integers(1, 4), outputs=st.integers(8, 12), seed=SEEDS)
def test_the_seed_decides_where_layers_start(device, inputs, outputs, seed):
    starts = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):
            torch.manual_seed(seed)
            layers = [torch.nn.Linear(inputs, outputs, device=device, dtype=torch.float32) for _ in range(2)]
            starts.append([numbers(parameter) for layer in layers for parameter in layer.parameters()])
    assert starts[0] == starts[1]
    weight, bias, next_weight, next_bias = starts[0]
    assert weight != next_weight
    assert bias != next_bias
