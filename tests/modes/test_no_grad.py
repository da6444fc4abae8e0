"""spec/modes/no-grad.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, places, routes, shapes, tails, tensors
from tests.inputs.circumstances import BACKWARD, SECOND_BACKWARD, UNRECORDED, also
from tests.oracles import numbers, state

COMPUTATIONS = (
    ("lambda x: x * 3", "lambda v: 3 * v"),
    ("lambda x: x * x", "lambda v: v * v"),
    ("lambda x: x * x * x", "lambda v: v * v * v"),
    ("lambda x: (x + 1) * x", "lambda v: (v + 1) * v"),
    ("lambda x: -x", "lambda v: -v"),
    ("lambda x: torch.ones_like(x) * x", "lambda v: v"),
    ("lambda x: x / 4", "lambda v: v / 4"),
    ("lambda x: x.clone()", "lambda v: v"),
    ("lambda x: x.square()", "lambda v: v * v"),
    ("lambda x: 2 * x.view_as(x) - x", "lambda v: v"),
    ("lambda x: torch.mul(x, x, out=torch.empty_like(x))", "lambda v: v * v"),
    ("lambda x: torch.stack([x, x])[0].clone()", "lambda v: v"),
    ("lambda x: x.unsqueeze(-1).sum(-1)", "lambda v: v"),
    ("lambda x: torch.where(x == x, x, -x)", "lambda v: v"),
)
EVERY = [(Expression(function), Expression(value)) for function, value in COMPUTATIONS]
ZERO_DIM = Expression("torch.tensor(2., device=device, requires_grad=True)")
SINGLE = Expression("torch.tensor([3.], device=device, requires_grad=True)")

PRODUCTS = (
    "lambda x: x.reshape(-1, 1) @ x.new_ones(1, 1)",
    "lambda x: x.new_ones(1, 1) @ x.reshape(1, -1)",
    "lambda x: x.reshape(1, -1, 1).bmm(x.new_ones(1, 1, 1))",
    "lambda x: x.reshape(-1, 1).mv(x.new_ones(1))",
    "lambda x: torch.nn.functional.linear(x.reshape(-1, 1), x.new_ones(1, 1))",
    "lambda x: torch.addmm(x.new_zeros(1), x.reshape(-1, 1), x.new_ones(1, 1))",
    "lambda x: torch.outer(x.reshape(-1), x.new_ones(1))",
    "lambda x: torch.einsum('i,j->ij', x.reshape(-1), x.new_ones(1))",
)
"""Products of matrices that have the elements of x, as they are."""

SAVING = (
    "lambda x: x.exp()",
    "lambda x: x.sigmoid()",
    "lambda x: x.relu()",
    "lambda x: x.abs()",
    "lambda x: x.pow(2)",
    "lambda x: x.prod()",
    "lambda x: x.softmax(-1)",
    "lambda x: x.cumprod(-1)",
    "lambda x: x.max(-1).values",
    "lambda x: x.sort(-1).values",
    "lambda x: x.norm()",
    "lambda x: x[x > 0]",
    "lambda x: torch.where(x > 0, x, -x)",
    "lambda x: torch.maximum(x, -x)",
    "lambda x: torch.addcmul(x, x, x)",
    "lambda x: x.reshape(-1).dot(x.reshape(-1))",
    "lambda x: x.reshape(1, -1) @ x.reshape(-1, 1)",
    "lambda x: torch.nn.functional.mse_loss(x, 2 * x)",
    "lambda x: x.clone().mul_(x)",
    "lambda x: x.clone().exp_()",
    "lambda x: x.new_ones(x.shape) * x",
    "lambda x: 2 / x",
    "lambda x: x / x",
    "lambda x: x / x.detach()",
    "lambda x: torch.sub(x, 2).reciprocal()",
    "lambda x: torch.div(x.detach(), x)",
    "lambda x: x.flatten().index_select(0, torch.zeros(1, dtype=torch.int64, device=x.device))",
    "lambda x: x.masked_fill(x > 0, 2)",
    "lambda x: x.cumsum(-1).tanh()",
    "lambda x: x.var()",
)
"""Operations that, recorded, keep operands, results or indices for their derivatives."""

DOES_NOT_REQUIRE_GRAD = "element 0 of tensors does not require grad and does not have a grad_fn"

FACTORIES = (
    "lambda: torch.tensor(2., dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.zeros({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.full({shape}, 2., dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.empty({shape}, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.zeros_like(torch.ones({shape}, dtype={dtype}, device=device), requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_zeros({shape}, requires_grad=True)",
    "lambda: torch.arange(5, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.nn.Parameter(torch.ones({shape}, dtype={dtype}, device=device))",
    "lambda: torch.rand({shape}, generator=torch.Generator(device), dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.randn({shape}, generator=torch.Generator(device), dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.nn.Parameter(torch.ones({shape}, dtype={dtype}, device=device), requires_grad=True)",
    "lambda: torch.nn.Parameter(torch.ones({shape}, dtype={dtype}, device=device).requires_grad_() * 2)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_ones({shape}, requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_full({shape}, 2., requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_empty({shape}, requires_grad=True)",
    "lambda: torch.ones({shape}, dtype={dtype}, device=device).new_tensor([1., 2.], requires_grad=True)",
    "lambda: torch.ones_like(torch.zeros({shape}, dtype={dtype}, device=device), requires_grad=True)",
    "lambda: torch.full_like(torch.zeros({shape}, dtype={dtype}, device=device), 2., requires_grad=True)",
    "lambda: torch.empty_like(torch.zeros({shape}, dtype={dtype}, device=device), requires_grad=True)",
    "lambda: torch.eye(3, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.linspace(0, 4, 5, dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.empty_strided((2, 2), (1, 2), dtype={dtype}, device=device, requires_grad=True)",
    "lambda: torch.tensor([[1., 2.], [3., 4.]], dtype={dtype}, device=device, requires_grad=True)",
)
REFUSED_ALSO = (
    torch.mul,
    torch.add,
    torch.div,
    torch.sub,
    lambda one, other: torch.where(other == other, one, other),
    lambda one, other: one.clone().mul_(other),
)
"""Operations on two tensors, to be tried also with shapes that do not fit."""

EXPANDED = leaves(shapes(min_dims=1, min_side=2), among=(layouts.expanded,))
"""Leaves whose rows are the same memory."""

SWITCHES = (
    "lambda x: x.requires_grad_()",
    "lambda x: x.requires_grad_(requires_grad=True)",
    "lambda x: setattr(x, 'requires_grad', True)",
)


def computations():
    """(function, value): function(x) has memory of its own and holds value(v) where x holds v."""
    return st.sampled_from(COMPUTATIONS).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


def some(sources, count=4):
    return st.lists(st.sampled_from(sources).map(Expression), min_size=count, max_size=count)


def halves(sources):
    """Every other one of them."""
    return st.sampled_from((sources[::2], sources[1::2])).map(lambda half: [Expression(source) for source in half])


WHOLE = shapes(min_dims=1, min_side=1)
COMMON = st.sampled_from(("torch.float32", "torch.float64"))
"""Dtypes in which every torch multiplies matrices on every device."""

OFTEN_DOUBLE = st.sampled_from(("torch.float32", "torch.float64", "torch.float16", "torch.float64", "torch.bfloat16"))

OTHER_DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.int64", "torch.int32", "torch.uint8")).map(
    lambda dtype: Expression(dtype, dtypes=frozenset({dtype}))
)
EXTREME = st.sampled_from(dtypes.FLOATING).map(
    lambda dtype: Expression(
        f"torch.tensor([math.inf, -math.inf, math.nan, -0., torch.finfo({dtype}).max, 1 + torch.finfo({dtype}).eps], "
        f"dtype={dtype}, device=device, requires_grad=True)",
        dtypes=frozenset({dtype}),
    )
)
"""Leaves of numbers that arithmetic, or another dtype, would lose."""

COPYING = (
    "lambda x: x.clone()",
    "lambda x: x * 1",
    "lambda x: -x",
    "lambda x: x + x",
    "lambda x: x.abs()",
    "lambda x: x / 2",
    "lambda x: 1 / x",
    "lambda x: x.sign()",
    "lambda x: x == x",
    "lambda x: x.relu()",
    "lambda x: torch.maximum(x, -x)",
    "lambda x: x.flip(0)",
    "lambda x: x.clamp(min=0)",
    "lambda x: torch.cat([x, x])",
    "lambda x: x[x == x]",
    "lambda x: x.sort().values",
    "lambda x: x.to(torch.float32) * 1",
)
"""Operations whose results hold every number that a float can be."""

THREE = (
    ("lambda a, b, c: torch.addcmul(a, b, c)", "lambda v: 6 + v", "lambda v: 1 + 3 * v", "lambda v: 1 + 2 * v"),
    ("lambda a, b, c: a * b + c", "lambda v: 2 * v + 3", "lambda v: v + 3", "lambda v: 2 + v"),
    ("lambda a, b, c: torch.stack([a, b, c]).sum(0)", "lambda v: v + 5", "lambda v: v + 4", "lambda v: v + 3"),
    (
        "lambda a, b, c: torch.where(b == b, a, c) + b * c",
        "lambda v: v + 6",
        "lambda v: 1 + 3 * v",
        "lambda v: 1 + 2 * v",
    ),
    (
        "lambda a, b, c: torch.lerp(a, a + 2 * b, c * 0.5)",
        "lambda v: v + 6",
        "lambda v: 1 + 3 * v",
        "lambda v: 1 + 2 * v",
    ),
)
"""A function of three tensors, and what it gives where the others are 1, 2 and 3 and this one is v."""

PAIRWISE = (
    ("lambda a, b: torch.where(a == a, a, a) * b", "lambda v: 2 * v"),
    ("lambda a, b: a * 2 * b * 0.5", "lambda v: 2 * v"),
    ("lambda a, b: a * b", "lambda v: 2 * v"),
    ("lambda a, b: a + b", "lambda v: v + 2"),
    ("lambda a, b: torch.mul(a, b)", "lambda v: 2 * v"),
    ("lambda a, b: torch.stack(torch.broadcast_tensors(a, b)).sum(0)", "lambda v: v + 2"),
)


def threes():
    """(function, value, value, value) of `THREE`."""
    return st.sampled_from(THREE).map(lambda sources: tuple(map(Expression, sources)))


@st.composite
def factories(draw):
    """Functions without arguments that make leaves which are to require grad."""
    tensor = draw(tensors())
    sources = draw(st.permutations(FACTORIES))[:6]
    return [Expression(source.format(**tensor.facts), dtypes=tensor.dtypes) for source in sources]


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()) | EXPANDED,
    place=places(),
    computations=st.lists(computations(), min_size=4, max_size=4),
)
@example(
    leaf=Expression(
        "torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex64, device=device, requires_grad=True)",
        dtypes=frozenset({"torch.complex64"}),
    ),
    place=Expression("lambda x: x"),
    computations=[(Expression("lambda x: x * x"), Expression("lambda v: v * v"))],
)
@example(leaf=ZERO_DIM, place=Expression("lambda x: x"), computations=EVERY)
@example(leaf=SINGLE, place=Expression("lambda x: x * 1"), computations=EVERY)
def test_a_result_has_its_values_and_no_history(device, leaf, place, computations):
    first = place(leaf)
    other = (first.detach() + 1).requires_grad_()  # as large, with other numbers
    for function, value in computations:
        for tensor in (first, other, first):
            operands = numbers(tensor)
            with torch.no_grad():
                result = function(tensor)
            assert numbers(result) == [value(number) for number in operands]
            assert numbers(tensor) == operands
            assert not result.requires_grad
            assert result.grad_fn is None
            assert result.is_leaf
    with torch.no_grad():
        for function in REFUSED_ALSO:
            with pytest.raises(RuntimeError):
                function(torch.stack([first] * 2), torch.stack([first] * 3))
            for result in (function(first, first), function(torch.ones_like(first), first), first * 2):
                assert (result.requires_grad, result.grad_fn, result.is_leaf) == (False, None, True)


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(leaf=leaves(dtypes=COMMON), place=places(), products=some(PRODUCTS))
def test_a_product_of_matrices_has_its_values_and_no_history(device, leaf, place, products):
    tensor = place(leaf)
    for function in products:
        with torch.no_grad():
            result = function(tensor)
        assert numbers(result) == numbers(leaf)
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.is_leaf


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()),
    other=OTHER_DTYPES,
    operation=st.sampled_from(PAIRWISE).map(lambda pair: (Expression(pair[0]), Expression(pair[1]))),
)
def test_a_result_of_two_dtypes_has_the_dtype_that_it_has_outside(device, leaf, other, operation):
    function, value = operation
    second, scalar = (torch.full(shape, 2, dtype=other, device=device) for shape in (leaf.shape, ()))
    for operands in ((leaf, second), (second, leaf), (leaf, scalar), (scalar, leaf)):
        outside = function(*operands)
        with torch.no_grad():
            result = function(*operands)
        assert numbers(result) == [value(number) for number in numbers(leaf)]
        assert (result.dtype, result.shape, result.device) == (outside.dtype, outside.shape, outside.device)
        assert not result.requires_grad
        assert result.grad_fn is None


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(leaf=EXTREME, functions=some(COPYING))
def test_a_result_has_every_number_that_it_has_outside(device, leaf, functions):
    for function in functions:
        outside = function(leaf).tolist()
        with torch.no_grad():
            result = function(leaf)
        assert str(result.tolist()) == str(outside)
        assert not result.requires_grad


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(leaf=leaves(WHOLE, COMMON))
def test_each_of_several_results_has_its_values_and_no_history(device, leaf):
    rows = leaf.reshape(-1, leaf.shape[-1]).tolist()
    most, least = [max(row) for row in rows], [min(row) for row in rows]
    functions = (
        (lambda x: torch.aminmax(x, dim=-1), [least, most]),
        (lambda x: x.max(-1), [most, None]),  # of equal numbers, either index is right
        (lambda x: x.min(-1), [least, None]),
        (lambda x: x.topk(1, -1), [most, None]),
        (lambda x: x.sort(-1), [[number for row in rows for number in sorted(row)], None]),
        (lambda x: x.cummax(-1), [[max(row[: end + 1]) for row in rows for end in range(len(row))], None]),
    )
    for function, values in functions:
        with torch.no_grad():
            results = function(leaf)
        for result, value in zip(results, values, strict=True):
            assert value is None or numbers(result) == value
            assert not result.requires_grad
            assert result.grad_fn is None
            assert result.is_leaf


@rule("modes.no-grad.results")
@also(*UNRECORDED)
@given(leaf=leaves(dtypes=COMMON), functions=st.lists(threes(), min_size=2, max_size=2))
def test_a_result_has_no_history_whichever_operand_requires_grad(device, leaf, functions):
    for function, *values in functions:
        for position, value in enumerate(values):
            operands = [torch.full_like(leaf, number) for number in (1, 2, 3)]
            operands[position] = leaf
            with torch.no_grad():
                result = function(*operands)
            assert numbers(result) == [value(number) for number in numbers(leaf)]
            assert not result.requires_grad
            assert result.grad_fn is None
            assert result.is_leaf


@rule("modes.no-grad.constants")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=OFTEN_DOUBLE, earlier_grad=True),
    route=routes(),
    functions=some([source for source, _ in COMPUTATIONS], 2),
)
def test_a_result_is_a_constant_afterwards(device, leaf, route, functions):
    # What need not compute anything comes with every draw, and so does what requires grad as the second operand only.
    always = (
        lambda x: x * 1,
        lambda x: 1 * x,
        lambda x: x + 0,
        lambda x: x / 1,
        lambda x: torch.ones_like(x) * x,
        lambda x: torch.ones_like(x) + x,
        lambda x: torch.ones_like(x) - x,
        lambda x: torch.zeros_like(x) / (x + 9),
        lambda x: torch.stack([torch.ones_like(x), torch.ones_like(x), x]),
        lambda x: torch.where(x == x, torch.ones_like(x), x),
        lambda x: torch.zeros_like(x).copy_(x),
        lambda x: x * x,
        lambda x: x.sum(),
    )
    tensor = route(leaf)
    constants = []
    for function in (*functions, *always):
        with torch.no_grad():
            constants.append(function(tensor))
    # So it is where grad mode was off already, and where it was switched on in between.
    for outer in (torch.no_grad, torch.enable_grad):
        with torch.no_grad(), outer(), torch.no_grad():
            constants += [tensor * 2, tensor.clone()]
    with torch.no_grad():
        with torch.no_grad():
            pass
        constants += [tensor * 2, tensor.clone()]
    weights = [torch.full_like(constant, 2, requires_grad=True) for constant in constants]
    before = state(leaf, *constants)
    outputs = [(one * weight + weight * one).sum() for one, weight in zip(constants, weights, strict=True)]
    assert torch.autograd.grad(outputs, leaf, retain_graph=True, allow_unused=True) == (None,)
    torch.autograd.backward(outputs)
    for constant, weight in zip(constants, weights, strict=True):
        assert numbers(weight.grad) == [2 * number for number in numbers(constant)]
    assert state(leaf, *constants) == before


@rule("modes.no-grad.constants")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), route=routes(), computation=computations())
def test_backward_from_a_result_alone_is_refused(device, leaf, route, computation):
    function, _ = computation
    with torch.no_grad():
        constant = function(route(leaf))
        with torch.no_grad():
            inner = function(route(leaf))
    before = state(leaf, constant)
    for output in (constant.sum(), constant, constant[None], constant * 2, inner):
        with pytest.raises(RuntimeError, match=DOES_NOT_REQUIRE_GRAD) as refusal:
            output.backward(torch.ones_like(output))
        assert refusal.type is RuntimeError
        assert state(leaf, constant) == before
    with pytest.raises(RuntimeError, match=DOES_NOT_REQUIRE_GRAD) as refusal:
        constant.sum().backward()
    assert refusal.type is RuntimeError
    assert state(leaf, constant) == before


@rule("modes.no-grad.nothing-saved")
@also(*UNRECORDED)
@given(
    leaf=leaves(dtypes=dtypes.differentiable()), route=routes(), functions=some([source for source, _ in COMPUTATIONS])
)
@example(leaf=ZERO_DIM, route=Expression("lambda x: x"), functions=[function for function, _ in EVERY])
def test_nothing_is_saved_for_a_backward_pass(device, leaf, route, functions):
    tensor = route(leaf)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed), torch.no_grad():
        for function in (*functions, lambda x: x * x, lambda x: x / x):
            function(tensor)
        for function in REFUSED_ALSO:
            with pytest.raises(RuntimeError):
                function(torch.stack([tensor] * 2), torch.stack([tensor] * 3))
            function(tensor, tensor)
            function(torch.ones_like(tensor), tensor)
    assert len(saved) == 0


@rule("modes.no-grad.nothing-saved")
@also(*UNRECORDED)
@given(leaf=leaves(WHOLE | tails(), COMMON), place=places(), functions=halves(SAVING), products=some(PRODUCTS))
def test_nothing_is_saved_by_operations_that_would_keep_much(device, leaf, place, functions, products):
    tensor = place(leaf)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed), torch.no_grad():
        for function in (*functions, *products, torch.exp, torch.square, lambda x: x * x, lambda x: x / x):
            function(tensor)
    assert len(saved) == 0


@rule("modes.no-grad.earlier-graph")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), route=routes(), operation=elementwise())
@example(
    leaf=ZERO_DIM, route=Expression("lambda x: x"), operation=(Expression("lambda x: x * 3"), Expression("lambda v: 3"))
)
def test_an_earlier_graph_runs_backward_inside(device, leaf, route, operation):
    function, derivative = operation
    earlier = [0] * leaf.numel() if leaf.grad is None else numbers(leaf.grad)
    slopes = [derivative(value).conjugate() for value in numbers(leaf)]
    result = function(route(leaf))
    other = torch.full_like(result, 2, requires_grad=True)
    output = result * 1 + other * 3 + other * 2
    view = result[None]
    before = [(tensor.requires_grad, tensor.grad_fn, tensor.is_leaf) for tensor in (leaf, result, other, output, view)]
    flat, constant = other.flatten(), torch.full_like(other, 3)
    mixed = (
        (torch.stack([constant, other, other]), 2),
        (constant * other, 3),
        (constant - other, -1),
        (other / 4, 0.25),
        (other * other, 4),
        (torch.where(constant == constant, other, constant), 1),
        (flat[torch.arange(len(flat), device=device)], 1),
        (other.sum() + other.flatten().sum(0), 2),
        (torch.addcmul(other, constant, constant) if other.dtype != torch.float16 else other * 1, 1),
        (other.expand(2, *other.shape).clone(), 2),
        (other.clone().mul_(2), 2),
    )
    with torch.no_grad():
        for computed, slope in mixed:
            assert computed.requires_grad
            computed.backward(torch.ones_like(computed))
            assert other.grad is not None
            assert numbers(other.grad) == [slope] * other.numel()
            assert not other.grad.requires_grad
            other.grad = None
        assert [(t.requires_grad, t.grad_fn, t.is_leaf) for t in (leaf, result, other, output, view)] == before
        for times in (1, 2):
            output.backward(torch.ones_like(output), retain_graph=True)
            assert leaf.grad is not None
            assert numbers(leaf.grad) == [g + times * slope for g, slope in zip(earlier, slopes, strict=True)]
            assert numbers(other.grad) == [5 * times] * other.numel()
            assert not leaf.grad.requires_grad
            assert not other.grad.requires_grad
            assert leaf.grad.grad_fn is None
    assert [(t.requires_grad, t.grad_fn, t.is_leaf) for t in (leaf, result, other, output, view)] == before


@rule("modes.no-grad.earlier-graph")
@also(SECOND_BACKWARD)
@given(leaf=leaves(), route=routes(), operation=elementwise())
def test_backward_from_a_sum_inside_gives_its_gradient_to_leaves_and_to_results_that_retain_theirs(
    device, leaf, route, operation
):
    function, derivative = operation
    result = route(leaf) * 1
    result.retain_grad()
    output = function(result).sum()
    with torch.no_grad():
        output.backward()
    assert numbers(leaf.grad) == [derivative(value) for value in numbers(leaf)]
    assert numbers(result.grad) == [derivative(value) for value in numbers(result)]
    assert not leaf.grad.requires_grad
    assert not result.grad.requires_grad


@rule("modes.no-grad.asked-for")
@also(*BACKWARD)
@given(makers=factories())
def test_a_tensor_made_inside_requires_grad_if_asked_to(device, makers):
    for make in makers:
        with torch.no_grad():
            made = make()
            inside = made * 3
            assert made.requires_grad
        assert made.requires_grad
        assert made.is_leaf
        assert made.grad_fn is None
        assert not inside.requires_grad
        (made * 3).sum().backward()
        assert numbers(made.grad) == [3] * made.numel()
        with torch.no_grad():
            assert not (torch.ones_like(made) + made).requires_grad


@rule("modes.no-grad.asked-for")
@also(*BACKWARD)
@given(tensor=tensors(dtypes=dtypes.differentiable()), switch=st.sampled_from(SWITCHES).map(Expression))
def test_a_flag_set_inside_counts(device, tensor, switch):
    leaf = torch.ones_like(tensor, requires_grad=True)
    makers = (
        lambda: tensor,
        lambda: tensor * 2,
        lambda: leaf * 2,
        lambda: leaf.detach(),
        lambda: tensor.detach()[None],
        lambda: (leaf + 1).requires_grad_().requires_grad_(False),
    )
    for make in makers:
        with torch.no_grad():
            asked = make()
            switch(asked)
            inside = asked * 3
            assert asked.requires_grad
        assert asked.requires_grad
        assert asked.is_leaf
        assert asked.grad_fn is None
        assert not inside.requires_grad
        outside = asked * 3
        outside.backward(torch.ones_like(outside))
        assert numbers(asked.grad) == [3] * asked.numel()
        assert leaf.grad is None
