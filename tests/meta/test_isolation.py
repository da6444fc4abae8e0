"""Whatever a test changes in torch, it fails by name, and the next example and the next test start clean."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from tests.harness import realise
from tests.meta.runs import Checkout

CHANGES = {
    "grad mode": "torch._C._set_grad_enabled(False)",
    "inference mode": "pytest.held = torch.inference_mode(); pytest.held.__enter__()",
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "default device": "torch.set_default_device('meta')",
    "anomaly mode": "torch.autograd.set_detect_anomaly(True)",
    "deterministic algorithms": "torch.use_deterministic_algorithms(True)",
    "number of threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "RNG state": "torch.rand(1)",
}

STATE = """[
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
            torch.empty(0).device, torch.is_anomaly_enabled(), torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(), torch.get_rng_state().tolist(),
        ]"""

CHANGED_BY_A_TEST = """
    def test_changes(device):
        open("before", "w").write(repr({state}))
        {change}
"""

CHANGED_BY_EXAMPLES = """
    @given(number=st.integers(0, 3))
    def test_changes(device, number):
        with open("during", "a") as file:
            print({state}, file=file)
        if number:
            {change}
            raise AssertionError("the example fails")
"""

SEEN_BY_THE_NEXT = """
    def test_next(device):
        open("after", "w").write(repr({state}))
"""


@pytest.mark.parametrize("setting", CHANGES)
def test_a_changed_setting_fails_its_test_by_name_and_the_next_starts_clean(tmp_path: Path, setting: str) -> None:
    change = CHANGED_BY_A_TEST.format(state=STATE, change=CHANGES[setting])
    run = Checkout(tmp_path, {"changes": change, "next": SEEN_BY_THE_NEXT.format(state=STATE)}).run()
    assert run.verdicts() == {("changes", "cpu"): "fail", ("next", "cpu"): "pass"}
    assert f"LeftChanged: test_changes left changed: {setting}\n" in run.output
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_the_next_example_of_the_same_test_starts_clean(tmp_path: Path) -> None:
    change = "; ".join(CHANGES.values())
    run = Checkout(
        tmp_path, {"changes": CHANGED_BY_EXAMPLES.format(state=STATE.replace("\n", ""), change=change)}
    ).run()
    assert run.verdicts() == {("changes", "cpu"): "fail"}
    states = (tmp_path / "during").read_text().splitlines()
    assert len(states) > 2
    assert len(set(states)) == 1


def test_a_stack_that_is_written_down_in_a_body_is_short_and_afterwards_it_is_whole() -> None:
    stacks: list[list[str]] = []

    def writes_down(device: str) -> None:
        stacks.append(traceback.format_stack())

    realise.realising(writes_down)(device="cpu")
    assert len(stacks[0]) == 4
    assert len(traceback.format_stack()) > 4
