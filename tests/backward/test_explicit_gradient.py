"""spec/backward/explicit-gradient.md"""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import (
    Expression,
    dtypes,
    elementwise,
    layouts,
    leaves,
    like,
    routes,
    shapes,
    shapes_of_one_element,
    tensors,
)
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, UNRECORDED_BACKWARD, also
from tests.inputs.tensors import tensor_of
from tests.oracles import array, numbers, state

NOT_TENSORS = (
    1.0,
    2,
    True,
    1j,
    [1.0],
    [1.0, 1.0],
    (2, 3, 4),
    [[1.0, 1.0], [1.0, 1.0]],
    Expression("np.ones(())"),
    Expression("np.ones(1, dtype=np.float32)"),
    Expression("np.ones((2, 3))"),
    Expression("np.float32(1)"),
)

RUNS = (
    "lambda output, leaf, gradient: output.backward(gradient)",
    "lambda output, leaf, gradient: torch.autograd.backward(output, gradient)",
    "lambda output, leaf, gradient: torch.autograd.grad(output, leaf, gradient)",
)
"""Ways to run an output with a gradient."""

BEYOND_SINGLE = (
    Expression(
        "torch.ones(2, dtype=torch.float64, device=device).requires_grad_()", dtypes=frozenset({"torch.float64"})
    ),
    Expression("torch.tensor([2.0**24 + 1, -(2.0**30) - 1], dtype=torch.float64, device=device)"),
)
"""A leaf of float64, and a gradient that float32 cannot hold."""


BYTES = (
    Expression("torch.ones(3, device=device).requires_grad_()"),
    Expression("torch.tensor([127, 128, 255], dtype=torch.uint8, device=device)", dtypes=frozenset({"torch.uint8"})),
)
"""A leaf, and a gradient of bytes that would be negative if they had a sign."""


INFINITE = (
    Expression("torch.tensor([1.0, 2.0, 3.0, -1.0], device=device).requires_grad_()"),
    Expression("torch.tensor([float('inf'), -float('inf'), float('nan'), -2.0], device=device)"),
)
"""A gradient that holds infinities and nan."""

MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device)"),
)

TIMES_THREE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))
AS_IT_IS = Expression("lambda x: x")

MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 2**4 + 1, "torch.bfloat16": 3}
"""What makes of a small integer one that a narrower dtype rounds."""


@st.composite
def with_digits(draw):
    """A leaf and a tensor of its shape and dtype, of numbers with as many digits as the dtype allows."""
    leaf = draw(leaves())
    shape, dtype = leaf.facts["shape"], leaf.facts["dtype"]
    return leaf, tensor_of(draw, shape, dtype, each=lambda value: MANY_DIGITS[dtype] * value)


def same(found, expected):
    """Whether these are the same numbers, where nan is one."""
    return np.array_equal(found, expected, equal_nan=True)


def with_a_strided_gradient():
    """A leaf and a tensor of its shape and dtype that is not contiguous."""
    return like(leaves(shapes(min_dims=2, min_side=2)), (layouts.transposed, layouts.stepped, layouts.expanded))


@st.composite
def with_a_negated_gradient(draw):
    """A leaf and a tensor of its shape and dtype, of the negatives of what lies in memory."""
    leaf = draw(leaves(dtypes=st.sampled_from(["torch.float32", "torch.float64"])))
    dtype = "torch.complex64" if leaf.facts["dtype"] == "torch.float32" else "torch.complex128"
    parts = draw(tensors(st.just(leaf.facts["shape"]), st.just(dtype)))
    return leaf, Expression(f"{parts.source}.conj().imag", dtypes=parts.dtypes)


@st.composite
def matrix_products(draw):
    """(vector, matrix, gradient) with `matrix @ vector` of the gradient's shape; each size can be 0."""
    rows, columns = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    dtype = draw(dtypes.floating())
    matrix = draw(tensors(st.just((rows, columns)), st.just(dtype)))
    return draw(leaves(st.just((columns,)), st.just(dtype))), matrix, draw(tensors(st.just((rows,)), st.just(dtype)))


@st.composite
def batched_products(draw):
    """(matrices, other, gradient) with `other @ matrices` of the gradient's shape; each size can be 0."""
    batch, rows, inner, columns = draw(st.tuples(*[st.integers(0, 3)] * 4))
    dtype = draw(dtypes.floating())
    other = draw(tensors(st.just((batch, rows, inner)), st.just(dtype)))
    gradient = draw(tensors(st.just((batch, rows, columns)), st.just(dtype)))
    return draw(leaves(st.just((batch, inner, columns)), st.just(dtype))), other, gradient


@st.composite
def with_two_gradients(draw):
    """A leaf and two tensors of its shape and dtype."""
    leaf, gradient = draw(like(leaves()))
    return leaf, gradient, draw(like(st.just(leaf)))[1]


