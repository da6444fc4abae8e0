"""Whole runs: verdicts, targets, what a run says it did not check, and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.meta.runs import Checkout

BACKENDS = Path(__file__).parent / "backends"

HOLDS = """
    @given(leaf=leaves())
    def test_holds(device, leaf):
        (leaf * 2).sum().backward()
        assert numbers(leaf.grad) == [2] * leaf.numel()
"""

BROKEN = """
    @given(leaf=leaves(dtypes=st.just("torch.float32")))
    def test_broken(device, leaf):
        (leaf * 2).sum().backward()
        assert leaf.numel() < 2 or numbers(leaf.grad) == [3] * leaf.numel()
"""

PER_DTYPE = """
    @given(leaf=leaves(dtypes=dtypes.TARGET))
    def test_per_dtype(device, dtype, leaf):
        assert leaf.dtype == dtype
"""


def test_a_passing_run_says_so_in_the_terminal_and_in_its_report(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS}).run()
    assert run.status == 0
    assert "spec/sample/one.md  cpu 1 pass" in run.output
    assert run.verdicts() == {("holds", "cpu"): "pass"}
    assert run.records[0]["record"] == "header"
    assert run.records[0]["profile"] == "smoke"
    assert run.records[-1] == {"record": "footer", "verdicts": {"pass": 1}}


def test_a_failure_shows_sentence_file_and_a_program_that_fails_by_itself(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS, "broken": BROKEN}).run()
    assert run.status == 1
    assert "The rule broken holds." in run.output
    assert "spec/sample/one.md:16" in run.output
    assert "Run by itself it fails too: AssertionError" in run.output
    (failure,) = [record for record in run.records if record.get("verdict") == "fail"]
    assert failure["sentence"] == "The rule broken holds."
    assert failure["program"].splitlines()[0] == "import torch"
    assert "leaf = torch.tensor([" in failure["program"]
    assert "tests" not in failure["program"]


def test_two_workers_give_the_same_verdicts_and_examples_as_none(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"holds": HOLDS, "broken": BROKEN, "per-dtype": PER_DTYPE})
    alone, shared = checkout.run(), checkout.run("-n2")

    def told(records: list[dict[str, object]]) -> set[tuple[object, ...]]:
        keys = ("rule", "target", "verdict", "examples", "program")
        return {tuple(record.get(key) for key in keys) for record in records if record["record"] == "verdict"}

    assert len(told(alone.records)) > 3
    assert told(alone.records) == told(shared.records)
    assert alone.records[-1] == shared.records[-1]


def test_a_rule_of_several_tests_has_one_verdict_and_the_worst(tmp_path: Path) -> None:
    several = HOLDS + '\n    @rule("sample.one.holds")' + BROKEN
    run = Checkout(tmp_path, {"holds": several}).run()
    assert run.verdicts() == {("holds", "cpu"): "fail"}


def test_an_observed_rule_that_fails_is_told_and_does_not_fail_the_run(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS, "broken (observed)": BROKEN}).run()
    assert run.status == 0
    assert "observed, not promised: sample.one.broken on cpu" in run.output
    assert run.verdicts()["broken", "cpu"] == "fail"


def test_a_rule_of_a_later_torch_is_not_applicable(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS, "broken (since 99.1)": BROKEN}).run()
    assert run.status == 0
    assert run.verdicts()["broken", "cpu"] == "not-applicable"
    assert "sample.one.broken on cpu: the rule holds since torch 99.1" in run.output


def test_a_rule_about_accelerators_is_not_run_without_one_and_nothing_executed_is_no_success(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"holds": HOLDS}, devices="accelerator")
    run = checkout.run()
    assert run.verdicts() == {("holds", "accelerator"): "not-run"}
    assert checkout.run("--device=cpu").status == 1


def test_a_dtype_that_is_probed_out_is_not_run_and_its_error_is_told(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"per-dtype": PER_DTYPE}).run()
    verdicts = run.verdicts()
    assert verdicts["per-dtype", "cpu/float32"] == "pass"
    assert verdicts["per-dtype", "cpu/float8_e4m3fn"] == "not-run"
    assert "cpu does not compute with torch.float8_e4m3fn: NotImplementedError" in run.output


def test_a_backend_that_the_suite_never_heard_of_gets_its_verdicts(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS, "broken": BROKEN}).run("--backend=unheard", backends=BACKENDS)
    assert run.verdicts() == {
        ("holds", "cpu"): "pass",
        ("broken", "cpu"): "fail",
        ("holds", "unheard"): "pass",
        ("broken", "unheard"): "fail",
    }
    programs = {record["target"]: record["program"] for record in run.records if "program" in record}
    assert "import unheard\n" in programs["unheard"]
    assert 'device = "unheard"' in programs["unheard"]
    assert "Run by itself it fails too" in run.output


def test_a_device_on_which_nothing_could_run_fails_the_run(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS}).run("--backend=idle", backends=BACKENDS)
    assert run.verdicts() == {("holds", "cpu"): "pass", ("holds", "idle"): "not-run"}
    assert "Could not run 'aten::" in run.output
    assert "FAILED: nothing was executed on idle" in run.output
    assert run.status == 1


def test_rules_are_chosen_by_pattern(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"holds": HOLDS, "broken": BROKEN})
    assert set(checkout.run("--rule=*.holds").verdicts()) == {("holds", "cpu")}
    assert set(checkout.run("--rule=sample").verdicts()) == {("holds", "cpu"), ("broken", "cpu")}


def test_a_run_that_is_stopped_leaves_a_report_without_a_footer(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"broken": BROKEN, "holds": HOLDS}).run("-x")
    assert run.verdicts() == {("broken", "cpu"): "fail"}
    assert run.records[-1]["record"] == "verdict"


def test_a_block_that_fails_is_told_with_the_line_of_its_markdown_file(tmp_path: Path) -> None:
    run = Checkout(tmp_path, {"holds": HOLDS}, try_it="x = 1\nassert x == 2").run()
    assert run.status == 1
    assert "one.md:21: AssertionError" in run.output


def test_thorough_draws_anew_and_prints_a_seed_that_repeats_the_run(tmp_path: Path) -> None:
    drawn = """
        @given(number=st.integers(0, 10**9))
        def test_drawn(device, number):
            with open("drawn.txt", "a") as file:
                print(number, file=file)
    """
    checkout = Checkout(tmp_path, {"drawn": drawn})
    numbers = []
    seed = None
    for arguments in ([], [], "again"):
        (tmp_path / "drawn.txt").write_text("")
        extra = [f"--hypothesis-seed={seed}"] if arguments == "again" else []
        run = checkout.run("--hypothesis-profile=thorough", *extra)
        seed = run.records[0]["seed"]
        assert f"seed {seed}" in run.output
        numbers.append((tmp_path / "drawn.txt").read_text())
    assert numbers[0] != numbers[1] == numbers[2]


@pytest.mark.parametrize("profile", ["smoke", "standard"])
def test_other_profiles_draw_the_same_in_every_run(tmp_path: Path, profile: str) -> None:
    checkout = Checkout(tmp_path, {"broken": BROKEN})
    first, second = (checkout.run(f"--hypothesis-profile={profile}").records[1]["program"] for _ in range(2))
    assert first == second


def test_plain_pytest_leaves_the_suites_own_tests_and_benchmarks_alone(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"holds": HOLDS})
    for folder in ("meta", "benchmarks"):
        checkout.write(f"tests/{folder}/test_own.py", "def test_own():\n    raise SystemError('ran')\n")
    assert checkout.run().status == 0
    assert checkout.run("tests").status == 0
    assert "ran" in checkout.run("tests/meta").output
