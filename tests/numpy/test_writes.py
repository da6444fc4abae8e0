"""spec/numpy/writes.md"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import arrays, leaves, telling_shapes
from tests.inputs.arrays import APART, COMPLEX, FLOATING, SIGNED
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
from tests.oracles import disjoint, numbers

IN_PLACE = (
    (lambda x: x.add_(1), lambda v: v + 1),
    (lambda x: x.mul_(2), lambda v: v * 2),
    (lambda x: x.__isub__(x), lambda v: 0),
    (lambda x: x.fill_(5), lambda v: 5),
    (lambda x: x.neg_(), lambda v: -v),
    (lambda x: x.__imul__(3), lambda v: v * 3),
    (lambda x: x.copy_(x + 1), lambda v: v + 1),
    (lambda x: x[...].add_(2), lambda v: v + 2),
    (lambda x: x.__setitem__(..., 4), lambda v: 4),
)
"""Operations that write to a tensor, and what they make of each element."""

NEW = (
    lambda x: x + 1,
    lambda x: x + 0,
    lambda x: x * 1,
    lambda x: -x,
    lambda x: x.clone(),
    lambda x: x * x,
    lambda x: x.add(2).mul(3),
)
SAVING = (
    (lambda x: x * x, lambda v: 2 * v),
    (lambda x: x * x.view_as(x), lambda v: 2 * v),
    (lambda x: x.square(), lambda v: 2 * v),
    (lambda x: x.pow(2), lambda v: 2 * v),
    (lambda x: (3 * x) * x.detach(), lambda v: 3 * v),
)
"""Functions that save nothing but `x` for backward, and their derivative."""

ORDINARY = (*FLOATING[:2], *SIGNED, *COMPLEX)


@rule("numpy.writes.in-place-only")
@also(*UNRECORDED)
@given(a=arrays(dtypes=ORDINARY, among=APART))
def test_an_in_place_operation_changes_the_array_with_the_tensor(device, a):
    for operation, written in IN_PLACE:
        x = torch.from_numpy(a)
        expected = [written(value) for value in a.reshape(-1).tolist()]
        operation(x)
        assert a.reshape(-1).tolist() == expected
        assert numbers(x) == expected
        x = torch.tensor(a)
        array, copy = x.numpy(), x.clone()
        operation(x)
        assert array.reshape(-1).tolist() == numbers(x) == [written(value) for value in expected]
        assert numbers(copy) == expected


@rule("numpy.writes.in-place-only")
@also(*UNRECORDED)
@given(a=arrays(dtypes=ORDINARY))
def test_an_operation_that_makes_a_new_tensor_leaves_the_array_alone(device, a):
    for operation in NEW:
        x = torch.tensor(a)
        before = a.tolist()
        for origin, array in ((torch.from_numpy(a), a), (x, x.numpy())):
            y = operation(origin)
            assert array.tolist() == before
            assert disjoint(y, array)


@rule("numpy.writes.unseen-by-autograd")
@also(*BACKWARD)
@given(leaf=leaves(telling_shapes(), st.sampled_from(("torch.float32", "torch.float64"))))
def test_backward_computes_with_what_numpy_wrote(device, leaf):
    for function, derivative in SAVING:
        loss = function(leaf).sum()
        array = leaf.detach().numpy()
        array[...] = 5 - array
        leaf.grad = None
        loss.backward()
        assert numbers(leaf.grad) == [derivative(value) for value in array.reshape(-1).tolist()]