@st.composite
def with_a_misfit(draw):
    """A leaf and a tensor of another shape: any, or one that torch could broadcast or reshape."""
    leaf = draw(leaves(earlier_grad=True))
    shape = leaf.facts["shape"]
    near = {(1, *shape), (*shape, 1), shape[1:], shape[:-1], shape[::-1], (math.prod(shape),), (1,), ()} - {shape}
    other = st.sampled_from(sorted(near)) | shapes().filter(lambda drawn: drawn != shape)
    return leaf, draw(tensors(other, st.just(leaf.facts["dtype"])))


@st.composite
def with_another_dtype(draw):
    """A leaf and a tensor of its shape, of another real dtype."""
    leaf = draw(leaves())
    others = set(dtypes.FLOATING + dtypes.INTEGRAL) - {leaf.facts["dtype"]}
    return leaf, draw(tensors(st.just(leaf.facts["shape"]), st.sampled_from(sorted(others))))


EXTREMES = (
    ("torch.uint8", lambda value: 85 * value),
    ("torch.int8", lambda value: 42 * value),
    ("torch.int16", lambda value: 10922 * value),
    ("torch.int32", lambda value: value * 2**29),
    ("torch.int64", lambda value: value * 2**61),
)
"""Integer dtypes, and what makes of a small integer one that needs nearly all of their bits."""


@st.composite
def with_large_integers(draw):
    """A leaf and a tensor of its shape, of integers that no narrower dtype holds."""
    leaf = draw(leaves(dtypes=st.sampled_from(["torch.float32", "torch.float64"])))
    dtype, each = draw(st.sampled_from(EXTREMES))
    return leaf, draw(tensors(st.just(leaf.facts["shape"]), st.just(dtype), each=each))


@st.composite
def with_a_gradient_that_requires_grad(draw):
    """A leaf and another one of its shape and dtype, perhaps with a `.grad` of its own."""
    leaf = draw(leaves() | leaves(shapes_of_one_element()))
    return leaf, draw(leaves(st.just(leaf.facts["shape"]), st.just(leaf.facts["dtype"]), earlier_grad=True))


CALLS = (
    lambda output, leaf, gradient: output.backward(gradient),
    lambda output, leaf, gradient: output.backward(gradient=gradient, retain_graph=True),
    lambda output, leaf, gradient: torch.no_grad()(output.backward)(gradient),
    lambda output, leaf, gradient: output.backward(gradient, inputs=[leaf]),
    lambda output, leaf, gradient: torch.autograd.backward([output], [gradient]),
)
"""Ways to call backward() with a gradient."""


def elsewhere(device):
    """A device that is not this one."""
    return "meta" if device == "cpu" else "cpu"


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(
    drawn=like(leaves()) | with_digits() | with_a_strided_gradient() | with_a_negated_gradient(),
    operation=elementwise(),
    route=routes(),
)
@example(drawn=BEYOND_SINGLE, operation=TIMES_THREE, route=AS_IT_IS)
@example(drawn=INFINITE, operation=TIMES_THREE, route=AS_IT_IS)
@example(drawn=MANY, operation=TIMES_THREE, route=AS_IT_IS)
def test_an_element_of_the_gradient_weighs_the_derivative_of_its_element(device, drawn, operation, route):
    leaf, gradient = drawn
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    output = route(function(leaf) - 2 * other)
    output.backward(route(gradient), retain_graph=True)
    assert leaf.grad is not None
    assert leaf.grad.shape == leaf.shape
    expected = [derivative(value) * weight for value, weight in zip(numbers(leaf), numbers(gradient), strict=True)]
    assert same(numbers(leaf.grad), expected)
    assert other.grad is not None
    assert same(numbers(other.grad), [-2 * weight for weight in numbers(gradient)])
    leaf.grad = None
    output.backward(route(2 * gradient))
    assert leaf.grad is not None
    assert same(numbers(leaf.grad), [2 * result for result in expected])


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=matrix_products())
def test_behind_a_matrix_product_a_leaf_gets_the_gradient_times_the_matrix(device, drawn):
    leaf, matrix, gradient = drawn
    (matrix @ leaf).backward(gradient)
    assert leaf.grad is not None
    rows, columns = matrix.shape
    weights, entries = numbers(gradient), numbers(matrix.t())
    assert numbers(leaf.grad) == [
        sum(weights[row] * entries[column * rows + row] for row in range(rows)) for column in range(columns)
    ]


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=batched_products())
def test_behind_a_batched_product_a_leaf_gets_a_product_of_the_gradient(device, drawn):
    leaf, other, gradient = drawn
    torch.bmm(other, leaf).backward(gradient)
    assert leaf.grad is not None
    assert numbers(leaf.grad) == np.einsum("bri,brc->bic", array(other), array(gradient)).reshape(-1).tolist()


@rule("backward.explicit-gradient.vector-jacobian")
@also(*UNRECORDED, AS_RESULTS, *BACKWARD)
@given(drawn=like(leaves()) | with_digits() | with_a_negated_gradient())
@example(drawn=INFINITE)
@example(drawn=MANY)
def test_a_leaf_that_is_the_output_itself_gets_the_gradient(device, drawn):
    leaf, gradient = drawn
    leaf.backward(gradient)
    assert leaf.grad is not None
    assert same(numbers(leaf.grad), numbers(gradient))


