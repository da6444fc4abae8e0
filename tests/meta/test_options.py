"""Bad input on the command line gets one line that says what is wrong and what to do, and exit status 4."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from tests.meta.runs import Checkout, Run
from tests.meta.test_runs import HOLDS

USAGE_ERROR = 4


def refused(run: Run) -> str:
    """The one line that a refused run says."""
    assert run.status == USAGE_ERROR, run.output
    lines = [line for line in run.output.splitlines() if line.strip()]
    assert len(lines) == 1, run.output
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device=nonsense"], "ERROR: --device: torch knows no device 'nonsense'"),
        (["--device=cuda:77"], "ERROR: --device: device 'cuda:77' is not here"),
        (["--backend=no_such_backend"], "ERROR: --backend no_such_backend does not import: ModuleNotFoundError"),
        (["--rule=no.such.rule"], "ERROR: --rule no.such.rule: no rule of spec/ has an id like this"),
        (["--report=no/such/folder/report.jsonl"], "ERROR: --report"),
        (["--hypothesis-profile=lazy"], "ERROR: --hypothesis-profile lazy: no such profile, choose smoke"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "workers"])
def test_an_option_that_cannot_be_met_is_refused_in_one_line(
    tmp_path: Path, arguments: list[str], told: str, workers: list[str]
) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS}).run_as_is(*arguments, *workers)
    assert told in refused(run)


def test_a_report_that_cannot_be_written_is_found_before_the_first_test(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"holds": "def test_holds(device):\n    open('ran', 'w').close()"})
    refused(checkout.run_as_is(f"--report={tmp_path}"))
    assert not (tmp_path / "ran").exists()


def test_without_torch_one_line_says_so(tmp_path: Path) -> None:
    def forget_torch() -> None:
        sys.modules["torch"] = None  # type: ignore[assignment]  # the import system's own mark for "not there"

    told = refused(Checkout(tmp_path, {"holds": HOLDS}).run_as_is(before=forget_torch))
    assert "no torch here" in told
    assert "install torch 2.0 or later" in told


def test_a_torch_before_2_0_is_too_old(tmp_path: Path) -> None:
    def age_torch() -> None:
        old = types.ModuleType("torch")
        old.__version__ = "1.13.1"  # type: ignore[attr-defined]
        sys.modules["torch"] = old

    told = refused(Checkout(tmp_path, {"holds": HOLDS}).run_as_is(before=age_torch))
    assert "torch 1.13.1 is too old" in told


@pytest.mark.parametrize(
    "arguments",
    [[], ["tests/sample/test_one.py"], ["-k", "holds"], ["--lf"], ["-n2"], ["spec"], ["--collect-only"]],
    ids=" ".join,
)
def test_a_broken_project_is_refused_whatever_part_of_it_is_asked_for(tmp_path: Path, arguments: list[str]) -> None:
    checkout = Checkout(tmp_path, {"holds": HOLDS})
    item = tmp_path / "spec" / "sample" / "one.md"
    rule = "### `forgotten`\nNothing tests this.\n\n"
    item.write_text(
        item.read_text().replace("## Try it", f"{rule}## Try it").replace("`holds`.", "`holds`, `forgotten`.")
    )
    told = refused(checkout.run_as_is(*arguments))
    assert told.startswith("ERROR: spec/sample/one.md:17: rule sample.one.forgotten has no test")
