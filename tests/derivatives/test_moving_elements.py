"""spec/derivatives/moving-elements.md"""

import itertools
from functools import cache

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, places, shapes, tails, telling_shapes
from tests.inputs.shapes import PICTURES
from tests.inputs.tensors import leaf_of, tensor_of
from tests.oracles import numbers

MOVES = {
    "reshape to a vector": lambda x: x.reshape(-1),
    "view as a column": lambda x: x.contiguous().view(-1, 1),
    "reshape to the sizes backwards": lambda x: x.reshape(x.shape[::-1]),
    "T or transpose": lambda x: x.T if x.ndim == 2 else x.transpose(0, -1) if x.ndim else x,
    "permute": lambda x: x.permute(*range(1, x.ndim), 0) if x.ndim else x,
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x.squeeze(),
    "clone": lambda x: x.clone(),
    "flatten": lambda x: x.flatten(),
    "new dims": lambda x: x[None, ..., None],
    "contiguous": lambda x: x.contiguous(),
    "mT": lambda x: x.mT if x.ndim > 1 else x,
    "t() of a matrix": lambda x: x.reshape(-1, x.shape[-1] if x.numel() else 1).t() if x.ndim else x,
    "unsqueeze inside": lambda x: x.unsqueeze(1) if x.ndim else x.unsqueeze(0),
    "clone row by row": lambda x: x.clone(memory_format=torch.contiguous_format),
    "squeeze of what was unsqueezed": lambda x: x.unsqueeze(-2 if x.ndim else -1).squeeze(-2 if x.ndim else -1),
}
"""Functions that put each element elsewhere, or nowhere else."""

COPIES = {
    "expand to two": lambda x: x.expand(2, *x.shape),
    "expand behind": lambda x: x.unsqueeze(-1).expand(*x.shape, 2),
    "expand in front of one": lambda x: x[None, None].expand(2, 1, *x.shape),
    "expand of a clone, transposed": lambda x: x.clone().expand(3, *x.shape).transpose(0, -1),
    "expand to five, its sizes left out": lambda x: x.expand(5, *[-1] * x.ndim),
    "expand_as": lambda x: x.expand_as(torch.stack([x, x])),
    "expand of its own size of one": lambda x: x[:1].expand(x.shape) if len(x) else x,
    "expand inside": lambda x: x[:, None].expand(len(x), 3, *x.shape[1:]),
    "expand to none": lambda x: x.expand(0, *x.shape),
    "broadcast_to": lambda x: torch.broadcast_to(x, (2, *x.shape)),
    "stack of one": lambda x: torch.stack((x,)),
    "stack behind": lambda x: torch.stack([x, x], dim=-1),
    "stack of a clone": lambda x: torch.stack([x, x.clone(), x], dim=-2),
    "stack of stacks": lambda x: torch.stack([torch.stack([x, x], dim=1)] * 2, dim=1),
}
"""Functions that put each element in several places."""

RUNS = (
    lambda output, x, gradient: output.backward(gradient, retain_graph=True) or x.grad,
    lambda output, x, gradient: torch.autograd.grad(output, x, gradient, create_graph=True)[0],
    torch.no_grad()(lambda output, x, gradient: output.backward(gradient, retain_graph=True) or x.grad),
)
"""Ways to hand a gradient to a leaf, one of them recorded, one where grad mode is off; each returns what the leaf gets,
and keeps the graph."""

MASKS = {
    "of every element": lambda i: i * 3 % 5 > 1,
    "of every element, in another order in memory": lambda i: in_columns(i % 3 > 0),
    "of every element, stepped": lambda i: torch.stack([i % 2 > 0, i < 0], dim=-1)[..., 0],
    "of nothing": lambda i: i < 0,
    "of the first dim": lambda i: torch.arange(len(i)) % 3 != 1,
    "of all dims but the last": lambda i: i.sum(dim=-1) % 4 != 2 if i.ndim > 1 else i % 4 != 2,
}
"""Masks made of the number of each element."""

ENTRIES = ("0", "-1", "1:", "::2", ":-1", ":", "1:1")
INDICES = {
    1: [*ENTRIES, "None, 1:", "::2, None", "..., -1"],
    2: [
        *ENTRIES,
        *map(", ".join, itertools.product(ENTRIES, ENTRIES)),
        "..., ::2",
        "-1, ...",
        "None, 1:",
        "::2, None, 0",
    ],
}
"""What may stand between the brackets behind a tensor of one or two dims with sizes of at least two."""


def on_the_device(listed):
    return f"torch.tensor({listed}, device=x.device)"


