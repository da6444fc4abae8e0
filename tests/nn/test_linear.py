"""spec/nn/linear.md"""

import math
import warnings

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, layouts, places, shapes
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array

FEATURES = st.sampled_from((2, 3, 1))
OFTEN_TRANSPOSED = (*layouts.EVERY, layouts.transposed, layouts.transposed)
TAILS = FEATURES | st.sampled_from((5, 9))
SIZES = st.tuples(TAILS, TAILS, dtypes.floating() | st.sampled_from(dtypes.FLOATING[2:] + dtypes.COMPLEX))
POINTS = shapes(max_dims=2) | shapes(min_dims=3, max_dims=3) | shapes(min_dims=1, max_dims=1, min_side=2)
UNBIASED = st.sampled_from((False, False, True))


def layer_of(weight, bias):
    """A layer with these parameters, made without a trace in the generator of random numbers."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that there is nothing to fill in a weight without elements
        layer = torch.nn.Linear(*weight.shape[::-1], bias=bias is not None)
    layer.weight = torch.nn.Parameter(weight)
    layer.bias = None if bias is None else torch.nn.Parameter(bias)
    return layer


@st.composite
def parameters_and_inputs(draw, gradient=False):
    """A weight, a bias or None, an x that fits them, and, if asked for, a gradient for the output.

    At most 27 points and 9 features, so that sums of products are exact in bfloat16.
    """
    inputs, outputs, dtype = draw(SIZES)
    points = draw(POINTS)
    drawn = [(outputs, inputs), (outputs,), (*points, inputs), *[(*points, outputs)] * gradient]
    weight, bias, *others = (
        tensor_of(draw, shape, dtype, draw(layouts.layouts(shape, OFTEN_TRANSPOSED))) for shape in drawn
    )
    return weight, None if draw(UNBIASED) else bias, *others


THREE_BATCHES = tuple(
    Expression(f"torch.tensor({numbers}, dtype=torch.float32, device=device)", dtypes=frozenset({"torch.float32"}))
    for numbers in ([[1, 2]], [3], [[[1, 2], [3, -1]], [[-2, 0], [1, 1]], [[0, 3], [2, -3]]])
)


SWAPPED = (
    *THREE_BATCHES,
    Expression(
        "torch.tensor([[[1], [2]], [[-1], [3]], [[2], [-3]]], dtype=torch.float32, device=device)",
        dtypes=frozenset({"torch.float32"}),
    ),
)
NO_POINTS = (
    *THREE_BATCHES[:2],
    *(
        Expression(f"torch.zeros({shape}, dtype=torch.float32, device=device)", dtypes=frozenset({"torch.float32"}))
        for shape in ((0, 2), (0, 1))
    ),
)

NO_INPUTS, NO_OUTPUTS = (
    tuple(
        Expression(f"torch.ones({shape}, dtype=torch.float32, device=device)", dtypes=frozenset({"torch.float32"}))
        for shape in sizes
    )
    for sizes in (((3, 0), (3,), (2, 0)), ((0, 3), (0,), (2, 3)))
)


IN_DOUBLE = tuple(
    Expression(source, dtypes=frozenset({"torch.float64"}))
    for source in (
        "torch.tensor([[1 + 2**-40, 3], [-2, 1 - 2**-30]], dtype=torch.float64, device=device)",
        "torch.tensor([2**-50, 2**40 + 1], dtype=torch.float64, device=device)",
        "torch.tensor([[1, 2], [-3, 1], [1, 0]], dtype=torch.float64, device=device)",
        "torch.tensor([[1, 2], [2**33 + 1, -1], [0, 2**-40 + 1]], dtype=torch.float64, device=device)",
    )
)
"""What float32 does not hold; sums of it, in float64, are exact."""

NOT_FINITE = tuple(
    Expression(f"torch.tensor({numbers}, dtype=torch.float32, device=device)", dtypes=frozenset({"torch.float32"}))
    for numbers in ("[[1, 2], [-3, 1]]", "[1, 2]", "[[math.inf, 1], [1, -math.inf], [3, 1]]")
)


def many(*shape):
    """Small integers in a shape that is larger than a kernel's block, and no multiple of one."""
    source = f"(torch.arange({math.prod(shape)}) % 7 - 3).to(torch.float32).reshape({shape}).to(device)"
    return Expression(source, dtypes=frozenset({"torch.float32"}))


