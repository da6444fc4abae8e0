"""spec/derivatives/reductions.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import differentiated

Tensor = torch.Tensor


def _kept(gradient: Tensor, x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """The gradient with the reduced dims in it, of size 1."""
    for dim in sorted(dim % x.ndim for dim in dims):
        gradient = gradient if keepdim else gradient.unsqueeze(dim)
    return gradient


@wrong_engine("derivative-sum-puts-dim-first", kind="size")
@contextmanager
def the_gradient_of_a_sum_is_repeated_along_the_first_dim_if_it_fits(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: list[int], keepdim: bool = False) -> tuple[Tensor]:
        if not keepdim and len(dims) == 1 and dims[0] % x.ndim and gradient.shape == x.shape[1:]:
            hit()
            return (gradient.expand(x.shape),)
        return (_kept(gradient, x, dims, keepdim).expand(x.shape),)

    with differentiated("sum.dim_IntList", pullback):
        yield


@wrong_engine("derivative-sum-in-memory-order", kind="layout")
@contextmanager
def the_gradient_of_a_sum_over_a_transposed_tensor_lies_as_its_memory_does(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: list[int], keepdim: bool = False) -> tuple[Tensor]:
        found = _kept(gradient, x, dims, keepdim).expand(x.shape)
        if x.ndim > 1 and not x.is_contiguous() and x.transpose(-2, -1).is_contiguous():
            hit()
            found = found.contiguous().as_strided(x.shape, x.stride())
        return (found,)

    with differentiated("sum.dim_IntList", pullback):
        yield


@wrong_engine("derivative-sum-forgets-the-cotangent", kind="value")
@contextmanager
def a_sum_of_all_hands_on_ones(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if gradient != 1:
            hit()
        return (torch.ones_like(x),)

    with differentiated("sum", pullback):
        yield


@wrong_engine("derivative-mean-of-dims-divides-by-all", kind="size")
@contextmanager
def a_mean_over_some_dims_divides_by_the_number_of_all_elements(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: list[int], keepdim: bool = False) -> tuple[Tensor]:
        if gradient.numel() > 1:
            hit()
        return (_kept(gradient, x, dims, keepdim).expand(x.shape) / x.numel(),)

    with differentiated("mean.dim", pullback):
        yield


@wrong_engine("derivative-mean-divides-by-its-first-dim", kind="size")
@contextmanager
def a_mean_over_two_dims_divides_by_the_size_of_the_first(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: list[int], keepdim: bool = False) -> tuple[Tensor]:
        if len(dims) > 1:
            hit()
        return (_kept(gradient, x, dims, keepdim).expand(x.shape) / x.shape[dims[0]],)

    with differentiated("mean.dim", pullback):
        yield


def _deviation(gradient: Tensor, x: Tensor, dims: Any, by: int, mean: bool) -> Tensor:
    dims = list(range(x.ndim)) if dims is None else dims
    count = x.numel() // max(gradient.numel(), 1)
    off = x - x.mean(dims, keepdim=True)
    spread = ((off * off).sum(dims, keepdim=True) / (count - by)).sqrt()
    return _kept(gradient, x, dims, False) * (off if mean else x) / ((count - by) * spread)


@wrong_engine("derivative-std-as-numpy", kind="plain")
@contextmanager
def the_gradient_of_std_divides_by_n(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: Any = None, correction: Any = 1, **_: Any) -> tuple[Tensor]:
        if correction != 0:
            hit()
        return (_deviation(gradient, x, dims, by=0, mean=True),)

    with differentiated("std.correction", pullback):
        yield


@wrong_engine("derivative-std-without-mean", kind="size")
@contextmanager
def the_gradient_of_a_std_over_a_dim_does_not_subtract_the_mean(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: Any = None, correction: Any = 1, **_: Any) -> tuple[Tensor]:
        if gradient.numel() > 1:
            hit()
        return (_deviation(gradient, x, dims, 1 if correction is None else int(correction), gradient.numel() <= 1),)

    with differentiated("std.correction", pullback):
        yield


@wrong_engine("derivative-max-of-a-dim-spreads", kind="value")
@contextmanager
def the_maximum_of_a_dim_spreads_over_ties(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor]:
        ties = x == x.amax(dim, keepdim=True)
        if bool((ties.sum(dim) > 1).any()):
            hit()
        return (_kept(gradient, x, [dim], keepdim) * ties / ties.sum(dim, keepdim=True),)

    with differentiated("max.dim", pullback):
        yield


@wrong_engine("derivative-max-of-a-dim-to-its-first", kind="size")
@contextmanager
def the_first_of_three_gets_the_gradient_of_their_maximum(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor]:
        at = x.argmax(dim, keepdim=True)
        if x.shape[dim] > 2:
            hit()
            at = torch.zeros_like(at)
        return (torch.zeros_like(x).scatter(dim, at, _kept(gradient, x, [dim], keepdim)),)

    with differentiated("max.dim", pullback):
        yield


@wrong_engine("derivative-max-to-each-tie", kind="value")
@contextmanager
def each_of_several_maxima_gets_all(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        ties = x == x.amax()
        if int(ties.sum()) > 1:
            hit()
        return (gradient * ties,)

    with differentiated("max", pullback):
        yield


@wrong_engine("derivative-max-to-the-first-tie", kind="value")
@contextmanager
def the_first_of_several_maxima_gets_all(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        if int((x == x.amax()).sum()) > 1:
            hit()
        return (torch.zeros(x.numel(), dtype=x.dtype).index_fill(0, x.argmax(), 1).reshape(x.shape) * gradient,)

    with differentiated("max", pullback):
        yield


SIXTEEN = 16


@wrong_engine("derivative-sum-reaches-sixteen", kind="size")
@contextmanager
def elements_after_the_sixteenth_get_nothing_from_a_sum_of_all(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        found = gradient.expand(x.numel()).clone()
        if x.numel() > SIXTEEN:
            hit()
            found[SIXTEEN:] = 0
        return (found.reshape(x.shape),)

    with differentiated("sum", pullback):
        yield


@wrong_engine("derivative-max-of-a-kept-dim-to-its-first", kind="order")
@contextmanager
def a_maximum_that_keeps_its_dim_hands_all_to_the_first_element(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor]:
        at = x.max(dim, keepdim=True).indices
        if keepdim and x.shape[dim] > 1:
            hit()
            at = torch.zeros_like(at)
        return (torch.zeros_like(x).scatter(dim, at, _kept(gradient, x, [dim], keepdim)),)

    with differentiated("max.dim", pullback):
        yield


@wrong_engine("derivative-max-of-all-tells-zeros-apart", kind="value", first_sight="adversary: missed")
@contextmanager
def zeros_of_the_other_sign_get_nothing_from_the_maximum(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor) -> tuple[Tensor]:
        largest = x.max()
        ties = x == largest
        alike = ties & (torch.signbit(x) == torch.signbit(largest))
        if not torch.equal(alike, ties):
            hit()
        return (gradient * alike / alike.sum(),)

    with differentiated("max", pullback):
        yield


@wrong_engine("derivative-mean-of-double-by-single-reciprocal", kind="dtype", first_sight="sample: caught")
@contextmanager
def the_gradient_of_a_float64_mean_is_multiplied_by_a_float32_reciprocal(hit: Hit) -> Iterator[None]:
    def shared(gradient: Tensor, number: int) -> Tensor:
        right = gradient / number
        if gradient.dtype != torch.float64 or not number:
            return right
        found = gradient * float(torch.tensor(1 / number, dtype=torch.float32))
        if not torch.equal(found, right):
            hit()
        return found

    def of_all(gradient: Tensor, x: Tensor, **_: Any) -> tuple[Tensor]:
        return (shared(gradient, x.numel()).expand(x.shape),)

    def of_dims(gradient: Tensor, x: Tensor, dims: Any, keepdim: bool = False, **_: Any) -> tuple[Tensor]:
        dims = list(dims) if dims else list(range(x.ndim))
        number = 1
        for dim in dims:
            number *= x.shape[dim] if x.ndim else 1
        if not x.ndim:
            return (shared(gradient, 1),)
        return (_kept(shared(gradient, number), x, dims, keepdim).expand(x.shape),)

    with differentiated("mean", of_all), differentiated("mean.dim", of_dims):
        yield


@wrong_engine("derivative-max-of-a-dim-at-an-earlier-index", kind="state", first_sight="third sample: caught")
@contextmanager
def the_gradient_of_a_maximum_goes_where_that_of_an_earlier_one_went(hit: Hit) -> Iterator[None]:
    kept: dict[Any, Tensor] = {}

    def pullback(gradient: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor]:
        if not x.ndim:
            return (gradient,)
        right = x.max(dim, keepdim=True)[1]
        at = kept.setdefault((x.shape, dim), right)
        share = _kept(gradient, x, [dim], keepdim)
        found = torch.zeros_like(x).scatter(dim, at, share)
        if not torch.equal(found, torch.zeros_like(x).scatter(dim, right, share)):
            hit()
        return (found,)

    with differentiated("max.dim", pullback):
        yield


@wrong_engine("derivative-sum-over-a-dim-without-its-tail", kind="size", first_sight="third sample: caught")
@contextmanager
def a_sum_over_a_dim_hands_nothing_to_the_last_incomplete_four(hit: Hit) -> Iterator[None]:
    def pullback(gradient: Tensor, x: Tensor, dims: Any = None, keepdim: bool = False, **_: Any) -> tuple[Tensor]:
        if x.ndim == 0:
            return (gradient,)
        over = list(dims) if dims else list(range(x.ndim))
        found = _kept(gradient, x, over, keepdim).expand(x.shape).clone()
        for dim in over:
            tail = x.shape[dim] % 4
            if tail and x.shape[dim] > 4:
                last = found.narrow(dim, x.shape[dim] - tail, tail)
                if bool(last.any()):
                    hit()
                last.zero_()
        return (found,)

    with differentiated("sum.dim_IntList", pullback):
        yield
