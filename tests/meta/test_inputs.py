"""What is drawn: every strategy of tests.inputs draws text that builds, by itself, exactly what it says it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import inputs
from tests.inputs import Expression, on_the_cpu
from tests.inputs.dtypes import COMPLEX, FLOATING, INTEGRAL, TARGET
from tests.inputs.expression import build, statements
from tests.inputs.functions import ELEMENTWISE, PLACES, ROUTES
from tests.inputs.layouts import WRITABLE
from tests.inputs.modes import BLOCKS
from tests.inputs.shapes import Shape
from tests.inputs.updates import IDLE, UPDATES
from tests.inputs.values import LARGEST, integers
from tests.oracles import numbers

HERE = {"torch": torch, "np": np, "math": math, "device": "cpu", "dtype": torch.float64}
SMALL = range(-LARGEST, LARGEST + 1)

TENSORS = {
    "tensors": inputs.tensors(),
    "tensors of every dtype": inputs.tensors(dtypes=st.sampled_from(FLOATING + COMPLEX + INTEGRAL)),
    "tensors of the target's dtype": inputs.tensors(dtypes=TARGET),
    "tensors that may be written to": inputs.tensors(among=WRITABLE),
    "tensors of numpy dtypes": inputs.tensors_of_numpy_dtypes(),
    "leaves": inputs.leaves(),
    "leaves with an earlier grad": inputs.leaves(earlier_grad=True),
    "complex leaves": inputs.leaves(dtypes=inputs.dtypes.complex_(), earlier_grad=True),
    "pairs": inputs.like(inputs.leaves(earlier_grad=True)),
}
PARTS = {
    "elementwise": inputs.elementwise(),
    "linear": inputs.elementwise(linear=True),
    "places": inputs.places(),
    "routes": inputs.routes(),
    "updates": inputs.updates(idle=True),
    "blocks": inputs.blocks(),
}
PLAIN = {
    "shapes": inputs.shapes(),
    "shapes of one element": inputs.shapes_of_one_element(),
    "shapes of other sizes": inputs.shapes_of_other_sizes(),
    "telling shapes": inputs.telling_shapes(),
    "broadcasting pairs": inputs.broadcasting_pairs(),
    "tails": inputs.tails(),
}
NOT_STRATEGIES = {"Expression", "dtypes", "layouts", "on_the_cpu"}


def built(value: object) -> Any:
    """What a test's body would get."""
    return build(dict(HERE), "x", value)


def run_by_themselves(value: object) -> Any:
    """What the printed lines give to somebody who pastes them below `import torch`."""
    namespace = dict(HERE)
    exec("\n".join(statements("x", value)), namespace)
    return namespace["x"]


