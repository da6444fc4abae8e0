"""spec/graph/nodes.md"""

import itertools
from functools import cache

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, leaves, places, routes, shapes
from tests.oracles.graph import leaves_reached, nodes_reached

BINARY = (
    "lambda a, b: a + b",
    "lambda a, b: a - b",
    "lambda a, b: a * b",
    "lambda a, b: torch.add(a, b, alpha=2)",
    "lambda a, b: a.sub(b)",
    "lambda a, b: torch.div(a, b)",
    "lambda a, b: torch.where(a.detach() > 0, a, b)",
)
SEVERAL = (
    "lambda x: x.reshape(-1).unbind()",
    "lambda x: x.reshape(-1).split(1)",
    "lambda x: torch.var_mean(x, unbiased=False)",
    "lambda x: torch.std_mean(x, unbiased=False)",
)
"""Functions of one operation with several results."""


@st.composite
def operands(draw):
    """Two leaves, a tensor that does not require grad, all alike, and a number."""
    leaf = draw(leaves())
    other = Expression("torch.ones({shape}, dtype={dtype}, device=device)".format(**leaf.facts), dtypes=leaf.dtypes)
    number = draw(st.sampled_from((3, 0, 1)))
    return leaf, Expression(f"{other.source}.requires_grad_()", dtypes=leaf.dtypes), other, number


@cache
def a_step(number):
    """An operation and the places of its operands, in all that there is after `number` steps; a tensor comes first."""
    places = range(4 + number)
    return st.tuples(
        st.sampled_from(BINARY).map(Expression),
        st.sampled_from([place for place in places if place != 3]),
        st.sampled_from(places),
    )


PROGRAMS = st.one_of(*(st.tuples(*map(a_step, range(count))) for count in (2, 1, 3, 4)))
"""Programs of up to four steps."""


def requires_grad(value):
    return isinstance(value, torch.Tensor) and value.requires_grad


def leads_to(edge, tensor):
    """Whether an edge leads to the node and the result that the tensor is."""
    node, number = edge
    made_it = getattr(node, "variable", None) is tensor if tensor.is_leaf else node is tensor.grad_fn
    return made_it and number == tensor.output_nr


@rule("graph.nodes.functions")
@given(leaf=leaves(), operation=elementwise(), route=routes())
@example(
    leaf=Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"),
    operation=(Expression("lambda x: x * 2"), Expression("lambda v: 2")),
    route=Expression("lambda x: x"),
)
def test_a_node_is_a_function_and_no_tensor_and_an_edge_is_a_node_and_a_number(device, leaf, operation, route):
    function, _ = operation
    data = torch.ones_like(leaf.detach())
    parts = torch.stack([data, leaf, leaf.clone().mul_(data)]).unbind()
    output = route(function(leaf)).sum() + (parts[1] - torch.where(data > 0, data, parts[2])).sum()
    for used_up in (False, True):
        if used_up:
            output.backward()
        for node in nodes_reached(output.grad_fn):
            assert isinstance(node, torch.autograd.graph.Node)
            assert not isinstance(node, torch.Tensor)
            assert type(node.name()) is str
            assert type(node.next_functions) is tuple
            for edge in node.next_functions:
                end, number = edge
                assert type(edge) is tuple
                assert end is None or isinstance(end, torch.autograd.graph.Node)
                assert type(number) is int


@rule("graph.nodes.edges")
@given(operands=operands(), place=places(), steps=PROGRAMS)
@example(
    operands=(
        Expression("torch.tensor([1.0, 2.0], device=device, requires_grad=True)"),
        Expression("torch.ones(2, device=device, requires_grad=True)"),
        Expression("torch.ones(2, device=device)"),
        3,
    ),
    place=Expression("lambda x: x"),
    steps=((Expression("lambda a, b: a - b"), 0, 1),),
)
def test_edges_lead_to_what_made_the_inputs_that_require_grad(device, operands, place, steps):
    leaf, *others = operands
    values = [place(leaf), *others]
    for operation, one, other in steps:
        result = operation(values[one], values[other])
        inputs = [value for value in (values[one], values[other]) if requires_grad(value)]
        if inputs:
            edges = [edge for edge in result.grad_fn.next_functions if edge[0] is not None]
            assert len(edges) == len(inputs)
            assert all(leads_to(edge, value) for edge, value in zip(edges, inputs, strict=True))
        values.append(result)
    for value in (leaf, values[0]):
        for result in (-value, value**2, 3 - value, value.abs(), value / 4, 2 * value, value.clone(), +value * 1):
            (edge,) = [edge for edge in result.grad_fn.next_functions if edge[0] is not None]
            assert leads_to(edge, value)


@rule("graph.nodes.edges")
@given(leaf=leaves(), drawn_places=st.tuples(places(), places(), places()))
def test_edges_lead_to_each_of_three_inputs_that_requires_grad(device, leaf, drawn_places):
    compute = [torch.addcmul, torch.addcdiv, torch.lerp, torch.clamp, lambda a, b, c: torch.where(c.detach() > 0, b, a)]
    for function, flags in itertools.product(compute, itertools.product((False, True), repeat=3)):
        inputs = [
            place(leaf.detach().clone().requires_grad_(flag)) for place, flag in zip(drawn_places, flags, strict=True)
        ]
        result = function(*inputs)
        if function is compute[-1]:
            inputs = [inputs[1], inputs[0]]
        expected = [value for value in inputs if value.requires_grad]
        assert result.requires_grad is bool(expected)
        edges = [edge for edge in result.grad_fn.next_functions if edge[0] is not None] if expected else []
        assert len(edges) == len(expected)
        assert all(leads_to(edge, value) for edge, value in zip(edges, expected, strict=True))


