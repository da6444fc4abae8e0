"""Reading `known_failures.toml`: what an entry covers, and the one line that each kind of bad entry gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from tests.harness.known_failures import KnownFailure, read_known_failures
from tests.harness.problems import Problem
from tests.harness.spec import read_spec
from tests.inputs.expression import Expression, build
from tests.meta import mini_project

NAME = "known_failures.toml"
ENTRY = """\
# Two lines of remarks,
# which count.
[[failure]]
rule = "tensors.doubling.twice"
device = "cuda"
torch = ">=2.4,<2.6"
reason = "forgets the second term"
link = "https://example.org/issues/1"
[failure.example]
x = "torch.ones(2, device=device)"
"""


def read(text: str, root: Path) -> list[KnownFailure]:
    mini_project.write(root, {**mini_project.FILES, NAME: text})
    return read_known_failures(root / NAME, read_spec(root / "spec"))


def test_an_entry_is_read_with_its_line(tmp_path: Path) -> None:
    [entry] = read(ENTRY, tmp_path)
    assert (entry.rule, entry.device, str(entry.torch)) == ("tensors.doubling.twice", "cuda", "<2.6,>=2.4")
    assert (entry.reason, entry.link) == ("forgets the second term", "https://example.org/issues/1")
    assert (entry.example, entry.test) == ({"x": Expression("torch.ones(2, device=device)")}, None)
    assert (entry.path, entry.line) == (tmp_path / NAME, 3)


def test_each_entry_has_the_line_of_its_own_header(tmp_path: Path) -> None:
    entries = read(ENTRY + "\n\n" + ENTRY.replace("[[failure]]", "  [[ failure ]] # again"), tmp_path)
    assert [entry.line for entry in entries] == [3, 15]


def test_an_example_may_have_statements_after_its_expression(tmp_path: Path) -> None:
    stated = ENTRY.replace('"torch.ones(2, device=device)"', '["[1]", "{it}.append(2)", "{it}.append(3)"]')
    [entry] = read(stated, tmp_path)
    assert entry.example == {"x": Expression("[1]", then=("{it}.append(2)", "{it}.append(3)"))}
    assert build({}, "x", entry.example["x"]) == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_a_file_without_entries_knows_no_failures(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == []


def test_no_file_knows_no_failures(tmp_path: Path) -> None:
    assert read_known_failures(tmp_path / NAME, read_spec(tmp_path)) == []


@pytest.mark.parametrize(
    ("device", "here", "covered"),
    [
        ("cuda", "cuda", True),
        ("cuda", "cuda:1", True),
        ("cuda:1", "cuda:1", True),
        ("cuda:1", "cuda", False),
        ("cuda:1", "cuda:2", False),
        ("cuda", "cpu", False),
        ("any", "cuda:1", True),
        ("any", "cpu", True),
    ],
)
def test_an_entry_is_about_a_kind_of_device_or_one_device_or_any(
    device: str, here: str, covered: bool, tmp_path: Path
) -> None:
    [entry] = read(ENTRY.replace('"cuda"', f'"{device}"'), tmp_path)
    assert entry.covers("tensors.doubling.twice", "test_a", here, Version("2.5")) is covered


@pytest.mark.parametrize(
    ("version", "covered"),
    [("2.3.1", False), ("2.4", True), ("2.5.1+cu121", True), ("2.5.0.dev20240901+cpu", True), ("2.6.0", False)],
)
def test_an_entry_is_about_a_range_of_torch_whatever_was_built(version: str, covered: bool, tmp_path: Path) -> None:
    [entry] = read(ENTRY, tmp_path)
    assert entry.covers("tensors.doubling.twice", "test_a", "cuda", Version(version)) is covered


def test_an_entry_is_about_one_rule_and_where_it_says_so_one_of_its_tests(tmp_path: Path) -> None:
    whole, one = read(ENTRY + ENTRY.replace("reason", 'test = "test_a"\nreason'), tmp_path)
    here = ("cuda", Version("2.5"))
    assert whole.covers("tensors.doubling.twice", "test_a", *here)
    assert whole.covers("tensors.doubling.twice", "test_b", *here)
    assert not whole.covers("tensors.doubling.unchanged", "test_a", *here)
    assert one.covers("tensors.doubling.twice", "test_a", *here)
    assert not one.covers("tensors.doubling.twice", "test_b", *here)


FIELDS = "a known failure needs rule, device, torch, reason, link, example: this one lacks"
EXAMPLE = '[failure.example]\nx = "torch.ones(2, device=device)"\n'

BAD = {
    "no reason": ('reason = "forgets the second term"\n', "", f"3: {FIELDS} reason"),
    "no link": ('link = "https://example.org/issues/1"\n', "", f"3: {FIELDS} link"),
    "neither": (
        'reason = "forgets the second term"\nlink = "https://example.org/issues/1"\n',
        "",
        f"3: {FIELDS} reason, link",
    ),
    "empty reason": ('"forgets the second term"', '""', f"3: {FIELDS} reason"),
    "blank link": ('"https://example.org/issues/1"', '"  "', f"3: {FIELDS} link"),
    "no example": (EXAMPLE, "", f"3: {FIELDS} example"),
    "unknown field": (
        "reason",
        'until = "2.7"\nreason',
        "3: a known failure has no field 'until': it has rule, device, ",
    ),
    "unknown rule": ("doubling.twice", "doubling.twise", "3: 'tensors.doubling.twise' is no rule of spec/"),
    "bad range": ('">=2.4,<2.6"', '"2.4 to 2.6"', "3: torch is '2.4 to 2.6': write a range such as \">=2.4,<2.6\""),
    "number as range": ('">=2.4,<2.6"', "2.4", "3: torch of a known failure is not a text: put it between quotes"),
    "list as device": ('"cuda"', '["cuda"]', "3: device of a known failure is not a text: put it between quotes"),
    "text as example": (
        EXAMPLE,
        'example = "torch.ones(2)"\n',
        "3: example of a known failure is not a table, [failure.example]",
    ),
    "number in the example": (
        '"torch.ones(2, device=device)"',
        "2",
        "3: x of the example is not Python, or not a text: ",
    ),
    "nothing in the example": (
        '"torch.ones(2, device=device)"',
        "[]",
        "3: x of the example is not Python, or not a tex",
    ),
    "no expression": (
        '"torch.ones(2, device=device)"',
        '"torch.ones(2"',
        "3: x of the example is not Python, or not a ",
    ),
    "no statement": (
        '"torch.ones(2, device=device)"',
        '["[]", "{it} ="]',
        "3: x of the example is not Python, or not ",
    ),
    "not TOML": ('"cuda"', "cuda", "5: not TOML: Invalid value (at line 5, column 10)"),
    "not TOML at its end": (
        '"torch.ones(2, device=device)"\n',
        '"""torch.ones(2, device=device)\n',
        "10: not TOML: Unterminated string (at end of document)",
    ),
    "a single table": ("[[failure]]", "[failure]", "1: 'failure' is not read: begin each entry with [[failure]]"),
    "another name": ("[[failure]]", "[[failures]]", "1: 'failures' is not read: begin each entry with [[failure]]"),
    "no header": ("[[failure]]\n", "", "1: 'rule' is not read: begin each entry with [[failure]]"),
    "inline": (ENTRY, "failure = [{rule = 1}]\n", "1: 'failure' is not read: begin each entry with [[failure]]"),
}


@pytest.mark.parametrize(("old", "new", "line"), BAD.values(), ids=BAD)
def test_a_bad_entry_gets_one_line_with_its_place(old: str, new: str, line: str, tmp_path: Path) -> None:
    assert ENTRY.count(old) == 1 or old in ("reason", "doubling.twice")
    with pytest.raises(Problem) as raised:
        read(ENTRY.replace(old, new, 1), tmp_path)
    [problem] = mini_project.told([raised.value], tmp_path)
    assert problem.startswith(f"{NAME}:{line}")
    assert "\n" not in problem


def test_a_bad_entry_after_a_good_one_is_told_with_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(Problem) as raised:
        read(ENTRY + ENTRY.replace("doubling.twice", "doubling.twise"), tmp_path)
    assert raised.value.line == 13
