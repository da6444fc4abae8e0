"""spec/graph/recording.md"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, leaves, routes, shapes, tensors
from tests.oracles import numbers, state
from tests.oracles.graph import leaves_reached

COMPUTATIONS = (
    "lambda a, b, c: a * b + c",
    "lambda a, b, c: a - b - c",
    "lambda a, b, c: (a * 2 + b / 4) * c",
    "lambda a, b, c: torch.where(b.detach() > 0, a, b) * c",
    "lambda a, b, c: torch.cat([a.reshape(-1), b.reshape(-1), c.reshape(-1)])",
    "lambda a, b, c: torch.stack([a, b, c])",
    "lambda a, b, c: torch.addcmul(a, b, c)",
    "lambda a, b, c: torch.maximum(torch.minimum(a, b), c)",
    "lambda a, b, c: (a * b).sum() * c.exp()",
    "lambda a, b, c: torch.zeros_like(a).copy_(a).add_(b).mul_(c)",
)
PLACES = ("lambda x: x", "lambda x: x * 1", "lambda x: x.view_as(x)")

DISCRETE = (
    "lambda x: x > 0",
    "lambda x: x == 1",
    "lambda x: x != x",
    "lambda x: x.ge(0)",
    "lambda x: x.bool()",
    "lambda x: x.long()",
    "lambda x: x.to(torch.int32)",
    "lambda x: torch.isnan(x)",
    "lambda x: torch.logical_not(x)",
    "lambda x: torch.signbit(x)",
)
"""Functions whose result is integer or boolean, element by element."""

PLACE_OF_SOMETHING = (
    "lambda x: x.argmax()",
    "lambda x: x.argmin()",
    "lambda x: x.argsort()",
    "lambda x: x.sort().indices",
    "lambda x: x.max(0).indices",
    "lambda x: x.nonzero()",
)
UNDERIVED = (
    "lambda x, y: x // 2",
    "lambda x, y: torch.floor_divide(x, y)",
    "lambda x, y: x.floor_divide(2.0)",
)


@st.composite
def three_alike(draw):
    """Three tensors of the same shape and dtype, each with a layout of its own."""
    first = draw(tensors())
    shape, dtype = st.just(first.facts["shape"]), st.just(first.facts["dtype"])
    return first, draw(tensors(shape, dtype)), draw(tensors(shape, dtype))


def computations():
    """A function of three tensors, each of which its result depends on."""
    return st.sampled_from(COMPUTATIONS).map(Expression)


def flags():
    return st.tuples(st.booleans(), st.booleans(), st.booleans())


@rule("graph.recording.when")
@given(
    three=three_alike(),
    flags=flags(),
    place=st.sampled_from(PLACES).map(Expression),
    compute=computations(),
    block_and_mode=blocks(),
)
def test_an_operation_is_recorded_in_grad_mode_if_an_input_requires_grad(
    device, three, flags, place, compute, block_and_mode
):
    block, grad_mode = block_and_mode
    inputs = [place(tensor.requires_grad_(flag)) for tensor, flag in zip(three, flags, strict=True)]
    with block():
        result = compute(*inputs)
    recorded = grad_mode and any(flags)
    assert result.requires_grad is recorded
    assert (result.grad_fn is not None) is recorded
    assert result.is_leaf is not recorded


@rule("graph.recording.others-get-nothing")
@given(three=three_alike(), flags=flags().filter(any), compute=computations())
def test_only_inputs_that_require_grad_are_in_the_graph_and_get_a_gradient(device, three, flags, compute):
    for tensor, flag in zip(three, flags, strict=True):
        tensor.requires_grad_(flag)
    output = compute(*three).sum()
    leaves = [tensor for tensor in three if tensor.requires_grad]
    assert {id(leaf) for leaf in leaves_reached(output.grad_fn)} == {id(leaf) for leaf in leaves}
    output.backward()
    assert [tensor.grad is not None for tensor in three] == list(flags)


@rule("graph.recording.discrete")
@given(leaf=leaves(), place=st.sampled_from(PLACES).map(Expression), discrete=st.sampled_from(DISCRETE).map(Expression))
def test_a_comparison_adds_nothing_to_the_graph_and_its_result_is_a_constant_in_it(device, leaf, place, discrete):
    mask = discrete(place(leaf))
    assert not mask.dtype.is_floating_point
    assert not mask.requires_grad
    assert mask.grad_fn is None
    assert mask.is_leaf
    product = leaf * mask
    assert [node is None for node, _ in product.grad_fn.next_functions] == [False, True]
    product.sum().backward()
    assert numbers(leaf.grad) == [int(value) for value in numbers(mask)]


@rule("graph.recording.discrete")
@given(leaf=leaves(shapes(min_dims=1, max_dims=1, min_side=1)), index=st.sampled_from(PLACE_OF_SOMETHING).map(Expression))
def test_the_place_of_an_element_is_not_recorded_and_what_it_picks_is(device, leaf, index):
    place = index(leaf)
    assert not place.requires_grad
    assert place.grad_fn is None
    assert place.is_leaf
    leaf[place].sum().backward()
    picked = place.reshape(-1).tolist()
    assert numbers(leaf.grad) == [picked.count(position) for position in range(leaf.numel())]


@rule("graph.recording.underived")
@given(leaf=leaves(earlier_grad=True), route=routes(), divide=st.sampled_from(UNDERIVED).map(Expression))
def test_floor_division_is_recorded_and_refuses_to_be_run_backward(device, leaf, route, divide):
    tensor = route(leaf)
    result = divide(tensor, tensor.detach().abs() + 1)
    assert result.requires_grad
    assert result.grad_fn is not None
    before = state(leaf)
    with pytest.raises(RuntimeError, match="derivative for aten::floor_divide is not implemented"):
        result.sum().backward()
    assert state(leaf) == before
