"""spec/derivatives/chain-rule.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves
from tests.inputs.circumstances import AS_RESULTS, also
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import numbers
from tests.oracles.dual import Dual

FULL_FLOATS = st.sampled_from(("torch.float32", "torch.float64"))

STEPS = (
    "x * y",
    "x + (y + y)",
    "x * x - y",
    "3 - x",
    "(x - y) / 2",
    "x * (y + 1)",
    "-x * y + x",
    "(x + y) * (x - y)",
    "y",
    "x * x + 3 * x + 1",
    "x + x",
    "x * y + x * x - x * 3 + x * 2 - y",
    "y * x - 3 * x - (y - x) - x",
)
"""What a program is made of: two steps, and a third one of their results.

Of numbers up to 3 the first two make numbers up to 36, the third one of these up to 4 * 36^2, in quarters. Slopes are
at most 2 * 144 * 12, in eighths, and at most doubled and multiplied by a gradient up to 3: all of it is exact in
float32.
"""

ENDS = ("{}", "(lambda z: z + z)({})")
"""What is made of the result in the end: nothing, or its double."""


EARLIER = (
    "lambda program, x, y: None",
    "lambda program, x, y: program(x, y)",
    "lambda program, x, y: torch.no_grad()(program)(x, y)",
    "lambda program, x, y: torch.autograd.grad((program(x, y) + x).sum(), x)",
    "lambda program, x, y: program(x[:0] + 1, y[:0] - 1) if x.ndim else program(x[None], y.expand(2))",
    "lambda program, x, y: torch.autograd.grad(program(2 * x, y - 1).sum() + (x + y).sum(), (x, y))",
)
"""What has run before: nothing, or the program, recorded and dropped, unrecorded, or with a backward of its own; or the
same of other shapes, or of other numbers."""


def programs():
    """A program of two variables; what its first steps make is used as often as its third one says."""

    def program(first, second, last, end):
        return Expression(f"lambda x, y: {end.format(f'(lambda x, y: {last})({first}, {second})')}")

    return st.builds(program, *[st.sampled_from(STEPS)] * 3, st.sampled_from(ENDS))


@st.composite
def variables(draw):
    """(x, y, gradient): two leaves of one shape and dtype, and a gradient for an elementwise program of them."""
    x = draw(leaves(dtypes=FULL_FLOATS))
    shape, dtype = x.facts["shape"], x.facts["dtype"]
    # In float64 there is room for more digits than float32 has.
    factor = 2**24 + 1 if dtype == "torch.float64" else 1
    return x, leaf_of(draw, shape, dtype), tensor_of(draw, shape, dtype, each=lambda value: factor * value)


AT_TWO = tuple(
    Expression(source)
    for source in (
        "torch.tensor([2.0], device=device, requires_grad=True)",
        "torch.zeros(1, device=device, requires_grad=True)",
        "torch.ones(1, device=device)",
    )
)
MANY = (
    Expression("(torch.arange(129.0) % 7 - 3).to(device).requires_grad_()"),
    Expression("(torch.arange(129.0) % 5 - 2).to(device).requires_grad_()"),
    Expression("(torch.arange(129.0) % 4 - 1).to(device)"),
)
BEYOND_A_BYTE = (
    Expression("torch.tensor([17.0, -33.0, 65.5], device=device, requires_grad=True)"),
    Expression("torch.tensor([19.0, 35.0, -63.0], device=device, requires_grad=True)"),
    Expression("torch.ones(3, device=device)"),
)
"""Numbers whose products have more digits than the narrowest dtypes."""

POLYNOMIAL = Expression("lambda x, y: x * x + 3 * x + 1")
OFTEN = Expression(
    "lambda x, y: (lambda u: u * 2 - u * 3 + u * x + 3 * u - x * u + u / 2 - (1 - u) + u * u + (u + u))(x * x - y)"
)
"""A result that is used often, on both sides of the operations."""


@rule("derivatives.chain-rule.slopes")
@given(drawn=variables(), program=programs(), earlier=st.sampled_from(EARLIER).map(Expression))
@example(drawn=AT_TWO, program=POLYNOMIAL, earlier=Expression(EARLIER[0]))
@example(drawn=AT_TWO, program=Expression("lambda x, y: 3 - x"), earlier=Expression(EARLIER[2]))
@example(drawn=AT_TWO, program=OFTEN, earlier=Expression(EARLIER[0]))
@example(drawn=MANY, program=Expression("lambda x, y: x * y - 2 * x"), earlier=Expression(EARLIER[0]))
@example(drawn=MANY, program=Expression("lambda x, y: (lambda u: u + u)(x * y)"), earlier=Expression(EARLIER[0]))
def test_a_program_of_sums_and_products_has_the_slopes_of_calculus(device, drawn, program, earlier):
    x, y, gradient = drawn
    earlier(program, x, y)
    output = program(x, y)
    # Of one graph, and the first gradient is minus twice the second.
    with torch.set_grad_enabled(x.ndim % 2 == 0):
        output.backward((-2 * gradient).requires_grad_(), retain_graph=True)
    output.backward(gradient)
    points = list(zip(numbers(x), numbers(y), strict=True))
    slopes_by_x = [program(Dual(v, 1), Dual(u)).slope for v, u in points]
    slopes_by_y = [program(Dual(v), Dual(u, 1)).slope for v, u in points]
    for leaf, slopes in ((x, slopes_by_x), (y, slopes_by_y)):
        found = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
        assert found == [-weight * slope for weight, slope in zip(numbers(gradient), slopes, strict=True)]
        assert leaf.grad is None or (leaf.grad.shape, leaf.grad.dtype) == (leaf.shape, leaf.dtype)


@rule("derivatives.chain-rule.values")
@also(AS_RESULTS)
@given(drawn=variables(), program=programs())
@example(drawn=AT_TWO, program=POLYNOMIAL)
@example(drawn=AT_TWO, program=Expression("lambda x, y: x * x"))
@example(drawn=AT_TWO, program=Expression("lambda x, y: 3 * x"))
@example(drawn=MANY, program=Expression("lambda x, y: x - y"))
@example(drawn=MANY, program=Expression("lambda x, y: x * y - 2 * x"))
@example(drawn=BEYOND_A_BYTE, program=Expression("lambda x, y: x * y - x"))
def test_recording_changes_no_value(device, drawn, program):
    x, y, _ = drawn
    expected = [program(Dual(v), Dual(u)).value for v, u in zip(numbers(x), numbers(y), strict=True)]
    assert program(x, y).shape == x.shape
    for operands in ((x, y), (x[None], y), (x, y[None]), (x.detach(), y), (x, y.detach())):
        recorded = program(*operands)
        with torch.no_grad():
            unrecorded = program(*operands)
        assert recorded.requires_grad or not all(operand.requires_grad for operand in operands)
        assert not unrecorded.requires_grad
        assert recorded.dtype == unrecorded.dtype == x.dtype
        assert recorded.shape == unrecorded.shape
        assert numbers(recorded) == numbers(unrecorded) == expected
    with torch.no_grad():
        for step in (lambda x, y: x - y, lambda x, y: x * y, lambda x, y: 3 - y, lambda x, y: x + 2):
            values = [step(v, u) for v, u in zip(numbers(x), numbers(y), strict=True)]
            assert numbers(step(x, y)) == numbers(step(x, y)) == values
