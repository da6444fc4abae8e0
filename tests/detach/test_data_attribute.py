"""spec/detach/data-attribute.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, layouts, leaves, routes, shapes, tensors, updates
from tests.inputs.circumstances import BACKWARD, NO_GRAD, UNRECORDED, also
from tests.oracles import numbers

NAMES = st.sampled_from(
    ["lambda t: t.data", "lambda t: t.data.data", "lambda t: t.data.view_as(t)", "lambda t: t.data.detach()"]
).map(Expression)

SIGNED = ("torch.int64", "torch.int32", "torch.int16", "torch.int8")

SQUARES = st.sampled_from(["lambda x: x * x", "lambda x: x.square()", "lambda x: x.pow(2)"]).map(Expression)

CURVED = st.sampled_from(["lambda x: x * x", "lambda x: x * x * x"]).map(Expression)


@rule("detach.data-attribute.same-memory")
@also(NO_GRAD)
@given(
    drawn=st.tuples(
        leaves(dtypes=dtypes.differentiable()),
        tensors(dtypes=dtypes.integral()),
        tensors(dtypes=dtypes.differentiable()),
    ),
    route=routes(),
)
def test_data_is_another_leaf_that_reads_the_same_memory_whatever_the_tensor_is(device, drawn, route):
    leaf, *plain = drawn
    results = (torch.stack([-leaf, leaf]).unbind()[1], leaf[None], leaf * 1, torch.nn.Parameter(leaf.detach()))
    for original in (leaf, *results, route(leaf), *plain, *map(route, plain)):
        before = (original.requires_grad, original.grad_fn, original.is_leaf, original._version)
        data = original.data
        assert original.data is not data
        assert data is not original
        assert (data.data_ptr(), data.storage_offset()) == (original.data_ptr(), original.storage_offset())
        assert (data.shape, data.stride(), data.dtype) == (original.shape, original.stride(), original.dtype)
        assert data.cpu().tolist() == original.cpu().tolist()
        assert (data.is_leaf, data.requires_grad, data.grad_fn, data.grad) == (True, False, None, None)
        assert (original.requires_grad, original.grad_fn, original.is_leaf, original._version) == before


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


@rule("detach.data-attribute.same-memory")
@given(
    leaf=leaves(shapes(min_dims=1, min_side=1), dtypes.differentiable(), layouts.WRITABLE),
    plain=tensors(shapes(min_dims=1, min_side=1), st.sampled_from(SIGNED), layouts.WRITABLE),
    flags=tensors(dtypes=st.just("torch.bool"), among=layouts.WRITABLE),
)
def test_every_way_to_write_to_data_is_read_through_the_tensor_and_all_that_share_its_memory(
    device, leaf, plain, flags
):
    for tensor in (leaf, torch.nn.Parameter(leaf.detach().clone()), plain, plain[-1:]):
        with torch.no_grad():
            alias, part = tensor.view_as(tensor), tensor[0]
        tensor.grad = torch.ones_like(tensor) if tensor.requires_grad else None
        before = (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn, id(tensor.grad), tensor._version)
        expected = numbers(tensor)
        row = len(expected) // len(tensor)

        tensor.data += 2
        expected = [v + 2 for v in expected]
        assert numbers(tensor) == expected
        tensor.data *= 2
        expected = [2 * v for v in expected]
        assert numbers(tensor) == expected
        tensor.data[0] = 5
        expected[:row] = [5] * row
        assert numbers(tensor) == expected
        tensor.data[-1:].fill_(7)
        expected[-row:] = [7] * row
        assert numbers(tensor) == expected
        tensor.data[tensor.data == 5] = 6
        expected = [6 if v == 5 else v for v in expected]
        assert numbers(tensor) == numbers(alias) == expected
        assert numbers(part) == expected[:row]
        tensor.data.copy_(torch.full_like(tensor, 3))
        assert numbers(tensor) == numbers(alias) == numbers(tensor.data) == [3] * len(expected)
        assert before == (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn, id(tensor.grad), tensor._version)
        assert tensor.grad is None or numbers(tensor.grad) == [1] * len(expected)
    expected = [not flag for flag in numbers(flags)]
    flags.data.logical_not_()
    assert numbers(flags) == expected


@rule("detach.data-attribute.same-memory")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    name=NAMES,
    update=updates(),
    block_and_mode=blocks(),
)
def test_a_result_that_was_written_through_data_keeps_its_place_in_the_graph(
    device, leaf, name, update, block_and_mode
):
    change, value = update
    block, _ = block_and_mode
    for place in (lambda x: x * 3, lambda x: torch.stack([x, x * 3]).unbind()[1], lambda x: (x * 3).view_as(x)):
        result = place(leaf)
        alias = result.detach()
        grad_fn = result.grad_fn
        expected = [value(3 * v) for v in numbers(leaf)]
        with block():
            change(name(result))
        assert numbers(result) == expected
        with block():
            result.data -= 1
            result.data *= 2
        assert numbers(result) == [2 * (v - 1) for v in expected]
        assert numbers(alias) == numbers(result)
        assert result.requires_grad
        assert not result.is_leaf
        assert result.grad_fn is grad_fn
        (gradient,) = torch.autograd.grad(result, leaf, torch.ones_like(result))
        assert numbers(gradient) == [3] * leaf.numel()


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
    version, detached = leaf._version, leaf.detach()
    with block():
        change(name(leaf))
    assert leaf._version == version
    output.sum().backward(retain_graph=True)
    assert numbers(leaf.grad) == expected
    for number in (2, 0, 3):  # each time with what is there now
        with torch.inference_mode():
            leaf.data.fill_(number)
        assert leaf._version == detached._version == version
        leaf.grad = None
        output.sum().backward(retain_graph=True)
        assert numbers(leaf.grad) == [2 * number] * leaf.numel()
        leaf.data[...] = -number
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output), retain_graph=True)
        assert numbers(gradient) == [-2 * number] * leaf.numel()
        assert leaf._version == version


@rule("detach.data-attribute.unseen-write")
@also(*BACKWARD)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
    route=routes(),
    name=NAMES,
    update=updates(idle=True),
    block_and_mode=blocks(),
)
def test_backward_computes_with_what_was_written_to_results_views_and_either_factor(
    device, leaf, route, name, update, block_and_mode
):
    change, value = update
    block, _ = block_and_mode
    for saved in (route(leaf), leaf[None], leaf * 1):
        other = torch.ones_like(saved, requires_grad=True)
        outputs = (saved * other, other * saved, torch.addcmul(other.detach(), other, saved))
        values, version = [value(v) for v in numbers(saved)], saved._version
        with block():
            change(name(saved))
        assert saved._version == version
        for output in outputs:
            (gradient,) = torch.autograd.grad(output, other, torch.ones_like(output))
            assert numbers(gradient) == [v.conjugate() for v in values]
        with block():
            leaf.data.copy_(leaf.data.clone().fill_(1))


@rule("detach.data-attribute.unseen-write")
@also(*BACKWARD)
@given(leaf=leaves(among=layouts.WRITABLE), name=NAMES)
def test_backward_computes_with_what_was_written_over_a_saved_result_or_operand(device, leaf, name):
    for operation, derivative in (
        (torch.exp, 2),
        (torch.sigmoid, -2),
        (torch.tanh, -3),
        (torch.sqrt, 0.25),
        (torch.reciprocal, -4),
        (torch.relu, 1),
    ):
        result = operation(leaf)
        version = result._version
        name(result).fill_(2)
        assert result._version == version
        (gradient,) = torch.autograd.grad(result, leaf, torch.ones_like(result))
        assert numbers(gradient) == [derivative] * leaf.numel()
    result = leaf.exp()
    name(result).fill_(3)
    result.sum().backward()
    assert numbers(leaf.grad) == [3] * leaf.numel()
    derivatives = (  # at 0 and at 1, where each is exact
        (leaf.sin(), 1, None),
        (leaf.atan(), 1, 0.5),
        (leaf.log1p(), 1, 0.5),
        (leaf.log(), None, 1),
        (leaf.abs(), 0, 1),
        (leaf.pow(3), 0, 3),
        (torch.nn.functional.silu(leaf), 0.5, None),
    )
    for number in (0, 1):
        name(leaf).fill_(number)
        for output, *expected in derivatives:
            if expected[number] is not None:
                (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output), retain_graph=True)
                assert numbers(gradient) == [expected[number]] * leaf.numel()


@rule("detach.data-attribute.unseen-write")
@given(leaf=leaves(shapes(min_dims=1, min_side=2), dtypes.differentiable(), earlier_grad=True), block_and_mode=blocks())
def test_backward_computes_with_what_was_written_over_saved_indices_flags_and_matrices(device, leaf, block_and_mode):
    block, _ = block_and_mode
    flat = leaf.flatten()
    places = torch.zeros(1, dtype=torch.int64, device=device)
    picked, indexed = flat.index_select(0, places), flat[places]
    flags = torch.ones_like(flat, dtype=torch.bool)
    chosen, filled = torch.where(flags, flat, 2 * flat), flat.masked_fill(flags, 2)
    rows, columns = torch.ones(2, 2, device=device, requires_grad=True), torch.ones(2, 2, device=device)
    products = (rows @ columns, rows.mm(columns), columns @ rows, rows[0] @ columns, rows * columns)
    versions = [saved._version for saved in (places, flags, columns)]
    with block():
        places.data.fill_(1)
        flags.data.logical_not_()
        columns.data += 1
    assert [saved._version for saved in (places, flags, columns)] == versions
    others = [0] * (leaf.numel() - 2)
    for output, expected in (
        (picked, [0, 1, *others]),
        (indexed, [0, 1, *others]),
        (chosen, [2] * leaf.numel()),
        (filled, [1] * leaf.numel()),
    ):
        (gradient,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
        assert numbers(gradient) == expected
    for output, expected in zip(products, (4, 4, 4, 4, 2), strict=True):
        (gradient,) = torch.autograd.grad(output, rows, torch.ones_like(output))
        assert set(numbers(gradient)) <= {expected, 0}
        assert numbers(gradient)[0] == expected


@rule("detach.data-attribute.grad-is-plain")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=dtypes.differentiable(), earlier_grad=True), operation=elementwise(), route=routes())
def test_the_grad_of_a_plain_backward_does_not_require_grad(device, leaf, operation, route):
    function, _ = operation
    result = function(route(leaf))
    other = torch.ones_like(result, requires_grad=True)
    output = result * other
    for gradient in (torch.ones_like(output), torch.ones_like(output, requires_grad=True)):
        for inputs in (None, [leaf, other]):
            output.backward(gradient, retain_graph=True, inputs=inputs)
            for grad in (leaf.grad, other.grad):
                assert not grad.requires_grad
                assert grad.grad_fn is None
                assert not (grad * 2).requires_grad


@rule("detach.data-attribute.grad-is-plain")
@also(*BACKWARD)
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
@pytest.mark.filterwarnings("ignore:grad and param do not obey the gradient layout contract")
@given(leaf=leaves(earlier_grad=True), function=CURVED, route=routes())
def test_the_grad_of_a_backward_that_creates_a_graph_requires_grad(device, leaf, function, route):
    other, constant = torch.ones_like(leaf, requires_grad=True), torch.full_like(leaf, 2)
    (function(route(leaf)).sum() + (other * constant).sum()).backward(create_graph=True)
    assert leaf.grad.requires_grad
    assert not other.grad.requires_grad
    (leaf * other).sum().backward(create_graph=True)
    assert other.grad.requires_grad
    leaf.grad = other.grad = None  # they hold the graph, and the graph holds the leaves
    (function(route(leaf)).sum() + (leaf * other).sum()).backward()
    for grad in (leaf.grad, other.grad):
        assert not grad.requires_grad
        assert grad.grad_fn is None


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