MANY_DIGITS = {"torch.float64": 2**30 + 1, "torch.float32": 2**12 + 1, "torch.float16": 2**4 + 1, "torch.bfloat16": 3}
"""What makes of a small integer one that a narrower dtype rounds, while a sum of ten is still exact."""


def gradient_of(draw, shape, dtype):
    """Small integers, or, every other time, such as have as many digits as the dtype allows."""
    factor = draw(st.sampled_from((MANY_DIGITS[dtype], 1)))
    return tensor_of(draw, shape, dtype, each=lambda value: factor * value)


@st.composite
def a_leaf_and_digits(draw, shapes):
    """A leaf and a gradient of its shape and dtype that can have many digits."""
    leaf = draw(leaves(shapes))
    return leaf, gradient_of(draw, leaf.facts["shape"], leaf.facts["dtype"])


TAILS = st.sampled_from(((5,), (9,), (17,), (3, 11)))
"""One element more than a vector register holds, or three."""


def same(found, expected):
    """Whether these are the same numbers, where nan is one."""
    return found == expected or np.array_equal(found, expected, equal_nan=True)


@st.composite
def moved(draw, shapes, sources):
    """(leaf, move, gradient): a leaf, a function of it, and a gradient for what the function gives."""
    leaf = draw(leaves(shapes))
    source = draw(sources(leaf.facts["shape"]))
    output = eval(source, {"torch": torch})(torch.empty(leaf.facts["shape"]))
    return leaf, Expression(source), gradient_of(draw, tuple(output.shape), leaf.facts["dtype"])


@st.composite
def three_leaves(draw):
    """Three leaves of one shape and dtype, each with its own layout."""
    first = draw(leaves(shapes(max_dims=2)))
    return first, *(leaf_of(draw, first.facts["shape"], first.facts["dtype"]) for _ in range(2))


@cache
def basic_indices(shape):
    return st.sampled_from([f"lambda x: x[{index}]" for index in INDICES[len(shape)]])


@st.composite
def repeating_indices(draw, shape):
    """A tensor of indices, in one dimension or two, that names an element more than once."""
    indices = draw(st.lists(st.integers(-shape[0], shape[0] - 1), min_size=2, max_size=4))
    listed = [*indices, indices[0]]
    spelled = on_the_device(listed if draw(st.booleans()) else [listed, listed])
    behind = draw(st.sampled_from(("", ", ..., 0", ", ..., None") if len(shape) > 1 else ("",)))
    return f"lambda x: x[{spelled}{behind}]"


