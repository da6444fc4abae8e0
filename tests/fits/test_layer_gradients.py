"""spec/fits/layer-gradients.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, tensors
from tests.oracles import state

DTYPES = st.sampled_from(("torch.float32", "torch.float64"))
LAYERS = (
    "lambda x, w, b: torch.matmul(x, w) + b",
    "lambda x, w, b: x @ w + b",
    "lambda x, w, b: torch.addmm(b, x, w)",
    "lambda x, w, b: torch.nn.functional.linear(x, w.T, b)",
)
LOSSES = (
    "lambda z, y: torch.nn.MSELoss()(z, y)",
    "lambda z, y: ((z - y) * (z - y)).mean()",
    "lambda z, y: ((z - y) * (z - y)).sum() / y.numel()",
)
TWO_BY_FIVE_BY_THREE = (
    Expression("torch.ones(2, 5, device=device)"),
    Expression("(torch.arange(15, device=device) % 7 - 3).float().reshape(5, 3).requires_grad_()"),
    Expression("torch.tensor([1.0, -2.0, 3.0], device=device, requires_grad=True)"),
    Expression("torch.zeros(2, 3, device=device)"),
)


@st.composite
def layer_inputs(draw: st.DrawFn) -> tuple[Expression, ...]:
    """x of shape (n, k), w of shape (k, m), b of shape (m,) and the target y of shape (n, m), small whole numbers."""
    n, k, m = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    dtype = draw(DTYPES)
    ones = Expression(f"torch.ones({n}, {k}, dtype={dtype}, device=device)", dtypes=frozenset({dtype}))
    x = draw(st.just(ones) | tensors(st.just((n, k)), st.just(dtype)))
    w, b = draw(leaves(st.just((k, m)), st.just(dtype))), draw(leaves(st.just((m,)), st.just(dtype)))
    return x, w, b, draw(tensors(st.just((n, m)), st.just(dtype)))


def layers() -> st.SearchStrategy[Expression]:
    """z = xw + b, written in different ways."""
    return st.sampled_from(LAYERS).map(Expression)


def mean_squared_errors() -> st.SearchStrategy[Expression]:
    return st.sampled_from(LOSSES).map(Expression)


AS_TOLD = {"inputs": TWO_BY_FIVE_BY_THREE, "layer": Expression(LAYERS[0]), "loss": Expression(LOSSES[0])}


def differences(x, w, b, y):
    """z - y in float64, exact for small whole numbers."""
    x, w, b, y = (np.array(tensor.tolist(), dtype=np.float64).reshape(tensor.shape) for tensor in (x, w, b, y))
    return x @ w + b - y


def roundings(y):
    """How many eps a gradient may be off, relative to the sum of the magnitudes of its terms.

    Where the number of elements is a power of two, nothing is rounded. Else 2/N is, and its products with z - y, with
    the gradient of the loss and with x, and the sum over the rows: rows + 3 at most, and one for the comparison.
    """
    n = y.numel()
    return 0 if n & (n - 1) == 0 else (len(y) + 4) * torch.finfo(y.dtype).eps


@rule("fits.layer-gradients.weight")
@given(inputs=layer_inputs(), layer=layers(), loss=mean_squared_errors())
@example(**AS_TOLD)
def test_the_weight_gets_the_input_transposed_times_the_differences(device, inputs, layer, loss):
    x, w, b, y = inputs
    loss(layer(x, w, b), y).backward()
    rows, share = np.array(x.tolist(), dtype=np.float64), 2 / y.numel()
    expected = share * rows.T @ differences(x, w, b, y)
    bound = roundings(y) * share * abs(rows.T) @ abs(differences(x, w, b, y))
    assert w.grad.shape == w.shape
    assert (abs(np.array(w.grad.tolist()) - expected) <= bound).all()


@rule("fits.layer-gradients.bias")
@given(inputs=layer_inputs(), layer=layers(), loss=mean_squared_errors())
@example(**AS_TOLD)
def test_the_bias_gets_the_column_sums_of_the_differences(device, inputs, layer, loss):
    x, w, b, y = inputs
    loss(layer(x, w, b), y).backward()
    share = 2 / y.numel()
    expected = share * differences(x, w, b, y).sum(axis=0)
    bound = roundings(y) * share * abs(differences(x, w, b, y)).sum(axis=0)
    assert b.grad.shape == b.shape
    assert (abs(np.array(b.grad.tolist()) - expected) <= bound).all()
    if x.eq(1).all():
        assert (abs(np.array(w.grad.tolist()) - expected) <= bound).all()


@rule("fits.layer-gradients.nothing-else")
@given(inputs=layer_inputs(), layer=layers(), loss=mean_squared_errors())
@example(**AS_TOLD)
def test_backward_changes_no_parameter_and_gives_input_and_target_no_gradient(device, inputs, layer, loss):
    x, w, b, y = inputs
    error = loss(layer(x, w, b), y)
    before = state(x.detach(), w.detach(), b.detach(), y.detach())
    error.backward()
    assert state(x.detach(), w.detach(), b.detach(), y.detach()) == before
    assert x.grad is None
    assert y.grad is None
