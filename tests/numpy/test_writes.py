"""spec/numpy/writes.md"""

import itertools

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, arrays, leaves, like, telling_shapes
from tests.inputs.arrays import APART, COMPLEX, FLOATING, SIGNED
from tests.inputs.circumstances import BACKWARD, UNRECORDED, also
from tests.inputs.layouts import WRITABLE
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
    (lambda x: x.sub_(2), lambda v: v - 2),
    (lambda x: x.zero_(), lambda v: 0),
    (lambda x: x.__iadd__(x), lambda v: 2 * v),
    (lambda x: x.detach().mul_(3), lambda v: v * 3),
    (lambda x: x.data.sub_(1), lambda v: v - 1),
    (lambda x: x.square_(), lambda v: v * v),
    (lambda x: x.unsqueeze(0).transpose(0, -1).add_(1), lambda v: v + 1),
    (lambda x: x.masked_fill_(x == 1, 5), lambda v: 5 if v == 1 else v),
    (lambda x: x.__setitem__(x != 2, 0), lambda v: 2 if v == 2 else 0),
    (lambda x: x.add_(x, alpha=2), lambda v: 3 * v),
    (lambda x: x.mul_(x.clone()), lambda v: v * v),
    (lambda x: x.add_(torch.ones_like(x)), lambda v: v + 1),
    (lambda x: torch.mul(x.detach(), 2, out=x.detach()), lambda v: v * 2),
    (lambda x: torch.add(x.detach(), x.detach(), out=x.detach()), lambda v: v * 2),
    (lambda x: x.fill_(torch.tensor(2).to(x.device)), lambda v: 2),
    (lambda x: x.pow_(2), lambda v: v * v),
    (lambda x: x.reshape(-1)[:0].add_(1), lambda v: v),
    (lambda x: x.copy_(torch.zeros((), dtype=x.dtype)), lambda v: 0),
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
    lambda x: 1 + x,
    lambda x: 0 + x,
    lambda x: 1 * x,
    lambda x: x - 0,
    lambda x: 0 - x,
    lambda x: torch.add(x, 0),
    lambda x: torch.mul(x, 1),
    lambda x: x / 1,
    lambda x: x.pow(1),
    lambda x: x.to(x.dtype, copy=True),
    lambda x: torch.clone(x).detach(),
    lambda x: torch.cat([x[None]]),
    lambda x: torch.stack([x]),
    lambda x: x[None].repeat(1, *[1] * x.ndim),
    lambda x: x[x == x],
    lambda x: x[None].flip(0),
    lambda x: torch.where(x == x, x, x),
    lambda x: x.sum(),
    lambda x: x.abs(),
    lambda x: x.conj_physical() if x.is_complex() else x.clamp(min=-9),
    lambda x: x - x,
    lambda x: x * 2,
    lambda x: 2 * x,
    lambda x: torch.ones_like(x) * x,
    lambda x: x.sub(0),
    lambda x: torch.neg(x),
    lambda x: x.masked_fill(x != x, 1),
    lambda x: x.prod(),
    lambda x: torch.zeros_like(x),
    lambda x: x.square(),
    lambda x: x.clone(memory_format=torch.contiguous_format),
)
SAVING = (
    (lambda x: x * x, lambda v: 2 * v),
    (lambda x: x * x.view_as(x), lambda v: 2 * v),
    (lambda x: x.square(), lambda v: 2 * v),
    (lambda x: x.pow(2), lambda v: 2 * v),
    (lambda x: (3 * x) * x.detach(), lambda v: 3 * v),
)
"""Functions that save nothing but `x` for backward, and their derivative."""

WRITERS = (
    lambda leaf: leaf.detach().numpy(),
    lambda leaf: np.asarray(leaf.data),
    lambda leaf: leaf.numpy(force=True),
    lambda leaf: leaf.detach()[None].numpy()[0, ...],
)

DIFFERENTIABLE = (*FLOATING[:2], *COMPLEX)
ORDINARY = (*DIFFERENTIABLE, *SIGNED)


@rule("numpy.writes.in-place-only")
@also(*UNRECORDED)
@given(a=arrays(dtypes=ORDINARY, among=APART))
@example(a=Expression("np.arange(-16.0, 17.0)"))
@example(a=Expression("np.arange(-10, 11).reshape(3, 7).T"))
def test_an_in_place_operation_changes_the_array_with_the_tensor(device, a):
    drawn = a.copy()
    values = a.reshape(-1).tolist()
    base = a if a.base is None else a.base
    for operation, written in IN_PLACE:
        expected = [written(value) for value in values]
        a[...] = drawn
        x, twin = torch.from_numpy(a), torch.as_tensor(a)
        operation(x)
        assert a.reshape(-1).tolist() == expected
        assert numbers(x) == numbers(twin) == expected
        x.zero_()
        assert not np.any(a)
        assert base is a or not np.any(base)  # nothing was written beside the elements
        x = torch.tensor(drawn)
        array, copy = x.numpy(), x.clone()
        operation(x)
        assert array.reshape(-1).tolist() == numbers(x) == expected
        x.zero_()
        assert not np.any(array)
        assert numbers(copy) == values


