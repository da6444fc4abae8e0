"""spec/detach/in-place.md"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, elementwise, layouts, leaves, shapes, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, NO_GRAD, also
from tests.oracles import numbers, state

NOT_A_VIEW = st.sampled_from(
    [
        "lambda x: x.clone()",
        "lambda x: x * 2",
        "lambda x: x.clone().clone()",
        "lambda x: x.detach().clone()",
        "lambda x: x.detach().clone().requires_grad_()",
    ]
).map(Expression)

TRANSPOSED = leaves(shapes(min_dims=2, min_side=2), among=(layouts.transposed,))
"""Leaves whose copies and results, which are no views, are not contiguous either."""

VIEWS = st.sampled_from(
    [
        "lambda x: x.view_as(x)",
        "lambda x: x.unsqueeze(0)",
        "lambda x: x[..., :1] if x.ndim else x[None]",
        "lambda x: x.reshape(x.shape)",
        "lambda x: x.unbind()[0] if x.ndim and x.shape[0] else x[None]",
        "lambda x: x.unsqueeze(0).expand(2, *x.shape).unbind()[1]",
        "lambda x: x.detach().view_as(x)",
    ]
).map(Expression)


@rule("detach.in-place.becomes-leaf")
@also(NO_GRAD)
@given(leaf=st.one_of(leaves(dtypes=dtypes.differentiable()), TRANSPOSED), place=NOT_A_VIEW, block_and_mode=blocks())
def test_detached_in_place_the_same_tensor_is_a_leaf_over_the_same_memory(device, leaf, place, block_and_mode):
    block, _ = block_and_mode
    tensor = place(leaf)
    before = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.cpu().tolist())
    with block():
        assert tensor.detach_() is tensor
    assert (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.cpu().tolist()) == before
    assert tensor.is_leaf
    assert not tensor.requires_grad
    assert tensor.grad_fn is None


@rule("detach.in-place.earlier-results-keep-graph")
@also(*BACKWARD)
@given(leaf=leaves(), first=elementwise(), second=elementwise(linear=True))
def test_earlier_results_still_lead_to_the_leaves_and_later_ones_do_not(device, leaf, first, second):
    function, derivative = first
    following, slope = second
    tensor = function(leaf).clone()
    earlier = following(tensor)
    tensor.detach_()
    assert not following(tensor).requires_grad
    earlier.sum().backward()
    assert numbers(leaf.grad) == [derivative(v) * slope(v) for v in numbers(leaf)]


@rule("detach.in-place.views-refused")
@also(NO_GRAD, AS_RESULTS)
@given(
    base=st.one_of(leaves(dtypes=dtypes.differentiable()), tensors(dtypes=dtypes.differentiable())),
    place=st.sampled_from(["lambda x: x", "lambda x: x.clone()"]).map(Expression),
    view=VIEWS,
)
def test_a_view_cannot_be_detached_in_place_and_stays_as_it_is(device, base, place, view):
    owner = place(base)
    viewing = view(owner)
    before = state(owner, viewing)
    with pytest.raises(RuntimeError, match="Can't detach views in-place") as refusal:
        viewing.detach_()
    assert refusal.type is RuntimeError
    assert state(owner, viewing) == before
