"""Whole runs of the suite on a made-up checkout: the real harness, with an item, tests and an engine of our choice.

A run is a fork of this process with the suite's own modules forgotten, so that it does not pay for importing torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness.problems import ROOT

ITEM = """\
---
id: sample.one
title: A sample
claims: []
devices: {devices}
---
# A sample

What a reader needs.

## Rules

{rules}
## Try it

```python
{try_it}
```

## Wrong engines

- `sample-engine`: breaks everything. Caught by {caught_by}.
"""

TESTS = """\
import pytest
import torch
from hypothesis import given, strategies as st

from tests.harness.bindings import rule
from tests.inputs import dtypes, leaves, tensors
from tests.inputs.expression import Expression
from tests.oracles import numbers

{tests}
"""

ENGINE = """\
from tests.wrong_engines.engine import wrong_engine


@wrong_engine("sample-engine")
def sample_engine(hit):
    raise AssertionError("never installed")
"""


@dataclass
class Run:
    """How a run ended and what it said."""

    status: int
    output: str
    records: list[dict[str, Any]] = field(default_factory=list)

    def verdicts(self) -> dict[tuple[str, str], str]:
        """Verdict by rule's slug and target, from the run's report."""
        return {
            (record["rule"].rpartition(".")[2], record["target"]): record["verdict"]
            for record in self.records
            if record["record"] == "verdict"
        }


class Checkout:
    """A copy of the harness with one item `sample.one`; `tests` maps a rule's heading (its slug first) to its test."""

    def __init__(self, root: Path, tests: dict[str, str], *, devices: str = "all", try_it: str = "pass") -> None:
        self.root = root
        self.report = root / "report.jsonl"
        for name in ("conftest.py", "pyproject.toml", "tests/__init__.py"):
            self.write(name, (ROOT / name).read_text(encoding="utf-8"))
        for package in ("harness", "inputs", "oracles"):
            shutil.copytree(
                ROOT / "tests" / package, root / "tests" / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        slugs = [heading.partition(" ")[0] for heading in tests]
        rules = "".join(
            f"### `{slug}`{heading.removeprefix(slug)}\nThe rule {slug} holds.\n\n"
            for slug, heading in zip(slugs, tests, strict=True)
        )
        caught_by = ", ".join(f"`{slug}`" for slug in slugs)
        self.write("spec/sample/one.md", ITEM.format(devices=devices, rules=rules, try_it=try_it, caught_by=caught_by))
        bodies = (
            f'@rule("sample.one.{slug}")\n{textwrap.dedent(test).strip()}\n'
            for slug, test in zip(slugs, tests.values(), strict=True)
        )
        self.write("tests/sample/__init__.py", "")
        self.write("tests/sample/test_one.py", TESTS.format(tests="\n\n".join(bodies)))
        self.write("tests/wrong_engines/__init__.py", "")
        self.write("tests/wrong_engines/sample/one.py", ENGINE)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str, backends: Path | None = None) -> Run:
        """Run pytest at the top of the checkout, in the quickest profile unless told otherwise, and read its report.

        backends: a folder in which the run finds modules of backends. Such a run is a new process: torch takes no
        backend that comes after the first backward, and this process may have had one.
        """
        self.report.unlink(missing_ok=True)
        options = ("--hypothesis-profile=smoke", f"--report={self.report}", *arguments)
        status, output = _spawned(self.root, options, backends) if backends else _forked(self.root, options, None)
        lines = self.report.read_text(encoding="utf-8").splitlines() if self.report.is_file() else []
        return Run(status, output, [json.loads(line) for line in lines])

    def run_as_is(self, *arguments: str, before: Callable[[], None] | None = None) -> Run:
        """Run pytest with these arguments and no others."""
        return Run(*_forked(self.root, arguments, before))


def _spawned(root: Path, arguments: Sequence[str], backends: Path) -> tuple[int, str]:
    paths = os.pathsep.join([str(root), str(backends), *(entry for entry in sys.path if entry and Path(entry) != ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def _forked(root: Path, arguments: Sequence[str], before: Callable[[], None] | None) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                status = _pytest_at(root, arguments, before)
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(ended), output.read()


def _pytest_at(root: Path, arguments: Sequence[str], before: Callable[[], None] | None) -> int:
    os.chdir(root)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # pytest's capture is the parent's
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "conftest")]:
        del sys.modules[name]
    sys.path[:] = [str(root), *(entry for entry in sys.path if entry and Path(entry) != ROOT)]
    # Workers of pytest-xdist are new processes; they find the checkout as they would anywhere.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    if before:
        before()
    status = int(pytest.main(list(arguments)))
    sys.stdout.flush()
    sys.stderr.flush()
    return status
