"""spec/backward/complex-outputs.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, routes, shapes_of_one_element, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, state

REAL_OUTPUTS = (
    ("lambda z: z.real", "lambda v: 1"),
    ("lambda z: z.imag", "lambda v: 1j"),
    ("lambda z: (z * (2 - 1j)).real", "lambda v: 2 + 1j"),
    ("lambda z: z.real * z.imag", "lambda v: complex(v.imag, v.real)"),
    ("lambda z: (z * z).imag", "lambda v: complex(2 * v.imag, 2 * v.real)"),
    ("lambda z: (z * z.conj()).real", "lambda v: 2 * v"),
    ("lambda z: (z.reshape(1, -1).conj() @ z.reshape(-1, 1)).real", "lambda v: 2 * v"),
)
"""A real function of complex elements, and the derivative by the real part plus i times that by the imaginary part."""

COMPLEX_OUTPUTS = (
    ("lambda z: z * (2 - 1j)", "lambda v, g: g * (2 + 1j)"),
    ("lambda z: (z * 1j).conj()", "lambda v, g: g.conjugate() * -1j"),
    ("lambda z: z * z * 1j", "lambda v, g: g * -2j * complex(v).conjugate()"),
    ("lambda z: (z * 1j).view_as(z) * 3", "lambda v, g: g * -3j"),
    ("lambda z: z * (z * 1j)", "lambda v, g: g * -2j * complex(v).conjugate()"),
    ("lambda z: torch.full_like(z * 1j, 2 - 1j) * z", "lambda v, g: g * (2 + 1j)"),
)
"""A complex function, and the gradient that a complex element v gets from the gradient g of its output."""

WITHOUT = (
    lambda output, real: output.backward(),
    lambda output, real: torch.no_grad()(output.backward)(),
    lambda output, real: torch.autograd.backward([real, output]),
    lambda output, real: torch.autograd.backward([real, output], [None, None]),
    lambda output, real: torch.no_grad()(torch.autograd.backward)([output, real], [None, torch.ones_like(real)]),
    lambda output, real: torch.autograd.backward([output, real], [None, torch.ones_like(real)]),
)
"""Ways to run a complex output without a gradient, alone or next to a real one."""

WITH = (
    lambda output, leaf, gradient: output.backward(gradient),
    lambda output, leaf, gradient: torch.no_grad()(output.backward)(gradient, retain_graph=True),
    lambda output, leaf, gradient: torch.autograd.backward([output], [gradient]),
    lambda output, leaf, gradient: torch.autograd.grad(output, leaf, gradient),
)
"""Ways to run an output with a gradient."""

CONJUGATE = Expression(
    "(torch.ones(2, dtype=torch.complex64, device=device) * (2 - 3j)).conj().detach().requires_grad_()",
    dtypes=frozenset({"torch.complex64"}),
)
"""A leaf whose elements are the conjugates of what lies in its memory."""

# The narrow real dtypes are not everywhere multiplied with complex numbers.
WIDE = st.sampled_from(["torch.float32", "torch.float64"])

BOTH = "both grad_output and output are required to have the same dtype"


@st.composite
def complex_tensors(draw, shapes=None, dtype=None, then=""):
    """A complex tensor, as it was drawn, or multiplied so that the imaginary parts are not zero, or conjugated."""
    tensor = draw(tensors(shapes, dtypes.complex_() if dtype is None else st.just(dtype)))
    form = draw(st.sampled_from(["({} * (2 - 1j))", "({} * (1 + 1j)).conj()", "{}"]))
    return Expression(form.format(tensor.source) + then, dtypes=tensor.dtypes, facts=tensor.facts)


def complex_leaves(shapes=None):
    """A complex leaf, laid out by what it was computed from."""
    return complex_tensors(shapes, then=".detach().requires_grad_()")


@st.composite
def with_a_complex_gradient(draw):
    """A leaf, real or complex, and a complex tensor of its shape that has the dtype of its product with 1j."""
    leaf = draw(complex_leaves() | leaves(dtypes=WIDE))
    dtype = "torch.complex128" if leaf.facts["dtype"] in ("torch.float64", "torch.complex128") else "torch.complex64"
    return leaf, draw(complex_tensors(st.just(leaf.facts["shape"]), dtype))


@st.composite
def with_the_other_kind(draw):
    """A real leaf and a complex tensor of its shape, or a complex leaf and a real one."""
    is_complex = draw(st.booleans())
    leaf = draw(leaves(dtypes=dtypes.complex_() if is_complex else dtypes.floating(), earlier_grad=True))
    other = st.sampled_from([*dtypes.FLOATING, "torch.int64", "torch.bool"]) if is_complex else dtypes.complex_()
    return leaf, draw(tensors(st.just(leaf.facts["shape"]), other))


def pairs(functions):
    """One of these functions, and its derivative."""
    return st.sampled_from(functions).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


@rule("backward.complex-outputs.real-output")
@also(*BACKWARD)
@given(leaf=complex_leaves(), operation=pairs(REAL_OUTPUTS), route=routes())
@example(leaf=CONJUGATE, operation=tuple(map(Expression, REAL_OUTPUTS[1])), route=Expression("lambda x: x"))
@example(leaf=CONJUGATE, operation=tuple(map(Expression, REAL_OUTPUTS[3])), route=Expression("lambda x: x"))
@example(leaf=CONJUGATE, operation=tuple(map(Expression, REAL_OUTPUTS[-1])), route=Expression("lambda x: x"))
def test_a_real_output_gives_a_complex_leaf_its_direction_of_steepest_ascent(device, leaf, operation, route):
    function, ascent = operation
    for times in (1, 2):
        function(route(leaf)).sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
        assert numbers(leaf.grad) == [times * ascent(value) for value in numbers(leaf)]


@rule("backward.complex-outputs.complex-gradient")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_a_complex_gradient(), operation=pairs(COMPLEX_OUTPUTS), route=routes())
def test_a_leaf_gets_what_the_real_part_of_the_conjugate_product_gives(device, drawn, operation, route):
    leaf, gradient = drawn
    function, pullback = operation
    output = route(function(leaf))
    output.backward(route(gradient), retain_graph=True)
    output.backward(2 * route(gradient))
    assert leaf.grad is not None
    assert leaf.grad.dtype == leaf.dtype
    results = [3 * pullback(value, weight) for value, weight in zip(numbers(leaf), numbers(gradient), strict=True)]
    assert numbers(leaf.grad) == (results if leaf.is_complex() else [result.real for result in results])


@rule("backward.complex-outputs.no-implicit")
@given(
    leaf=complex_leaves(shapes_of_one_element()) | leaves(shapes_of_one_element(), WIDE),
    operation=pairs(COMPLEX_OUTPUTS),
)
def test_a_complex_output_without_a_gradient_is_refused_and_nothing_changes(device, leaf, operation):
    function, _ = operation
    output, real = function(leaf), leaf.abs().sum()
    before = state(leaf, output, real)
    for call in WITHOUT:
        with pytest.raises(RuntimeError, match="implicitly created only for real scalar outputs") as refusal:
            call(output, real)
        assert refusal.type is RuntimeError
        assert state(leaf, output, real) == before


@rule("backward.complex-outputs.same-kind")
@also(AS_RESULTS, UNRECORDED_BACKWARD)
@given(drawn=with_the_other_kind(), route=routes())
def test_a_gradient_of_the_other_kind_is_refused_and_nothing_changes(device, drawn, route):
    leaf, gradient = drawn
    for output, unfit in ((route(leaf * 3), route(gradient)), (leaf, gradient)):
        before = state(leaf, output)
        for call in WITH:
            with pytest.raises(RuntimeError, match=BOTH) as refusal:
                call(output, leaf, unfit)
            assert refusal.type is RuntimeError
            assert state(leaf, output) == before
