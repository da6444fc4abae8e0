"""Blocks under *Try it* run as tests, one namespace an item, with the Markdown file's own lines in tracebacks."""

from __future__ import annotations

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from .problems import ROOT

collect_try_it = Sybil(
    parsers=[PythonCodeBlockParser()],
    path=str(ROOT / "spec"),
    patterns=["**/*.md"],
    name="try-it",
).pytest()
