"""Exact arithmetic: elements as Python numbers, compared with ==."""

from __future__ import annotations

import torch


def numbers(tensor: torch.Tensor) -> list[complex]:
    """The elements in row-major order, as Python numbers, whatever the device, layout or history of the tensor."""
    return tensor.detach().cpu().reshape(-1).tolist()
