"""spec/nn/bias.md"""

import itertools

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers

# Sums of x and of its squares, and n, by which everything is divided, have to be powers of two to be exact.
FEW = [
    x
    for n in (1, 2, 4)
    for x in itertools.product((1, 0, -1), repeat=n)
    if sum(map(abs, x)) in (1, 2, 4) and abs(sum(x)) in (0, 1, 2, 4)
]
EIGHT = [x for x in itertools.product((1, 0, -1), repeat=8) if sum(map(abs, x)) in (1, 2, 4, 8) and len(set(x)) > 1]
MANY = [(1, 0) * 8, (0, 1, 0, 1) * 8, (1, -1) * 16, (0, 0, 0, 1) * 8]
POINTS = st.one_of(*map(st.sampled_from, (FEW, EIGHT, MANY)))
SLOPES = st.integers(-3, 3)
OFFSETS = st.sampled_from((1, 2, 3, -1, -2, -3))


def named(dtype):
    return Expression(dtype, dtypes=frozenset({dtype}))


EXACT = st.sampled_from(("torch.float32", "torch.float64")).map(named)

MEANS = {
    "mse_loss": torch.nn.functional.mse_loss,
    "MSELoss": torch.nn.MSELoss(),
    "by hand": lambda input, target: ((input - target) ** 2).mean(),
}


def layer_on(device, slope, bias, dtype):
    """A layer of one input and one output, made without a trace in the generator of random numbers."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        layer = torch.nn.Linear(1, 1, bias=bias is not None, dtype=dtype, device=device)
        layer.weight.fill_(slope)
        if bias is not None:
            layer.bias.fill_(bias)
    return layer


def column(device, values, dtype):
    return torch.tensor(values, dtype=dtype, device=device)[:, None]


def stepped(column):
    """The same numbers, with others between them in memory."""
    return torch.cat((column, column + 1), dim=1)[:, :1]


@rule("nn.bias.cost")
@also(*UNRECORDED)
@given(x=POINTS, a=SLOPES, c=OFFSETS, away=st.sampled_from((0, 0.5, -1)), of=EXACT)
@example(x=(0, 1, 0, 1), a=2, c=1, away=0, of=named("torch.float32"))
def test_a_line_through_the_origin_misses_the_offset(device, x, a, c, away, of):
    n, total, squares = len(x), sum(x), sum(number**2 for number in x)
    points, y = column(device, x, of), column(device, [a * number + c for number in x], of)
    m, k = a + c * total / squares, 1 - total**2 / (n * squares)
    through_origin = [layer_on(device, m + away, bias, of) for bias in (0, None)]
    with_bias = layer_on(device, a, c, of)
    for name, mean_of_squares in MEANS.items():
        for same, wanted in ((points, y), (stepped(points), y), (points, stepped(y))):
            for layer in through_origin:
                assert mean_of_squares(layer(same), wanted).item() == c**2 * k + away**2 * squares / n, name
            assert mean_of_squares(with_bias(same), wanted).item() == 0, name


@rule("nn.bias.way-down")
@also(*BACKWARD)
@given(x=POINTS, a=SLOPES, c=OFFSETS, of=EXACT, foreach=st.sampled_from((None, True, False)))
@example(x=(0, 1, 0, 1), a=2, c=1, of=named("torch.float32"), foreach=None)
def test_at_the_best_slope_only_the_bias_can_lower_the_loss(device, x, a, c, of, foreach):
    n, total, squares = len(x), sum(x), sum(number**2 for number in x)
    points, y = column(device, x, of), column(device, [a * number + c for number in x], of)
    m, k = a + c * total / squares, 1 - total**2 / (n * squares)
    for name, mean_of_squares in MEANS.items():
        layer = layer_on(device, m, 0, of)
        mean_of_squares(layer(points), y).backward()
        assert numbers(layer.weight.grad) == [0], name
        assert numbers(layer.bias.grad) == [-2 * c * k], name
        torch.optim.SGD([layer.weight], lr=0.5, foreach=foreach).step()
        assert numbers(layer.weight) == [m], name
        assert numbers(layer.bias) == [0], name
        torch.optim.SGD([layer.bias], lr=0.5, foreach=foreach).step()
        assert numbers(layer.weight) == [m], name
        assert numbers(layer.bias) == [c * k], name
        assert mean_of_squares(layer(points), y).item() == c**2 * k - c**2 * k**2, name


SIZES = st.sampled_from((2, 1, 3, 5, 9))
LAYERS = st.tuples(SIZES, SIZES, SIZES, dtypes.floating())
CAUSES = ((False, False), (True, False), (True, True))
"""Whether the bias does not require grad, and whether the optimizer is given it then."""


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
@given(
    drawn=layers_and_points(),
    follows=st.booleans(),
    times=st.integers(1, 3),
    momentum=st.sampled_from((0, 0.5)),
    foreach=st.sampled_from((None, True, False)),
)
def test_a_bias_that_is_left_out_stays_where_it_is(device, drawn, follows, times, momentum, foreach):
    weight, bias, x = drawn
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Linear(*weight.shape[::-1])
    was, moved, speed = numbers(bias), 0, 0
    for _ in range(times):
        speed = momentum * speed + 1
        moved += 0.25 * speed
    expected = array(weight) - moved * array(x).sum(axis=0)
    for frozen, listed in CAUSES:
        layer.weight = torch.nn.Parameter(weight.clone())
        layer.bias = torch.nn.Parameter(bias, requires_grad=not frozen)
        if (frozen, listed) == CAUSES[times - 1]:  # the bias lies behind the weight, in one memory
            together = torch.cat((weight.flatten(), bias))
            layer.weight = torch.nn.Parameter(together[: weight.numel()].view(weight.shape))
            layer.bias = torch.nn.Parameter(together[weight.numel() :], requires_grad=not frozen)
        given = [layer.bias, layer.weight] if listed else [layer.weight]
        optimizer = torch.optim.SGD(given, lr=0.25, momentum=momentum, foreach=foreach)
        for _ in range(times):
            optimizer.zero_grad()
            layer(x.detach().requires_grad_(follows)).sum().backward()
            optimizer.step()
        assert numbers(layer.bias) == was
        assert array(layer.weight).tolist() == expected.tolist()
        assert (layer.bias.grad is None) == frozen
        assert layer.bias.requires_grad == (not frozen)
        if frozen:
            with torch.no_grad():
                layer(x)
            decaying = torch.optim.SGD(given, lr=0.25, momentum=0.5, weight_decay=0.5, foreach=foreach)
            decaying.step()
            layer.zero_grad()
            decaying.step()
            assert numbers(layer.bias) == was
            assert layer.bias.grad is None
