"""Kinds of defects that a chapter cannot have, and why."""

from __future__ import annotations

GAPS: dict[tuple[str, str], str] = {
    ("random", "order"): "a random function has one output and no inputs to choose between.",
}