@rule("numpy.writes.in-place-only")
@given(a=arrays(dtypes=DIFFERENTIABLE, among=APART))
def test_what_requires_grad_changes_its_array_in_place(device, a):
    drawn = a.copy()
    values = a.reshape(-1).tolist()
    for operation, written in IN_PLACE:
        expected = [written(value) for value in values]
        a[...] = drawn
        leaf = torch.from_numpy(a).requires_grad_()
        with torch.no_grad():
            operation(leaf)
        assert a.reshape(-1).tolist() == numbers(leaf) == expected
        a[...] = drawn
        result = leaf * 1
        array = result.detach().numpy()
        operation(result)
        assert array.reshape(-1).tolist() == numbers(result) == expected
        assert a.reshape(-1).tolist() == values


@rule("numpy.writes.in-place-only")
@also(*UNRECORDED)
@given(a=arrays(dtypes=ORDINARY))
def test_an_operation_that_makes_a_new_tensor_leaves_the_array_alone(device, a):
    for operation in NEW:
        x = torch.tensor(a)
        x.requires_grad_(x.is_floating_point() or x.is_complex())
        before = a.tolist()
        for origin, array in ((torch.from_numpy(a), a), (x, x.detach().numpy())):
            y = operation(origin)
            assert y is not origin
            assert array.tolist() == before
            assert not np.shares_memory(y.detach().numpy(), array)
            if array is a:
                assert disjoint(y, array)


@rule("numpy.writes.in-place-only")
@also(*UNRECORDED)
@given(a=arrays(dtypes=ORDINARY, among=APART), other=st.sampled_from((1, 2)))
@example(a=Expression("np.arange(34.)[::2]"), other=2)
def test_an_operand_is_read_alone_wherever_it_stands(device, a, other):
    before = a.tolist()
    x = torch.from_numpy(a)
    for operation in (
        lambda one, two: one + two,
        lambda one, two: two * one,
        lambda one, two: one - two,
        lambda one, two: one.add_(two),
        lambda one, two: one.mul_(two),
        lambda one, two: one.copy_(two),
        lambda one, two: torch.add(two, one, alpha=2),
        lambda one, two: torch.mul(two, one, out=one),
        lambda one, two: one.__iadd__(two),
        lambda one, two: torch.where(one == one, two, one),
    ):
        made = operation(torch.full_like(x, other), x)
        assert a.tolist() == x.tolist() == before
        made.zero_()
        assert a.tolist() == x.tolist() == before
    x = x + 1
    x += 1
    assert a.tolist() == before


@rule("numpy.writes.unseen-by-autograd")
@also(*BACKWARD)
@given(leaf=leaves(telling_shapes(), st.sampled_from(("torch.float32", "torch.float64"))))
def test_backward_computes_with_what_numpy_wrote(device, leaf):
    early = leaf.detach().numpy()
    for (function, derivative), view in zip(SAVING, itertools.cycle(WRITERS)):
        loss = function(leaf).sum()
        array = early if function is SAVING[1][0] else view(leaf)
        for write in (lambda array: 5 - array, lambda array: array * 2 - 1):
            array[...] = write(array)
            leaf.grad = None
            loss.backward(retain_graph=True)
            assert numbers(leaf.grad) == [derivative(value) for value in array.reshape(-1).tolist()]


@rule("numpy.writes.unseen-by-autograd")
@also(*BACKWARD)
@given(pair=like(leaves(telling_shapes(), st.sampled_from(("torch.float32", "torch.float64"))), WRITABLE))
def test_backward_computes_with_what_numpy_wrote_to_constants_and_results(device, pair):
    leaf, constant = pair
    result = leaf * 2
    squashed = leaf.relu()
    divisor, mask = torch.ones_like(constant), torch.ones(leaf.shape, dtype=torch.bool, device=device)
    of_divisor, of_mask = divisor.numpy(), mask.numpy()
    chosen, quotient = torch.where(mask, leaf, 0 * leaf), leaf / divisor
    covered, matrix = leaf.masked_fill(mask, 0), constant.reshape(1, -1).clone()
    product, of_matrix = matrix @ leaf.reshape(-1, 1), matrix.numpy()
    of_divisor[...], of_mask[...], of_matrix[...] = 2, False, 5
    for output, slope in ((chosen, 0), (quotient, 0.5), (covered, 1), (product, 5)):
        leaf.grad = None
        output.backward(torch.ones_like(output))
        assert numbers(leaf.grad) == [slope] * leaf.numel()
    array, of_result, of_squashed = constant.numpy(), result.detach().numpy(), squashed.detach().numpy()
    over_array = torch.from_numpy(array)
    for output, written, factor in (
        (leaf * constant, array, 1),
        (constant * leaf, array, 1),
        (leaf * over_array, array, 1),
        (leaf.mul(constant.view_as(constant)), array, 1),
        (result * result, of_result, 4),
        (result.pow(2), of_result, 4),
    ):
        written[...] = 4 - written
        leaf.grad = None
        output.backward(torch.ones_like(output), retain_graph=True)
        assert numbers(leaf.grad) == [factor * value for value in written.reshape(-1).tolist()]
    of_squashed[...] = 1 - of_squashed
    leaf.grad = None
    squashed.backward(torch.ones_like(squashed))  # what relu saves is its result
    assert numbers(leaf.grad) == [float(value > 0) for value in of_squashed.reshape(-1).tolist()]
