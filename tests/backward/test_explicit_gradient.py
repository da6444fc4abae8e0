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


INFINITE_DOUBLES = (
    Expression("torch.tensor([1.0, 2.0, 3.0, -1.0], device=device).requires_grad_()"),
    Expression(
        "torch.tensor([float('inf'), -float('inf'), float('nan'), -2.5], dtype=torch.float64, device=device)",
        dtypes=frozenset({"torch.float64"}),
    ),
)
"""A leaf of float32, and a gradient of float64 that holds infinities, nan and a fraction."""

NARROW = (torch.int64, torch.int32, torch.int8, torch.float16, torch.float32)


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


SIZES = st.sampled_from((3, 2, 1, 4, 0))


@st.composite
def matrix_products(draw):
    """(vector, matrix, gradient) with `matrix @ vector` of the gradient's shape; each size can be 0."""
    rows, columns = draw(st.tuples(SIZES, SIZES))
    dtype = draw(dtypes.floating())
    matrix = draw(tensors(st.just((rows, columns)), st.just(dtype)))
    return draw(leaves(st.just((columns,)), st.just(dtype))), matrix, draw(tensors(st.just((rows,)), st.just(dtype)))


@st.composite
def batched_products(draw):
    """(matrices, other, gradient) with `other @ matrices` of the gradient's shape; each size can be 0."""
    batch, rows, inner, columns = draw(st.tuples(*[SIZES] * 4))
    dtype = draw(dtypes.floating())
    other = draw(tensors(st.just((batch, rows, inner)), st.just(dtype)))
    gradient = draw(tensors(st.just((batch, rows, columns)), st.just(dtype)))
    return draw(leaves(st.just((batch, inner, columns)), st.just(dtype))), other, gradient


PRODUCTS = (torch.bmm, torch.bmm, torch.matmul, torch.matmul)
"""Products of two batches of matrices, one for a plain first factor and one for a leaf, each."""


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


ALL_CALLS = (
    *CALLS,
    lambda output, leaf, gradient: torch.autograd.grad(output, leaf, gradient),
    lambda output, leaf, gradient: torch.autograd.grad([output], [leaf], grad_outputs=[gradient], allow_unused=True),
    lambda output, leaf, gradient: torch.autograd.grad(output, leaf, gradient, retain_graph=True, create_graph=True),
    lambda output, leaf, gradient: torch.no_grad()(torch.autograd.grad)(output, leaf, gradient),
    lambda output, leaf, gradient: output.backward(gradient, create_graph=True),
    lambda output, leaf, gradient: torch.autograd.backward(output, gradient),
)
"""Those, and more: seven and four of them, so that each meets each gradient that does not fit in a few examples."""

CALLS_THAT_KEEP = (
    lambda output, leaves, gradient: output.backward(gradient, retain_graph=True),
    lambda output, leaves, gradient: output.backward(gradient=gradient, retain_graph=True, inputs=leaves),
    lambda output, leaves, gradient: torch.no_grad()(output.backward)(gradient, True),
    lambda output, leaves, gradient: torch.autograd.backward(output, gradient, retain_graph=True),
    lambda output, leaves, gradient: torch.autograd.backward((output,), grad_tensors=(gradient,), retain_graph=True),
    lambda output, leaves, gradient: output.backward(gradient),
)
"""Ways to run an output that can be run again, but for the last."""

LAYINGS = (
    lambda x: torch.stack([x, 0 * x], -1)[..., 0],
    lambda x: torch.stack([0 * x, x])[1],
    lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0) if x.ndim else x,
)
"""The same numbers with gaps between them, behind others, or with the first dimension as the fastest."""


def of_numbers(output):
    """Numbers, and lists and arrays of ones in the shape of an output; the arrays in several layouts."""
    ones = np.ones((*output.shape, 2) if output.numel() else (2, 2))
    dense, stepped = np.ones(ones.shape[:-1], dtype=np.float32, order="F"), ones[..., 0]
    turned = stepped[::-1] if stepped.ndim else stepped[()]
    return [1.0, -2, True, stepped.tolist(), stepped.flatten().tolist(), dense, stepped, stepped.astype(int), turned]


