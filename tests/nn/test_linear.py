"""spec/nn/linear.md"""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, shapes, tensors
from tests.inputs.expression import IT
from tests.oracles import numbers

FEATURES = st.integers(1, 3)


def exact(tensor):
    """The elements as an array of NumPy, in double precision."""
    return np.array(numbers(tensor), dtype=float).reshape(tuple(tensor.shape))


def layer_of(weight, bias, then=()):
    """A layer with these parameters; skip_init, because drawing a start would be in vain."""
    (outputs, inputs), biased = weight.facts["shape"], bias is not None
    return Expression(
        f"torch.nn.utils.skip_init(torch.nn.Linear, {inputs}, {outputs}, bias={biased}, device=device)",
        (
            f"{IT}.weight = torch.nn.Parameter({weight.source})",
            *([f"{IT}.bias = torch.nn.Parameter({bias.source})"] if biased else []),
            *then,
        ),
        weight.dtypes,
    )


@st.composite
def layers_and_inputs(draw, then=((),)):
    """A layer, an input that fits it, and a gradient for the output.

    then: the states that the layer may be in. At most 27 points, so that sums of products are exact in bfloat16.
    """
    inputs, outputs, dtype = draw(FEATURES), draw(FEATURES), draw(dtypes.floating())
    points = draw(shapes(max_dims=2) | shapes(min_dims=3, max_dims=3))
    weight, bias, x, gradient = (
        draw(tensors(st.just(shape), st.just(dtype)))
        for shape in ((outputs, inputs), (outputs,), (*points, inputs), (*points, outputs))
    )
    biased = draw(st.sampled_from((True, True, False)))
    return layer_of(weight, bias if biased else None, draw(st.sampled_from(then))), x, gradient


@rule("nn.linear.forward")
@given(drawn=layers_and_inputs())
def test_the_layer_multiplies_by_the_transposed_weight_and_adds_the_bias(device, drawn):
    layer, x, _ = drawn
    z = layer(x)
    expected = exact(x) @ exact(layer.weight).T
    if layer.bias is not None:
        expected = expected + exact(layer.bias)
    assert z.shape == (*x.shape[:-1], layer.out_features)
    assert z.dtype == x.dtype
    assert exact(z).tolist() == expected.tolist()


@rule("nn.linear.weight-shape")
@given(inputs=st.integers(1, 8), outputs=st.integers(1, 8), biased=st.booleans())
@example(inputs=5, outputs=3, biased=True)
@example(inputs=1, outputs=1, biased=True)
def test_the_weight_has_a_row_for_each_output_and_a_column_for_each_input(device, inputs, outputs, biased):
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.Linear(inputs, outputs, bias=biased, device=device)
    assert layer.weight.shape == (outputs, inputs)
    assert layer.bias.shape == (outputs,) if biased else layer.bias is None


@rule("nn.linear.parameters")
@given(inputs=FEATURES, outputs=FEATURES, biased=st.booleans(), block=blocks())
def test_the_parameters_are_leaves_that_require_grad_from_the_start(device, inputs, outputs, biased, block):
    mode, _ = block
    with torch.random.fork_rng(devices=[]), mode():
        layer = torch.nn.Linear(inputs, outputs, bias=biased, device=device)
    parameters = list(layer.parameters())
    assert len(parameters) == (2 if biased else 1)
    assert parameters[0] is layer.weight
    assert parameters[-1] is (layer.bias if biased else layer.weight)
    for parameter in parameters:
        assert isinstance(parameter, torch.nn.Parameter)
        assert parameter.is_leaf
        assert parameter.requires_grad
        assert parameter.grad is None
        assert parameter.device == torch.empty(0, device=device).device


FROZEN = ((), (f"{IT}.weight.requires_grad_(False)",))


@rule("nn.linear.recorded")
@given(drawn=layers_and_inputs(then=FROZEN))
def test_the_output_is_in_the_graph_although_the_input_is_plain_data(device, drawn):
    layer, x, _ = drawn
    learns = any(parameter.requires_grad for parameter in layer.parameters())
    z = layer(x)
    assert not x.requires_grad
    assert z.requires_grad == learns
    assert (z.grad_fn is not None) == learns


@rule("nn.linear.gradients")
@given(drawn=layers_and_inputs(), follows=st.booleans())
def test_weight_and_bias_collect_from_all_points_and_the_input_from_all_outputs(device, drawn, follows):
    layer, x, gradient = drawn
    x.requires_grad_(follows)
    layer(x).backward(gradient)
    points = exact(x).reshape(-1, layer.in_features)
    arriving = exact(gradient).reshape(-1, layer.out_features)
    assert layer.weight.grad.shape == layer.weight.shape
    assert exact(layer.weight.grad).tolist() == (arriving.T @ points).tolist()
    if layer.bias is not None:
        assert layer.bias.grad.shape == layer.bias.shape
        assert exact(layer.bias.grad).tolist() == arriving.sum(axis=0).tolist()
    if follows:
        assert exact(x.grad).tolist() == (exact(gradient) @ exact(layer.weight)).tolist()
    else:
        assert x.grad is None
