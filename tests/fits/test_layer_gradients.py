"""spec/fits/layer-gradients.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array, numbers

LAYERS = st.sampled_from(
    (
        Expression("lambda x, w, b: x @ w + b"),
        Expression("lambda x, w, b: torch.addmm(b, x, w)"),
        Expression("lambda x, w, b: torch.nn.functional.linear(x, w.T, b)"),
    )
)
EXACT_MEANS = st.sampled_from(
    (
        Expression("torch.nn.functional.mse_loss"),
        Expression("torch.nn.MSELoss()"),
        Expression("lambda z, y: ((z - y) * (z - y)).mean()"),
    )
)
MEANS = EXACT_MEANS | st.sampled_from(
    (Expression("lambda z, y: ((z - y) ** 2).mean()"), Expression("lambda z, y: (z - y).square().mean()"))
)
POWERS = st.sampled_from((1, 2, 4))
SIZES = st.integers(1, 6)


@st.composite
def layers(draw, sizes):
    """x, w, b and y, for as many points, inputs and neurons, and of the dtype, that `sizes` draws."""
    points, inputs, neurons, dtype = draw(sizes)
    x, y = (tensor_of(draw, shape, dtype) for shape in ((points, inputs), (points, neurons)))
    w, b = (leaf_of(draw, shape, dtype) for shape in ((inputs, neurons), (neurons,)))
    return x, w, b, y


# Integers up to 33, times a power of two, times x, summed: up to 9 bits, more than bfloat16 has.
WIDE = st.sampled_from(("torch.float32", "torch.float64", "torch.float16"))
DYADIC = st.tuples(POWERS, st.integers(1, 3), POWERS, WIDE)
SQUARE = tuple(
    Expression(source, dtypes=frozenset({"torch.float32"}))
    for source in (
        "torch.tensor([[1, 0], [2, -1]], dtype=torch.float32, device=device)",
        "torch.tensor([[1, 2], [3, -2]], dtype=torch.float32, device=device).requires_grad_()",
        "torch.tensor([1, -1], dtype=torch.float32, device=device).requires_grad_()",
        "torch.tensor([[0, 1], [0, 2]], dtype=torch.float32, device=device)",
    )
)


@rule("fits.layer-gradients.gradients")
@given(drawn=layers(DYADIC), layer=LAYERS, mean_of_squares=EXACT_MEANS)
@example(
    drawn=SQUARE,
    layer=Expression("lambda x, w, b: torch.addmm(b, x, w)"),
    mean_of_squares=Expression("torch.nn.MSELoss()"),
)
def test_where_the_number_of_elements_is_a_power_of_two_the_gradients_are_exact(device, drawn, layer, mean_of_squares):
    x, w, b, y = drawn
    z = layer(x, w, b)
    mean_of_squares(z, y).backward()
    miss = array(x) @ array(w) + array(b) - array(y)
    assert w.grad.shape == w.shape
    assert b.grad.shape == b.shape
    assert array(w.grad).tolist() == (2 / z.numel() * array(x).T @ miss).tolist()
    assert array(b.grad).tolist() == (2 / z.numel() * miss.sum(axis=0)).tolist()


DOCUMENT = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.ones(2, 5, dtype=torch.float64, device=device)",
        "torch.tensor([[2, 0, -1]] * 5, dtype=torch.float64, device=device).requires_grad_()",
        "torch.tensor([1, -2, 3], dtype=torch.float64, device=device).requires_grad_()",
        "torch.zeros(2, 3, dtype=torch.float64, device=device)",
    )
)


@rule("fits.layer-gradients.gradients")
@given(drawn=layers(st.tuples(SIZES, SIZES, SIZES, st.just("torch.float64"))), layer=LAYERS, mean_of_squares=MEANS)
@example(
    drawn=DOCUMENT, layer=Expression("lambda x, w, b: x @ w + b"), mean_of_squares=Expression("torch.nn.MSELoss()")
)
def test_for_any_number_of_elements_they_are_right_up_to_rounding(device, drawn, layer, mean_of_squares):
    """The derivative of a power may be off by 16 eps, the loosest of the published limits; dividing by n and the
    products take eight more, and the sum over points one for each. z - y, made of small integers, is exact."""
    x, w, b, y = drawn
    z = layer(x, w, b)
    mean_of_squares(z, y).backward()
    miss = array(x) @ array(w) + array(b) - array(y)
    slack = (len(x) + 24) * torch.finfo(x.dtype).eps * 2 / z.numel()
    off = abs(array(w.grad) - 2 / z.numel() * array(x).T @ miss)
    assert (off <= slack * abs(array(x)).T @ abs(miss)).all()
    off = abs(array(b.grad) - 2 / z.numel() * miss.sum(axis=0))
    assert (off <= slack * abs(miss).sum(axis=0)).all()


@rule("fits.layer-gradients.nothing-else-changes")
@given(drawn=layers(DYADIC), layer=LAYERS, mean_of_squares=MEANS)
def test_backward_changes_no_parameter_and_gives_data_no_gradient(device, drawn, layer, mean_of_squares):
    x, w, b, y = drawn
    before = [numbers(tensor) for tensor in (x, w, b, y)]
    versions = [tensor._version for tensor in (x, w, b, y)]
    mean_of_squares(layer(x, w, b), y).backward()
    assert [numbers(tensor) for tensor in (x, w, b, y)] == before
    assert [tensor._version for tensor in (x, w, b, y)] == versions
    assert x.grad is None
    assert y.grad is None
    assert w.grad is not w
    assert b.grad is not b
