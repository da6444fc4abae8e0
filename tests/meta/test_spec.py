"""Reading `spec/`: what an item says, with its lines, and the one line that each kind of bad item gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from tests.harness.spec import Item, Spec, read_item, read_spec
from tests.meta import mini_project
from tests.meta.mini_project import ITEM, told

TEXT = mini_project.FILES[ITEM]
FRONT_MATTER = "---\nid: tensors.doubling\ntitle: Doubling a tensor\nclaims: [D1-1]\ndevices: all\n---\n"


def read(text: str, root: Path) -> Spec:
    """A spec with this one item, in the place of the mini project's."""
    mini_project.write(root, {ITEM: text})
    return read_spec(root / "spec")


def item(text: str, root: Path) -> Item:
    spec = read(text, root)
    assert told(list(spec.problems), root) == []
    return spec.items[0]


def changed(old: str, new: str) -> str:
    return mini_project.with_change(ITEM, old, new)[ITEM]


def test_an_item_is_read_with_its_rules_and_engines_and_their_lines(tmp_path: Path) -> None:
    doubling = item(TEXT, tmp_path)
    assert (doubling.id, doubling.title, doubling.claims) == ("tensors.doubling", "Doubling a tensor", ("D1-1",))
    assert doubling.chapter == "tensors"
    assert [(rule.id, rule.sentence, rule.line) for rule in doubling.rules] == [
        ("tensors.doubling.twice", "`x + x` has twice the elements of `x`.", 13),
        ("tensors.doubling.unchanged", "`x + x` leaves `x` as it was.", 17),
    ]
    assert all((rule.observed, rule.since, rule.devices) == (False, None, "all") for rule in doubling.rules)
    assert [(engine.name, engine.defect, engine.caught_by, engine.line) for engine in doubling.engines] == [
        ("adds-one", "adds one instead.", ("tensors.doubling.twice",), 32),
        ("adds-in-place", "doubles `x` itself.", ("tensors.doubling.unchanged", "tensors.doubling.twice"), 33),
    ]


def test_only_files_of_chapters_are_items_in_the_order_of_their_names(tmp_path: Path) -> None:
    files = {
        "spec/README.md": "not an item",
        "spec/tensors/README.md": "not an item",
        "spec/documents/D0.md": "not an item",
        "spec/tensors/deep/doubling.md": "not an item",
        "spec/tensors/doubling.txt": "not an item",
        "spec/update/doubling.md": TEXT.replace("tensors.", "update."),
        "spec/detach/doubling.md": TEXT.replace("tensors.", "detach."),
        ITEM: TEXT,
    }
    spec = read_spec(mini_project.write(tmp_path, files) / "spec")
    assert spec.problems == ()
    assert [item.id for item in spec.items] == ["detach.doubling", "tensors.doubling", "update.doubling"]
    assert len(spec.rules) == 6


@pytest.mark.parametrize(
    ("heading", "observed", "since"),
    [
        ("### `twice`", False, None),
        ("### `twice` (observed)", True, None),
        ("### `twice` (since 2.2)", False, Version("2.2")),
        ("### `twice` (observed, since 2.2)", True, Version("2.2")),
        ("### `twice` (since 2.2, observed)", True, Version("2.2")),
    ],
)
def test_a_heading_qualifies_its_rule_alone(
    heading: str, observed: bool, since: Version | None, tmp_path: Path
) -> None:
    twice, unchanged = item(changed("### `twice`", heading), tmp_path).rules
    assert (twice.id, twice.observed, twice.since) == ("tensors.doubling.twice", observed, since)
    assert (unchanged.observed, unchanged.since) == (False, None)


def test_the_front_matter_qualifies_every_rule_and_a_heading_has_the_last_word(tmp_path: Path) -> None:
    text = changed("devices: all\n", 'devices: accelerator\nstatus: observed\nsince: "2.1"\n')
    rules = item(text.replace("### `unchanged`", "### `unchanged` (since 2.4)"), tmp_path).rules
    assert [(rule.observed, rule.devices, str(rule.since)) for rule in rules] == [
        (True, "accelerator", "2.1"),
        (True, "accelerator", "2.4"),
    ]


def test_an_engine_may_be_caught_by_a_rule_of_another_item(tmp_path: Path) -> None:
    engine = item(changed("by `twice`.", "by `twice`, `tensors.halving.half`."), tmp_path).engines[0]
    assert engine.caught_by == ("tensors.doubling.twice", "tensors.halving.half")


