"""The report: its records are those of the schema, field by field, and each is there as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.harness import targets
from tests.harness.problems import ROOT
from tests.harness.report import SUITE, CannotWrite, Report, spec_hash
from tests.harness.spec import Spec, read_spec
from tests.harness.verdicts import WORST_FIRST, Outcome
from tests.meta import mini_project

PASSED = Outcome("tensors.doubling.twice", "cpu", "pass", of=2, examples=37, seconds=0.08765)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return read_spec(mini_project.write(tmp_path) / "spec")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.jsonl"


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def verdict(outcome: Outcome, path: Path) -> dict[str, Any]:
    """The record of one verdict."""
    report = Report(path)
    report.verdict(outcome)
    report.close()
    [record] = records(path)
    return record


def test_the_header_names_the_suite_the_torch_the_machine_and_what_was_asked(spec: Spec, path: Path) -> None:
    report = Report(path)
    report.header(spec, ["cpu"], "smoke", 7)
    report.close()
    [header] = records(path)
    assert list(header.items()) == [
        ("record", "header"),
        ("schema", 1),
        ("suite", "0.1.0"),
        ("spec", spec_hash(spec)),
        ("torch", torch.__version__),
        ("targets", ["cpu"]),
        ("profile", "smoke"),
        ("seed", 7),
        ("python", platform.python_version()),
        ("platform", platform.platform()),
        ("devices", {"cpu": targets.describe("cpu")}),
    ]


def test_the_suite_is_of_the_version_that_the_project_has() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert version[1] == SUITE


def test_a_verdict_has_its_rule_target_examples_and_seconds(path: Path) -> None:
    assert list(verdict(PASSED, path).items()) == [
        ("record", "verdict"),
        ("rule", "tensors.doubling.twice"),
        ("target", "cpu"),
        ("verdict", "pass"),
        ("examples", 37),
        ("seconds", 0.088),
    ]


def test_a_failure_brings_the_rules_sentence_a_program_and_a_message(path: Path) -> None:
    failed = dataclasses.replace(
        PASSED, verdict="fail", sentence="Twice is twice.", program="import torch\n", message="assert 1 == 2"
    )
    record = verdict(failed, path)
    assert list(record)[-3:] == ["sentence", "program", "message"]
    assert (record["sentence"], record["program"], record["message"]) == (
        "Twice is twice.",
        "import torch\n",
        "assert 1 == 2",
    )


@pytest.mark.parametrize("kind", [kind for kind in WORST_FIRST if kind != "fail"])
def test_only_a_failure_brings_a_sentence_and_a_program(kind: str, path: Path) -> None:
    told = dataclasses.replace(PASSED, verdict=kind, sentence="Twice.", program="import torch\n", message="why")
    record = verdict(told, path)
    assert set(record) == {"record", "rule", "target", "verdict", "examples", "seconds", "message"}


def test_the_footer_counts_verdicts(path: Path) -> None:
    report = Report(path)
    report.footer({"fail": 1, "pass": 251})
    report.close()
    assert records(path) == [{"record": "footer", "verdicts": {"fail": 1, "pass": 251}}]


def test_every_record_is_a_whole_line_as_soon_as_it_is_known(spec: Spec, path: Path) -> None:
    report = Report(path)
    report.header(spec, ["cpu"], "smoke", 7)
    assert [record["record"] for record in records(path)] == ["header"]
    report.verdict(PASSED)
    assert [record["record"] for record in records(path)] == ["header", "verdict"]
    assert path.read_text(encoding="utf-8").endswith("\n")
    report.close()


def test_a_report_that_was_closed_without_a_footer_has_none(spec: Spec, path: Path) -> None:
    report = Report(path)
    report.header(spec, ["cpu"], "smoke", 7)
    report.close()
    assert records(path)[-1]["record"] != "footer"


def test_text_of_any_kind_is_one_line_and_reads_back(path: Path) -> None:
    message = "two\nlines, \u2028 two more, ünïcödé, and half a pair: \ud800"
    assert verdict(dataclasses.replace(PASSED, message=message), path)["message"] == message


def test_an_earlier_report_is_replaced(path: Path) -> None:
    path.write_text("an earlier report\n" * 9)
    assert verdict(PASSED, path)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("place", "reason"),
    [("no/such/folder/report.jsonl", "No such file or directory"), ("spec", "Is a directory")],
)
def test_a_path_that_cannot_be_written_is_told_at_once_in_one_line(
    place: str, reason: str, spec: Spec, tmp_path: Path
) -> None:
    with pytest.raises(CannotWrite) as refusal:
        Report(tmp_path / place)
    assert str(refusal.value) == (f"--report {tmp_path / place}: {reason}; name a file in a folder that can be written")


def hash_of(files: dict[str, str], root: Path) -> str:
    return spec_hash(read_spec(mini_project.write(root, files) / "spec"))


def test_the_hash_of_a_spec_is_one_of_ids_and_sentences(tmp_path: Path) -> None:
    files, item = mini_project.FILES, mini_project.ITEM
    original = hash_of(files, tmp_path / "original")
    assert re.fullmatch("sha256:[0-9a-f]{64}", original)
    same = {
        "another title": ("title: Doubling", "title: All about doubling"),
        "another line": ("Twice is twice.", "Twice is\n\ntwice."),
        "another engine": ("adds one instead", "adds two instead"),
        "another remark": ("as it was.", "as it was.\n\nAlways."),
        "another break": ("elements\nof `x`.", "elements of\n`x`."),
    }
    for name, (old, new) in same.items():
        assert hash_of(mini_project.with_change(item, old, new), tmp_path / name) == original, name
    above, twice, unchanged, below = re.split("(?=### `twice`|### `unchanged`|## Try it)", files[item])
    assert hash_of({item: above + unchanged + twice + below}, tmp_path / "another order") == original
    for name, (old, new) in {
        "another sentence": ("as it was.", "as it is."),
        "another id": ("### `unchanged`", "### `unharmed`"),
    }.items():
        assert hash_of(mini_project.with_change(item, old, new), tmp_path / name) != original, name