@rule("graph.nodes.edges")
@given(leaf=leaves(), other=leaves(st.just(()), dtypes.floating()))
def test_edges_lead_to_inputs_of_other_shapes_and_dtypes_and_outlast_gradients(device, leaf, other):
    wide = torch.ones(leaf.shape, dtype=torch.float64, device=device).requires_grad_()
    for one, two in ((leaf, other), (other, leaf), (wide, leaf), (other, wide)):
        results = [one + two, one - two, one * two]
        for _ in range(2):
            for result in results:
                first, second = result.grad_fn.next_functions
                assert leads_to(first, one)
                assert leads_to(second, two)
            written = (one + two).clone()
            before = written.grad_fn
            first, second = written.mul_(two).grad_fn.next_functions
            assert first == (before, 0)
            assert leads_to(second, two)
            torch.autograd.grad(results, [one, two], [torch.ones_like(result) for result in results], retain_graph=True)


@rule("graph.nodes.edges")
@given(leaf=leaves(shapes(min_side=1)), function=st.sampled_from(SEVERAL).map(Expression))
def test_an_edge_says_which_of_several_results_it_leads_to(device, leaf, function):
    results = function(leaf)
    for place, result in enumerate(results):
        assert result.grad_fn is results[0].grad_fn
        for _ in range(2):
            assert (result * 2).grad_fn.next_functions[0] == (results[0].grad_fn, place)
            edges = (results[-1] - result).grad_fn.next_functions
            assert edges == ((results[0].grad_fn, len(results) - 1), (results[0].grad_fn, place))
        torch.autograd.grad(results[-1].sum(), leaf, retain_graph=True)


@rule("graph.nodes.leaves")
@given(operands=operands(), steps=PROGRAMS)
def test_a_leaf_that_requires_grad_has_one_node_and_other_values_have_none(device, operands, steps):
    one_leaf, other_leaf, data, number = operands
    output = one_leaf * data + number
    values = [one_leaf, other_leaf, data, number]
    for operation, one, other in steps:
        values.append(operation(values[one], values[other]))
        output = output + values[-1]
    output = output + torch.stack([data, one_leaf, one_leaf]).sum(0) - torch.zeros_like(data).copy_(-one_leaf)
    reached = leaves_reached(output.grad_fn)
    assert sum(leaf is one_leaf for leaf in reached) == 1
    assert all(leaf is one_leaf or leaf is other_leaf for leaf in reached)
    assert len(reached) <= 2
    for node in nodes_reached(output.grad_fn):
        assert bool(node.next_functions) is not hasattr(node, "variable")
    output.sum().backward(retain_graph=True)
    for made in (torch.ones_like(data)[None][:0], torch.ones(17, device=device), torch.zeros((), device=device)):
        parameter = torch.nn.Parameter(made)
        result = parameter * 2 - parameter
        (only,) = [node for node in nodes_reached(result.grad_fn) if not node.next_functions]
        assert only.variable is parameter
    assert sorted(map(id, leaves_reached(output.grad_fn))) == sorted(map(id, reached))
    apart = [node for node in nodes_reached((one_leaf * 2).grad_fn) if hasattr(node, "variable")]
    assert apart == [node for node in nodes_reached(output.grad_fn) if getattr(node, "variable", None) is one_leaf]


@rule("graph.nodes.leaves")
@given(
    leaf=leaves(shapes(min_dims=2, max_dims=2, min_side=2)),
    columns=st.integers(1, 3),
)
def test_a_layer_has_nodes_for_its_parameters_and_none_for_the_data(device, leaf, columns):
    data = leaf.detach()
    weight = data.new_zeros(columns, data.shape[1], requires_grad=True)
    bias = data.new_zeros(columns, requires_grad=True)
    outputs = torch.nn.functional.linear(data, weight, bias)
    loss = (outputs - torch.ones_like(outputs)).square().sum()
    assert sorted(id(leaf) for leaf in leaves_reached(loss.grad_fn)) == sorted((id(weight), id(bias)))


@rule("graph.nodes.one-for-each-operation")
@given(operands=operands(), steps=PROGRAMS)
@example(
    operands=(
        Expression("torch.tensor(2., device=device, requires_grad=True)"),
        Expression("torch.tensor(0., device=device, requires_grad=True)"),
        Expression("torch.tensor(1., device=device)"),
        3,
    ),
    steps=(
        (Expression("lambda x, two: x ** 2"), 0, 3),
        (Expression("lambda a, b: a * b"), 0, 3),
        (Expression("lambda a, b: a + b"), 4, 5),
        (Expression("lambda a, one: a + 1"), 6, 3),
    ),
)
def test_an_expression_has_a_node_for_each_operation_and_none_for_its_constants(device, operands, steps):
    values, behind = list(operands), [set() for _ in operands]
    nothing = (lambda a, b: a + 0, lambda a, b: a * 1, lambda a, b: a - 0, lambda a, b: a / 1, lambda a, b: a**1)
    undone = (lambda a, b: -a, lambda a, b: -a, lambda a, b: a.abs(), lambda a, b: a.abs())
    idle = tuple((function, -1, 3) for function in (*nothing, *undone))
    sums = ((lambda a, b: a + b, 0, 1), (lambda a, b: a + b, -1, 2))
    for operation, one, other in (*steps, *sums, *idle):
        result = operation(values[one], values[other])
        assert not result.requires_grad or result.grad_fn not in {None, *behind[one], *behind[other]}
        values.append(result)
        behind.append({result.grad_fn, *behind[one], *behind[other]} if result.requires_grad else set())
    for result, nodes in zip(values[4:], behind[4:], strict=True):
        operations = [node for node in nodes_reached(result.grad_fn) if not hasattr(node, "variable")]
        assert len(operations) == len(nodes)
        assert set(operations) == nodes
