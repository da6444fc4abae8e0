"""spec/detach/copies.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@contextmanager
def _clone(where: Callable[[torch.Tensor], bool], instead: Callable[..., torch.Tensor], hit: Hit) -> Iterator[None]:
    """`clone()` that returns `instead(tensor, honest)` for the tensors of which `where` is true."""

    def make(clone: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if not where(tensor):
                return clone(tensor, **kwargs)
            hit()
            return instead(tensor, clone)

        return wrong

    with replaced(torch.Tensor, "clone", make):
        yield


@wrong_engine("clone-of-detached-is-lazy", kind="aliasing")
@contextmanager
def returns_an_alias_of_what_does_not_require_grad(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: not tensor.requires_grad, lambda tensor, clone: tensor.view_as(tensor), hit):
        yield


@wrong_engine("clone-of-strided-is-lazy", kind="layout")
@contextmanager
def returns_an_alias_of_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: not tensor.is_contiguous(), lambda tensor, clone: tensor.view_as(tensor), hit):
        yield


@wrong_engine("clone-shares-the-counter", kind="aliasing")
@contextmanager
def has_memory_of_its_own_and_the_counter_of_the_original(hit: Hit) -> Iterator[None]:
    def counted_together(tensor: torch.Tensor, clone: Any) -> torch.Tensor:
        copy = tensor.detach()
        copy.data = clone(tensor)
        return copy

    with _clone(lambda tensor: not tensor.requires_grad, counted_together, hit):
        yield


@wrong_engine("clone-of-side-of-one-is-lazy", kind="size")
@contextmanager
def returns_an_alias_of_what_has_a_side_of_one(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: 1 in tensor.shape, lambda tensor, clone: tensor.view_as(tensor), hit):
        yield


@wrong_engine("clone-of-float64-rounds", kind="dtype")
@contextmanager
def copies_float64_by_way_of_float32(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: tensor.dtype is torch.float64, lambda tensor, clone: tensor.float().double(), hit):
        yield


@wrong_engine("clone-replaces-nan", kind="value")
@contextmanager
def puts_zero_where_there_is_no_number(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: bool(tensor.isnan().any()), lambda tensor, clone: clone(tensor).nan_to_num(0), hit):
        yield


@wrong_engine("clone-of-expanded-is-lazy", kind="layout")
@contextmanager
def returns_an_alias_of_what_repeats_its_rows(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: 0 in tensor.stride(), lambda tensor, clone: tensor.view_as(tensor), hit):
        yield


@wrong_engine("clone-of-conjugate-is-lazy", kind="dtype", first_sight="adversary: missed")
@contextmanager
def cloning_a_conjugate_returns_an_alias(hit: Hit) -> Iterator[None]:
    with _clone(lambda tensor: tensor.is_conj(), lambda tensor, clone: tensor.view_as(tensor), hit):
        yield


@wrong_engine("clone-drops-offset", kind="layout", first_sight="fourth sample: caught")
@contextmanager
def copies_from_the_beginning_of_the_storage(hit: Hit) -> Iterator[None]:
    def make(clone: Any) -> Any:
        def wrong(tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            right: torch.Tensor = clone(tensor, **kwargs)
            if tensor.storage_offset() == 0 or tensor.is_conj() or tensor.is_neg():
                return right
            found: torch.Tensor = clone(tensor.as_strided(tensor.shape, tensor.stride(), 0), **kwargs)
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with replaced(torch.Tensor, "clone", make), replaced(torch, "clone", make):
        yield
