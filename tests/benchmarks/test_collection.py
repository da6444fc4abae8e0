"""How long it takes to read and check a project of 300 items, which everybody pays who collects anything.

Its items are copies of this project's own, each with its tests, its engines and its rows in the documents' pages.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.harness import bindings
from tests.harness.checks import problems_of
from tests.harness.documents import read_documents
from tests.harness.problems import ROOT
from tests.harness.project import read_project
from tests.harness.spec import item_paths

ITEMS = 300
ID = re.compile(r"\b([a-z]+\.[a-z0-9-]+)(?=\.[a-z]|\n)")
CLAIM = re.compile(r"\b(D\d)-0*(\d+)")
ENGINE = re.compile(r'(?<=^- `)[^`]*|(?<=^@wrong_engine\(")[^"]*|(?<=\[`)[^`]*(?=`\]\(\.\./)', re.MULTILINE)


@pytest.fixture(scope="module")
def large_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    items = item_paths(ROOT / "spec")
    names = {f"{item.parent.name}.{item.stem}" for item in items}
    claims = Counter(claim.document for claim in read_documents(ROOT / "spec").claims)
    for copy in range(-(-ITEMS // len(items))):
        for path in items:
            write(root, path, path.stem + f"-{copy}", copied(path, copy, names, claims))
        for path in (*bindings.test_paths(ROOT / "tests"), *bindings.engine_paths(ROOT / "tests")):
            stem = path.stem if path.stem == "__init__" else f"{path.stem}_{copy}"
            write(root, path, stem, copied(path, copy, names, claims))
    for page in (ROOT / "spec" / "documents").glob("*.md"):
        copies = (copied(page, copy, names, claims) for copy in range(-(-ITEMS // len(items))))
        write(root, page, page.stem, "\n".join(copies))
    return root


def copied(path: Path, copy: int, names: set[str], claims: Counter[str]) -> str:
    """The text of a file as another item's: ids, engines and claims of its own, which go on counting."""
    text = path.read_text(encoding="utf-8")
    text = ID.sub(lambda found: f"{found[1]}-{copy}" if found[1] in names else found[1], text)
    text = CLAIM.sub(lambda found: f"{found[1]}-{claims[found[1]] * copy + int(found[2])}", text)
    text = ENGINE.sub(lambda found: f"{found[0]}-{copy}", text)
    return re.sub(r"(?<=/)([a-z0-9-]+)(?=\.md#)", rf"\1-{copy}", text)


def write(root: Path, path: Path, stem: str, text: str) -> None:
    place = root / path.relative_to(ROOT).with_name(stem + path.suffix)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


def test_reading_and_checking_300_items(benchmark: Any, large_project: Path) -> None:
    problems = benchmark(lambda: problems_of(read_project(large_project)))
    assert problems == []
    assert len(item_paths(large_project / "spec")) >= ITEMS
