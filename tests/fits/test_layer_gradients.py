"""spec/fits/layer-gradients.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.circumstances import BACKWARD, also
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array, numbers

LAYERS = (
    lambda x, w, b: x @ w + b,
    lambda x, w, b: b + x.matmul(w),
    lambda x, w, b: torch.addmm(b, x, w),
    lambda x, w, b: torch.nn.functional.linear(x, w.T, b),
)
EXACT_MEANS = (
    torch.nn.functional.mse_loss,
    torch.nn.MSELoss(),
    lambda z, y: ((z - y) * (z - y)).mean(),
)
MEANS = (*EXACT_MEANS, lambda z, y: ((z - y) ** 2).mean(), lambda z, y: (z - y).square().mean())
TURNS = st.integers(0, 11)
LEARNING = ((True, True), (True, False), (False, True))
"""Whether w and b require grad."""
POWERS = st.sampled_from((1, 2, 4))
SIZES = st.integers(1, 6) | st.sampled_from((2, 3, 9, 17))


@st.composite
def layers(draw, sizes):
    """x, w, b and y, for as many points, inputs and neurons, and of the dtype, that `sizes` draws."""
    points, inputs, neurons, dtype = draw(sizes)
    x, y = (tensor_of(draw, shape, dtype) for shape in ((points, inputs), (points, neurons)))
    w, b = (leaf_of(draw, shape, dtype) for shape in ((inputs, neurons), (neurons,)))
    return x, w, b, y


# Integers up to 33, times a power of two, times x, summed: up to 9 bits, more than bfloat16 has.
WIDE = st.sampled_from(("torch.float32", "torch.float64", "torch.float16"))
DYADIC = st.tuples(POWERS | st.just(8), st.integers(1, 3), POWERS, WIDE) | st.tuples(*[st.just(2)] * 3, WIDE)
SQUARE = tuple(
    Expression(source, dtypes=frozenset({"torch.float32"}))
    for source in (
        "torch.tensor([[1, 0], [2, -1]], dtype=torch.float32, device=device)",
        "torch.tensor([[1, 2], [3, -2]], dtype=torch.float32, device=device).requires_grad_()",
        "torch.tensor([1, -1], dtype=torch.float32, device=device).requires_grad_()",
        "torch.tensor([[0, 1], [0, 2]], dtype=torch.float32, device=device)",
    )
)


def learned(drawn, number, means):
    """The tensors after a backward that this number picks: a layer, a mean, and which of w and b learn from it."""
    x, w, b, y = (tensor.detach() for tensor in drawn)
    learning = LEARNING[number % 3]
    w.requires_grad_(learning[0])
    b.requires_grad_(learning[1])
    z = LAYERS[number % 4](x, w, b)
    means[number % len(means)](z, y).backward()
    return x, w, b, y


@rule("fits.layer-gradients.gradients")
@also(*BACKWARD)
@given(drawn=layers(DYADIC), turn=TURNS)
@example(drawn=SQUARE, turn=0)
def test_where_the_number_of_elements_is_a_power_of_two_the_gradients_are_exact(device, drawn, turn):
    x, w, b, y = (array(tensor) for tensor in drawn)
    miss = x @ w + b - y
    by_w, by_b = 2 / y.size * x.T @ miss, 2 / y.size * miss.sum(axis=0)
    for number in range(turn, turn + 6):
        _, weight, bias, _ = learned(drawn, number, EXACT_MEANS)
        for parameter, slopes in ((weight, by_w), (bias, by_b)):
            if parameter.requires_grad:
                assert parameter.grad.shape == parameter.shape
                assert array(parameter.grad).tolist() == slopes.tolist()


DOCUMENT = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.ones(2, 5, dtype=torch.float64, device=device)",
        "torch.tensor([[2, 0, -1]] * 5, dtype=torch.float64, device=device).requires_grad_()",
        "torch.tensor([1, -2, 3], dtype=torch.float64, device=device).requires_grad_()",
        "torch.zeros(2, 3, dtype=torch.float64, device=device)",
    )
)


EXACT_ENOUGH = st.sampled_from(("torch.float64", "torch.float32"))
SQUARES = st.sampled_from([(size, size, size) for size in (3, 2, 5)])
ROUNDED = st.tuples(SIZES, SIZES, SIZES, EXACT_ENOUGH) | st.builds(
    lambda sizes, dtype: (*sizes, dtype), SQUARES, EXACT_ENOUGH
)


@rule("fits.layer-gradients.gradients")
@also(*BACKWARD)
@given(drawn=layers(ROUNDED), turn=TURNS)
@example(drawn=DOCUMENT, turn=0)
def test_for_any_number_of_elements_they_are_right_up_to_rounding(device, drawn, turn):
    """The derivative of a power may be off by 16 eps, the loosest of the published limits; dividing by n and the
    products take eight more, and the sum over points one for each. z - y, made of small integers, is exact."""
    x, w, b, y = (array(tensor) for tensor in drawn)
    miss = x @ w + b - y
    slack = (len(x) + 24) * torch.finfo(drawn[0].dtype).eps * 2 / y.size
    for number in range(turn, turn + 6):
        _, weight, bias, _ = learned(drawn, number, MEANS)
        if weight.requires_grad:
            off = abs(array(weight.grad) - 2 / y.size * x.T @ miss)
            assert (off <= slack * abs(x).T @ abs(miss)).all()
        if bias.requires_grad:
            off = abs(array(bias.grad) - 2 / y.size * miss.sum(axis=0))
            assert (off <= slack * abs(miss).sum(axis=0)).all()


@rule("fits.layer-gradients.nothing-else-changes")
@also(*BACKWARD)
@given(drawn=layers(DYADIC), turn=TURNS)
def test_backward_changes_no_parameter_and_gives_data_no_gradient(device, drawn, turn):
    before = [numbers(tensor) for tensor in drawn]
    for number in range(turn, turn + 6):
        versions = [tensor._version for tensor in drawn]
        x, w, b, y = learned(drawn, number, MEANS)
        assert [numbers(tensor) for tensor in (x, w, b, y)] == before
        assert [tensor._version for tensor in drawn] == versions
        assert x.grad is None
        assert y.grad is None
        assert [tensor.requires_grad for tensor in (x, w, b, y)] == [False, *LEARNING[number % 3], False]
        assert [tensor.grad is not None for tensor in (w, b)] == list(LEARNING[number % 3])
        for parameter in (w, b):
            if parameter.requires_grad:
                parameter.grad.fill_(9)
        assert [numbers(tensor) for tensor in (x, w, b, y)] == before
