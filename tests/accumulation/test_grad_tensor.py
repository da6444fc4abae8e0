"""spec/accumulation/grad-tensor.md"""

import itertools
import warnings

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, elementwise, layouts, leaves, like, routes, shapes, tails
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers, share_memory

NOT_EMPTY = shapes(min_side=1) | shapes(min_dims=4, max_dims=4, min_side=1, max_side=2)

TURNED = leaves(shapes(min_dims=2, min_side=2), among=(layouts.transposed, layouts.stepped))
"""Leaves that are not contiguous, dense ones and ones with gaps."""

PICTURE = (
    Expression("torch.ones(2, 3, 2, 2, device=device).requires_grad_()"),
    Expression("torch.ones(2, 3, 2, 2, device=device)"),
)
"""A leaf of four dimensions that is contiguous, and a gradient for it."""

HALF, BRAIN = (
    Expression(f"torch.ones(2, 3, dtype={dtype}, device=device).requires_grad_()", dtypes=frozenset({dtype}))
    for dtype in ("torch.float16", "torch.bfloat16")
)

TRIPLE = (Expression("lambda x: x * 3"), Expression("lambda v: 3"))


DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


@st.composite
def leaf_and_place(draw):
    """A leaf, and a device and dtype to compute in: here in a dtype of the device, or on the CPU."""
    kind = draw(st.sampled_from((dtypes.floating(), dtypes.complex_())))
    dtype, is_here = draw(kind), draw(st.booleans())
    place = Expression(f"(device, {dtype})", dtypes=frozenset({dtype})) if is_here else Expression(f'("cpu", {dtype})')
    return draw(leaves(dtypes=kind)), place


@rule("accumulation.grad-tensor.like-the-leaf")
@also(*BACKWARD)
@given(drawn=leaf_and_place())
@example(drawn=(HALF, Expression('("cpu", torch.float32)')))
@example(drawn=(BRAIN, Expression("(device, torch.bfloat16)", dtypes=frozenset({"torch.bfloat16"}))))
def test_a_new_grad_is_plain_data_like_its_leaf(device, drawn):
    leaf, place = drawn
    other = torch.nn.Parameter(leaf.detach().clone())
    single = torch.zeros((), dtype=leaf.dtype, device=device).requires_grad_()
    none, many = (torch.zeros(shape, dtype=leaf.dtype, device=device).requires_grad_() for shape in ((0, 2), (17,)))
    output = (
        2 * leaf.to(*place) + other.to(*place) + single.to(*place) * 0 + none.to(*place).sum() + many.to(*place)[16]
    )
    gradient = torch.ones_like(output)
    every = {"retain_graph": True, "inputs": [other, single, none, leaf, many]}
    for ones, options in ((gradient, {"retain_graph": True}), (gradient.clone().requires_grad_(), every)):
        leaf.grad = other.grad = single.grad = none.grad = many.grad = None
        output.backward(ones, **options)
        for x in (leaf, other, single, none, many):
            assert x.grad.shape == x.shape
            assert x.grad.dtype == x.dtype
            assert x.grad.device == x.device
            assert not x.grad.requires_grad
            assert x.grad.grad_fn is None
    leaf.grad = None
    leaf.backward(torch.ones_like(leaf))
    assert (leaf.grad.shape, leaf.grad.dtype, leaf.grad.requires_grad) == (leaf.shape, leaf.dtype, False)


@rule("accumulation.grad-tensor.strides")
@also(AS_RESULTS, UNRECORDED_BACKWARD)  # what a second backward adds to is not new
@given(pair=like(leaves(NOT_EMPTY, dtypes.differentiable()) | TURNED), operation=elementwise(), route=routes())
@example(pair=PICTURE, operation=TRIPLE, route=Expression("lambda x: x"))
def test_a_new_grad_lies_in_memory_as_its_dense_leaf_or_is_contiguous(device, pair, operation, route):
    function, _ = operation
    leaf, gradient = pair
    other = gradient.detach().requires_grad_()
    for create_graph in (False, True, False):
        leaf.grad = other.grad = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
            route(function(leaf) + other).backward(route(gradient), create_graph=create_graph)
        for x in (leaf, other):
            slowest_first = sorted(range(x.ndim), key=x.stride, reverse=True)
            is_dense = x.permute(slowest_first).is_contiguous()
            grad = x.grad.permute(slowest_first) if is_dense else x.grad
            assert grad.is_contiguous()
    leaf.grad = other.grad = None


@rule("accumulation.grad-tensor.same-tensor")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), first=elementwise(), second=elementwise(linear=True))
def test_a_later_backward_adds_into_the_same_tensor(device, leaf, first, second):
    (function, derivative), (later, later_derivative) = first, second
    other = torch.nn.Parameter(leaf.detach().clone())
    function(leaf).real.sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the reference cycle that create_graph makes
        function(other).real.sum().backward(create_graph=True)
    grads = [leaf.grad, other.grad]
    aliases = [held.view_as(held) for held in grads]
    memory = [(held.data_ptr(), held.stride()) for held in grads]
    output = (later(leaf) - later(other)).real.sum()
    for times, options in enumerate(({"retain_graph": True}, {"inputs": [leaf, other], "retain_graph": True}, {}), 1):
        output.backward(**options)
        for x, factor, held, alias, before in zip((leaf, other), (1, -1), grads, aliases, memory, strict=True):
            assert x.grad is held
            assert (held.data_ptr(), held.stride()) == before
            slopes = [factor * times * later_derivative(value).conjugate() for value in numbers(x)]
            assert numbers(alias) == [
                derivative(value).conjugate() + slope for value, slope in zip(numbers(x), slopes, strict=True)
            ]
    leaf.grad = other.grad = None


