"""spec/numpy/writes.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("add-zero-returns-itself", kind="value")
@contextmanager
def adds_nothing_to_itself(hit: Hit) -> Iterator[None]:
    def make(add: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if not isinstance(other, int) or other != 0:
                return add(tensor, other)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "__add__", make):
        yield


@wrong_engine("addition-changes-the-array", kind="aliasing")
@contextmanager
def adds_in_place_to_the_memory_of_an_array(hit: Hit) -> Iterator[None]:
    def make(add: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            is_array = not tensor.untyped_storage().resizable()
            if not is_array or 0 in tensor.stride():
                return add(tensor, other)
            hit()
            return tensor.add_(other)

        return wrong

    with replaced(torch.Tensor, "__add__", make):
        yield


@wrong_engine("in-place-copies-stepped", kind="layout")
@contextmanager
def multiplies_a_stepped_tensor_elsewhere(hit: Hit) -> Iterator[None]:
    def make(mul: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if tensor.is_contiguous():
                return mul(tensor, other)
            hit()
            return tensor.set_(tensor * other)

        return wrong

    with replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("saved-by-copy", kind="aliasing")
@contextmanager
def saves_copies(hit: Hit) -> Iterator[None]:
    def pack(tensor: torch.Tensor) -> torch.Tensor:
        hit()
        return tensor.detach().clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        yield


@wrong_engine("array-counts-as-write", kind="aliasing", refuses="has been modified by an inplace operation")
@contextmanager
def counts_an_array_as_a_write(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            array = numpy(tensor, force=force)
            if tensor.is_contiguous() and not tensor.requires_grad:
                hit()
                tensor.add_(0)
            return array

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield
