"""spec/derivatives/moving-elements.md"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, places
from tests.inputs import shapes as any_shapes
from tests.inputs.tensors import tensor_of
from tests.oracles import numbers

MOVES = (
    "lambda x: x.reshape(-1)",
    "lambda x: x.contiguous().view(-1)",
    "lambda x: x.reshape(x.shape[::-1])",
    "lambda x: x.view(*x.shape, 1)",
    "lambda x: x.T if x.ndim == 2 else x",
    "lambda x: x.transpose(0, -1) if x.ndim else x",
    "lambda x: x.permute(*range(1, x.ndim), 0) if x.ndim else x",
    "lambda x: x.unsqueeze(-1)",
    "lambda x: x[None]",
    "lambda x: x.squeeze()",
    "lambda x: x.flatten()",
    "lambda x: x.clone()",
)
COPIES = (
    "lambda x: x.expand(2, *x.shape)",
    "lambda x: x.unsqueeze(-1).expand(*x.shape, 2)",
    "lambda x: x[None, None].expand(2, 1, *x.shape)",
    "lambda x: torch.stack([x, x])",
)
"""Functions that put elements elsewhere; the second kind in two places each."""

BASIC = ("0", "-1", "1:", "::2", ":-1", ":", "1:1", "None", "...")
"""What may stand between the brackets for one dimension of at least two, or for none."""


def on_the_device(listed):
    return f"torch.tensor({listed}, device=x.device)"


def moves(sources):
    """Two of these functions, one after the other."""
    return st.tuples(*[st.sampled_from(MOVES), st.sampled_from(sources)]).flatmap(st.permutations).map(tuple)


@st.composite
def moved(draw, shapes, functions):
    """(leaf, move, gradient): a leaf, a function of it, and a gradient for what the function gives."""
    leaf = draw(leaves(shapes))
    sources = draw(functions(leaf.facts["shape"]))
    shape = torch.empty(leaf.facts["shape"])
    for source in sources:
        shape = eval(source, {"torch": torch})(shape)
    nested = sources[0] if len(sources) == 1 else f"lambda x: ({sources[1]})(({sources[0]})(x))"
    return leaf, Expression(nested), tensor_of(draw, tuple(shape.shape), leaf.facts["dtype"])


@st.composite
def basic_indices(draw, shape):
    """One entry a dimension, at most; None and ... besides."""
    taken = [draw(st.sampled_from(BASIC[:7])) for _ in range(draw(st.integers(0, len(shape))))]
    if draw(st.booleans()):
        taken.insert(draw(st.integers(0, len(taken))), draw(st.sampled_from(BASIC[7:])))
    return (f"lambda x: x[{', '.join(taken) or '...'}]",)


@st.composite
def masks(draw, shape):
    """A mask of the first dimension or of all of them."""
    sides = draw(st.sampled_from((shape[:1], shape)))
    start = draw(st.integers(0, 3))
    mask = (torch.arange(torch.Size(sides).numel()) * 3 % 5 > start).reshape(sides).tolist()
    return (f"lambda x: x[{on_the_device(mask)}]",)


@st.composite
def repeating_indices(draw, shape):
    """A tensor of indices, in one dimension or two, that names an element more than once."""
    indices = draw(st.lists(st.integers(-shape[0], shape[0] - 1), min_size=2, max_size=4))
    listed = [*indices, indices[0]]
    spelled = on_the_device(listed if draw(st.booleans()) else [listed, listed])
    behind = draw(st.sampled_from(("", ", ..., 0", ", ..., None") if len(shape) > 1 else ("",)))
    return (f"lambda x: x[{spelled}{behind}]",)


def collected(places, gradient, count):
    """For each of `count` elements the sum of the gradients at the places that it was put to."""
    sums = [0] * count
    for place, weight in zip(numbers(places), numbers(gradient), strict=True):
        sums[place] += weight
    return sums


@rule("derivatives.moving-elements.moves")
@given(drawn=moved(any_shapes(), lambda shape: moves(MOVES)), place=places())
def test_the_gradient_goes_back_the_way_that_the_elements_came(device, drawn, place):
    x, move, gradient = drawn
    came_from = move(torch.arange(x.numel()).reshape(x.shape))
    move(place(x)).backward(gradient)
    assert x.grad.shape == x.shape
    assert numbers(x.grad) == collected(came_from, gradient, x.numel())


@rule("derivatives.moving-elements.copies")
@given(drawn=moved(any_shapes(), lambda shape: moves(COPIES)), place=places())
def test_an_element_that_was_copied_gets_the_sum_of_the_gradients_of_its_copies(device, drawn, place):
    x, move, gradient = drawn
    came_from = move(torch.arange(x.numel()).reshape(x.shape))
    move(place(x)).backward(gradient)
    assert x.grad.shape == x.shape
    assert numbers(x.grad) == collected(came_from, gradient, x.numel())


@rule("derivatives.moving-elements.choices")
@given(
    drawn=moved(any_shapes(min_side=2), basic_indices) | moved(any_shapes(min_dims=1, min_side=1), masks),
    place=places(),
)
def test_elements_that_were_not_chosen_get_zero(device, drawn, place):
    x, choice, gradient = drawn
    came_from = choice(torch.arange(x.numel()).reshape(x.shape))
    choice(place(x)).backward(gradient)
    assert x.grad.shape == x.shape
    assert numbers(x.grad) == collected(came_from, gradient, x.numel())


@rule("derivatives.moving-elements.repeats")
@given(drawn=moved(any_shapes(min_dims=1, min_side=1), repeating_indices), place=places())
def test_an_element_that_was_chosen_twice_gets_both_gradients(device, drawn, place):
    x, choice, gradient = drawn
    came_from = choice(torch.arange(x.numel()).reshape(x.shape))
    choice(place(x)).backward(gradient)
    assert x.grad.shape == x.shape
    assert numbers(x.grad) == collected(came_from, gradient, x.numel())
