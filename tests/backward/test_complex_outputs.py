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
    (lambda z: z.real, lambda v: 1),
    (lambda z: z.imag, lambda v: 1j),
    (lambda z: (z * (2 - 1j)).real, lambda v: 2 + 1j),
    (lambda z: z.real * z.imag, lambda v: complex(v.imag, v.real)),
    (lambda z: (z * z).imag, lambda v: complex(2 * v.imag, 2 * v.real)),
    (lambda z: (z * z.conj()).real, lambda v: 2 * v),
    (lambda z: (z.reshape(1, -1).conj() @ z.reshape(-1, 1)).real, lambda v: 2 * v),
    (lambda z: torch.view_as_real(1 * z)[..., 1], lambda v: 1j),
    (lambda z: ((1 + 2j) * z).imag, lambda v: 2 + 1j),
    (lambda z: (z * z).real, lambda v: 2 * complex(v).conjugate()),
    (lambda z: z.conj().imag, lambda v: -1j),
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
    lambda output, real: torch.autograd.backward((output, output), (torch.ones_like(output), None)),
    lambda output, real: output.backward(gradient=None, retain_graph=True),
)
"""Ways to run a complex output without a gradient, alone or next to a real one."""

WITH = (
    lambda output, leaf, gradient: output.backward(gradient),
    lambda output, leaf, gradient: torch.no_grad()(output.backward)(gradient, retain_graph=True),
    lambda output, leaf, gradient: torch.autograd.backward([output], [gradient]),
    lambda output, leaf, gradient: torch.autograd.grad(output, leaf, gradient),
    lambda output, leaf, gradient: output.backward(gradient=gradient, inputs=[leaf]),
    lambda output, leaf, gradient: torch.autograd.backward([output, output], [gradient, torch.ones_like(output)]),
)
"""Ways to run an output with a gradient."""

RUNS = (
    lambda output, leaves, gradient: output.backward(gradient, retain_graph=True),
    lambda output, leaves, gradient: output.backward(gradient=gradient, retain_graph=True, inputs=leaves),
    lambda output, leaves, gradient: torch.no_grad()(output.backward)(gradient, retain_graph=True),
    lambda output, leaves, gradient: torch.autograd.backward([output], [gradient], retain_graph=True),
)
"""Ways to run an output that can be run again."""

FORMS = (
    (1, lambda x: x),
    (1j, lambda x: 1j * x),
    (1, lambda x: x.conj().resolve_conj().conj()),
    (2, lambda x: (2 * x).movedim(0, -1).contiguous().movedim(-1, 0) if x.ndim else 2 * x),
    (1, lambda x: torch.stack([0 * x, x], -1)[..., 1]),
    (0, lambda x: 0 * x),
)
"""A number, and a function that gives so many times a tensor: as it is, lazily conjugated, transposed or with gaps."""

CONJUGATE = Expression(
    "(torch.ones(2, dtype=torch.complex64, device=device) * (2 - 3j)).conj().detach().requires_grad_()",
    dtypes=frozenset({"torch.complex64"}),
)
"""A leaf whose elements are the conjugates of what lies in its memory."""

WITH_DIGITS = Expression(
    "torch.tensor([2**30 + 1 - 3j, 5 - (2**29 + 1) * 1j], dtype=torch.complex128, device=device).requires_grad_()",
    dtypes=frozenset({"torch.complex128"}),
)
"""A leaf that single precision cannot hold."""

# The narrow real dtypes are not everywhere multiplied with complex numbers.
WIDE = st.sampled_from(["torch.float32", "torch.float64"])

