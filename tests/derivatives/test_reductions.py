"""spec/derivatives/reductions.md"""

import itertools
import math

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, layouts, leaves, places, shapes, telling_shapes
from tests.oracles import array, numbers

FULL_FLOATS = st.sampled_from(("torch.float32", "torch.float64"))

SHAPES = telling_shapes() | st.sampled_from(((2, 2), (3, 3), (2, 2, 2), (3, 3, 3), (17,), (4, 5)))
"""Among them some in which a dim can be mistaken for another, and some that are larger than a vector register."""


def in_columns(tensor):
    """The same elements, in memory with the first dim fastest."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.ndim > 1 else tensor


ORDERS = {"by rows": lambda g: g, "by columns": in_columns}
"""How the gradient of several dims lies in memory."""

AS_IT_IS = Expression("lambda x: x")
OF_SEVENTEEN = Expression("torch.ones(17, device=device, requires_grad=True)")
OF_MANY = Expression("(torch.arange(1025.0) % 7 - 3).to(device).requires_grad_()")
INFINITE = Expression(
    "torch.tensor([[1.0, float('inf'), float('inf')], [-float('inf'), 2.0, 0.0]], device=device, requires_grad=True)"
)
NEVER_FINITE = Expression("torch.full((2, 2), -float('inf'), device=device, requires_grad=True)")
WITH_NAN = Expression("torch.tensor([[1.0, float('nan'), 3.0], [2.0, 2.0, -1.0]], device=device, requires_grad=True)")
OF_COLUMNS = Expression("torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 2.0]], device=device).T.requires_grad_()")
TWICE = Expression("lambda x: (2 * x) / 2")


def ways(ndim):
    """(arguments, dims, kept) for all ways to reduce that many dims, the last of them counted from the end."""
    found = [((), tuple(range(ndim)), {})]
    if ndim == 0:
        found += [((0,), (), {}), ((-1,), (), {"keepdim": True})]
    for count in range(1, ndim + 1):
        for dims in itertools.combinations(range(ndim), count):
            named = [dim - ndim if dim == ndim - 1 else dim for dim in dims]
            named = named[0] if count == 1 else named
            found += [((named,), dims, {}), ((named,), dims, {"keepdim": True})]
    return found


MANY_DIGITS = {torch.float64: 2**30 + 1, torch.float32: 2**12 + 1, torch.float16: 2**4 + 1, torch.bfloat16: 3}
"""What makes of a small integer one that a narrower dtype rounds."""


def gradient_for(output):
    """A gradient whose neighbours differ, and have as many digits as the dtype allows."""
    numbered = (torch.arange(output.numel()) % 5 - 1).reshape(output.shape).to(output.device, output.dtype)
    return numbered * MANY_DIGITS[output.dtype]


def handed_on(gradient, shape, dims):
    """The gradient of a reduction of these dims, put beside each of the elements."""
    kept = [1 if dim in dims else size for dim, size in enumerate(shape)]
    return np.broadcast_to(array(gradient).reshape(kept), tuple(shape))


def run_twice(output, gradient, recorded):
    """Two runs through one graph. The first adds minus twice what the second adds, so that what is exact stays so; grad
    mode is on or off meanwhile, and its gradient requires grad."""
    opposite = (-2 * gradient).requires_grad_()
    with torch.set_grad_enabled(recorded):
        output.backward(opposite, retain_graph=True)
    output.backward(gradient)


@rule("derivatives.reductions.sum")
@given(x=leaves(SHAPES), place=places())
@example(x=Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"), place=TWICE)
@example(x=OF_SEVENTEEN, place=AS_IT_IS)
@example(x=OF_MANY, place=AS_IT_IS)
@example(x=INFINITE, place=AS_IT_IS)
@example(x=WITH_NAN, place=AS_IT_IS)
@example(x=OF_COLUMNS, place=AS_IT_IS)
def test_each_element_gets_the_gradient_of_the_sum_that_it_went_into(device, x, place):
    for arguments, dims, kept in ways(x.ndim):
        left = x.ndim if kept else x.ndim - len(dims)
        for order in ORDERS if left > 1 else ("by rows",):
            x.grad = None
            total = place(x).sum(*arguments, **kept)
            gradient = ORDERS[order](gradient_for(total))
            run_twice(total, gradient, recorded=bool(kept))
            assert x.grad is not None
            assert x.grad.shape == x.shape, (dims, kept, order)
            assert x.grad.dtype == x.dtype, (dims, kept, order)
            assert array(x.grad).tolist() == (-handed_on(gradient, x.shape, dims)).tolist(), (dims, kept, order)
    total = torch.sum(place(x))
    for weight in (1, float("inf"), -float("inf")):
        x.grad = None
        total.backward(torch.full_like(total, weight), retain_graph=True)
        assert x.grad is not None
        assert numbers(x.grad) == [weight] * x.numel()
    if x.ndim:
        x.grad = None
        total = torch.sum(place(x), dim=0)
        total.backward(torch.full((), 3, dtype=x.dtype, device=device).expand(total.shape))
        assert x.grad is not None
        assert numbers(x.grad) == [3] * x.numel()


@rule("derivatives.reductions.mean")
@given(x=leaves(SHAPES), place=places())
@example(x=OF_COLUMNS, place=AS_IT_IS)
@example(x=OF_MANY, place=AS_IT_IS)
@example(x=INFINITE, place=AS_IT_IS)
@example(x=WITH_NAN, place=AS_IT_IS)
def test_each_element_gets_its_part_of_the_gradient_of_the_mean(device, x, place):
    """A quotient, or a product with a rounded reciprocal of the count, is off by two eps; by none for powers of two."""
    for arguments, dims, kept in ways(x.ndim):
        mean = place(x).mean(*arguments, **kept)
        count = math.prod(x.shape[dim] for dim in dims)
        allowed = 0 if count in (1, 2, 4, 8) else 2 * torch.finfo(x.dtype).eps
        gradient = gradient_for(mean)
        # Of one graph, in turn, recorded and not.
        for weights in (gradient, in_columns(-2 * gradient)):
            x.grad = None
            with torch.set_grad_enabled(weights is gradient):
                mean.backward(weights, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape, (dims, kept)
            assert x.grad.dtype == x.dtype, (dims, kept)
            expected = handed_on(weights, x.shape, dims) / max(count, 1)
            assert (abs(array(x.grad) - expected) <= allowed * abs(expected)).all(), (dims, kept)


def std_gradient(values, weight, correction):
    """weight (x - mean) / ((n - correction) std), and how far off a float can be, in eps.

    A mean of n numbers is off by n + 1 roundings of the largest of them, and subtracting it by one more. A variance,
    even one from the sum of squares and the square of the sum, is off by 2 (n + 4) of the sum of squares over
    n - correction; the root halves what that is relatively. Four products and quotients of 2.5 eps and a root of 3
    make 13.
    """
    n = len(values)
    off = values - values.mean()
    variance = (off**2).sum() / (n - correction)
    gradient = weight * off / ((n - correction) * math.sqrt(variance))
    of_root = (n + 4) * (values**2).sum() / ((n - correction) * variance)
    of_mean = abs(weight) * (n + 2) * abs(values).max() / ((n - correction) * math.sqrt(variance))
    return gradient, of_mean + abs(gradient) * (of_root + 13)


def samples_along(dim, values):
    """A row for each sample of which a deviation over this dim, or over all, is taken."""
    return values.reshape(1, -1) if dim is None else np.moveaxis(values, dim, -1).reshape(-1, values.shape[dim])


@rule("derivatives.reductions.std")
@given(
    x=leaves(shapes(min_dims=1, min_side=2) | st.sampled_from(((17,), (33,), (2, 9))), FULL_FLOATS, layouts.WRITABLE),
    weight=st.sampled_from((2, -3)),
    correction=st.integers(0, 1),
    kept=st.booleans(),
    place=places(),
)
def test_std_weighs_each_element_by_its_distance_from_the_mean(device, x, weight, correction, kept, place):
    for dim in (None, *range(-1, x.ndim - 1)):
        deviation = place(x).std(dim, unbiased=correction == 1, keepdim=kept)
        numbered = torch.arange(deviation.numel(), device=device).reshape(deviation.shape) % 3 + 1
        # Of one graph, in turn, recorded and not.
        for times in (1, weight):
            x.grad = None
            with torch.set_grad_enabled(times == 1):
                deviation.backward(numbered.to(x.dtype) * times, retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape, dim
            assert x.grad.dtype == x.dtype, dim
            samples, found = (samples_along(dim, array(tensor)) for tensor in (x, x.grad))
            for sample, gradient, number in zip(samples, found, numbers(numbered), strict=True):
                expected, roundings = std_gradient(sample, number * times, correction)
                # Twice the eps, for errors of errors.
                assert (abs(gradient - expected) <= 2 * torch.finfo(x.dtype).eps * roundings).all(), dim


def zero_or_below(value):
    """Zeros of either sign as the largest numbers: what is written before the point."""
    return "-0" if value > 0 and value % 2 else min(value, 0)


ZEROS = Expression("torch.tensor([[-0.0, 0.0, -1.0], [0.0, -0.0, -0.0]], device=device, requires_grad=True)")


@rule("derivatives.reductions.max-of-a-dim")
@given(
    x=leaves(shapes(min_dims=1, min_side=1)) | leaves(shapes(min_dims=1, min_side=1), each=zero_or_below),
    kept=st.booleans(),
    place=places(),
)
@example(x=OF_MANY, kept=False, place=AS_IT_IS)
@example(x=INFINITE, kept=True, place=AS_IT_IS)
@example(x=NEVER_FINITE, kept=False, place=AS_IT_IS)
@example(x=WITH_NAN, kept=False, place=AS_IT_IS)
def test_the_maximum_of_a_dim_hands_its_gradient_to_the_element_at_its_index(device, x, kept, place):
    for dim in range(-x.ndim, x.ndim):
        x.grad = None
        values, indices = place(x).max(dim, keepdim=kept) if dim % 2 else torch.max(place(x), dim, keepdim=kept)
        weights = torch.arange(values.numel(), device=device).reshape(values.shape) % 4 + 1
        run_twice(values, in_columns(weights.to(x.dtype) * MANY_DIGITS[x.dtype]), recorded=dim < 0)
        assert not indices.requires_grad
        chosen, given_to = array(indices).astype(int), -array(weights) * MANY_DIGITS[x.dtype]
        if not kept:
            chosen, given_to = np.expand_dims(chosen, dim), np.expand_dims(given_to, dim)
        expected = np.zeros(x.shape)
        np.put_along_axis(expected, chosen, given_to, dim)
        assert x.grad is not None
        assert x.grad.dtype == x.dtype, dim
        assert array(x.grad).tolist() == expected.tolist(), dim


@rule("derivatives.reductions.max-of-all")
@given(
    x=leaves(shapes(min_side=1)) | leaves(shapes(min_side=1), each=zero_or_below),
    weight=st.sampled_from((1, 2, -3)),
    place=places(),
)
@example(x=ZEROS, weight=1, place=AS_IT_IS)
@example(x=OF_MANY, weight=2, place=AS_IT_IS)
@example(x=INFINITE, weight=1, place=AS_IT_IS)
@example(x=NEVER_FINITE, weight=-3, place=AS_IT_IS)
def test_the_maximum_of_all_spreads_its_gradient_over_all_that_reach_it(device, x, weight, place):
    """A quotient by the number of ties is off by two eps at most, and by none for a power of two."""
    values, most = numbers(x), max(numbers(x))
    ties = values.count(most)
    allowed = 0 if ties in (1, 2, 4, 8) else 2 * torch.finfo(x.dtype).eps
    for largest in (place(x).max(), torch.max(x)):
        # Of one graph, in turn, recorded and not.
        for times in (weight, -2):
            x.grad = None
            with torch.set_grad_enabled(times == weight):
                largest.backward(torch.full_like(largest, times), retain_graph=True)
            assert x.grad is not None
            assert x.grad.shape == x.shape
            assert x.grad.dtype == x.dtype
            for value, found in zip(values, numbers(x.grad), strict=True):
                expected = times / ties if value == most else 0
                assert abs(found - expected) <= allowed * abs(expected)
