"""The failing program is the test's body with what was drawn written in, and needs nothing of ours."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, settings

from tests.harness import isolation, program, realise
from tests.inputs import Expression
from tests.inputs.values import LARGEST
from tests.inputs.values import LARGEST as MAXIMUM
from tests.meta.table import draws
from tests.oracles import numbers, share_memory
from tests.oracles import numbers as as_numbers

TWICE = 2
LIMIT: int = TWICE * 8


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * TWICE


@contextmanager
def circled() -> Iterator[float]:
    yield math.pi


ONES = Expression("torch.ones(2, device=device)")


def body_with_renamed_oracles(device: str, x: torch.Tensor) -> None:
    assert as_numbers(x) == [1] * MAXIMUM or as_numbers(x) == [1, 1]


def body_with_local_names_that_are_global_too(device: str, x: torch.Tensor) -> None:
    numbers = x.tolist()
    assert [TWICE * doubled for doubled in numbers] == [2, 2]


def body_with_an_argument_that_is_global_too(device: str, numbers: torch.Tensor) -> None:
    assert numbers.sum() == 2


FEW, MANY = 2, 20


def body_with_constants_of_one_statement(device: str, x: torch.Tensor) -> None:
    assert FEW <= x.numel() <= MANY


def plain_body(device: str, x: torch.Tensor) -> None:
    """What the test is about, which its name says too."""
    # A comment of its author.
    y = x + 1

    assert y.tolist() == [2, 2]  # at the end of a line


def body_with_helpers(device: str, x: torch.Tensor) -> None:
    assert doubled(x).sum() < LIMIT


def body_with_oracles(device: str, x: torch.Tensor) -> None:
    assert numbers(x) == [1] * len(x)
    assert share_memory(x, x.view_as(x))
    assert max(numbers(x)) < LARGEST


def body_with_a_decorated_helper(device: str, x: torch.Tensor) -> None:
    with circled() as pi, contextlib.suppress(ValueError):
        assert pi > x.max()


def body_that_expects_an_error(device: str, x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="does not require grad"):
        x.sum().backward()


def body_with_a_function(device: str, x: torch.Tensor) -> None:
    def twice(t: torch.Tensor) -> torch.Tensor:
        return t + t

    assert twice(x).sum() == 4


def body_with_a_decorated_function(device: str, x: torch.Tensor) -> None:
    @torch.no_grad()
    def twice(t: torch.Tensor) -> torch.Tensor:
        return t + t

    assert twice(x).sum() == 4


def body_on_a_dtype(device: str, dtype: torch.dtype, x: torch.Tensor) -> None:
    assert x.dtype == dtype


def body_on_a_tuple(device: str, pair: tuple[Any, Any], count: int, unused: int) -> None:
    function, x = pair
    assert function(x).sum() == count


def body_on_what_was_drawn_before(device: str, dtype: torch.dtype, x: torch.Tensor) -> None:
    assert x.sum() == 2


def text(body: Callable[..., None], /, **drawn: Any) -> str:
    return program.program(body, {"device": "cpu", **drawn})


def test_a_program_is_the_body_as_its_author_wrote_it_below_what_was_drawn() -> None:
    assert text(plain_body, x=ONES) == (
        """\
import torch

device = "cpu"
x = torch.ones(2, device=device)

y = x + 1

assert y.tolist() == [2, 2]  # at the end of a line
"""
    )


def test_helpers_and_constants_come_along_each_above_what_uses_it() -> None:
    assert text(body_with_helpers, x=ONES) == (
        """\
import torch

TWICE = 2

LIMIT: int = TWICE * 8

def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * TWICE

device = "cpu"
x = torch.ones(2, device=device)

assert doubled(x).sum() < LIMIT
"""
    )


def test_constants_that_one_statement_binds_come_along_once() -> None:
    assert text(body_with_constants_of_one_statement, x=ONES).count("FEW, MANY = 2, 20\n") == 1


def test_oracles_and_constants_of_ours_come_along_from_where_they_are_defined() -> None:
    made = text(body_with_oracles, x=ONES)
    assert "def numbers(tensor: torch.Tensor)" in made
    assert made.index("def _writes_are_seen(") < made.index("def share_memory(")
    assert "LARGEST = 3\n" in made


def test_what_was_imported_under_another_name_has_that_name() -> None:
    made = text(body_with_renamed_oracles, x=ONES)
    assert made.index("LARGEST = 3\n") < made.index("MAXIMUM = LARGEST\n")
    assert made.index("def numbers(") < made.index("as_numbers = numbers\n")


def test_local_names_bring_nothing_along() -> None:
    assert "def " not in text(body_with_local_names_that_are_global_too, x=ONES)
    assert "def " not in text(body_with_an_argument_that_is_global_too, numbers=ONES)


def test_what_a_decorated_helper_imports_comes_along() -> None:
    made = text(body_with_a_decorated_helper, x=ONES)
    assert made.startswith(
        "import contextlib\nimport math\nfrom collections.abc import Iterator\nfrom contextlib import contextmanager\n"
        "import torch\n\n@contextmanager\ndef circled()"
    )


def test_a_dtype_and_an_earlier_value_are_written_in_where_they_are_named() -> None:
    assert "dtype = torch.float64\nx = torch.ones(2, dtype=dtype)\n" in text(
        body_on_a_dtype, dtype=torch.float64, x=Expression("torch.ones(2, dtype=dtype)")
    )
    later = text(body_on_what_was_drawn_before, dtype=torch.float64, x=Expression("torch.ones(2, dtype=dtype)"))
    assert "dtype = torch.float64\n" in later


def test_what_the_body_does_not_use_is_left_out() -> None:
    drawn = {"pair": (Expression("lambda x: x * 3"), Expression("torch.ones(2)", then=("{it}.requires_grad_()",)))}
    assert text(body_on_a_tuple, **drawn, count=6, unused=5) == (
        """\