def test_an_entry_of_the_engines_may_take_several_lines(tmp_path: Path) -> None:
    engine = item(changed("instead. Caught", "instead,\n  but not always.\n  Caught"), tmp_path).engines[0]
    assert (engine.defect, engine.line) == ("adds one instead, but not always.", 32)


def test_a_heading_in_a_comment_or_a_program_is_no_rule(tmp_path: Path) -> None:
    text = changed("### `unchanged`", "<!--\n### `commented-out`\nIt was a rule.\n-->\n\n### `unchanged`")
    assert [rule.id.rpartition(".")[2] for rule in item(text, tmp_path).rules] == ["twice", "unchanged"]


def test_the_sentence_of_a_rule_is_the_first_paragraph_below_it(tmp_path: Path) -> None:
    text = changed("elements\nof `x`.", "elements\nof `x`.\n\nA remark.\n\n#### Why\n\nBecause.")
    assert item(text, tmp_path).rules[0].sentence == "`x + x` has twice the elements of `x`."


def test_lines_end_in_any_way(tmp_path: Path) -> None:
    path = mini_project.write(tmp_path, {ITEM: ""}) / ITEM
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert [rule.line for rule in read_item(path).rules] == [13, 17]


HEADING = "a rule's heading is ### `slug`, or ### `slug` (observed, since 2.2)"
ENGINE = "a wrong engine reads - `name`: its defect. Caught by `slug`."
VERSION = 'write a version of torch in quotes, such as "2.2"'

BAD = {
    "empty": (TEXT, "", "1: no front matter: start the file with a block between two lines of ---"),
    "no front matter": (FRONT_MATTER, "", "1: no front matter: start the file with a block between two lines of ---"),
    "open front matter": (
        "devices: all\n---",
        "devices: all",
        "1: no front matter: start the file with a block between two lines of ---",
    ),
    "empty front matter": (FRONT_MATTER, "---\n---\n", "1: front matter is not a list of `field: value` lines"),
    "a list": (FRONT_MATTER, "---\n- id\n---\n", "1: front matter is not a list of `field: value` lines"),
    "open bracket": ("[D1-1]", "[D1-1", "5: front matter is not YAML: did not find expected ',' or ']'"),
    "colon": (
        "a tensor\nclaims",
        "a tensor: a: b\nclaims",
        "3: front matter is not YAML: mapping values are not allowed",
    ),
    "bell": ("title: Doubling", "title: \aDoubling", "1: front matter is not YAML: "),
    "thirteenth month": (
        "devices: all",
        "devices: all\nsince: 2020-13-01",
        "1: front matter is not YAML: month must be",
    ),
    "missing field": ("title: Doubling a tensor\n", "", "1: front matter lacks title"),
    "missing fields": (
        FRONT_MATTER,
        "---\nid: tensors.doubling\n---\n",
        "1: front matter lacks title, claims, devices",
    ),
    "unknown field": (
        "devices: all",
        "devices: all\nversion: 2",
        "6: front matter has an unknown field version: the fields are claims, devices, id, since, status, title",
    ),
    "number as field": ("devices: all", "devices: all\n7: 2", "6: front matter has an unknown field 7: the fields are"),
    "id of another item": (
        "id: tensors.doubling",
        "id: tensors.halving",
        "2: id is 'tensors.halving', but in this place it is 'tensors.doubling'",
    ),
    "number as title": ("title: Doubling a tensor", "title: 2", "3: title is not a text: put it between quotes"),
    "text as claims": (
        "claims: [D1-1]",
        "claims: D1-1",
        "4: claims is not a list of claim ids such as [D1-30]; use [] for none",
    ),
    "nothing as claims": (
        "claims: [D1-1]",
        "claims:",
        "4: claims is not a list of claim ids such as [D1-30]; use [] for none",
    ),
    "numbers as claims": (
        "claims: [D1-1]",
        "claims: [1]",
        "4: claims is not a list of claim ids such as [D1-30]; use [] for none",
    ),
    "unknown devices": ("devices: all", "devices: gpu", "5: devices is 'gpu': say one of all, cpu, accelerator"),
    "list of devices": ("devices: all", "devices: [cpu]", "5: devices is ['cpu']: say one of all, cpu, accelerator"),
    "unknown status": (
        "devices: all",
        "devices: all\nstatus: promise",
        "6: status is 'promise': say one of promised, observed",
    ),
    "version without quotes": ("devices: all", "devices: all\nsince: 2.2", f"6: since is 2.2: {VERSION}"),
    "no version": ("devices: all", 'devices: all\nsince: "soon"', f"6: since is 'soon': {VERSION}"),
    "date as version": ("devices: all", "devices: all\nsince: 2023-10-04", "6: since is datetime.date(2023, 10, 4): "),
    "no rules": ("## Rules\n\n### `twice`", "### `twice`", "1: no rule: write a section ## Rules with a heading"),
    "heading without code": ("### `twice`", "### twice", f"13: {HEADING}"),
    "heading with words": ("### `twice`", "### `twice` as much", f"13: {HEADING}"),
    "slug in capitals": ("### `twice`", "### `Twice`", f"13: {HEADING}"),
    "slug with underscore": ("### `twice`", "### `two_times`", f"13: {HEADING}"),
    "slug with double hyphen": ("### `twice`", "### `two--times`", f"13: {HEADING}"),
    "unknown qualifier": (
        "### `twice`",
        "### `twice` (cpu)",
        "13: (cpu) is no qualifier of a rule: say observed, or since 2.2",
    ),
    "one of two qualifiers": ("### `twice`", "### `twice` (observed, cpu)", "13: (cpu) is no qualifier of a rule: say"),
    "empty qualifier": ("### `twice`", "### `twice` (observed, )", "13: () is no qualifier of a rule: say"),
    "qualified by no version": ("### `twice`", "### `twice` (since soon)", f"13: since is 'soon': {VERSION}"),
    "second rule": ("### `unchanged`", "### `twice`", "17: a second rule `twice`: an id names one rule"),
    "rule without a sentence": (
        "`x + x` has twice the elements\nof `x`.\n",
        "",
        "13: rule `twice` has no sentence below its heading",
    ),
    "rule with a program alone": (
        "`x + x` leaves `x` as it was.",
        "```python\nx + x\n```",
        "17: rule `unchanged` has no sentence below its heading",
    ),
    "engine without a name": ("- `adds-one`: adds", "- adds", f"32: {ENGINE}"),
    "engine that nothing catches": (" Caught by `twice`.\n", "\n", f"32: {ENGINE}"),
    "engine caught by words": ("Caught by `twice`.\n", "Caught by everything.\n", f"32: {ENGINE}"),
    "paragraph among engines": ("- `adds-one`", "They are two.\n\n- `adds-one`", f"32: {ENGINE}"),
}


