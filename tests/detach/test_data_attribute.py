"""spec/detach/data-attribute.md"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, layouts, leaves, routes, updates
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
from tests.oracles import numbers

NAMES = st.sampled_from(
    ["lambda t: t.data", "lambda t: t.data.data", "lambda t: t.data.view_as(t)", "lambda t: t.data.detach()"]
).map(Expression)

SQUARES = st.sampled_from(["lambda x: x * x", "lambda x: x.square()", "lambda x: x.pow(2)"]).map(Expression)

CURVED = st.sampled_from(["lambda x: x * x", "lambda x: x * x * x"]).map(Expression)


@rule("detach.data-attribute.same-memory")
@given(leaf=st.one_of(leaves(earlier_grad=True), leaves(dtypes=dtypes.complex_())), route=routes())
def test_data_is_another_leaf_that_reads_the_same_memory(device, leaf, route):
    original = route(leaf)
    for following in (lambda t: t.clone(), lambda t: t.unsqueeze(0), lambda t: t):
        data = original.data
        assert data is not original
        assert data.data_ptr() == original.data_ptr()
        assert data.storage_offset() == original.storage_offset()
        assert (data.shape, data.stride(), data.dtype) == (original.shape, original.stride(), original.dtype)
        assert data.cpu().tolist() == original.cpu().tolist()
        assert data.is_leaf
        assert not data.requires_grad
        assert data.grad is None
        original.data = following(original.detach())


@rule("detach.data-attribute.same-memory")
@also(*UNRECORDED)
@given(leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE), name=NAMES, update=updates())
def test_what_is_written_through_data_is_read_through_the_tensor_which_stays_a_leaf(device, leaf, name, update):
    change, value = update
    expected = [value(v) for v in numbers(leaf)]
    change(name(leaf))
    assert numbers(leaf) == expected
    leaf.data -= 1
    assert numbers(leaf) == [v - 1 for v in expected]
    assert leaf.is_leaf
    assert leaf.requires_grad
    assert leaf.grad_fn is None


@rule("detach.data-attribute.unseen-write")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE), square=SQUARES, name=NAMES, update=updates(), block_and_mode=blocks())
def test_backward_computes_in_silence_with_what_was_written_through_data(
    device, leaf, square, name, update, block_and_mode
):
    change, value = update
    block, _ = block_and_mode
    output = square(leaf)
    expected = [2 * value(v) for v in numbers(leaf)]
    version = leaf._version
    with block():
        change(name(leaf))
    assert leaf._version == version
    output.sum().backward()
    assert numbers(leaf.grad) == expected


@rule("detach.data-attribute.grad-is-plain")
@also(*BACKWARD)
@given(leaf=leaves(earlier_grad=True), operation=elementwise(), route=routes())
def test_the_grad_of_a_plain_backward_does_not_require_grad(device, leaf, operation, route):
    function, _ = operation
    function(route(leaf)).sum().backward()
    assert not leaf.grad.requires_grad
    assert leaf.grad.grad_fn is None
    assert not (leaf.grad * 2).requires_grad


@rule("detach.data-attribute.grad-is-plain")
@also(*BACKWARD)
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
@pytest.mark.filterwarnings("ignore:grad and param do not obey the gradient layout contract")
@given(leaf=leaves(earlier_grad=True), function=CURVED, route=routes())
def test_the_grad_of_a_backward_that_creates_a_graph_requires_grad(device, leaf, function, route):
    function(route(leaf)).sum().backward(create_graph=True)
    assert leaf.grad.requires_grad
    leaf.grad = None  # it holds the graph, and the graph holds the leaf


@rule("detach.data-attribute.grad-is-plain")
@also(*BACKWARD)
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
@pytest.mark.filterwarnings("ignore:grad and param do not obey the gradient layout contract")
@given(leaf=leaves(earlier_grad=True), operation=elementwise(linear=True), route=routes())
def test_a_derivative_that_is_constant_does_not_require_grad_even_if_a_graph_is_created(device, leaf, operation, route):
    function, _ = operation
    for _ in range(2):
        function(route(leaf)).sum().backward(create_graph=True)
        assert not leaf.grad.requires_grad
        assert leaf.grad.grad_fn is None