def beside(first, output, leaf, gradient):
    """Run an output after another one."""
    torch.autograd.backward([first, output], [None, gradient])


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
    other = torch.nn.Parameter(torch.zeros_like(leaf))
    last = torch.zeros((), dtype=leaf.dtype, device=device, requires_grad=True)
    output = route(function(leaf) - 2 * other + last)
    with pytest.raises(RuntimeError):
        output.backward(torch.ones(7, 6, 5, device=device))
    given = [route(gradient), route(2 * gradient), *(route(laid(gradient)) for laid in LAYINGS), route(leaf.detach())]
    for weight, call in zip(given, CALLS_THAT_KEEP, strict=True):
        leaf.grad = other.grad = last.grad = None
        call(output, [leaf, other, last], weight)
        weights = numbers(weight)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert same(
            numbers(leaf.grad), [derivative(value) * by for value, by in zip(numbers(leaf), weights, strict=True)]
        )
        assert other.grad is not None
        assert same(numbers(other.grad), [-2 * by for by in weights])
        assert last.grad is not None
        assert same(numbers(last.grad), [sum(weights)])


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_digits(), operation=elementwise())
def test_a_gradient_counts_with_the_numbers_that_it_has_when_it_is_given(device, drawn, operation):
    leaf, gradient = drawn[0], drawn[1].detach().clone()
    function, derivative = operation
    output = function(leaf)
    for factor in (1, -1, 0):
        gradient *= factor
        leaf.grad = None
        output.backward(gradient, retain_graph=True)
        assert leaf.grad is not None
        pairs = zip(numbers(leaf), numbers(gradient), strict=True)
        assert numbers(leaf.grad) == [derivative(value) * weight for value, weight in pairs]


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=matrix_products())
def test_behind_a_matrix_product_a_leaf_gets_the_gradient_times_the_matrix(device, drawn):
    leaf, matrix, gradient = drawn
    rows, columns = matrix.shape
    weights, entries, values = numbers(gradient), numbers(matrix.t()), numbers(leaf)
    by_leaf = [sum(weights[row] * entries[column * rows + row] for row in range(rows)) for column in range(columns)]
    for first, second in ((True, False), (False, True), (True, True)):
        left = matrix.detach().requires_grad_(first)
        right = leaf.detach().requires_grad_(second)
        (left @ right).backward(gradient)
        assert (left.grad is not None, right.grad is not None) == (first, second)
        assert not second or numbers(right.grad) == by_leaf
        assert not first or numbers(left.grad) == [weight * value for weight in weights for value in values]
    (matrix @ leaf).backward(gradient)
    assert leaf.grad is not None
    assert numbers(leaf.grad) == by_leaf


@rule("backward.explicit-gradient.vector-jacobian")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=batched_products())
def test_behind_a_batched_product_a_leaf_gets_a_product_of_the_gradient(device, drawn):
    leaf, other, gradient = drawn
    weights = array(gradient)
    left = other.detach().requires_grad_()
    for number, product in enumerate(PRODUCTS):
        leaf.grad = left.grad = None
        product(left if number % 2 else other, leaf).backward(gradient)
        assert leaf.grad is not None
        assert numbers(leaf.grad) == np.einsum("bri,brc->bic", array(other), weights).reshape(-1).tolist(), number
        if left.grad is not None:
            assert numbers(left.grad) == np.einsum("brc,bic->bri", weights, array(leaf)).reshape(-1).tolist(), number
        assert (left.grad is not None) == (number % 2 == 1)


@rule("backward.explicit-gradient.vector-jacobian")
@also(*UNRECORDED, AS_RESULTS, *BACKWARD)
@given(drawn=like(leaves()) | with_digits() | with_a_negated_gradient())
@example(drawn=INFINITE)
@example(drawn=MANY)
def test_a_leaf_that_is_the_output_itself_gets_the_gradient(device, drawn):
    leaf, gradient = drawn
    for number, call in enumerate(CALLS):
        leaf.grad = None
        weight = gradient if number == 0 else number * gradient
        call(leaf, leaf, weight)
        assert leaf.grad is not None
        assert leaf.grad.shape == leaf.shape
        assert same(numbers(leaf.grad), numbers(weight))