def members(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def told(x: torch.Tensor) -> list[object]:
    """All that can be seen of a tensor."""
    seen: list[object] = [x.tolist(), x.shape, x.stride(), x.storage_offset(), x.dtype, x.untyped_storage().nbytes()]
    seen += [x.requires_grad, x.is_leaf]
    return seen + (told(x.grad) if x.is_leaf and x.grad is not None else [])


def test_every_strategy_of_the_package_is_tested_here() -> None:
    tested = {"tensors", "leaves", "like", "arrays", "tensors_of_numpy_dtypes", "elementwise", "routes", "updates"}
    tested |= {
        "blocks",
        "places",
        "shapes",
        "tails",
        "shapes_of_one_element",
        "shapes_of_other_sizes",
        "telling_shapes",
    }
    assert set(inputs.__all__) - NOT_STRATEGIES == tested | {"broadcasting_pairs"}


def test_a_tensor_can_be_had_on_the_cpu_with_its_state_and_its_facts() -> None:
    far = Expression("torch.ones(2, device=device)", ("{it}.requires_grad_()",), frozenset({"a"}), {"shape": (2,)})
    near = on_the_cpu(far)
    assert near.source == 'torch.ones(2, device="cpu")'
    assert (near.then, near.dtypes, near.facts) == (far.then, far.dtypes, far.facts)


@pytest.mark.parametrize("strategy", TENSORS.values(), ids=TENSORS)
@given(data=st.data())
def test_a_tensor_is_what_its_text_prints_and_its_facts_say_with_small_integers(
    strategy: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    drawn = data.draw(strategy)
    for x, pasted, expression in zip(*map(members, (built(drawn), run_by_themselves(drawn), drawn)), strict=True):
        assert told(x) == told(pasted)
        assert x.data_ptr() != pasted.data_ptr() or x.numel() == 0
        assert x.shape == expression.facts["shape"]
        assert x.dtype == eval(expression.facts["dtype"], dict(HERE))
        assert all(value in SMALL for number in numbers(x) for value in (number.real, number.imag))


@given(drawn=inputs.tensors(dtypes=st.sampled_from(FLOATING + COMPLEX + INTEGRAL)))
def test_an_expression_says_which_dtypes_it_names(drawn: Expression) -> None:
    assert drawn.dtypes == {drawn.facts["dtype"]}
    assert all(dtype in drawn.source for dtype in drawn.dtypes)


@given(drawn=inputs.leaves(dtypes=TARGET))
def test_the_dtype_of_the_target_is_not_named(drawn: Expression) -> None:
    assert drawn.dtypes == frozenset()
    assert "torch.float" not in drawn.source


@given(drawn=inputs.leaves(dtypes=inputs.dtypes.differentiable(), earlier_grad=True))
def test_leaves_are_leaves_whatever_happened_before(drawn: Expression) -> None:
    leaf = built(drawn)
    assert leaf.is_leaf
    assert leaf.requires_grad
    assert leaf.grad is None or leaf.grad.shape == leaf.shape
    assert (leaf.grad is None) == (drawn.then == ())


def test_every_earlier_state_of_grad_is_among_a_hundred_draws() -> None:
    grads = set()

    @given(drawn=inputs.leaves(inputs.shapes(min_side=1), earlier_grad=True))
    def draw(drawn: Expression) -> None:
        grad = built(drawn).grad
        grads.add(None if grad is None else numbers(grad)[0])

    draw()
    assert grads == {None, 0, 2, 3}


@given(pair=inputs.like(inputs.leaves(dtypes=inputs.dtypes.differentiable())))
def test_a_pair_has_one_shape_and_one_dtype(pair: tuple[Expression, Expression]) -> None:
    leaf, other = built(pair)
    assert (other.shape, other.dtype, other.requires_grad) == (leaf.shape, leaf.dtype, False)


@given(drawn=inputs.arrays())
def test_an_array_is_what_its_text_prints_and_its_facts_say_with_small_integers(drawn: Expression) -> None:
    array, pasted = built(drawn), run_by_themselves(drawn)
    assert (array.tolist(), array.strides, array.dtype) == (pasted.tolist(), pasted.strides, pasted.dtype)
    assert (array.shape, array.dtype) == (drawn.facts["shape"], eval(drawn.facts["dtype"], dict(HERE)))
    assert array.flags.writeable
    assert all(value in SMALL for value in array.ravel().tolist())


@pytest.mark.parametrize("strategy", PARTS.values(), ids=PARTS)
@given(data=st.data())
def test_functions_print_as_one_expression(strategy: st.SearchStrategy[Any], data: st.DataObject) -> None:
    drawn = data.draw(strategy)
    assert len(statements("x", drawn)) == 1
    assert callable(members(built(drawn))[0])


@pytest.mark.parametrize("strategy", PLAIN.values(), ids=PLAIN)
@given(data=st.data())
def test_shapes_are_drawn_as_they_are(strategy: st.SearchStrategy[Any], data: st.DataObject) -> None:
    drawn = data.draw(strategy)
    assert run_by_themselves(drawn) == drawn


@pytest.mark.parametrize("pair", ELEMENTWISE, ids=lambda pair: pair[0])
def test_the_derivative_of_a_function_is_its_derivative(pair: tuple[str, str]) -> None:
    """For a cubic, (4 D(1) - D(2)) / 3 is its derivative, where D(h) is the central difference of width h."""
    function, derivative = built((Expression(pair[0]), Expression(pair[1])))

    def difference(value: int, width: int) -> float:
        ends = torch.tensor([value + width, value - width], dtype=torch.float64)
        above, below = function(ends).tolist()
        return float(above - below) / (2 * width)

    for value in SMALL:
        assert derivative(value) == (4 * difference(value, 1) - difference(value, 2)) / 3


def test_linear_functions_have_the_same_derivative_everywhere() -> None:
    @given(pair=inputs.elementwise(linear=True))
    def draw(pair: tuple[Expression, Expression]) -> None:
        _, derivative = built(pair)
        assert len({derivative(value) for value in SMALL}) == 1

    draw()


@given(drawn=inputs.tensors())
def test_a_route_keeps_every_element(drawn: Expression) -> None:
    for route in ROUTES:
        x = built(drawn)
        assert sorted(numbers(built(Expression(route))(x))) == sorted(numbers(x)), route


@given(drawn=inputs.leaves())
def test_a_place_in_the_graph_changes_neither_elements_nor_shape(drawn: Expression) -> None:
    for place in PLACES:
        x = built(drawn)
        moved = built(Expression(place))(x)
        assert (moved.shape, numbers(moved)) == (x.shape, numbers(x)), place


@given(drawn=inputs.tensors(each=lambda value: value or 4))
def test_each_element_is_what_is_made_of_it(drawn: Expression) -> None:
    assert 0 not in numbers(built(drawn))


@given(drawn=inputs.tensors(among=WRITABLE))
def test_an_update_makes_of_each_element_what_it_says(drawn: Expression) -> None:
    for source, value_source in UPDATES + IDLE:
        x = built(drawn)
        before, version = numbers(x), x._version
        update, value = built((Expression(source), Expression(value_source)))
        update(x)
        assert numbers(x) == [value(number) for number in before], source
        assert x._version > version, source


@pytest.mark.parametrize("records", [True, False, None])
def test_a_block_records_as_it_says(records: bool | None) -> None:
    seen = set()

    @given(drawn=inputs.blocks(recording=records))
    def draw(drawn: tuple[Expression, bool]) -> None:
        block, said = built(drawn)
        for outside in (True, False):
            with torch.set_grad_enabled(outside), block():
                assert torch.is_grad_enabled() is said
        seen.add(drawn[0].source)

    draw()
    assert seen == {source for source, said in BLOCKS if records in (said, None)}


@given(count=st.integers(0, 60), data=st.data())
def test_values_follow_a_pattern_in_which_neighbours_differ(count: int, data: st.DataObject) -> None:
    values = data.draw(integers(count))
    assert len(values) == count
    assert all(value in SMALL for value in values)
    assert all(one != other for one, other in pairwise(values))


@given(shape=inputs.shapes(min_dims=1, max_dims=4, min_side=1, max_side=2))
def test_shapes_keep_their_bounds(shape: Shape) -> None:
    assert 1 <= len(shape) <= 4
    assert set(shape) <= {1, 2}


@given(one=inputs.shapes_of_one_element(), other=inputs.shapes_of_other_sizes())
def test_shapes_of_one_element_have_one_and_others_have_not(one: Shape, other: Shape) -> None:
    assert math.prod(one) == 1
    assert math.prod(other) != 1


def test_tails_are_around_every_width_of_a_vector_register() -> None:
    sizes: set[int] = set()

    @given(shape=inputs.tails())
    def draw(shape: Shape) -> None:
        sizes.add(math.prod(shape))

    draw()
    assert (min(sizes), max(sizes)) == (5, 33)
    assert {8, 16} <= sizes
    for register in (4, 8, 16, 32):
        assert any(size > register and size % register for size in sizes)


def kinds_of(shape: Shape) -> set[str]:
    kinds = {f"{len(shape)}-d", *(f"a side of {side}" for side in shape)}
    return kinds | ({"empty"} if 0 in shape else set())


def test_every_kind_of_shape_is_among_a_hundred_draws() -> None:
    seen: set[str] = set()

    @given(shape=inputs.shapes())
    def draw(shape: Shape) -> None:
        seen.update(kinds_of(shape))

    draw()
    assert seen == {"0-d", "1-d", "2-d", "3-d", "empty", *(f"a side of {side}" for side in range(4))}


def test_either_of_two_shapes_that_broadcast_is_the_one_that_is_stretched() -> None:
    stretched = set()

    @given(pair=inputs.broadcasting_pairs())
    def draw(pair: tuple[Shape, Shape]) -> None:
        whole = tuple(torch.broadcast_shapes(*pair))
        stretched.update(position for position, shape in enumerate(pair) if shape != whole)

    draw()
    assert stretched == {0, 1}


FLOAT_1 = "dtype=torch.float32, device=device)"


@pytest.mark.parametrize(
    ("strategy", "condition", "smallest"),
    [
        (inputs.tensors(), lambda x: True, f"torch.tensor(1., {FLOAT_1}"),
        (inputs.leaves(earlier_grad=True), lambda x: True, f"torch.tensor(1., {FLOAT_1}.requires_grad_()"),
        (inputs.tensors(), lambda x: x.ndim > 0, f"torch.tensor([1.], {FLOAT_1}"),
        (inputs.tensors(), lambda x: x.numel() > 1, f"torch.tensor([1., 2.], {FLOAT_1}"),
        (inputs.tensors(), lambda x: x.ndim > 1 and not x.is_contiguous(), None),
        (inputs.tensors(), lambda x: 0 in x.stride(), None),
        (inputs.leaves(earlier_grad=True), lambda x: x.grad is not None and x.numel() > 2, None),
    ],
)
def test_shrinking_ends_at_a_small_example(
    strategy: st.SearchStrategy[Expression], condition: Callable[[torch.Tensor], bool], smallest: str | None
) -> None:
    found = hypothesis.find(strategy, lambda drawn: condition(built(drawn)), settings=settings(database=None))
    assert condition(built(found))
    assert built(found).numel() <= 4
    assert smallest in (None, repr(found))
