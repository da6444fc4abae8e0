"""What a failure shows: the rule's sentence, its file, and a short program that needs nothing but torch."""

from __future__ import annotations

import textwrap

import hypothesis
import pytest

from . import program as programs
from . import realise
from .problems import shown
from .spec import Rule


def describe(
    item: pytest.Item,
    rule: Rule,
    trial: realise.Trial,
    excinfo: pytest.ExceptionInfo[BaseException],
    backends: list[str],
) -> tuple[str, str, str]:
    """(message, program, text for the terminal) of a test that failed."""
    message = message_of(excinfo.value)
    where = f"{shown(item.path)}::{item.name}"
    sentence = textwrap.fill(rule.sentence, 100, initial_indent="  ", subsequent_indent="  ")
    head = f"{rule.id}\n{shown(rule.path)}:{rule.line}\n\n{sentence}\n"
    if trial.failing is None:
        # It failed before its body ran; pytest's own account of that is the best there is.
        return message, "", f"{head}\n{where}\n{excinfo.getrepr(style='short')}"
    failing, body = trial.failing, realise.body_of(item.obj)  # type: ignore[attr-defined]
    program = programs.program(body, failing.arguments, backends, failing.circumstance.block)
    echo = programs.run(program)
    shown_program = textwrap.indent(program, "    ")
    text = f"{head}\nThis program shows that it does not hold:\n\n{shown_program}\n{message}\n\n{echo}\n{where}"
    return message, program, text


def message_of(error: BaseException) -> str:
    """The error as one would say it; a failure that comes and goes says so first."""
    if isinstance(error, hypothesis.errors.Flaky):
        causes = getattr(error, "exceptions", ())
        return "\n".join(["It fails and then passes on the same input:", *(message_of(cause) for cause in causes)])
    text = str(error)
    kind = type(error).__name__
    return text if text.startswith("assert ") else f"{kind}: {text}" if text else kind