NO_BIAS_IN_HALF, BIAS_IN_HALF = (
    tuple(
        numbers
        and Expression(
            f"torch.tensor({numbers}, dtype=torch.bfloat16, device=device)", dtypes=frozenset({"torch.bfloat16"})
        )
        for numbers in ([[1, 2]], bias, [[[1, 2], [3, -1]]])
    )
    for bias in (None, [3])
)
TURNED = "lambda x: x.transpose(0, x.ndim // 2).contiguous().transpose(0, x.ndim // 2)"
"""Gives the elements as they are, with two dimensions swapped in memory: of batches of points those two."""

LEARNING = ((True, True), (True, False), (False, True), (False, False))
"""Whether the weight and the bias require grad."""

MANY, MANY_GRADIENTS = (many(18, 33), many(18), many(19, 33)), many(19, 18)
ITSELF = Expression("lambda x: x")
ONE_OUTPUT = (
    many(1, 5),
    many(1),
    many(19, 5),
    Expression(
        "torch.ones(1, 1, dtype=torch.float32, device=device).expand(19, 1)", dtypes=frozenset({"torch.float32"})
    ),
)


@rule("nn.linear.forward")
@also(*UNRECORDED, AS_RESULTS)
@given(drawn=parameters_and_inputs())
@example(drawn=THREE_BATCHES)
@example(drawn=NO_BIAS_IN_HALF)
@example(drawn=BIAS_IN_HALF)
@example(drawn=(many(5, 40), None, many(40)))
@example(drawn=MANY)
@example(drawn=NO_INPUTS)
@example(drawn=NO_OUTPUTS)
@example(drawn=IN_DOUBLE[:3])
@example(drawn=NOT_FINITE)
def test_the_layer_multiplies_by_the_transposed_weight_and_adds_the_bias(device, drawn):
    weight, bias, x = drawn
    layer = layer_of(weight, bias)
    product, added = array(x) @ array(weight).T, 0 if bias is None else array(bias)
    for same in (x, x, *(x.transpose(0, dim).contiguous().transpose(0, dim) for dim in range(x.ndim))):
        z = layer(same)
        assert z.shape == (*x.shape[:-1], len(weight))
        assert z.dtype == x.dtype
        assert array(z).tolist() == (product + added).tolist()
    layer.requires_grad_(False)
    assert array(layer(x.detach())).tolist() == (product + added).tolist()
    with pytest.raises(RuntimeError):
        layer(torch.zeros(weight.shape[1] + 1, dtype=x.dtype, device=device))
    learning = torch.nn.Parameter(x.detach())
    assert array(layer.eval()(input=learning)).tolist() == (product + added).tolist()
    layer.weight = torch.nn.Parameter(weight.clone())
    if weight.dtype != torch.float64:  # in which the weights of an example have squares that are not exact
        squares = array(weight) @ array(weight).T
        assert array(layer(layer.weight)).tolist() == (squares + added).tolist()
    with torch.no_grad():
        layer(x)
        layer.weight.neg_()
    assert array(layer(x)).tolist() == (added - product).tolist()
    if bias is not None:
        layer.bias = torch.nn.Parameter(torch.stack((bias, bias), dim=1)[:, 0])
        with torch.no_grad():
            layer.bias.neg_()
        assert array(layer(x)).tolist() == (-added - product).tolist()


KINDS = ({}, {"dtype": torch.float32}, {"dtype": torch.float64}, {"dtype": torch.float16}, {"dtype": torch.bfloat16})
"""What else a layer may be made with."""

SIDES = st.integers(0, 8) | st.sampled_from((9, 16, 17, 33))


@rule("nn.linear.weight-shape")
@also(*UNRECORDED)
@given(inputs=SIDES, outputs=SIDES, kind=st.sampled_from(KINDS))
@example(inputs=5, outputs=3, kind={})
@example(inputs=1, outputs=1, kind={})
@example(inputs=3, outputs=0, kind={})
@example(inputs=0, outputs=3, kind={})
def test_the_weight_has_a_row_for_each_output_and_a_column_for_each_input(device, inputs, outputs, kind):
    for biased in (True, False, True):
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = torch.nn.Linear(inputs, outputs, biased, device=device, **kind)
            named = torch.nn.Linear(out_features=outputs, in_features=inputs, bias=biased, device=device, **kind)
        for each in (layer, named):
            assert each.weight.shape == (outputs, inputs)
            assert each.bias.shape == (outputs,) if biased else each.bias is None


