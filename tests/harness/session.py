"""What one run is about: the project, the rules and devices that were asked for, and the failures that are known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from packaging.version import Version

from . import options, targets
from .bindings import RULE_OF
from .checks import problems_of
from .known_failures import KnownFailure, read_known_failures
from .problems import ROOT, Problem
from .project import read_project
from .spec import Rule, Spec

TORCH = Version(Version(torch.__version__).base_version)


@dataclass(frozen=True)
class Session:
    """One run. Under pytest-xdist each worker has one, and so has the controller that gathers.

    requested: the devices that somebody named; devices: those, or all that there are.
    """

    config: pytest.Config
    spec: Spec
    patterns: list[str]
    backends: list[str]
    requested: list[str]
    devices: list[str]
    known: list[KnownFailure]

    @property
    def is_worker(self) -> bool:
        return hasattr(self.config, "workerinput")

    @property
    def profile(self) -> str:
        return self.config.getoption("--hypothesis-profile") or "standard"

    @property
    def seed(self) -> int:
        return int(self.config.getoption("--hypothesis-seed") or 0)

    def rule_of(self, function: object) -> Rule | None:
        """The rule that a test function is bound to."""
        return self.spec.rules.get(getattr(function, RULE_OF, ""))

    def rule_of_item(self, item: pytest.Item) -> Rule | None:
        """The rule that a collected test is bound to; none for blocks of Markdown and tests of the suite itself."""
        return self.rule_of(getattr(item, "obj", None))

    def known_failure_of(self, item: pytest.Item) -> KnownFailure | None:
        """The entry of known_failures.toml that is about this test, here."""
        rule = self.rule_of_item(item)
        device, _ = case_of(item)
        if rule is None or device is None:
            return None
        name = getattr(item, "originalname", item.name)
        return next((entry for entry in self.known if entry.covers(rule.id, name, device, TORCH)), None)


def open_session(config: pytest.Config) -> Session:
    """Read the project and meet the options. Raises a usage error for the first that is wrong."""
    project = read_project(ROOT)
    if not hasattr(config, "workerinput") and (problems := problems_of(project)):
        raise pytest.UsageError("\n".join(str(problem) for problem in problems))
    options.check_patterns(config.getoption("--rule"), project.spec)
    options.import_backends(config.getoption("--backend"))
    try:
        known = read_known_failures(ROOT / "known_failures.toml", project.spec)
    except Problem as problem:
        raise pytest.UsageError(str(problem)) from None
    return Session(
        config=config,
        spec=project.spec,
        patterns=config.getoption("--rule"),
        backends=config.getoption("--backend"),
        requested=config.getoption("--device"),
        devices=options.choose_devices(config.getoption("--device")),
        known=known,
    )


def case_of(item: pytest.Item) -> tuple[str | None, torch.dtype | None]:
    """The device and dtype that a test is run for; no device where the run has none that its rule is about."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("device", targets.CPU), parameters.get("dtype")


def target_of(item: pytest.Item, rule: Rule) -> str:
    """The name of the target of a test, for reports."""
    device, dtype = case_of(item)
    return targets.target_name(device, dtype) if device else rule.devices
