"""Errors: the promise that nothing else changed."""

from __future__ import annotations

import torch


def state(*tensors: torch.Tensor) -> list[object]:
    """All that a refused call must leave alone about some tensors; equal before and after if nothing changed."""
    return [
        (
            tensor.detach().cpu().reshape(-1).tolist(),
            (tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.data_ptr()),
            (tensor.requires_grad, tensor.is_leaf, tensor.grad_fn),
            None if tensor.is_inference() else tensor._version,
            None if not tensor.is_leaf or tensor.grad is None else (id(tensor.grad), *state(tensor.grad)),
        )
        for tensor in tensors
    ]
