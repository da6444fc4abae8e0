"""The smallest project that has one of everything, and small changes to it: each test of a check breaks one thing."""

from __future__ import annotations

from pathlib import Path

from tests.harness.problems import Problem

ITEM = "spec/tensors/doubling.md"
PAGE = "spec/documents/D1.md"
TESTS = "tests/tensors/test_doubling.py"
ENGINES = "tests/wrong_engines/tensors/doubling.py"
RETIRED = "spec/retired.md"
TWICE = "[twice](../tensors/doubling.md#twice)"
ADDS_ONE = "[`adds-one`](../tensors/doubling.md#wrong-engines)"

FILES = {
    ITEM: """\
---
id: tensors.doubling
title: Doubling a tensor
claims: [D1-1]
devices: all
---
# Doubling a tensor

Twice is twice.

## Rules

### `twice`
`x + x` has twice the elements
of `x`.

### `unchanged`
`x + x` leaves `x` as it was.

## Try it

```python
import torch

## Rules
### `no-rule-but-a-comment`
assert (torch.ones(()) + torch.ones(())).item() == 2
```

## Wrong engines

- `adds-one`: adds one instead. Caught by `twice`.
- `adds-in-place`: doubles `x` itself. Caught by `unchanged`, `twice`.
""",
    PAGE: f"""\
# D1: a page

| claim | where | what it says | verdict | settled by | as told |
| --- | --- | --- | --- | --- | --- |
| D1-1 | 3 | Twice is one more. | **refuted** | {TWICE} | {ADDS_ONE} |
| D1-2 | 4 | Tensors are beautiful, or `a \\| b` is. | unsettleable | a matter of taste | |
""",
    RETIRED: """\
# Retired ids

- `tensors.doubling.thrice`: it was wrong.
""",
    TESTS: """\
from hypothesis import given

from tests.harness.bindings import rule
from tests.inputs import tensors


@rule("tensors.doubling.twice")
@given(x=tensors())
def test_a_sum_is_twice_the_tensor(device, x):
    assert (x + x).tolist() == (2 * x).tolist()


@rule("tensors.doubling.unchanged")
@given(x=tensors())
def test_a_sum_leaves_the_tensor_as_it_was(device, x):
    before = x.tolist()
    x + x
    assert x.tolist() == before
""",
    ENGINES: """\
@wrong_engine("adds-one")
def adds_one(hit):
    yield


@wrong_engine("adds-in-place", refuses="no")
def adds_in_place(hit):
    yield
""",
}


def write(root: Path, files: dict[str, str] = FILES) -> Path:
    """Write the files below `root`, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def with_change(name: str, old: str, new: str) -> dict[str, str]:
    """The files of the mini project after `old`, which occurs once in the file of that name, became `new`.

    A file that there is not begins empty.
    """
    text = FILES.get(name, "")
    assert text.count(old) == 1 or not text, f"{old!r} occurs {text.count(old)} times in {name}"
    return {**FILES, name: text.replace(old, new) if text else new}


def told(problems: list[Problem], root: Path) -> list[str]:
    """The problems as "file:line: text", each file from the top of the project."""
    return [f"{problem.path.relative_to(root).as_posix()}:{problem.line}: {problem.text}" for problem in problems]
