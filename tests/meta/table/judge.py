"""Whether a failure of a test is what the test asserts, and not merely an error on the way.

A rule has caught an engine only if it was an assertion of its test that failed: any nonsense can make a test crash.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.wrong_engines.engine import WrongEngine


def asserted(error: BaseException, body: Callable[..., Any], engine: WrongEngine) -> bool:
    """Whether an assertion of the body, of an oracle or of pytest failed, or torch refused what the engine refuses."""
    if isinstance(error, AssertionError | pytest.fail.Exception) and _of_the_test(error, body):
        return True
    if engine.refuses is not None and engine.refuses in str(error):
        return True
    return _within_raises(error, body)


def _of_the_test(error: BaseException, body: Callable[..., Any]) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    home = frame.f_globals["__name__"]
    return home == body.__module__ or str(home).startswith(("tests.oracles.", "_pytest."))


def _within_raises(error: BaseException, body: Callable[..., Any]) -> bool:
    """Whether the error came out of a `with pytest.raises(...)` of the body: an error of the wrong type."""
    first, expecting = _expecting(body)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is body.__code__:
            return any(start <= line - first + 1 <= end for start, end in expecting)
    return False


@cache
def _expecting(body: Callable[..., Any]) -> tuple[int, list[tuple[int, int]]]:
    """The body's first line, and the first and last line of each block in it that expects an error, from 1."""
    lines, first = inspect.getsourcelines(body)
    return first, [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse(textwrap.dedent("".join(lines))))
        if isinstance(node, ast.With) and any("pytest.raises" in ast.unparse(item.context_expr) for item in node.items)
    ]
