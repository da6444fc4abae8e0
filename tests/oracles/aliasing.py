"""Aliasing, proven by writing through one name and reading through the other, both ways."""

from __future__ import annotations

import torch


def share_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether each element of `one` is the same memory as the element of `other` at the same index.

    Two tensors of the same shape and dtype, outside inference mode; both keep the values they had. Empty tensors have
    no memory to share: never call it with one.
    """
    assert one.shape == other.shape
    assert one.numel() > 0
    with torch.no_grad():
        return _writes_are_seen(one, other) and _writes_are_seen(other, one)


def _writes_are_seen(written: torch.Tensor, read: torch.Tensor) -> bool:
    before = written.clone()
    changed = before + 1
    unseen = read.clone()
    written.copy_(changed)
    seen = read.cpu().tolist() == changed.cpu().tolist() and read.cpu().tolist() != unseen.cpu().tolist()
    written.copy_(before)
    return seen
