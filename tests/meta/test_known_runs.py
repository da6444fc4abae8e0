"""Known failures in a run: the recorded example alone decides, and an entry that is out of date fails the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.meta.runs import Checkout
from tests.meta.test_runs import HOLDS

EMPTY_ONLY = """
    @given(leaf=leaves())
    def test_fails_for_empty_leaves(device, leaf):
        assert leaf.numel() > 0
"""

ENTRY = """
[[failure]]
rule = "sample.one.fails"
device = "{device}"
torch = "{torch}"
reason = "empty tensors are forgotten"
link = "https://example.org/1"
[failure.example]
leaf = ["torch.tensor({value}, device=device).requires_grad_()", "{{it}}.grad = {{it}}.detach() * 2"]
"""


def checkout(path: Path, *, value: str = "[]", device: str = "cpu", torch_range: str = ">=2.0") -> Checkout:
    made = Checkout(path, {"fails": EMPTY_ONLY, "holds": HOLDS})
    made.write("known_failures.toml", ENTRY.format(value=value, device=device, torch=torch_range))
    return made


def test_a_known_failure_is_told_and_does_not_fail_the_run(tmp_path: Path) -> None:
    run = checkout(tmp_path).run()
    assert run.status == 0
    assert run.verdicts() == {("fails", "cpu"): "known", ("holds", "cpu"): "pass"}
    assert "known: sample.one.fails on cpu: empty tensors are forgotten (https://example.org/1)" in run.output
    (record,) = [record for record in run.records if record.get("verdict") == "known"]
    assert record["examples"] == 1


def test_a_known_failure_that_passes_is_fixed_and_fails_the_run(tmp_path: Path) -> None:
    run = checkout(tmp_path, value="[1.0]").run()
    assert run.status == 1
    assert run.verdicts()["fails", "cpu"] == "fixed"
    assert "known_failures.toml:2: the failure is gone on this torch: remove the entry" in run.output


def test_an_entry_for_another_device_or_torch_is_not_about_this_run(tmp_path: Path) -> None:
    for elsewhere in ({"device": "cuda"}, {"torch_range": f"!={torch.__version__.partition('+')[0]}"}):
        path = tmp_path / next(iter(elsewhere))
        run = checkout(path, **elsewhere).run("--hypothesis-profile=standard")
        assert run.verdicts()["fails", "cpu"] == "fail"


def test_an_entry_without_a_link_is_refused_with_its_line(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    text = (tmp_path / "known_failures.toml").read_text().replace('link = "https://example.org/1"\n', "")
    made.write("known_failures.toml", text)
    run = made.run_as_is()
    assert run.status == 4
    assert "known_failures.toml:2: a known failure needs" in run.output
    assert "lacks link" in run.output


@pytest.mark.parametrize(
    ("was", "made", "told"),
    [
        ("torch.tensor([]", "torch.tensr([]", "UnusableExample: the example does not build: AttributeError"),
        ("leaf = [", "lead = [", "UnusableExample: the example lacks, or does not know, lead, leaf"),
    ],
)
def test_an_example_that_its_test_cannot_run_is_no_known_failure(
    tmp_path: Path, was: str, made: str, told: str
) -> None:
    broken = checkout(tmp_path)
    broken.write("known_failures.toml", (tmp_path / "known_failures.toml").read_text().replace(was, made))
    run = broken.run()
    assert run.status == 1
    assert run.verdicts()["fails", "cpu"] == "fail"
    assert told in run.output
