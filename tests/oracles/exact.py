"""Exact arithmetic: elements as Python numbers or in a NumPy array, compared with ==."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def numbers(tensor: torch.Tensor) -> list[complex]:
    """The elements in row-major order, as Python numbers, whatever the device, layout or history of the tensor."""
    return tensor.detach().cpu().reshape(-1).tolist()


def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The elements in double precision, in an array of the tensor's shape that shares no memory with it."""
    return np.array(numbers(tensor), dtype=float).reshape(tuple(tensor.shape))


def summed_to(shape: tuple[int, ...], sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sum over the dimensions in which a tensor of this shape was stretched to that of `sums`."""
    added = sums.ndim - len(shape)
    stretched = [added + axis for axis, size in enumerate(shape) if size == 1]
    summed: np.ndarray[Any, Any] = sums.sum(axis=(*range(added), *stretched))
    return summed.reshape(shape)