def in_columns(tensor):
    """The same elements, in memory with the first dim fastest."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.ndim > 1 else tensor


def with_gaps(tensor):
    """The same elements, with others between them in memory."""
    return torch.stack([tensor, tensor + 1], dim=-1)[..., 0]


ORDERS = places() | st.just(
    Expression("lambda x: x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x")
)
"""Every other time a result whose first dim is the fastest in memory."""


def runs_of(gradient):
    """Each way to hand this gradient, or another made of it, to a leaf, for one graph: the first is not the last."""
    return zip(RUNS, (gradient, in_columns(-2 * gradient).requires_grad_(), with_gaps(-gradient)), strict=True)


def collected(places, gradient, count):
    """For each of `count` elements the sum of the gradients at the places that it was put to."""
    sums = [0] * count
    for place, weight in zip(numbers(places), numbers(gradient), strict=True):
        sums[place] += weight
    return sums


AS_IT_IS = Expression("lambda x: x")

TRANSPOSED = (
    Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 0.0]], device=device).T.requires_grad_()"),
    Expression("torch.tensor([[1.0, -2.0], [3.0, 2.0], [-1.0, 4.0]], device=device)"),
)

BEYOND_NUMBERS = (
    Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 0.0]], device=device).requires_grad_()"),
    Expression("torch.tensor([[float('inf'), float('nan'), 1.0], [0.0, -float('inf'), float('nan')]], device=device)"),
)
"""A gradient that holds infinities and nan."""

MANY = (
    Expression("(torch.arange(1025.0) % 7 - 3).to(device).reshape(41, 25).T.requires_grad_()"),
    Expression("(torch.arange(1025.0) % 5 - 2).to(device).reshape(25, 41)"),
)

CHANNELS_LAST = (
    Expression(
        "torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]], device=device)"
        ".contiguous(memory_format=torch.channels_last).requires_grad_()"
    ),
    Expression("torch.tensor([[[[1.0, -2.0]], [[3.0, 2.0]]]], device=device)"),
)


CHANNELS_LAST_TOO = (
    Expression(
        "(torch.arange(16.0) % 7 - 3).to(device).reshape(2, 2, 2, 2)"
        ".contiguous(memory_format=torch.channels_last).requires_grad_()"
    ),
    Expression(
        "(torch.arange(16.0) % 5 - 2).to(device).reshape(2, 2, 2, 2).contiguous(memory_format=torch.channels_last)"
    ),
)


@rule("derivatives.moving-elements.moves")
@given(drawn=a_leaf_and_digits(telling_shapes() | tails() | st.sampled_from(PICTURES)), place=ORDERS)
@example(drawn=CHANNELS_LAST, place=AS_IT_IS)
@example(drawn=CHANNELS_LAST_TOO, place=AS_IT_IS)
@example(drawn=BEYOND_NUMBERS, place=AS_IT_IS)
@example(drawn=MANY, place=AS_IT_IS)
def test_a_gradient_that_is_moved_as_the_elements_were_arrives_as_it_was(device, drawn, place):
    x, gradient = drawn
    doubled = with_gaps(-2 * gradient)
    expected = numbers(gradient), numbers(doubled)
    runs = itertools.cycle(RUNS)
    for name, move in MOVES.items():
        output = move(place(x))
        # Of one graph, in turn.
        for weights, of_x in zip((move(gradient), move(doubled)), expected, strict=True):
            x.grad = None
            found = next(runs)(output, x, weights)
            assert found.shape == x.shape, name
            assert found.dtype == x.dtype, name
            assert same(numbers(found), of_x), name


MATRIX = Expression("torch.tensor([[1.0, 2.0, 3.0], [3.0, -1.0, 0.0]], device=device).requires_grad_()")
ONE_ROW = Expression("torch.tensor([[1.0, 2.0, 3.0]], device=device).requires_grad_()")

INSIDE = (
    MATRIX,
    Expression("lambda x: x.unsqueeze(-1).expand(*x.shape, 2)"),
    Expression("torch.arange(12.0).to(device).reshape(2, 3, 2)"),
)


SEVENTEEN_TIMES = (
    Expression("torch.tensor([1.0, 2.0, 3.0], device=device).requires_grad_()"),
    Expression("lambda x: x.expand(17, 3)"),
    Expression("(torch.arange(51.0) % 7 - 3).to(device).reshape(17, 3)"),
)

OFTEN = (
    Expression("torch.tensor([1.0, 2.0, 3.0], device=device).requires_grad_()"),
    Expression("lambda x: x[torch.tensor([0, 2, -1, 0, 2, 0, 2, 2, -3, 0, 2, 0, 2, 2, 0, 0, 2], device=x.device)]"),
    Expression("(torch.arange(17.0) % 7 - 3).to(device)"),
)
"""Elements that are named nine times and eight, and one that is not."""


def gradients_of(output):
    """Two gradients of different numbers: one row by row, the other column by column or with gaps."""
    numbered = (torch.arange(output.numel()) % 7 - 3).reshape(output.shape).to(output.device, output.dtype)
    return numbered, in_columns(-2 * numbered) if output.ndim > 1 else with_gaps(-2 * numbered)


@rule("derivatives.moving-elements.copies")
@given(x=leaves(shapes(min_dims=1, max_dims=2)), place=ORDERS)
@example(x=MATRIX, place=AS_IT_IS)
@example(x=ONE_ROW, place=AS_IT_IS)
@example(x=SEVENTEEN_TIMES[0], place=AS_IT_IS)
def test_an_element_that_was_copied_gets_the_sum_of_the_gradients_of_its_copies(device, x, place):
    numbered, runs = torch.arange(x.numel()).reshape(x.shape), itertools.cycle(RUNS)
    for name, copy in COPIES.items():
        came_from, output = copy(numbered), copy(place(x))
        # Of one graph, by turns.
        for gradient in gradients_of(output):
            x.grad = None
            found = next(runs)(output, x, gradient)
            assert found.shape == x.shape, name
            assert found.dtype == x.dtype, name
            assert same(numbers(found), collected(came_from, gradient, x.numel())), name


@rule("derivatives.moving-elements.copies")
@given(drawn=moved(shapes(min_dims=1), lambda shape: st.just("lambda x: x.expand(2, *x.shape)")), place=ORDERS)
@example(drawn=INSIDE, place=AS_IT_IS)
@example(drawn=SEVENTEEN_TIMES, place=AS_IT_IS)
def test_a_gradient_of_any_layout_is_summed_over_the_copies(device, drawn, place):
    x, copy, gradient = drawn
    came_from = copy(torch.arange(x.numel()).reshape(x.shape))
    output = copy(place(x))
    for run, weights in runs_of(gradient):
        x.grad = None
        found = run(output, x, weights)
        assert found.shape == x.shape
        assert same(numbers(found), collected(came_from, weights, x.numel()))


NEEDED = ((0, 1, 2), (1, 2), (0, 2), (0,), (1,), (2,))
"""Which of three need a gradient."""


@rule("derivatives.moving-elements.copies")
@given(drawn=three_leaves(), place=ORDERS)
def test_each_tensor_of_a_stack_gets_what_belongs_to_it(device, drawn, place):
    for needed, dim in zip(NEEDED, (0, -1, -1, 0, 0, -1), strict=True):
        ours = [leaf if number in needed else leaf.detach() for number, leaf in enumerate(drawn)]
        stack = torch.stack([place(leaf) for leaf in ours], dim)
        gradient = (torch.arange(stack.numel()) % 7 - 3).reshape(stack.shape).to(stack.device, stack.dtype)
        for leaf in drawn:
            leaf.grad = None
        stack.backward(3 * gradient, retain_graph=True)
        with torch.set_grad_enabled(dim == 0):
            stack.backward(-2 * gradient)
        for number, leaf in enumerate(drawn):
            expected = numbers(gradient.select(dim, number)) if number in needed else None
            assert (None if leaf.grad is None else numbers(leaf.grad)) == expected, (needed, dim, number)


@rule("derivatives.moving-elements.choices")
@given(drawn=moved(shapes(min_dims=1, max_dims=2, min_side=3, max_side=5), basic_indices), place=ORDERS)
def test_elements_that_are_not_indexed_get_zero(device, drawn, place):
    x, choose, gradient = drawn
    came_from, output = choose(torch.arange(x.numel()).reshape(x.shape)), choose(place(x))
    for run, weights in runs_of(gradient):
        x.grad = None
        found = run(output, x, weights)
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        assert same(numbers(found), collected(came_from, weights, x.numel()))


ALWAYS = (
    0,
    -1,
    slice(1, None),
    slice(None, -1),
    slice(None, None, 2),
    slice(-2, None),
    slice(1, 1),
    (..., -1),
    (..., slice(None, None, 2)),
    (None, ..., slice(1, None)),
)
"""Indices that every tensor has whose sizes are three or more."""


@rule("derivatives.moving-elements.choices")
@given(drawn=a_leaf_and_digits(shapes(min_dims=1, max_dims=2, min_side=3, max_side=5) | TAILS), place=ORDERS)
def test_each_index_hands_a_gradient_to_what_it_chose(device, drawn, place):
    x, gradient = drawn
    numbered = torch.arange(x.numel()).reshape(x.shape)
    for choose, run in zip(ALWAYS, itertools.cycle(RUNS), strict=False):
        x.grad = None
        found = run(place(x)[choose], x, gradient[choose])
        assert found.shape == x.shape, choose
        assert same(numbers(found), collected(numbered[choose], gradient[choose], x.numel())), choose


@rule("derivatives.moving-elements.choices")
@given(drawn=a_leaf_and_digits(shapes(min_dims=1) | telling_shapes(1) | tails()), place=ORDERS)
@example(drawn=TRANSPOSED, place=AS_IT_IS)
@example(drawn=BEYOND_NUMBERS, place=AS_IT_IS)
@example(drawn=MANY, place=AS_IT_IS)
def test_elements_that_are_masked_out_get_zero(device, drawn, place):
    x, gradient = drawn
    for name, choose in MASKS.items():
        mask = choose(torch.arange(x.numel()).reshape(x.shape)).to(device)
        chosen = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)).expand(x.shape)
        expected = [weight if kept else 0 for weight, kept in zip(numbers(gradient), numbers(chosen), strict=True)]
        output = place(x)[mask]
        for run, times in zip(RUNS, (1, -2, 3), strict=True):
            x.grad = None
            found = run(output, x, times * gradient[mask])
            assert found.shape == x.shape, name
            assert same(numbers(found), [times * weight for weight in expected]), name


@rule("derivatives.moving-elements.repeats")
@given(drawn=moved(shapes(min_dims=1, min_side=1), repeating_indices), place=ORDERS)
@example(drawn=OFTEN, place=AS_IT_IS)
def test_an_element_that_was_chosen_twice_gets_both_gradients(device, drawn, place):
    x, choose, gradient = drawn
    came_from, output = choose(torch.arange(x.numel()).reshape(x.shape)), choose(place(x))
    for run, weights in runs_of(gradient):
        x.grad = None
        found = run(output, x, weights)
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        assert same(numbers(found), collected(came_from, weights, x.numel()))
