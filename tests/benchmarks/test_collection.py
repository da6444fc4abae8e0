"""How long it takes to read and check a project of 300 items, which everybody pays who collects anything.

The items are copies of one real item with its tests and engines, so that their size is that of real ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness.checks import problems_of
from tests.harness.problems import ROOT
from tests.harness.project import read_project

ITEMS = 300
MODEL = ("spec/backward/implicit-gradient.md", "tests/backward/test_implicit_gradient.py")
ENGINES = "tests/wrong_engines/backward/implicit_gradient.py"


@pytest.fixture(scope="module")
def large_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    rows = []
    for number in range(ITEMS):
        chapter, name = f"chapter-{number // 10}", f"copy-{number}"
        for model in (*MODEL, ENGINES):
            place = root / model.replace("backward", chapter).replace("implicit-gradient", name)
            place = place.with_name(place.name.replace("implicit_gradient", name.replace("-", "_")))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_copy((ROOT / model).read_text(encoding="utf-8"), chapter, name, number), encoding="utf-8")
        link = f"[{name}.one-element](../{chapter}/{name}.md#one-element)"
        rows.append(f"| D0-{number} | {number} | It needs no gradient. | holds | {link} |")
    page = root / "spec" / "documents" / "D0.md"
    page.parent.mkdir()
    page.write_text("\n".join(rows), encoding="utf-8")
    return root


def _copy(text: str, chapter: str, name: str, number: int) -> str:
    """The same text as another item's: its own id, its own claim, engines with names of their own."""
    text = text.replace("backward.implicit-gradient", f"{chapter}.{name}")
    text = re.sub(r"^claims: .*", f"claims: [D0-{number}]", text, flags=re.MULTILINE)
    text = re.sub(r'(@wrong_engine\("[^"]*)"', rf'\1-{number}"', text)
    return re.sub(r"^- `([^`]*)`: ", rf"- `\1-{number}`: ", text, flags=re.MULTILINE)


def test_reading_and_checking_300_items(benchmark: Any, large_project: Path) -> None:
    problems = benchmark(lambda: problems_of(read_project(large_project)))
    assert problems == []
