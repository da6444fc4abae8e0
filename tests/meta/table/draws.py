"""The tests of every rule with what they draw, recorded once on an honest torch and replayed against every engine.

What a derandomized test draws does not depend on torch, so the replayed examples are those of a run of pytest up to the
first that fails. Hypothesis costs several times what the examples do, and this way it is paid once and not per engine.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any

import hypothesis
import torch
from hypothesis import settings
from packaging.version import Version

from tests.harness import bindings, realise, targets
from tests.harness.known_failures import read_known_failures
from tests.harness.problems import ROOT
from tests.harness.spec import read_spec
from tests.inputs.expression import statements

TORCH = Version(Version(torch.__version__).base_version)

MADE_UP, ITS_BACKEND = "unheard", "tests.meta.backends.unheard"
"""The device on which rules about accelerators meet their engines, and the module that registers it."""

Arguments = dict[str, Any]


class NotHonest(Exception):
    """A test fails although no engine is in."""


@dataclass
class DrawnTest:
    """One case of a test, that is a function with its device and dtype, and the examples it draws in each profile."""

    function: Callable[..., Any]
    case: Arguments
    drawn: dict[str, list[Arguments]] = field(default_factory=dict)

    def examples(self, profile: str) -> list[Arguments]:
        """The arguments of each call of the test's body that comes to its end, in order; recorded when first asked for.

        Raises NotHonest if the test fails meanwhile.
        """
        if profile not in self.drawn:
            self.drawn[profile] = self._recorded(profile)
        return self.drawn[profile]

    def _recorded(self, profile: str) -> list[Arguments]:
        drawn: list[Arguments] = []
        with _drawing(self.function, profile, drawn.append):
            try:
                self.function(**self.case)
            except hypothesis.errors.Unsatisfiable:
                return []  # nothing that is drawn can run with this dtype
            except Exception as error:
                name = realise.body_of(self.function).__name__
                raise NotHonest(f"{name} fails without an engine: {type(error).__name__}: {error}") from error
        return drawn if hasattr(self.function, "hypothesis") else [self.case]

    def replay(self, arguments: Arguments) -> BaseException | None:
        """Run the body on one example; what it raised, if it failed. An example that cannot run has not failed."""
        error = self._raised(arguments)
        return None if isinstance(error, hypothesis.errors.UnsatisfiedAssumption) else error

    def failures(self, profile: str) -> int:
        """How many of the recorded examples fail or cannot run. Each of them is run, whatever came of the others."""
        return sum(self._raised(arguments) is not None for arguments in self.examples(profile))

    def _raised(self, arguments: Arguments) -> BaseException | None:
        body = getattr(getattr(self.function, "hypothesis", None), "inner_test", self.function)
        realise.begin()
        try:
            body(**arguments)
        except BaseException as error:  # pytest's failures are no Exceptions
            return error
        return None


Tests = dict[str, list[DrawnTest]]


@contextmanager
def _drawing(function: Callable[..., Any], profile: str, tell: Callable[[Arguments], None]) -> Iterator[None]:
    """Let a test draw as in a profile, unless it has settings of its own, and tell what each call of its body gets."""
    handle: Any = getattr(function, "hypothesis", None)
    if handle is None:
        yield
        return
    test, body = function, handle.inner_test
    own = hasattr(test, "_hypothesis_internal_settings_applied")
    before = test._hypothesis_internal_use_settings  # type: ignore[attr-defined]

    @wraps(body)  # Hypothesis takes its seed from the source of what it calls
    def telling(**arguments: Any) -> None:
        body(**arguments)
        tell(arguments)

    handle.inner_test = telling
    if not own:
        test._hypothesis_internal_use_settings = settings.get_profile(profile)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        handle.inner_test = body
        test._hypothesis_internal_use_settings = before  # type: ignore[attr-defined]


def shown(failing: realise.Failing) -> str:
    """An example as the lines of Python that build it, without what every test has."""
    drawn = ((name, value) for name, value in failing.arguments.items() if name != "device")
    lines = "; ".join(line for name, value in drawn for line in statements(name, value))
    return f"with {failing.circumstance.block}: {lines}" if failing.circumstance.block else lines


def load_tests(rules: frozenset[str] | None = None) -> Tests:
    """The tests of every rule, or of these rules, one for each case on one device.

    A test that is known to fail on this torch is left out: it fails with and without an engine.
    """
    # The first optimizer imports torch's compiler, and that replaces functions of torch.
    torch.optim.SGD([torch.zeros(())], lr=1)
    # The first block of a default device remembers which functions make tensors; an engine's must not be among them.
    with torch.device("cpu"):
        torch.zeros(())
    known = read_known_failures(ROOT / "known_failures.toml", read_spec(ROOT / "spec"))
    tests: Tests = {}
    for path in bindings.test_paths(ROOT / "tests"):
        if rules is not None and rules.isdisjoint(binding.rule for binding in bindings.bindings_in(path)):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name, function in vars(module).items():
            rule = getattr(function, bindings.RULE_OF, None)
            if rule and not any(failure.covers(rule, name, targets.CPU, TORCH) for failure in known):
                tests.setdefault(rule, []).extend(DrawnTest(function, case) for case in cases_of(function))
    return tests


def record(tests: Tests, rules: Iterable[str], profile: str = "standard") -> None:
    """Record, in this process, what the tests of these rules draw. Raises NotHonest if one fails."""
    for rule in rules:
        for test in tests.get(rule, []):
            test.examples(profile)


@cache
def about_accelerators() -> frozenset[str]:
    """The rules that no CPU can show."""
    return frozenset(rule.id for rule in read_spec(ROOT / "spec").rules.values() if rule.devices == "accelerator")


def has_accelerator() -> bool:
    """Whether a device can be made up in Python on this torch."""
    return Version("2.11") <= TORCH


def cases_of(function: Callable[..., Any]) -> Iterator[Arguments]:
    """The device, and each dtype, that a test names."""
    names = inspect.signature(function).parameters
    device = MADE_UP if getattr(function, bindings.RULE_OF) in about_accelerators() else targets.CPU
    here = {"device": device} if "device" in names else {}
    if "dtype" not in names:
        yield here
        return
    for dtype in targets.differentiable_dtypes():
        if not targets.lacks(targets.CPU, str(dtype)):
            yield {**here, "dtype": dtype}