import torch

pair_0 = lambda x: x * 3
pair_1 = torch.ones(2)
pair_1.requires_grad_()
pair = (pair_0, pair_1)
count = 6

function, x = pair
assert function(x).sum() == count
"""
    )


def test_modules_that_what_was_drawn_names_are_imported() -> None:
    made = text(plain_body, x=Expression("torch.from_numpy(np.ones(2)) * math.cos(0)"))
    assert made.startswith("import math\nimport numpy as np\nimport torch\n")


def test_backends_are_imported() -> None:
    made = program.program(plain_body, {"device": "unheard:0", "x": ONES}, ["torch_unheard", "other.backend"])
    assert made.startswith("import other.backend\nimport torch\nimport torch_unheard\n\n")
    assert '\ndevice = "unheard:0"\n' in made


NINES = Expression("torch.full((2,), 9., device=device)")
LEAF = Expression("torch.ones(2, device=device).requires_grad_()")


@pytest.mark.parametrize(
    ("body", "drawn", "failure"),
    [
        (plain_body, ONES, None),
        (plain_body, NINES, AssertionError),
        (plain_body, Expression("None"), TypeError),
        (body_with_helpers, ONES, None),
        (body_with_helpers, NINES, AssertionError),
        (body_with_oracles, ONES, None),
        (body_with_oracles, NINES, AssertionError),
        (body_with_renamed_oracles, ONES, None),
        (body_with_renamed_oracles, NINES, AssertionError),
        (body_with_local_names_that_are_global_too, ONES, None),
        (body_with_local_names_that_are_global_too, NINES, AssertionError),
        (body_with_a_decorated_helper, ONES, None),
        (body_with_a_decorated_helper, NINES, AssertionError),
        (body_that_expects_an_error, ONES, None),
        (body_that_expects_an_error, LEAF, pytest.fail.Exception),
        (body_with_a_function, ONES, None),
        (body_with_a_function, NINES, AssertionError),
        (body_with_a_decorated_function, ONES, None),
        (body_with_a_decorated_function, NINES, AssertionError),
    ],
)
def test_a_program_does_what_the_test_did(
    body: Callable[..., None], drawn: Expression, failure: type[BaseException] | None
) -> None:
    assert failure_of(lambda: realise.realising(body)(device="cpu", x=drawn)) is failure
    assert failure_of(lambda: run_here(text(body, x=drawn))) is failure


def failure_of(run: Callable[[], object]) -> type[BaseException] | None:
    realise.begin()
    try:
        run()
    except (Exception, pytest.fail.Exception) as error:
        return type(error)
    return None


def run_here(source: str) -> None:
    """Run a program in this process; one that names a module of ours needs something of ours."""
    assert "tests." not in source, source
    exec(compile(source, "<program>", "exec"), {})


def example_of(test: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One of the first things that the test draws, and its target. Does not run its body."""
    names = inspect.signature(test).parameters
    target = {name: value for name, value in (("device", "cpu"), ("dtype", torch.float64)) if name in names}
    drawn = [target]
    if hasattr(test, "hypothesis"):
        with monkeypatch.context() as patch:
            patch.setattr(test.hypothesis, "inner_test", lambda **arguments: drawn.append(arguments))
            patch.setattr(test, "_hypothesis_internal_use_settings", settings(max_examples=3, phases=[Phase.generate]))
            test(**target)
    return drawn[-1]


@pytest.mark.filterwarnings("ignore")
def test_the_program_of_every_test_of_this_project_does_what_the_test_does(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = [test.function for cases in draws.load_tests().values() for test in cases]
    for test in dict.fromkeys(tests):
        example = example_of(test, monkeypatch)
        made = program.program(realise.body_of(test), example)
        failure = failure_of(functools.partial(realise.replay, test, example))
        with isolation.kept(test.__name__):
            assert failure_of(functools.partial(run_here, made)) is failure, made


def test_a_program_that_fails_by_itself_is_told_with_what_it_raises() -> None:
    assert program.run("import torch\n\nassert torch.ones(()) == 2, 'ones'\n") == (
        "Run by itself it fails too: AssertionError: ones"
    )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("pass", "Run by itself it does not fail: the failure needs something that happened earlier in the run."),
        ("raise RuntimeError('one\\ntwo')", "Run by itself it fails too: RuntimeError: one"),
        ("import pytest\nwith pytest.raises(ValueError): pass", "Run by itself it fails too: Failed: DID NOT RAISE"),
        ("raise SystemExit(3)", "Run by itself it fails too: exit status 3"),
        ("import os; os.kill(os.getpid(), 11)", "Run by itself it dies of signal 11."),
        ("import sys; assert not any(entry.endswith('harness') for entry in sys.path)", "Run by itself it does not"),
    ],
)
def test_how_a_program_ends_is_told_in_one_line(source: str, told: str) -> None:
    line = program.run(source)
    assert line.startswith(told)
    assert "\n" not in line


def test_a_program_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS", 1)
    assert program.run("import time; time.sleep(60)") == "Run by itself it was still running after 1 s."


def test_a_program_finds_nothing_of_ours() -> None:
    assert "ModuleNotFoundError" in program.run("import tests.harness")


def test_a_program_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program.run("open('left', 'w').close()")
    assert list(tmp_path.iterdir()) == []