@rule("nn.linear.parameters")
@also(*UNRECORDED)
@given(inputs=SIDES, outputs=SIDES, kind=st.sampled_from(KINDS), block=blocks())
@example(inputs=1, outputs=1, kind={}, block=(Expression("torch.no_grad"), False))
def test_the_parameters_are_leaves_that_require_grad_from_the_start(device, inputs, outputs, kind, block):
    mode, _ = block
    for biased in (True, False, True):
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), mode():
            warnings.simplefilter("ignore")
            layer = torch.nn.Linear(inputs, outputs, bias=biased, device=device, **kind)
        parameters = list(layer.parameters())
        assert len(parameters) == (2 if biased else 1)
        assert parameters[0] is layer.weight
        assert parameters[-1] is (layer.bias if biased else layer.weight)
        for parameter in parameters:
            assert isinstance(parameter, torch.nn.Parameter)
            assert parameter.is_leaf
            assert parameter.requires_grad
            assert parameter.grad is None
            parameter.grad = torch.zeros_like(parameter, requires_grad=False)  # which no later layer may have
            assert parameter.device == torch.empty(0, device=device).device


@rule("nn.linear.recorded")
@given(drawn=parameters_and_inputs())
@example(drawn=NO_POINTS[:3])
@example(drawn=ONE_OUTPUT[:3])
def test_the_output_is_in_the_graph_although_the_input_is_plain_data(device, drawn):
    weight, bias, x = drawn
    for learning in ((True, True), (True, False), (False, True)):
        layer = layer_of(weight, bias)
        layer.weight.requires_grad_(learning[0] or bias is None)
        if bias is not None:
            layer.bias.requires_grad_(learning[1])
        flags = [parameter.requires_grad for parameter in layer.parameters()]
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode():
                layer(x)
                with torch.enable_grad():
                    inside = layer(x)
            assert [parameter.requires_grad for parameter in layer.parameters()] == flags
            leaf = x.clone().requires_grad_()
            outputs = [layer(same) for same in (x, leaf, leaf * 1, leaf.detach(), x[None], x.expand(2, *x.shape))]
            for z in (*outputs, *[inside] * (mode is not torch.inference_mode)):
                assert z.requires_grad
                assert z.grad_fn is not None
    assert not x.requires_grad


@rule("nn.linear.gradients")
@also(*BACKWARD)
@given(
    drawn=parameters_and_inputs(gradient=True),
    follows=st.booleans(),
    place=places() | st.just(Expression(TURNED)),
    uses=st.integers(1, 2),
)
@example(drawn=(many(5, 40), None, many(40), many(5)), follows=True, place=ITSELF, uses=1)
@example(drawn=(*MANY, MANY_GRADIENTS), follows=True, place=ITSELF, uses=1)
@example(drawn=ONE_OUTPUT, follows=True, place=ITSELF, uses=1)
@example(drawn=SWAPPED, follows=False, place=Expression(TURNED), uses=1)
@example(drawn=NO_POINTS, follows=True, place=ITSELF, uses=1)
@example(drawn=IN_DOUBLE, follows=True, place=ITSELF, uses=1)
def test_weight_and_bias_collect_from_all_points_and_the_input_from_all_outputs(device, drawn, follows, place, uses):
    weight, bias, data, gradient = drawn
    points = array(data).reshape(-1, weight.shape[1]).conj()
    arriving = uses * array(gradient).reshape(-1, len(weight))
    expected = [arriving.T @ points, arriving.sum(axis=0)]
    for learning in LEARNING:
        layer = layer_of(weight, bias)
        for parameter, learns in zip(layer.parameters(), learning, strict=False):
            parameter.requires_grad_(learns)
        x = data.detach().requires_grad_(follows or not any(learning[: len(list(layer.parameters()))]))
        sum(layer(place(x)) for _ in range(uses)).backward(gradient)
        for parameter, collected in zip(layer.parameters(), expected, strict=False):
            if parameter.requires_grad:
                assert parameter.grad.shape == parameter.shape
                assert array(parameter.grad).tolist() == collected.tolist()
            else:
                assert parameter.grad is None
        if all(learning):  # the layer once more, for other points
            layer.zero_grad()
            layer(-data.detach()).backward(gradient)
            weight_grad = -(array(gradient).reshape(-1, len(weight)).T @ points)
            assert array(layer.weight.grad).tolist() == weight_grad.tolist()
        if x.requires_grad:
            assert array(x.grad).tolist() == (uses * array(gradient) @ array(weight).conj()).tolist()
        else:
            assert x.grad is None
