"""Whoever starts at a README gets everywhere: every link leads to a file, and every item is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.problems import ROOT, shown
from tests.harness.spec import item_paths

LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
PAGES = [ROOT / "README.md", ROOT / "tests" / "README.md", *sorted((ROOT / "spec").rglob("*.md"))]


def linked_from(page: Path) -> list[Path]:
    """The files that a page links to."""
    return [(page.parent / target).resolve() for target in LINK.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [target for target in linked_from(page) if not target.exists()] == []


def test_every_item_is_linked_from_the_index() -> None:
    assert set(item_paths(ROOT / "spec")) <= set(linked_from(ROOT / "spec" / "README.md"))
