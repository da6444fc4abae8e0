"""Blocks that set the grad mode of a thread."""

from __future__ import annotations

from hypothesis import strategies as st

from .expression import Expression

BLOCKS = (
    ("torch.no_grad", False),
    ("torch.enable_grad", True),
    ("lambda: torch.set_grad_enabled(False)", False),
    ("lambda: torch.set_grad_enabled(True)", True),
)
"""What makes a context manager, and whether operations are recorded inside."""


def blocks(*, recording: bool | None = None) -> st.SearchStrategy[tuple[Expression, bool]]:
    """(block, records): `with block():` puts grad mode on or off, and `records` says which.

    recording: only blocks that put it on, or only those that put it off.
    """
    chosen = [(source, records) for source, records in BLOCKS if recording is None or records is recording]
    return st.sampled_from(chosen).map(lambda pair: (Expression(pair[0]), pair[1]))
