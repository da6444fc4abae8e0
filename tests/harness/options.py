"""The command line of a conformance run, and the mistakes that can be told before torch does anything."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from . import profiles
from .spec import Spec

OLDEST = (2, 0)
OPTIONS = ("--device", "--backend", "--rule", "--report")


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "autograd conformance")
    group.addoption(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="check this device only, such as cpu, cuda:1 or any registered name; repeatable",
    )
    group.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module, which registers a device with torch, before anything else; repeatable",
    )
    group.addoption(
        "--rule",
        action="append",
        default=[],
        metavar="PATTERN",
        help="check the rules whose id matches, such as 'detach.*', or the rules of an item or chapter; repeatable",
    )
    group.addoption("--report", metavar="FILE", help="write verdicts to FILE as JSON lines, as they come")


def with_equals_signs(arguments: Iterable[str]) -> tuple[str, ...]:
    """The arguments with `--report FILE` written as `--report=FILE`, and so for every option of ours.

    A worker process parses its arguments before it knows these options, and would take a file that exists for a
    place to collect tests from.
    """
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in OPTIONS:
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return tuple(joined)


def require_torch() -> None:
    """Raise a usage error, in one line, unless there is a torch that is new enough."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise pytest.UsageError(f"no torch here ({error}): install torch 2.0 or later, then run again") from None
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST:
        raise pytest.UsageError(f"torch {torch.__version__} is too old: the suite needs torch 2.0 or later")


def choose_profile(config: pytest.Config) -> None:
    """Check the profile that was asked for, and give `thorough` a seed if it has none."""
    name = config.getoption("--hypothesis-profile")
    if name and name not in profiles.EXAMPLES:
        raise pytest.UsageError(f"--hypothesis-profile {name}: no such profile, choose {', '.join(profiles.EXAMPLES)}")
    if name == "thorough" and config.getoption("--hypothesis-seed") is None:
        # The option is what Hypothesis reads next and what workers are given.
        config.option.hypothesis_seed = profiles.fresh_seed()


def import_backends(modules: list[str]) -> None:
    """Import what registers devices: it has to be there before the first backward of the process."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # a backend's own code, of which nothing is known
            raise pytest.UsageError(f"--backend {module} does not import: {type(error).__name__}: {error}") from None


def choose_devices(names: list[str]) -> list[str]:
    """The devices to check: those named, else all that there are."""
    from . import targets

    try:
        return [targets.check_device(name) for name in dict.fromkeys(names)] or targets.default_devices()
    except targets.NoSuchDevice as error:
        here = ", ".join(targets.default_devices())
        raise pytest.UsageError(f"--device: {error}; here are {here}") from None


def check_patterns(patterns: list[str], spec: Spec) -> None:
    """Raise a usage error for a --rule that no rule matches."""
    for pattern in patterns:
        if not any(matches(rule, [pattern]) for rule in spec.rules):
            raise pytest.UsageError(
                f"--rule {pattern}: no rule of spec/ has an id like this; ids read chapter.item.rule"
            )


def asks_for(config: pytest.Config, folders: Iterable[Path]) -> list[Path]:
    """The paths on the command line (or, without any, the configured ones) that lie in these folders."""
    paths = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return [path for path in paths for folder in folders if path == folder or folder in path.parents]


def asks_for_nothing_else(config: pytest.Config, folders: Iterable[Path]) -> bool:
    """Whether every path on the command line lies in these folders."""
    return len(asks_for(config, folders)) == len(config.args)


def matches(rule: str, patterns: list[str]) -> bool:
    """Whether a rule is among those asked for; a pattern may also be the id of an item or a chapter."""
    return not patterns or any(fnmatchcase(rule, pattern) or rule.startswith(f"{pattern}.") for pattern in patterns)