@rule("backward.explicit-gradient.linear")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_two_gradients(), a=st.integers(-1, 1), b=st.integers(-2, 2), operation=elementwise())
def test_the_result_is_linear_in_the_gradient(device, drawn, a, b, operation):
    leaf, first, second = drawn
    function, _ = operation
    output = function(leaf)
    results = []
    for gradient in (first, second, a * first + b * second, 0 * first):
        leaf.grad = None
        output.backward(gradient, retain_graph=True)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        results.append(numbers(leaf.grad))
    assert results[2] == [a * one + b * other for one, other in zip(results[0], results[1], strict=True)]
    assert results[3] == [0] * leaf.numel()


@rule("backward.explicit-gradient.same-shape")
@also(AS_RESULTS)
@given(drawn=with_a_misfit(), operation=elementwise(), run=st.sampled_from(RUNS).map(Expression))
def test_a_gradient_of_another_shape_is_refused_and_nothing_changes(device, drawn, operation, run):
    leaf, gradient = drawn
    function, _ = operation
    for output in (function(leaf), leaf):
        before = state(leaf, output, gradient)
        for block in (torch.enable_grad, torch.no_grad):
            with block(), pytest.raises(RuntimeError, match="Mismatch in shape") as refusal:
                run(output, leaf, gradient)
            assert refusal.type is RuntimeError
            assert state(leaf, output, gradient) == before


@rule("backward.explicit-gradient.other-dtype")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_another_dtype() | with_large_integers(), operation=elementwise())
@example(drawn=BYTES, operation=(Expression("lambda x: x * 3"), Expression("lambda v: 3")))
def test_a_gradient_of_another_real_dtype_counts_with_its_values(device, drawn, operation):
    leaf, gradient = drawn
    function, derivative = operation
    function(leaf).backward(gradient)
    assert leaf.grad is not None
    assert leaf.grad.dtype == leaf.dtype
    pairs = zip(numbers(leaf), numbers(gradient), strict=True)
    assert numbers(leaf.grad) == [derivative(value) * weight for value, weight in pairs]
    leaf.grad = None
    leaf.backward(gradient)
    assert leaf.grad is not None
    assert leaf.grad.dtype == leaf.dtype
    assert numbers(leaf.grad) == numbers(gradient)


@rule("backward.explicit-gradient.other-device")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(shapes(min_dims=1), earlier_grad=True), operation=elementwise())
def test_a_gradient_on_another_device_is_refused_and_nothing_changes(device, leaf, operation):
    function, _ = operation
    for output in (function(leaf), leaf):
        before = state(leaf, output)
        for call in CALLS:
            for dtype in (leaf.dtype, torch.float64):
                with pytest.raises(RuntimeError, match="expected device") as refusal:
                    call(output, leaf, torch.ones(leaf.shape, dtype=dtype, device=elsewhere(device)))
                assert refusal.type is RuntimeError
                assert state(leaf, output) == before


@rule("backward.explicit-gradient.not-a-tensor")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(earlier_grad=True) | leaves(shapes_of_one_element(), earlier_grad=True),
    operation=elementwise(),
    gradient=st.sampled_from(NOT_TENSORS),
)
@example(leaf=Expression("torch.ones(2, device=device).requires_grad_()"), operation=TIMES_THREE, gradient=[1.0, 1.0])
def test_a_gradient_that_is_no_tensor_is_refused_and_nothing_changes(device, leaf, operation, gradient):
    function, _ = operation
    fitting = [1.0] * max(leaf.numel(), 1)
    for output in (function(leaf), leaf):
        before = state(leaf, output)
        for call in CALLS:
            for wrong in (gradient, fitting):
                with pytest.raises(TypeError) as refusal:
                    call(output, leaf, wrong)
                assert refusal.type is TypeError
                assert state(leaf, output) == before


@rule("backward.explicit-gradient.read-only")
@also(*BACKWARD)
@given(drawn=with_a_gradient_that_requires_grad(), operation=elementwise(), route=routes())
def test_the_gradient_is_neither_written_nor_differentiated(device, drawn, operation, route):
    leaf, gradient = drawn
    function, _ = operation
    before = state(gradient)
    output = route(function(leaf))
    output.retain_grad()
    for _ in range(2):
        leaf.grad = None  # else the second run adds to it, and it can be the gradient's memory
        output.backward(route(gradient), retain_graph=True)
        assert state(gradient) == before
        assert leaf.grad is not None
        assert not leaf.grad.requires_grad
    data = gradient.detach()
    before = state(data)
    for run in (output, leaf):
        leaf.grad = None
        run.backward(route(data) if run is output else data, retain_graph=True)
        assert state(data) == before
        assert leaf.grad is not None
        assert not leaf.grad.requires_grad
