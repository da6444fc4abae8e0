"""Reading `spec/documents/`: the claims of a page, with their lines, and the one line that each bad row gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.documents import QUALIFIERS, Documents, read_documents
from tests.meta import mini_project
from tests.meta.mini_project import ADDS_ONE, PAGE, TWICE, told


def documents(root: Path, files: dict[str, str] = mini_project.FILES) -> Documents:
    return read_documents(mini_project.write(root, files) / "spec")


def test_each_row_is_a_claim_with_its_verdict_its_rules_and_its_line(tmp_path: Path) -> None:
    read = documents(tmp_path)
    assert read.problems == ()
    assert [(claim.id, claim.verdict, claim.rules, claim.line) for claim in read.claims] == [
        ("D1-1", "refuted", ("tensors.doubling.twice",), 5),
        ("D1-2", "unsettleable", (), 6),
    ]


def test_a_row_that_is_not_right_names_the_engines_that_behave_as_told(tmp_path: Path) -> None:
    assert [claim.engines for claim in documents(tmp_path).claims] == [(("adds-one", "tensors.doubling"),), ()]


def test_a_claim_about_something_else_gives_its_reason_in_words(tmp_path: Path) -> None:
    files = mini_project.with_change(PAGE, "| unsettleable |", "| **holds**, not torch |")
    claim = documents(tmp_path, files).claims[1]
    assert (claim.verdict, claim.elsewhere, claim.reason) == ("holds", True, "a matter of taste")


@pytest.mark.parametrize("verdict", ["holds", "conditional", "refuted", "unsettleable"])
@pytest.mark.parametrize("shown", ["{}", "**{}**"])
def test_a_verdict_may_be_bold(verdict: str, shown: str, tmp_path: Path) -> None:
    files = mini_project.with_change(PAGE, "**refuted**", shown.format(verdict))
    assert documents(tmp_path, files).claims[0].verdict == verdict


def test_a_claim_may_be_settled_by_several_rules_and_by_words(tmp_path: Path) -> None:
    several = f"{TWICE}, [as it was](../tensors/doubling.md#unchanged); [how to read](../README.md)"
    files = {**mini_project.with_change(PAGE, TWICE, several), "spec/README.md": ""}
    assert documents(tmp_path, files).claims[0].rules == ("tensors.doubling.twice", "tensors.doubling.unchanged")


@pytest.mark.parametrize("anchor", ["twice", "twice-observed", "twice-since-22", "twice-observed-since-22"])
def test_a_rule_with_qualifiers_is_linked_by_the_anchor_that_its_heading_has(anchor: str, tmp_path: Path) -> None:
    files = mini_project.with_change(PAGE, "doubling.md#twice", f"doubling.md#{anchor}")
    assert documents(tmp_path, files).claims[0].rules == ("tensors.doubling.twice",)


def test_pages_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    earlier = "| D0-7 | 1 | Something. | unsettleable | | |\n"
    read = documents(tmp_path, {**mini_project.FILES, "spec/documents/D0.md": earlier})
    assert [(claim.id, claim.path.name) for claim in read.claims] == [
        ("D0-7", "D0.md"),
        ("D1-1", "D1.md"),
        ("D1-2", "D1.md"),
    ]


def test_a_project_without_documents_has_no_claims(tmp_path: Path) -> None:
    assert read_documents(tmp_path) == Documents((), ())


BAD = {
    "a cell too few": ("| 3 | Twice", "| Twice", "5: a row has 6 cells, this one 5: id, where, claim, verdict, "),
    "a cell too many": ("`a \\| b`", "`a | b`", "6: a row has 6 cells, this one 7: id, where, claim, verdict, "),
    "open row": (
        "a matter of taste | |",
        "a matter of taste |",
        "6: a row has 6 cells, this one 5: id, where, claim, ",
    ),
    "unknown verdict": ("**refuted**", "**true**", "5: verdict is 'true': say one of holds, conditional, refuted, uns"),
    "no verdict": ("**refuted**", "", "5: verdict is '': say one of holds, conditional, refuted, unsettleable"),
    "unknown qualifier": ("| unsettleable |", "| holds, mostly |", "6: verdict is 'holds, mostly': say one of "),
    "engine without a link": (
        ADDS_ONE,
        "`adds-one`",
        "5: the last cell names wrong engines: [`name`](../CHAPTER/ITEM.md#wrong-engines)",
    ),
    "engine of no file": (
        "doubling.md#wrong",
        "halving.md#wrong",
        "5: the link ../tensors/halving.md leads to no file",
    ),
    "link to no file": (
        "../tensors/doubling.md#twice",
        "../tensors/halving.md#twice",
        "5: the link ../tensors/halving.md leads to no file",
    ),
    "claim of another page": ("D1-2", "D2-2", "6: 'D2-2' is no claim of this page: its claims are D1-1, and so on"),
    "id with a letter": ("D1-2", "D1-2a", "6: 'D1-2a' is no claim of this page: its claims are D1-1, and so on"),
    "id in small letters": ("D1-2", "d1-2", "6: 'd1-2' is no claim of this page: its claims are D1-1, and so on"),
    "id without a number": ("D1-2", "D1", "6: 'D1' is no claim of this page: its claims are D1-1, and so on"),
}


@pytest.mark.parametrize(("old", "new", "line"), BAD.values(), ids=BAD)
def test_a_bad_row_gets_one_line_with_its_place_and_the_others_are_read(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    read = documents(tmp_path, mini_project.with_change(PAGE, old, new))
    [problem] = told(list(read.problems), tmp_path)
    assert problem.startswith(f"{PAGE}:{line}")
    assert len(read.claims) == 1


def test_a_page_in_another_encoding_is_told(tmp_path: Path) -> None:
    page = mini_project.write(tmp_path) / PAGE
    page.write_bytes("# D1: zwölf\n".encode("latin-1"))
    assert told(list(read_documents(tmp_path / "spec").problems), tmp_path) == [
        f"{PAGE}:1: not UTF-8: save the file in that encoding"
    ]


def test_a_link_to_a_qualified_heading_goes_by_the_anchor_that_it_has() -> None:
    assert QUALIFIERS.sub("", "flag") == "flag"
    assert QUALIFIERS.sub("", "flag-observed") == "flag"
    assert QUALIFIERS.sub("", "set-grad-enabled-observed-since-22") == "set-grad-enabled"
    assert QUALIFIERS.sub("", "without-parentheses-since-22") == "without-parentheses"