REAL = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)

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
@given(leaf=complex_leaves(), turn=st.integers(0, len(REAL_OUTPUTS) - 1), route=routes())
@example(leaf=CONJUGATE, turn=0, route=Expression("lambda x: x"))
@example(leaf=CONJUGATE, turn=6, route=Expression("lambda x: x"))
@example(leaf=WITH_DIGITS, turn=0, route=Expression("lambda x: x"))
def test_a_real_output_gives_a_complex_leaf_its_direction_of_steepest_ascent(device, leaf, turn, route):
    values = numbers(leaf)
    other = torch.full_like(leaf, 1 - 2j).requires_grad_()
    for number in range(turn, turn + 4):
        function, ascent = REAL_OUTPUTS[number % len(REAL_OUTPUTS)]
        leaf.grad = other.grad = None
        for times in (1, 2):
            function(route(leaf)).sum().backward()
            (route(other) * route(leaf)).real.sum().backward()
            assert leaf.grad is not None
            assert leaf.grad.dtype == leaf.dtype
            assert numbers(leaf.grad) == [times * (ascent(value) + 1 + 2j) for value in values], number
            assert other.grad is not None
            assert numbers(other.grad) == [times * complex(value).conjugate() for value in values]
    leaf.grad = None
    one = route(leaf).flatten()[:1]
    if len(one):  # of one element, and not reduced to one
        one.real.backward()
        torch.no_grad()(one.imag.backward)()
        assert leaf.grad is not None
        assert numbers(leaf.grad).count(0) == len(values) - 1
        assert sum(numbers(leaf.grad)) == 1 + 1j


@rule("backward.complex-outputs.complex-gradient")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=with_a_complex_gradient(), operation=pairs(COMPLEX_OUTPUTS), route=routes())
def test_a_leaf_gets_what_the_real_part_of_the_conjugate_product_gives(device, drawn, operation, route):
    leaf, gradient = drawn
    function, pullback = operation
    real = torch.zeros(leaf.shape, dtype=gradient.real.dtype, device=device, requires_grad=True)
    other = torch.zeros(leaf.shape, dtype=gradient.dtype, device=device, requires_grad=True)
    output = function(leaf) + real * (1 - 2j) + 1j * other
    routed = route(output)
    values, weights = numbers(leaf), numbers(gradient)
    for number, (factor, laid) in enumerate(FORMS):
        leaf.grad = real.grad = other.grad = None
        run = RUNS[number % len(RUNS)]
        if number < 2:
            run(routed, [leaf, real, other], route(laid(gradient)))
        else:
            run(output, [leaf, real, other], laid(gradient))
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
        results = [pullback(value, factor * by) for value, by in zip(values, weights, strict=True)]
        assert numbers(leaf.grad) == (results if leaf.is_complex() else [result.real for result in results])
        assert real.grad is not None
        assert numbers(real.grad) == [(factor * by * (1 + 2j)).real for by in weights]
        assert other.grad is not None
        assert numbers(other.grad) == [factor * by * -1j for by in weights]
    other.grad = None
    other.backward(gradient)
    assert other.grad is not None
    assert numbers(other.grad) == weights


@rule("backward.complex-outputs.no-implicit")
@given(
    leaf=complex_leaves(shapes_of_one_element()) | leaves(shapes_of_one_element(), WIDE),
    operation=pairs(COMPLEX_OUTPUTS),
)
def test_a_complex_output_without_a_gradient_is_refused_and_nothing_changes(device, leaf, operation):
    function, _ = operation
    real = leaf.abs().sum()
    for number, output in enumerate((function(leaf), leaf * (1 + 0j), function(leaf)[None][0], 1j * leaf.real)):
        leaf.grad = torch.ones_like(leaf) if number % 2 else None
        for complex_output in (output, leaf) if leaf.is_complex() else (output,):
            before = state(leaf, complex_output, real)
            for call in WITHOUT:
                with pytest.raises(RuntimeError, match="implicitly created only for real scalar outputs") as refusal:
                    call(complex_output, real)
                assert refusal.type is RuntimeError
            assert state(leaf, complex_output, real) == before


@rule("backward.complex-outputs.same-kind")
@also(AS_RESULTS, UNRECORDED_BACKWARD)
@given(drawn=with_the_other_kind(), route=routes())
def test_a_gradient_of_the_other_kind_is_refused_and_nothing_changes(device, drawn, route):
    leaf, gradient = drawn
    kinds = REAL if leaf.is_complex() else (torch.complex64,)
    others = [torch.ones_like(gradient, dtype=dtype) for dtype in kinds] + [gradient, torch.zeros_like(gradient)]
    for output, form in ((route(leaf * 3), route), (leaf, lambda x: x)):
        before = state(leaf, output)
        for number, unfit in enumerate(others):
            for call in WITH if unfit is gradient else WITH[number % len(WITH) :: len(WITH)]:
                with pytest.raises(RuntimeError, match=BOTH) as refusal:
                    call(output, leaf, form(unfit))
                assert refusal.type is RuntimeError
        assert state(leaf, output) == before
