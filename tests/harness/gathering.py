"""Gathering: verdicts into the report and the terminal, as they come, from however many workers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from . import options, summary, targets
from .problems import NOT_CONFORMANCE
from .report import CannotWrite, Report
from .session import Session
from .verdicts import Outcome, Tally


class Gathering:
    """The hooks of the process that speaks for the run. Raises a usage error if the report cannot be written."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.tally = Tally()
        self.report = self._open_report()

    def _open_report(self) -> Report | None:
        path = self.session.config.getoption("--report")
        if path is None:
            return None
        try:
            report = Report(self.session.config.invocation_params.dir / Path(path))
        except CannotWrite as error:
            raise pytest.UsageError(str(error)) from None
        report.header(self.session.spec, self.session.devices, self.session.profile, self.session.seed)
        return report

    def pytest_report_header(self) -> str:
        devices = ", ".join(
            device if targets.describe(device) == device else f"{device} ({targets.describe(device)})"
            for device in self.session.devices
        )
        seed = f", seed {self.session.seed}" if self.session.profile == "thorough" or self.session.seed else ""
        return f"conformance: torch {torch.__version__} on {devices}; profile {self.session.profile}{seed}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = getattr(report, "conformance", None)
        if told and (verdict := self.tally.add(Outcome(**told))) and self.report:
            self.report.verdict(verdict)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        stopped = exitstatus == pytest.ExitCode.INTERRUPTED or bool(session.shouldstop or session.shouldfail)
        if self.report:
            if not stopped:
                self.report.footer(self.tally.counts())
            self.report.close()
        if self._idle_devices() and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _idle_devices(self) -> list[str]:
        """Devices that somebody asked for, or that rules were collected for, and on which nothing was executed."""
        config = self.session.config
        if config.getoption("collectonly") or options.asks_for_nothing_else(config, NOT_CONFORMANCE):
            return []
        verdicts = list(self.tally.verdicts())
        met = {targets.device_of(outcome.target) for outcome in verdicts} & set(self.session.devices)
        return summary.idle(self.session.requested or sorted(met), verdicts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        summary.write(terminalreporter, self.session.spec, self.session.devices, self.tally, self._idle_devices())

    def pytest_unconfigure(self) -> None:
        # Some torch builds abort at exit if a device thread is still at work when the interpreter goes.
        if not all(map(targets.is_cpu, self.session.devices)):
            time.sleep(0.2)
