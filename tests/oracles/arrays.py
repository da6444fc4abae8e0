"""Whether a CPU tensor and a NumPy array are the same memory, proven by writing to one and reading the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def aliases(tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> bool:
    """Whether each element of the tensor is the element of the array at the same index, whichever of the two writes.

    Outside inference mode. If so, both keep the values they had; where there are no elements there is nothing to prove.
    """
    tensor = tensor.detach()
    before = array.tolist()
    if tuple(tensor.shape) != array.shape or tensor.tolist() != before:
        return False
    for index in np.ndindex(array.shape):
        value = array[index].item()
        array[index] = value == 0
        if tensor.tolist() != array.tolist():
            return False
        tensor[index] = value
        if array.tolist() != before:
            return False
    return True


def disjoint(tensor: torch.Tensor, array: np.ndarray[Any, Any]) -> bool:
    """Whether no write to the elements of either is seen through the other.

    Outside inference mode. Neither keeps its values.
    """
    tensor = tensor.detach()
    before = tensor.tolist()
    array[...] = array == 0
    if tensor.tolist() != before:
        return False
    before = array.tolist()
    for index in np.ndindex(tuple(tensor.shape)):
        tensor[index] = tensor[index].item() == 0
    return bool(array.tolist() == before)
