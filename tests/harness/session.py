"""One conformance run: collection for every target, a trial for every test, verdicts as they come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import hypothesis
import pytest
import torch
from packaging.version import Version

from . import options, realise, summary, targets
from .bindings import RULE_OF
from .checks import problems_of
from .failure import describe
from .known_failures import KnownFailure, read_known_failures
from .problems import NOT_CONFORMANCE, ROOT, Problem
from .project import read_project
from .report import CannotWrite, Report
from .spec import Rule
from .verdicts import FAIL, FIXED, KNOWN, NOT_APPLICABLE, NOT_RUN, PASS, Outcome, Tally

TORCH = Version(Version(torch.__version__).base_version)
NOWHERE = "nowhere"
"""The case of a rule that no device of this run can be asked about."""

OF = pytest.StashKey[int]()
SKIPPED_AS = pytest.StashKey[str]()
TRIAL = pytest.StashKey[realise.Trial]()


class Conformance:
    """The hooks of a run. Under pytest-xdist each worker has one, and so has the controller that gathers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self.project = read_project(ROOT)
        if not self.is_worker and (problems := problems_of(self.project)):
            raise pytest.UsageError("\n".join(str(problem) for problem in problems))
        self.rules = self.project.spec.rules
        self.patterns: list[str] = config.getoption("--rule")
        options.check_patterns(self.patterns, self.project.spec)
        self.backends: list[str] = config.getoption("--backend")
        options.import_backends(self.backends)
        self.requested: list[str] = config.getoption("--device")
        self.devices = options.choose_devices(self.requested)
        self.known = self._known_failures()
        self.tally = Tally()
        self.report = None if self.is_worker else self._open_report()

    def _known_failures(self) -> list[KnownFailure]:
        try:
            return read_known_failures(ROOT / "known_failures.toml", self.project.spec)
        except Problem as problem:
            raise pytest.UsageError(str(problem)) from None

    def _open_report(self) -> Report | None:
        path = self.config.getoption("--report")
        if path is None:
            return None
        try:
            report = Report(self.config.invocation_params.dir / Path(path))
        except CannotWrite as error:
            raise pytest.UsageError(str(error)) from None
        report.header(self.project.spec, self.devices, self.profile, self.seed)
        return report

    @property
    def profile(self) -> str:
        return self.config.getoption("--hypothesis-profile") or "standard"

    @property
    def seed(self) -> int:
        return int(self.config.getoption("--hypothesis-seed") or 0)

    def pytest_report_header(self) -> str:
        devices = ", ".join(
            device if targets.describe(device) == device else f"{device} ({targets.describe(device)})"
            for device in self.devices
        )
        seed = f", seed {self.seed}" if self.profile == "thorough" or self.seed else ""
        return f"conformance: torch {torch.__version__} on {devices}; profile {self.profile}{seed}"

    # -- collection ---------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        rule = self._rule_of(metafunc.function)
        if rule is None or "device" not in metafunc.fixturenames:
            return
        devices = targets.for_devices(self.devices, rule.devices)
        if "dtype" in metafunc.fixturenames:
            cases = [
                pytest.param(device, dtype, id=targets.target_name(device, dtype))
                for device in devices
                for dtype in targets.differentiable_dtypes()
            ]
            metafunc.parametrize(("device", "dtype"), cases or [pytest.param(None, None, id=NOWHERE)])
        else:
            cases = [pytest.param(device, id=device) for device in devices]
            metafunc.parametrize("device", cases or [pytest.param(None, id=NOWHERE)])

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self.patterns:
            chosen: list[pytest.Item] = []
            left: list[pytest.Item] = []
            for item in items:
                rule = self._rule_of(getattr(item, "obj", None))
                (chosen if rule and options.matches(rule.id, self.patterns) else left).append(item)
            config.hook.pytest_deselected(items=left)
            items[:] = chosen

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        counted = Counter(self._verdict_of(item) for item in session.items)
        for item in session.items:
            item.stash[OF] = counted[self._verdict_of(item)]

    def _rule_of(self, function: object) -> Rule | None:
        return self.rules.get(getattr(function, RULE_OF, ""))

    def _verdict_of(self, item: pytest.Item) -> tuple[str, str] | None:
        rule = self._rule_of(getattr(item, "obj", None))
        return (rule.id, self._target_of(item, rule)) if rule else None

    def _target_of(self, item: pytest.Item, rule: Rule) -> str:
        device, dtype = self._case_of(item)
        return targets.target_name(device, dtype) if device else rule.devices

    def _case_of(self, item: pytest.Item) -> tuple[str | None, torch.dtype | None]:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        return parameters.get("device", targets.CPU), parameters.get("dtype")

    # -- running ------------------------------------------------------------------------------------------------

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        rule = self._rule_of(getattr(item, "obj", None))
        if rule is None:
            return
        device, dtype = self._case_of(item)
        if rule.since and rule.since > TORCH:
            self._skip(item, NOT_APPLICABLE, f"the rule holds since torch {rule.since}")
        if device is None:
            self._skip(item, NOT_RUN, f"the rule is about {rule.devices} devices, and this run has none")
        if dtype is not None and (reason := targets.lacks(device, str(dtype))):
            self._skip(item, NOT_RUN, f"{device} does not compute with {dtype}: {reason}")

    def _skip(self, item: pytest.Item, verdict: str, reason: str) -> None:
        item.stash[SKIPPED_AS] = verdict
        pytest.skip(reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if self._rule_of(pyfuncitem.obj) is None:
            return None
        pyfuncitem.stash[TRIAL] = realise.begin()
        known = self._known_failure_of(pyfuncitem)
        if known is None:
            return None
        device, dtype = self._case_of(pyfuncitem)
        names = pyfuncitem._fixtureinfo.argnames
        here = {name: value for name, value in (("device", device), ("dtype", dtype)) if name in names}
        realise.replay(pyfuncitem.obj, {**here, **known.example})
        return True

    def _known_failure_of(self, item: pytest.Item) -> KnownFailure | None:
        rule = self._rule_of(getattr(item, "obj", None))
        device, _ = self._case_of(item)
        if rule is None or device is None:
            return None
        name = getattr(item, "originalname", item.name)
        return next((entry for entry in self.known if entry.covers(rule.id, name, device, TORCH)), None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[assignment]  # what a wrapped hook returns
        rule = self._rule_of(getattr(item, "obj", None))
        if rule is None or call.when == "teardown" or (call.when == "setup" and report.passed):
            return report  # type: ignore[return-value]
        outcome = self._outcome(item, rule, call, report)
        report.conformance = asdict(outcome)  # type: ignore[attr-defined]  # plain data, so that xdist carries it
        return report  # type: ignore[return-value]

    def _outcome(
        self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> Outcome:
        """Judge the test, and bend pytest's report to the verdict."""
        trial = item.stash.get(TRIAL, realise.Trial())
        known = self._known_failure_of(item)
        verdict, message, program = PASS, "", ""
        if report.skipped:
            verdict, message = item.stash.get(SKIPPED_AS, NOT_RUN), str(call.excinfo.value) if call.excinfo else ""
        elif report.passed and known:
            verdict, message = (
                FIXED,
                f"{known.path.name}:{known.line}: the failure is gone on this torch: remove the entry",
            )
            report.outcome, report.longrepr = "failed", message
        elif report.failed and call.excinfo:
            if call.excinfo.errisinstance(hypothesis.errors.Unsatisfiable) and trial.lacking:
                verdict, message = NOT_RUN, next(iter(trial.lacking))
                report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {message}")
            elif known:
                verdict, message = KNOWN, f"{known.reason} ({known.link})"
                report.outcome, report.wasxfail = "skipped", f"known: {message}"
            else:
                verdict = FAIL
                message, program, text = describe(item, rule, trial, call.excinfo, self.backends)
                report.longrepr = text
                if rule.observed:
                    report.outcome, report.wasxfail = "skipped", f"observed, not promised: {message}"
        return Outcome(
            rule=rule.id,
            target=self._target_of(item, rule),
            verdict=verdict,
            of=item.stash.get(OF, 1),
            examples=trial.examples,
            seconds=call.duration,
            sentence=rule.sentence if verdict == FAIL else "",
            program=program,
            message=message,
            observed=rule.observed,
            lacking=dict(trial.lacking),
        )

    # -- gathering ----------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = getattr(report, "conformance", None)
        if self.is_worker or told is None:
            return
        if (verdict := self.tally.add(Outcome(**told))) and self.report:
            self.report.verdict(verdict)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.is_worker:
            return
        stopped = exitstatus == pytest.ExitCode.INTERRUPTED or bool(session.shouldstop or session.shouldfail)
        if self.report:
            if not stopped:
                self.report.footer(self.tally.counts())
            self.report.close()
        if self._idle_devices() and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _idle_devices(self) -> list[str]:
        """Devices that somebody asked for, or that rules were collected for, and on which nothing was executed."""
        if self.config.getoption("collectonly") or options.asks_for_nothing_else(self.config, NOT_CONFORMANCE):
            return []
        verdicts = list(self.tally.verdicts())
        expected = self.requested or sorted(
            {targets.device_of(outcome.target) for outcome in verdicts} & set(self.devices)
        )
        return summary.idle(expected, verdicts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.is_worker:
            summary.write(terminalreporter, self.project.spec, self.devices, self.tally, self._idle_devices())

    def pytest_unconfigure(self) -> None:
        # Some torch builds abort at exit if a device thread is still at work when the interpreter goes.
        if not all(map(targets.is_cpu, self.devices)):
            time.sleep(0.2)
