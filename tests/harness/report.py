"""Writes `--report FILE`: JSON lines, each as soon as it is known, so that a run that dies leaves what it knew.

A file without its footer is truncated; it is written last, and only by a run that was not stopped early.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any, TextIO

import torch

from . import targets
from .spec import Spec
from .verdicts import FAIL, Outcome

SCHEMA = 1
SUITE = "0.1.0"


class CannotWrite(Exception):
    """The report's path cannot be written."""


class Report:
    """A report while it is being written. Raises CannotWrite at once if the path will not do."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise CannotWrite(
                f"--report {path}: {error.strerror}; name a file in a folder that can be written"
            ) from None

    def header(self, spec: Spec, devices: list[str], profile: str, seed: int) -> None:
        """The machine, the torch, and what was asked of it."""
        self._write(
            record="header",
            schema=SCHEMA,
            suite=SUITE,
            spec=spec_hash(spec),
            torch=torch.__version__,
            targets=devices,
            profile=profile,
            seed=seed,
            python=platform.python_version(),
            platform=platform.platform(),
            devices={device: targets.describe(device) for device in devices},
        )

    def verdict(self, outcome: Outcome) -> None:
        """One rule on one target; a failure brings its program, and whatever did not run its reason."""
        record: dict[str, Any] = {
            "rule": outcome.rule,
            "target": outcome.target,
            "verdict": outcome.verdict,
            "examples": outcome.examples,
            "seconds": round(outcome.seconds, 3),
        }
        if outcome.verdict == FAIL:
            record |= {"sentence": outcome.sentence, "program": outcome.program}
        if outcome.message:
            record["message"] = outcome.message
        if outcome.observed:
            record["status"] = "observed"
        if outcome.lacking:
            record["lacking"] = outcome.lacking
        self._write(record="verdict", **record)

    def footer(self, counts: dict[str, int]) -> None:
        """How many verdicts of each kind: the sign that the report is whole."""
        self._write(record="footer", verdicts=counts)

    def close(self) -> None:
        self._file.close()

    def _write(self, **record: Any) -> None:
        # ASCII alone: text of any kind can be written, and nothing in it is taken for the end of a line.
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def spec_hash(spec: Spec) -> str:
    """A hash over the rules' ids and sentences: reports with different ones speak about different rules."""
    text = "".join(f"{rule.id}\n{rule.sentence}\n" for rule in sorted(spec.rules.values(), key=lambda rule: rule.id))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
