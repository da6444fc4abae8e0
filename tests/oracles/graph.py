"""Reading the recorded graph by what torch documents of it: `grad_fn` and `next_functions`."""

from __future__ import annotations

import torch
from torch.autograd.graph import Node


def nodes_reached(*starts: Node | None) -> list[Node]:
    """The nodes that edges lead to from the starts, those included, each once."""
    reached: list[Node] = []
    waiting = [start for start in starts if start is not None]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.append(node)
            waiting += [following for following, _ in node.next_functions if following is not None]
    return reached


def leaves_reached(*starts: Node | None) -> list[torch.Tensor]:
    """The leaves whose nodes edges lead to from the starts, each as often as it has a node."""
    return [node.variable for node in nodes_reached(*starts) if hasattr(node, "variable")]
