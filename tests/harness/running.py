"""Running: a trial for every test, and its judgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import hypothesis
import pytest

from . import realise, targets
from .collecting import TESTS_OF_VERDICT
from .failure import describe
from .session import TORCH, Session, case_of, target_of
from .spec import Rule
from .verdicts import FAIL, FIXED, KNOWN, NOT_APPLICABLE, NOT_RUN, PASS, Outcome

SKIPPED_AS = pytest.StashKey[str]()
TRIAL = pytest.StashKey[realise.Trial]()


class Running:
    """The hooks of the tests' own run; in every worker."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        rule = self.session.rule_of_item(item)
        if rule is None:
            return
        device, dtype = case_of(item)
        if rule.since and rule.since > TORCH:
            _skip(item, NOT_APPLICABLE, f"the rule holds since torch {rule.since}")
        if device is None:
            _skip(item, NOT_RUN, f"the rule is about {rule.devices} devices, and this run has none")
        if dtype is not None and (reason := targets.lacks(str(device), str(dtype))):
            _skip(item, NOT_RUN, f"{device} does not compute with {dtype}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if self.session.rule_of_item(pyfuncitem) is None:
            return None
        pyfuncitem.stash[TRIAL] = realise.begin()
        known = self.session.known_failure_of(pyfuncitem)
        if known is None:
            return None
        device, dtype = case_of(pyfuncitem)
        names = pyfuncitem._fixtureinfo.argnames
        here = {name: value for name, value in (("device", device), ("dtype", dtype)) if name in names}
        realise.replay(pyfuncitem.obj, {**here, **known.example})
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[assignment]  # what a wrapped hook returns
        rule = self.session.rule_of_item(item)
        if rule is None or call.when == "teardown" or (call.when == "setup" and report.passed):
            return report  # type: ignore[return-value]
        outcome = self._judge(item, rule, call, report)
        report.conformance = asdict(outcome)  # type: ignore[attr-defined]  # plain data, so that xdist carries it
        return report  # type: ignore[return-value]

    def _judge(self, item: pytest.Item, rule: Rule, call: pytest.CallInfo[None], report: pytest.TestReport) -> Outcome:
        """The verdict on a test, with pytest's own report bent to it."""
        trial = item.stash.get(TRIAL, realise.Trial())
        verdict, message, program = self._verdict(item, rule, trial, call, report)
        return Outcome(
            rule=rule.id,
            target=target_of(item, rule),
            verdict=verdict,
            of=item.stash.get(TESTS_OF_VERDICT, 1),
            examples=trial.examples,
            seconds=call.duration,
            sentence=rule.sentence if verdict == FAIL else "",
            program=program,
            message=message,
            observed=rule.observed,
            lacking=dict(trial.lacking),
        )

    def _verdict(
        self,
        item: pytest.Item,
        rule: Rule,
        trial: realise.Trial,
        call: pytest.CallInfo[None],
        report: pytest.TestReport,
    ) -> tuple[str, str, str]:
        """(verdict, message, program)."""
        known, raised = self.session.known_failure_of(item), call.excinfo
        if report.skipped:
            return item.stash.get(SKIPPED_AS, NOT_RUN), str(raised.value) if raised else "", ""
        if raised is None:
            if known is None:
                return PASS, "", ""
            message = f"{known.path.name}:{known.line}: the failure is gone on this torch: remove the entry"
            report.outcome, report.longrepr = "failed", message
            return FIXED, message, ""
        if raised.errisinstance(hypothesis.errors.Unsatisfiable) and trial.lacking:
            message = next(iter(trial.lacking))
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {message}")
            return NOT_RUN, message, ""
        if known and not raised.errisinstance(realise.UnusableExample):
            message = f"{known.reason} ({known.link})"
            report.outcome, report.wasxfail = "skipped", f"known: {message}"
            return KNOWN, message, ""
        message, program, report.longrepr = describe(item, rule, trial, raised, self.session.backends)
        if rule.observed:
            report.outcome, report.wasxfail = "skipped", f"observed, not promised: {message}"
        return FAIL, message, program


def _skip(item: pytest.Item, verdict: str, reason: str) -> None:
    item.stash[SKIPPED_AS] = verdict
    pytest.skip(reason)