@rule("accumulation.grad-tensor.same-tensor")
@also(AS_RESULTS, *BACKWARD)
@given(pair=like(leaves(dtypes=dtypes.differentiable()), among=layouts.WRITABLE), operation=elementwise())
def test_a_tensor_put_into_grad_by_hand_is_added_to_in_place(device, pair, operation):
    function, derivative = operation
    leaf, by_hand = pair
    for held in (by_hand, by_hand.clone().zero_(), by_hand.clone().fill_(1)):
        leaf.grad = held
        alias, address, strides = held.view_as(held), held.data_ptr(), held.stride()
        for _ in range(2):
            before = numbers(held)
            function(leaf).real.sum().backward()
            assert leaf.grad is held
            assert (held.data_ptr(), held.stride()) == (address, strides)
            slopes = [derivative(value).conjugate() for value in numbers(leaf)]
            assert numbers(alias) == [sum(pair) for pair in zip(before, slopes, strict=True)]
            # The next comes after a refusal, and after it was written to.
            with pytest.raises(RuntimeError):
                function(leaf).real.sum().backward(torch.ones(3, device=device))
            with torch.no_grad():
                held.neg_()


@rule("accumulation.grad-tensor.create-graph-replaces")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), first=elementwise(), second=elementwise())
def test_create_graph_puts_a_new_tensor_in_place_of_the_old(device, leaf, first, second):
    (function, _), (later, later_derivative) = first, second
    function(leaf).real.sum().backward()
    other = leaf.detach().clone().requires_grad_()
    turned = leaf.grad.movedim(0, -1).clone().movedim(-1, 0) if leaf.ndim > 0 else leaf.grad + 1
    for held in (leaf.grad, torch.zeros_like(leaf.grad), turned):
        leaf.grad, other.grad = held, held.clone()
        for options in ({}, {"inputs": [other, leaf]}):
            grads = [leaf.grad, other.grad]
            before = [(numbers(grad), grad.requires_grad, grad.data_ptr()) for grad in grads]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of the reference cycle
                (later(leaf) + later(other)).real.sum().backward(create_graph=True, **options)
            for x, grad, unchanged in zip((leaf, other), grads, before, strict=True):
                assert x.grad is not grad
                assert (numbers(grad), grad.requires_grad, grad.data_ptr()) == unchanged
                pairs = zip(unchanged[0], numbers(x), strict=True)
                assert numbers(x.grad) == [number + later_derivative(value).conjugate() for number, value in pairs]
        leaf.grad = other.grad = None


@st.composite
def two_leaves_and_a_gradient(draw):
    """Two leaves and a gradient argument for their sum: one shape, one dtype, three layouts."""
    first, gradient = draw(like(leaves(NOT_EMPTY | tails(), DTYPES), among=layouts.WRITABLE))
    shape, dtype = first.facts["shape"], first.facts["dtype"]
    return first, draw(leaves(st.just(shape), st.just(dtype))), gradient


@rule("accumulation.grad-tensor.own-memory")
@also(AS_RESULTS, *BACKWARD)
@given(drawn=two_leaves_and_a_gradient())
def test_grads_share_memory_with_nothing(device, drawn):
    first, second, gradient = drawn
    third = torch.nn.Parameter(first.detach().clone())
    for combine, fresh in (
        (lambda a, b, c: a + b, [first, second]),
        (lambda a, b, c: c + (b - a), [second, third, first]),
        (lambda a, b, c: torch.add(a * 1, b.clone(), alpha=2).add_(c), [first, second, third]),
    ):
        first.grad = second.grad = third.grad = None
        combine(first, second, third).backward(gradient, inputs=fresh if len(fresh) == 3 else None)
        for one, other in itertools.combinations([gradient, *(leaf.grad for leaf in fresh)], 2):
            assert not share_memory(one, other)
        # The next comes after a refusal.
        with pytest.raises(RuntimeError):
            combine(first, second, third).backward(gradient[None])
    many, argument = torch.nn.Parameter(gradient.new_ones(33)), gradient.new_ones(33)
    (first.new_ones(33) + many).backward(argument)
    assert not share_memory(many.grad, argument)


@rule("accumulation.grad-tensor.own-memory-anywhere")
@given(drawn=two_leaves_and_a_gradient(), route=routes())
def test_grads_share_memory_with_nothing_behind_views_either(device, drawn, route):
    first, second, gradient = drawn
    (route(first) + route(second)).backward(route(gradient))
    assert not share_memory(first.grad, gradient)
    assert not share_memory(second.grad, gradient)
    assert not share_memory(first.grad, second.grad)
