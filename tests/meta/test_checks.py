"""Each check has a fixture: the mini project with one thing broken, and the one line that then names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.checks import CHECKS, problems_of
from tests.harness.checks.check import Check
from tests.harness.checks.claims_agree import ClaimsAgree
from tests.harness.checks.claims_are_complete import ClaimsAreComplete
from tests.harness.checks.claims_are_settled import ClaimsAreSettled
from tests.harness.checks.claims_can_fail import ClaimsCanFail
from tests.harness.checks.engines_exist import EnginesExist
from tests.harness.checks.engines_name_rules import EnginesNameRules
from tests.harness.checks.mirrored import Mirrored
from tests.harness.checks.readable import Readable
from tests.harness.checks.retired_stay_retired import RetiredStayRetired
from tests.harness.checks.rules_exist import RulesExist
from tests.harness.checks.rules_have_engines import RulesHaveEngines
from tests.harness.checks.rules_have_tests import RulesHaveTests
from tests.harness.checks.tests_have_rules import TestsHaveRules
from tests.harness.checks.tests_speak_for_one_rule import TestsSpeakForOneRule
from tests.harness.project import read_project
from tests.meta import mini_project
from tests.meta.mini_project import ADDS_ONE, ENGINES, ITEM, PAGE, RETIRED, TESTS, TWICE


@dataclass(frozen=True)
class Violation:
    """`old` becomes `new` in one file of the mini project, and then `check` has one problem, `line`."""

    check: type[Check]
    file: str
    old: str
    new: str
    line: str

    def __str__(self) -> str:
        return f"{self.check.__name__}-{self.line.partition(': ')[2][:50]}"


BELOW_THE_TESTS = "    assert x.tolist() == before\n"
BELOW_THE_ENGINES = 'refuses="no")\ndef adds_in_place(hit):\n    yield\n'
BELOW_THE_CLAIMS = "| a matter of taste | |\n"

VIOLATIONS = (
    Violation(
        Readable,
        ITEM,
        "### `twice`\n",
        "### twice\n",
        f"{ITEM}:13: a rule's heading is ### `slug`, or ### `slug` (observed, since 2.2)",
    ),
    Violation(
        Readable,
        PAGE,
        "| unsettleable |",
        "| true |",
        f"{PAGE}:6: verdict is 'true': say one of holds, conditional, refuted, unsettleable; "
        "then, if it applies, 'not torch'",
    ),
    Violation(
        RulesExist,
        TESTS,
        BELOW_THE_TESTS,
        BELOW_THE_TESTS + '\n\n@rule("tensors.doubling.twise")\ndef test_typed_wrongly(device):\n    pass\n',
        f"{TESTS}:22: test_typed_wrongly is bound to 'tensors.doubling.twise', which no item in spec/ has",
    ),
    Violation(
        RetiredStayRetired,
        RETIRED,
        "tensors.doubling.thrice",
        "tensors.doubling.twice",
        f"{ITEM}:13: tensors.doubling.twice is retired (spec/retired.md): give the rule a new slug",
    ),
    Violation(
        RulesHaveTests,
        TESTS,
        '@rule("tensors.doubling.twice")\n@given(x=tensors())\ndef test_a_sum_is_twice_the_tensor(device, x):\n',
        "def check_a_sum(device, x):\n",
        f'{ITEM}:13: rule tensors.doubling.twice has no test: write one below @rule("tensors.doubling.twice")',
    ),
    Violation(
        TestsHaveRules,
        TESTS,
        BELOW_THE_TESTS,
        BELOW_THE_TESTS + "\n\ndef test_without_a_sentence(device):\n    pass\n",
        f'{TESTS}:21: test_without_a_sentence is bound to no rule: put @rule("...") above it',
    ),
    Violation(
        TestsHaveRules,
        TESTS,
        BELOW_THE_TESTS,
        BELOW_THE_TESTS + "\n\nclass TestInAClass:\n    def test_without_a_sentence(self, device):\n        pass\n",
        f'{TESTS}:22: test_without_a_sentence is bound to no rule: put @rule("...") above it',
    ),
    Violation(
        TestsSpeakForOneRule,
        TESTS,
        '@rule("tensors.doubling.unchanged")\n',
        '@rule("tensors.doubling.unchanged")\n@rule("tensors.doubling.twice")\n',
        f"{TESTS}:16: test_a_sum_leaves_the_tensor_as_it_was is bound to two rules: write a test for each",
    ),
    Violation(
        TestsSpeakForOneRule,
        TESTS,
        "test_a_sum_leaves_the_tensor_as_it_was",
        "test_a_sum_is_twice_the_tensor",
        f"{TESTS}:15: a second test_a_sum_is_twice_the_tensor, which hides the first: give it another name",
    ),
    Violation(
        Mirrored,
        "tests/tensors/test_the_half.py",
        "",
        '"""No item has these tests."""\n',
        "tests/tensors/test_the_half.py:1: the tests have no mirror: their item belongs in spec/tensors/the-half.md",
    ),
    Violation(
        Mirrored,
        "tests/test_beside_the_chapters.py",
        "",
        '"""No chapter has these tests."""\n',
        "tests/test_beside_the_chapters.py:1: the tests have no place: write tests/CHAPTER/test_ITEM.py",
    ),
    Violation(
        Mirrored,
        "tests/tensors/deep/test_doubling.py",
        "",
        '"""No item is as deep as these tests."""\n',
        "tests/tensors/deep/test_doubling.py:1: the tests have no place: write tests/CHAPTER/test_ITEM.py",
    ),
    Violation(
        Mirrored,
        "tests/tensors/doubling_test.py",
        "",
        '"""Pytest collects this file too."""\n',
        "tests/tensors/doubling_test.py:1: the tests have no place: write tests/CHAPTER/test_ITEM.py",
    ),
    Violation(
        RulesHaveEngines,
        ITEM,
        "Caught by `unchanged`, `twice`.",
        "Caught by `twice`.",
        f"{ITEM}:17: no wrong engine is caught by rule tensors.doubling.unchanged: name one under ## Wrong engines",
    ),
    Violation(
        EnginesExist,
        ENGINES,
        '@wrong_engine("adds-one")\n',
        "",
        f"{ITEM}:32: wrong engine 'adds-one' does not exist in tests/wrong_engines",
    ),
    Violation(
        EnginesExist,
        ENGINES,
        BELOW_THE_ENGINES,
        BELOW_THE_ENGINES + '\n\n@wrong_engine(\n    "adds-two"\n)\n',
        f"{ENGINES}:11: no item names wrong engine 'adds-two': list it under ## Wrong engines",
    ),
    Violation(
        EnginesNameRules,
        ITEM,
        "`unchanged`, `twice`.",
        "`unchanged`, `twise`.",
        f"{ITEM}:33: 'adds-in-place' is said to be caught by 'tensors.doubling.twise', which is no rule",
    ),
    Violation(
        EnginesNameRules,
        ITEM,
        "`unchanged`, `twice`.",
        "`unchanged`, `tensors.halving.twice`.",
        f"{ITEM}:33: 'adds-in-place' is said to be caught by 'tensors.halving.twice', which is no rule",
    ),
    Violation(
        ClaimsAreComplete,
        PAGE,
        "| D1-2 | 4",
        "| D1-3 | 4",
        f"{PAGE}:6: claim D1-02 has no row, and this is D1-3",
    ),
    Violation(
        ClaimsAreSettled,
        PAGE,
        BELOW_THE_CLAIMS,
        BELOW_THE_CLAIMS + "| D1-3 | 5 | Nobody settles this. | holds | | |\n",
        f"{PAGE}:7: no rule settles claim D1-3: link one, or say unsettleable, or 'not torch'",
    ),
    Violation(
        ClaimsAreSettled,
        PAGE,
        BELOW_THE_CLAIMS,
        BELOW_THE_CLAIMS + "| D1-3 | 5 | Python is quick. | holds, not torch | | |\n",
        f"{PAGE}:7: no rule settles claim D1-3, and nothing says why: write the reason in that cell",
    ),
    Violation(
        ClaimsAreSettled,
        PAGE,
        f"| {TWICE} |",
        f"| {TWICE}, [twise](../tensors/doubling.md#twise) |",
        f"{PAGE}:5: claim D1-1 links tensors.doubling.twise, which is no rule",
    ),
    Violation(
        ClaimsCanFail,
        PAGE,
        f"| {ADDS_ONE} |",
        "| |",
        f"{PAGE}:5: claim D1-1 is refuted, but names no wrong engine that behaves as the text says",
    ),
    Violation(
        ClaimsCanFail,
        PAGE,
        "`adds-one`",
        "`adds-two`",
        f"{PAGE}:5: claim D1-1 names the engine 'adds-two', which tensors.doubling does not have",
    ),
    Violation(
        ClaimsCanFail,
        PAGE,
        "doubling.md#twice",
        "doubling.md#unchanged",
        f"{PAGE}:5: claim D1-1 names the engine 'adds-one', which none of the rules that settle it catches",
    ),
    Violation(
        ClaimsAgree,
        ITEM,
        "claims: [D1-1]",
        "claims: [D1-1, D1-9]",
        f"{ITEM}:1: claims lists D1-9, which is on no document's page",
    ),
    Violation(
        ClaimsAgree,
        ITEM,
        "claims: [D1-1]",
        "claims: [D1-1, D1-2]",
        f"{ITEM}:1: claims lists D1-2, whose row links no rule of this item",
    ),
    Violation(
        ClaimsAgree,
        ITEM,
        "claims: [D1-1]",
        "claims: []",
        f"{PAGE}:5: claim D1-1 links a rule of tensors.doubling, whose claims do not list it",
    ),
)


def test_the_mini_project_has_no_problem(tmp_path: Path) -> None:
    assert problems_of(read_project(mini_project.write(tmp_path))) == []


@pytest.mark.parametrize("violation", VIOLATIONS, ids=str)
def test_the_one_thing_that_is_broken_is_the_one_thing_that_is_told(violation: Violation, tmp_path: Path) -> None:
    files = mini_project.with_change(violation.file, violation.old, violation.new)
    project = read_project(mini_project.write(tmp_path, files))
    assert mini_project.told(problems_of(project), tmp_path) == [violation.line]
    assert mini_project.told(list(violation.check().problems(project)), tmp_path) == [violation.line]


def test_every_check_has_its_fixture() -> None:
    assert {violation.check for violation in VIOLATIONS} == set(CHECKS)


def problems_with(files: dict[str, str], root: Path) -> list[str]:
    return mini_project.told(problems_of(read_project(mini_project.write(root, files))), root)


def test_an_item_without_tests_is_told_where_they_belong(tmp_path: Path) -> None:
    files = {name: text for name, text in mini_project.FILES.items() if name != TESTS}
    assert problems_with(files, tmp_path)[0] == f"{ITEM}:1: the item has no mirror: its tests belong in {TESTS}"


def test_a_test_among_those_of_another_item_is_told_where_it_belongs(tmp_path: Path) -> None:
    other = "tests/tensors/test_halving.py"
    bound = '@rule("tensors.doubling.twice")\ndef test_elsewhere(device):\n    pass\n'
    assert f"{other}:2: test_elsewhere belongs in {TESTS}" in problems_with(
        {**mini_project.FILES, other: bound}, tmp_path
    )


def test_an_engine_among_those_of_another_item_is_told_where_it_belongs(tmp_path: Path) -> None:
    engine = '@wrong_engine("adds-one")\ndef adds_one(hit):\n    yield\n'
    other = "tests/wrong_engines/tensors/halving.py"
    files = {**mini_project.with_change(ENGINES, engine, ""), other: "\n" + engine}
    assert problems_with(files, tmp_path) == [f"{other}:2: engine 'adds-one' belongs in {ENGINES}"]


def test_both_places_of_an_engine_that_is_defined_twice_are_told(tmp_path: Path) -> None:
    files = mini_project.with_change(ENGINES, BELOW_THE_ENGINES, BELOW_THE_ENGINES + '\n\n@wrong_engine("adds-one")\n')
    assert problems_with(files, tmp_path) == [
        f"{ENGINES}:{line}: wrong engine 'adds-one' is defined more than once" for line in (1, 11)
    ]


def test_both_places_of_an_engine_that_is_named_twice_are_told(tmp_path: Path) -> None:
    files = mini_project.with_change(
        ITEM, "- `adds-in-place`:", "- `adds-one`: again. Caught by `twice`.\n- `adds-in-place`:"
    )
    assert problems_with(files, tmp_path) == [
        f"{ITEM}:{line}: wrong engine 'adds-one' is named more than once" for line in (32, 33)
    ]


def test_both_rows_of_a_claim_are_told(tmp_path: Path) -> None:
    again = "| D1-2 | 9 | Tensors are ugly. | unsettleable | a matter of taste | |\n"
    files = mini_project.with_change(PAGE, BELOW_THE_CLAIMS, BELOW_THE_CLAIMS + again)
    assert problems_with(files, tmp_path) == [f"{PAGE}:{line}: claim D1-2 has more than one row" for line in (6, 7)]


def test_what_cannot_be_read_is_told_alone(tmp_path: Path) -> None:
    """Every rule of an unreadable item would else be missed by its tests, its engines and its claims."""
    files = mini_project.with_change(ITEM, "id: tensors.doubling\n", "")
    assert problems_with(files, tmp_path) == [f"{ITEM}:1: front matter lacks id"]
