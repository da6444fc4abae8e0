"""spec/nn/bias.md"""

import itertools

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import dtypes, layouts
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers

# Sums of x and of its squares, and n, by which everything is divided, have to be powers of two to be exact.
POINTS = [
    x
    for n in (2, 4, 8)
    for x in itertools.product((1, 0, -1), repeat=n)
    if sum(map(abs, x)) in (1, 2, 4, 8) and len(set(x)) > 1
]
SLOPES = st.integers(-3, 3)
SIZES = st.integers(1, 3)
OFFSETS = st.sampled_from((1, 2, 3, -1, -2, -3))


def layer_on(device, slope, bias):
    """A layer of one input and one output, made without a trace in the generator of random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        layer = torch.nn.Linear(1, 1, dtype=torch.float32, device=device)
        layer.weight.fill_(slope)
        layer.bias.fill_(bias)
    return layer


def column(device, values):
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]


@rule("nn.bias.cost")
@also(*UNRECORDED)
@given(x=st.sampled_from(POINTS), a=SLOPES, c=OFFSETS, away=st.sampled_from((0, 0.5, -1)))
@example(x=(0, 1, 0, 1), a=2, c=1, away=0)
def test_a_line_through_the_origin_misses_the_offset(device, x, a, c, away):
    n, total, squares = len(x), sum(x), sum(number**2 for number in x)
    points, y = column(device, x), column(device, [a * number + c for number in x])
    m, k = a + c * total / squares, 1 - total**2 / (n * squares)
    assert k > 0
    through_origin = torch.nn.functional.mse_loss(layer_on(device, m + away, 0)(points), y)
    with_bias = torch.nn.functional.mse_loss(layer_on(device, a, c)(points), y)
    assert through_origin.item() == c**2 * k + away**2 * squares / n
    assert with_bias.item() == 0


@rule("nn.bias.way-down")
@also(*BACKWARD)
@given(x=st.sampled_from(POINTS), a=SLOPES, c=OFFSETS)
@example(x=(0, 1, 0, 1), a=2, c=1)
def test_at_the_best_slope_only_the_bias_can_lower_the_loss(device, x, a, c):
    n, total, squares = len(x), sum(x), sum(number**2 for number in x)
    points, y = column(device, x), column(device, [a * number + c for number in x])
    m, k = a + c * total / squares, 1 - total**2 / (n * squares)
    layer = layer_on(device, m, 0)
    torch.nn.functional.mse_loss(layer(points), y).backward()
    assert numbers(layer.weight.grad) == [0]
    assert numbers(layer.bias.grad) == [-2 * c * k]
    torch.optim.SGD([layer.weight], lr=0.5).step()
    assert numbers(layer.weight) == [m]
    assert numbers(layer.bias) == [0]
    torch.optim.SGD([layer.bias], lr=0.5).step()
    assert numbers(layer.bias) == [c * k]
    assert torch.nn.functional.mse_loss(layer(points), y).item() == c**2 * k - c**2 * k**2


LAYERS = st.tuples(SIZES, SIZES, SIZES, dtypes.floating())


@st.composite
def layers_and_points(draw):
    """Weight, bias, and points."""
    inputs, outputs, points, dtype = draw(LAYERS)
    return tuple(
        tensor_of(draw, shape, dtype, draw(layouts.layouts(shape, layouts.WRITABLE)))
        for shape in ((outputs, inputs), (outputs,), (points, inputs))
    )


@rule("nn.bias.kept")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=layers_and_points(), frozen=st.booleans(), listed=st.booleans(), times=st.integers(1, 2))
def test_a_bias_that_is_left_out_stays_where_it_is(device, drawn, frozen, listed, times):
    weight, bias, x = drawn
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Linear(*weight.shape[::-1])
    layer.weight, layer.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias, requires_grad=not frozen)
    was, expected = numbers(bias), array(weight) - times * 0.25 * array(x).sum(axis=0)
    optimizer = torch.optim.SGD(layer.parameters() if frozen and listed else [layer.weight], lr=0.25)
    for _ in range(times):
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
    assert numbers(layer.bias) == was
    assert array(layer.weight).tolist() == expected.tolist()
    assert (layer.bias.grad is None) == frozen