@pytest.mark.parametrize(("old", "new", "line"), BAD.values(), ids=BAD)
def test_a_bad_item_gets_one_line_with_its_place(old: str, new: str, line: str, tmp_path: Path) -> None:
    spec = read(changed(old, new), tmp_path)
    assert spec.items == ()
    [problem] = told(list(spec.problems), tmp_path)
    assert problem.startswith(f"{ITEM}:{line}")
    assert "\n" not in problem


def test_two_items_with_one_id_are_told_by_the_one_that_is_out_of_place(tmp_path: Path) -> None:
    files = {ITEM: TEXT, "spec/tensors/halving.md": TEXT}
    spec = read_spec(mini_project.write(tmp_path, files) / "spec")
    assert [item.id for item in spec.items] == ["tensors.doubling"]
    assert told(list(spec.problems), tmp_path) == [
        "spec/tensors/halving.md:2: id is 'tensors.doubling', but in this place it is 'tensors.halving'"
    ]


def test_each_bad_item_gets_its_line_and_the_good_ones_are_read(tmp_path: Path) -> None:
    files = {ITEM: TEXT, "spec/tensors/halving.md": "", "spec/tensors/tripling.md": FRONT_MATTER}
    spec = read_spec(mini_project.write(tmp_path, files) / "spec")
    assert [item.id for item in spec.items] == ["tensors.doubling"]
    assert [problem.path.name for problem in spec.problems] == ["halving.md", "tripling.md"]


def test_a_file_in_another_encoding_is_told_with_the_line_of_its_first_foreign_byte(tmp_path: Path) -> None:
    path = mini_project.write(tmp_path, {ITEM: ""}) / ITEM
    path.write_bytes(TEXT.replace("Twice is twice", "Zweimal ist zweimal für alle").encode("latin-1"))
    spec = read_spec(tmp_path / "spec")
    assert told(list(spec.problems), tmp_path) == [f"{ITEM}:9: not UTF-8: save the file in that encoding"]