@rule("backward.explicit-gradient.linear")
@also(AS_RESULTS, *BACKWARD)
@given(
    drawn=with_two_gradients(),
    a=st.integers(-1, 1),
    b=st.integers(-2, 2),
    operation=elementwise(),
    turn=st.integers(0, 1),
)
def test_the_result_is_linear_in_the_gradient(device, drawn, a, b, operation, turn):
    leaf, first, second = drawn
    function, _ = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    both, zeros = a * first + b * second, torch.zeros((), dtype=leaf.dtype, device=device).expand(leaf.shape)
    outputs = (function(leaf) - 2 * other, leaf + 0 * other, other - function(leaf).view_as(leaf), leaf)
    for output in outputs[turn::2]:
        results = []
        for gradient in (first, second, both, 0 * first, -first, zeros):
            leaf.grad = other.grad = None
            output.backward(gradient, retain_graph=True)
            assert leaf.grad is not None
            assert leaf.grad.shape == leaf.shape
            results.append(numbers(leaf.grad) + ([] if output is leaf else numbers(other.grad)))
        assert results[2] == [a * one + b * two for one, two in zip(results[0], results[1], strict=True)]
        assert results[3] == results[5] == [0] * len(results[0])
        assert results[4] == [-one for one in results[0]]


@rule("backward.explicit-gradient.same-shape")
@also(AS_RESULTS, UNRECORDED_BACKWARD)
@given(drawn=with_a_misfit(), operation=elementwise())
def test_a_gradient_of_another_shape_is_refused_and_nothing_changes(device, drawn, operation):
    leaf, gradient = drawn
    function, _ = operation
    ones = torch.ones_like(leaf)
    near = (ones[None], ones[..., None], ones.flatten(), ones.sum(), ones.expand(2, *leaf.shape), ones.flatten()[:0])
    unfit = [wrong for wrong in (gradient, gradient.bool(), *near, *near) if wrong.shape != leaf.shape]
    for output in (function(leaf), leaf):
        before = state(leaf, output, gradient)
        for number in range(max(len(unfit), len(ALL_CALLS))):
            call, wrong = ALL_CALLS[number % len(ALL_CALLS)], unfit[number % len(unfit)]
            with pytest.raises(RuntimeError, match="Mismatch in shape") as refusal:
                call(output, leaf, wrong)
            assert refusal.type is RuntimeError
        assert state(leaf, output, gradient) == before


@rule("backward.explicit-gradient.other-dtype")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_another_dtype() | with_large_integers(), operation=elementwise())
@example(drawn=BYTES, operation=(Expression("lambda x: x * 3"), Expression("lambda v: 3")))
@example(drawn=INFINITE_DOUBLES, operation=(Expression("lambda x: x * 3"), Expression("lambda v: 3")))
def test_a_gradient_of_another_real_dtype_counts_with_its_values(device, drawn, operation):
    leaf, gradient = drawn
    function, derivative = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    output = function(leaf) - other
    values = numbers(leaf)
    small = torch.ones_like(gradient).neg_() if gradient.dtype.is_signed else torch.ones_like(gradient)
    for weight in (gradient, *(small.to(dtype) for dtype in NARROW), small.bool()):
        weights = numbers(weight)
        for run in (output, leaf):
            leaf.grad = other.grad = None
            run.backward(weight, retain_graph=True)
            assert leaf.grad is not None
            assert leaf.grad.dtype == leaf.dtype
            derivatives = [1 if run is leaf else derivative(value) for value in values]
            assert same(numbers(leaf.grad), [slope * by for slope, by in zip(derivatives, weights, strict=True)])
            if run is output:
                assert other.grad is not None
                assert other.grad.dtype == leaf.dtype
                assert same(numbers(other.grad), [-by for by in weights])


