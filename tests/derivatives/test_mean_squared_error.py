"""spec/derivatives/mean-squared-error.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, places, shapes
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import array

MEANS = (
    "lambda p, t: torch.nn.functional.mse_loss(p, t)",
    "lambda p, t: torch.nn.MSELoss()(p, t)",
    "lambda p, t: ((p - t) * (p - t)).mean()",
)
SUMS = (
    "lambda p, t: torch.nn.functional.mse_loss(p, t, reduction='sum')",
    "lambda p, t: torch.nn.MSELoss(reduction='sum')(p, t)",
    "lambda p, t: ((p - t) * (p - t)).sum()",
)
LAYERS = ("lambda x, w, b: x @ w + b", "lambda x, w, b: torch.nn.functional.linear(x, w.T, b)")

FULL_FLOATS = st.sampled_from(("torch.float32", "torch.float64"))
THREE_SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))

POWERS_OF_TWO = (1, 2, 4, 8, 16, 32)


def functions(sources):
    return st.sampled_from(sources).map(Expression)


def losses():
    """(loss, is_mean): a mean or a sum of squared errors."""
    means, sums = ([(source, is_mean) for source in sources] for sources, is_mean in ((MEANS, True), (SUMS, False)))
    return st.sampled_from(means + sums).map(lambda pair: (Expression(pair[0]), pair[1]))


@st.composite
def prediction_and_target(draw):
    """Two leaves of one shape and dtype, each with its own layout."""
    prediction = draw(leaves(shapes(min_side=1)))
    return prediction, leaf_of(draw, prediction.facts["shape"], prediction.facts["dtype"])


@rule("derivatives.mean-squared-error.loss")
@given(drawn=prediction_and_target(), loss=losses(), weight=st.sampled_from((1, 2, -3)), place=places())
def test_the_prediction_gets_twice_its_error_and_the_target_the_negative(device, drawn, loss, weight, place):
    """Four products or quotients, none of which rounds where the count is a power of two."""
    prediction, target = drawn
    function, is_mean = loss
    error = function(place(prediction), target)
    error.backward(torch.full_like(error, weight))
    count = prediction.numel() if is_mean else 1
    allowed = 0 if count in POWERS_OF_TWO else 4 * torch.finfo(prediction.dtype).eps
    expected = 2 * weight * (array(prediction) - array(target)) / count
    assert prediction.grad.shape == target.grad.shape == prediction.shape
    assert (abs(array(prediction.grad) - expected) <= allowed * abs(expected)).all()
    assert (abs(array(target.grad) + expected) <= allowed * abs(expected)).all()


@st.composite
def regressions(draw):
    """(x, w, b, y): data, and the leaves of a linear layer between them."""
    rows, inputs, outputs = draw(THREE_SIDES)
    dtype = draw(FULL_FLOATS)
    x, y = (tensor_of(draw, shape, dtype) for shape in ((rows, inputs), (rows, outputs)))
    w, b = (leaf_of(draw, shape, dtype) for shape in ((inputs, outputs), (outputs,)))
    return x, w, b, y


@rule("derivatives.mean-squared-error.linear-layer")
@given(drawn=regressions(), layer=functions(LAYERS), loss=functions(MEANS))
@example(
    drawn=(
        Expression("torch.ones(2, 5, device=device)"),
        Expression("(torch.arange(15., device=device).reshape(5, 3) % 4 - 1).requires_grad_()"),
        Expression("torch.tensor([1., -2., 0.], device=device, requires_grad=True)"),
        Expression("torch.zeros(2, 3, device=device)"),
    ),
    layer=Expression(LAYERS[0]),
    loss=Expression(MEANS[1]),
)
def test_weight_and_bias_get_the_mean_of_the_errors_and_the_data_nothing(device, drawn, layer, loss):
    """Exact where the count is a power of two: then even a product of matrices in bfloat16 has nothing to round.

    Else the gradient of the layer's output is rounded, which is 4 eps of it, and that of bfloat16, 1/128, once more in
    such a product; a sum of five rounds four times. All of it is at most 9/128 of the magnitudes that are added.
    """
    x, w, b, y = drawn
    output = layer(x, w, b)
    loss(output, y).backward()
    count = output.numel()
    errors = 2 * (array(x) @ array(w) + array(b) - array(y)) / count
    allowed = 0 if count in POWERS_OF_TWO else 9 / 128
    assert (w.grad.shape, b.grad.shape) == (w.shape, b.shape)
    assert (abs(array(w.grad) - array(x).T @ errors) <= allowed * abs(array(x)).T @ abs(errors)).all()
    assert (abs(array(b.grad) - errors.sum(axis=0)) <= allowed * abs(errors).sum(axis=0)).all()
    assert x.grad is None
    assert y.grad is None
