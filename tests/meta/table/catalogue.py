"""Kinds of defects that a chapter cannot have, and why."""

from __future__ import annotations

GAPS: dict[tuple[str, str], str] = {
    ("derivatives", "error"): "no rule of the chapter is about a refusal.",
    ("fits", "error"): "no rule of the chapter is about a refusal.",
    ("indexing", "mode"): "no rule of the chapter is about a mode.",
    ("random", "order"): "a random function has one output and no inputs to choose between.",
}