@rule("backward.explicit-gradient.other-device")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(shapes(min_dims=1), earlier_grad=True), operation=elementwise())
def test_a_gradient_on_another_device_is_refused_and_nothing_changes(device, leaf, operation):
    function, _ = operation
    first = leaf.detach().sum().requires_grad_()
    for output in (function(leaf), leaf, (function(leaf).sum() - first)[None]):
        before = state(leaf, output, first)
        for number, call in enumerate((*CALLS, lambda *given: beside(first, *given))):
            dtype = (leaf.dtype, torch.float64)[number % 2]
            gradient = torch.ones(output.shape, dtype=dtype, device=elsewhere(device))
            if number > 3:
                gradient = gradient[:1].expand(output.shape) if len(gradient) else gradient.requires_grad_()
            with pytest.raises(RuntimeError, match=f"expected device {output.device} but") as refusal:
                call(output, leaf, gradient)
            assert refusal.type is RuntimeError
        assert state(leaf, output, first) == before


@rule("backward.explicit-gradient.not-a-tensor")
@also(UNRECORDED_BACKWARD)
@given(
    leaf=leaves(earlier_grad=True) | leaves(shapes_of_one_element(), earlier_grad=True),
    operation=elementwise(),
    gradient=st.sampled_from(NOT_TENSORS),
    turn=st.integers(0, len(CALLS) - 1),
)
@example(
    leaf=Expression("torch.ones(2, device=device).requires_grad_()"),
    operation=TIMES_THREE,
    gradient=[1.0, 1.0],
    turn=0,
)
def test_a_gradient_that_is_no_tensor_is_refused_and_nothing_changes(device, leaf, operation, gradient, turn):
    function, _ = operation
    for place, output in enumerate((function(leaf), leaf, function(leaf).sum().expand(2, 2)), turn):
        before = state(leaf, output)
        for number, wrong in enumerate([gradient, *of_numbers(output)], place):
            with pytest.raises(TypeError) as refusal:
                CALLS[number % len(CALLS)](output, leaf, wrong)
            assert refusal.type is TypeError
        assert state(leaf, output) == before


FORMS = (
    lambda x: x.abs(),
    lambda x: x.clone().mul_(3),
    lambda x: x.sum().expand(x.shape),
    lambda x: torch.stack([x, x]).sum(0),
    lambda x: x.where(x > 0, x * x),
    lambda x: x[...],
    lambda x: x - x.detach(),
)
"""Functions of a tensor whose result has its shape."""


@rule("backward.explicit-gradient.read-only")
@also(*BACKWARD)
@given(drawn=with_a_gradient_that_requires_grad(), operation=elementwise(), route=routes())
def test_the_gradient_is_neither_written_nor_differentiated(device, drawn, operation, route):
    leaf, gradient = drawn
    function, _ = operation
    other = torch.zeros_like(leaf, requires_grad=True)
    result = gradient * 2
    before = state(gradient, result)
    output = route(function(leaf) - other)
    output.retain_grad()
    for number, call in enumerate(CALLS_THAT_KEEP[:-1]):
        leaf.grad = other.grad = None  # else the second run adds to it, and it can be the gradient's memory
        if number % 2:
            leaf.grad, other.grad = torch.zeros_like(leaf), torch.zeros_like(other)
        call(output, [leaf, other], route(gradient if number < 3 else result))
        assert state(gradient, result) == before
        for held in (leaf.grad, other.grad):
            assert held is not None
            assert not held.requires_grad
    leaf.grad = other.grad = None
    output.backward(route(gradient), retain_graph=True, create_graph=True)
    assert state(gradient, result) == before
    data = gradient.detach()
    before = state(data, gradient)
    for number, run in enumerate((leaf, *(form(leaf) for form in FORMS), output)):
        leaf.grad = other.grad = None
        weight = data if number % 2 else gradient
        run.backward(route(data) if run is output else weight, retain_graph=True)
        assert leaf.grad is not None
        assert not leaf.grad.requires_grad
    assert state(data, gradient) == before
