"""The harness: reads spec/, binds rules to tests, picks targets, isolates, and reports."""

from .bindings import rule

__all__ = ["rule"]
