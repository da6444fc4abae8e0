"""Exact arithmetic: elements as Python numbers or in a NumPy array, compared with ==."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def numbers(tensor: torch.Tensor) -> list[complex]:
    """The elements in row-major order, as Python numbers, whatever the device, layout or history of the tensor."""
    return tensor.detach().cpu().reshape(-1).tolist()


def array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The elements as Python numbers (a float is a double), in an array of the tensor's shape and of its own memory.

    Without torch's `reshape`, so that it serves where that is what is tested.
    """
    return np.array(tensor.detach().cpu().tolist()).reshape(tuple(tensor.shape))


def summed_to(shape: tuple[int, ...], sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sum over the dimensions in which a tensor of this shape was stretched to that of `sums`."""
    added = sums.ndim - len(shape)
    stretched = [added + axis for axis, size in enumerate(shape) if size == 1]
    summed: np.ndarray[Any, Any] = sums.sum(axis=(*range(added), *stretched))
    return summed.reshape(shape)
