"""Turns what was drawn into tensors just before a test's body runs, and remembers it for the failing program."""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import hypothesis
import numpy
import torch

from tests.inputs.circumstances import AS_IT_IS, Circumstance, circumstances_of
from tests.inputs.expression import build, expressions_in

from . import isolation, targets

LACKING = re.compile(
    r"Could not run '|not implemented for '|not currently implemented|not currently supported"
    r"|_overrideable not implemented|is not supported for torch.Generator|device type not an accelerator"
    r"|register (a generator|.?PrivateUse1Hooks)"
)
"""How torch and its backends say that an operator, an operator on a dtype, or a generator does not exist."""

_short_stacks = functools.partial(mock.patch.object, sys, "tracebacklimit", 4, create=True)
# With every seed torch writes down three whole stacks, for kinds of accelerators that it has not met yet, and under
# pytest and Hypothesis they are deep: it would be most of the time of tests that set seeds.


@dataclass(frozen=True)
class Failing:
    """The example on which a test failed, and the circumstance in which it did."""

    arguments: dict[str, Any]
    circumstance: Circumstance = AS_IT_IS


@dataclass
class Trial:
    """One test on one target while it runs: how often, on what it last failed, and what could not run."""

    examples: int = 0
    failing: Failing | None = None
    lacking: Counter[str] = field(default_factory=Counter)


_current: list[Trial] = []


def begin() -> Trial:
    """Start counting for the test that is about to run."""
    _current[:] = [Trial()]
    return _current[0]


def last_failing() -> Failing | None:
    """The example on which the test that ran last has failed, if it has."""
    return _current[0].failing if _current else None


def realising(test: Any) -> Any:
    """The test, with its body called on real tensors and in isolation, example by example."""
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", None)
    if inner is None:
        return _on_tensors(test, test)
    test.hypothesis.inner_test = _on_tensors(test, inner)  # Hypothesis's own way to wrap a body
    return test


def body_of(test: Callable[..., Any]) -> Callable[..., Any]:
    """The function as its author wrote it, under Hypothesis and under us."""
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    return getattr(inner, "__wrapped__", inner)


class UnusableExample(Exception):
    """The example of a known failure is not one that its test can be run on."""


def replay(test: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Run the test once on these arguments and no others. Raises UnusableExample if they are not what it takes."""
    if unlike := set(inspect.signature(body_of(test)).parameters) ^ set(arguments):
        raise UnusableExample(f"the example lacks, or does not know, {', '.join(sorted(unlike))}")
    try:
        _built(arguments)
    except Exception as error:
        raise UnusableExample(f"the example does not build: {type(error).__name__}: {error}") from error
    getattr(getattr(test, "hypothesis", None), "inner_test", test)(**arguments)


def _on_tensors(test: Any, body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(**arguments: Any) -> None:
        trial = _current[0] if _current else begin()
        device = arguments.get("device", targets.CPU)
        for value in arguments.values():
            for expression in expressions_in(value):
                for dtype in sorted(expression.dtypes):
                    if reason := targets.lacks(str(device), dtype):
                        _pass_over(trial, f"{dtype}: {reason}")
        drawn = {name: value for name, value in arguments.items() if name not in ("device", "dtype")}
        for circumstance in circumstances_of(test, drawn):
            _run(body, Failing(circumstance.arguments(arguments), circumstance), trial)
        trial.examples += 1

    return run


def _run(body: Callable[..., Any], example: Failing, trial: Trial) -> None:
    """Call the body in a circumstance; remember the example if it fails."""
    try:
        with isolation.kept(body.__name__), _short_stacks(), example.circumstance.entered():
            body(**_built(example.arguments))
    except RuntimeError as error:  # NotImplementedError among them
        if LACKING.search(str(error)):
            _pass_over(trial, str(error).strip().splitlines()[0], example.circumstance)
            return
        _remember(trial, example)
        raise
    except BaseException as error:
        if not isinstance(error, hypothesis.errors.UnsatisfiedAssumption):
            _remember(trial, example)
        raise


def _remember(trial: Trial, example: Failing) -> None:
    trial.examples += 1
    trial.failing = example


def _pass_over(trial: Trial, reason: str, circumstance: Circumstance = AS_IT_IS) -> None:
    """Count an example that cannot run; one that has run as it is, and only lacks a circumstance, is an example."""
    trial.lacking[reason] += 1
    if circumstance is AS_IT_IS:
        hypothesis.reject()


def _built(arguments: dict[str, Any]) -> dict[str, Any]:
    namespace: dict[str, Any] = {"torch": torch, "np": numpy, "math": math, "device": targets.CPU}
    namespace.update((name, arguments[name]) for name in ("device", "dtype") if name in arguments)
    return {name: build(namespace, name, value) for name, value in arguments.items()}
