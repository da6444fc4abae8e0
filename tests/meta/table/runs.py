"""Runs rules against a wrong engine, in child processes, so that a defect never meets an honest test.

A child tells what it begins and what came of it, line by line. If an engine ends the process, or it does not come back,
the rule that ran just then is told so, and another child goes on with the next.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any

import torch

from tests.harness import isolation, profiles, realise
from tests.harness.problems import ROOT
from tests.wrong_engines.engine import WrongEngine, load_all

from . import draws, judge
from .draws import Arguments, DrawnTest, Tests

CAUGHT, SURVIVED, UNREACHED, RAISED = "caught", "survived", "not reached", "raised"
UNEXPLAINED, DIED, HUNG = "unexplained", "died", "hung"

SECONDS = 120
"""After so long a rule hangs. The slowest takes two on a quiet machine."""

PLACES: tuple[Any, ...] = (
    torch,
    torch.Tensor,
    torch.autograd,
    torch.autograd.grad_mode,
    torch.autograd.graph,
    torch.nn.Module,
)
"""Where engines put defects in by replacing attributes; after an engine they have to be as they were."""


@dataclass
class Cell:
    """What one rule made of an engine.

    verdict: caught: by an assertion of a test of the rule. raised: a test failed otherwise. unexplained: an assertion
        failed although the engine never said that its defect showed. survived: the defect showed and nothing failed.
        not reached: it never showed. died, hung: the process did.
    catching: how many of the `drawn` examples that were replayed catch it; one, if it was enough that one does.
    draw: the first that does.
    """

    verdict: str
    account: str = ""
    catching: int = 0
    drawn: int = 0
    draw: str = ""


@dataclass
class EngineRun:
    """What happened with an engine in.

    broken: why it is no engine: it cannot be put in, or does not come off. left_behind: what it left of itself.
    """

    cells: dict[str, Cell] = field(default_factory=dict)
    left_behind: str = ""
    broken: str = ""


def run_engine(
    engine: WrongEngine, rules: Iterable[str], tests: Tests, profile: str = "standard", every_draw: bool = False
) -> EngineRun:
    """Put the engine in, replay the tests of these rules, take it out, and replay there what caught it.

    every_draw: go on after the first example that catches, and count; otherwise a rule that has caught it is done.
    """
    run, waiting = EngineRun(), list(rules)
    while True:
        with tempfile.TemporaryFile() as where:
            work = partial(_tell_all, engine, waiting, tests, profile, every_draw)
            ended = in_a_child(partial(_note, run), work, where)
            where.seek(0)
            stacks = where.read().decode(errors="replace")
        if ended is None:
            return run
        begun = next((rule for rule in waiting if rule in run.cells and not run.cells[rule].verdict), None)
        if begun is None:
            run.broken = run.broken or f"the process ended with status {ended}"
            return run
        hung = HUNG, f"no end in {SECONDS} seconds\n{stacks}"
        run.cells[begun] = Cell(*(hung if ended == -signal.SIGALRM else (DIED, f"status {ended}")))
        waiting = [rule for rule in waiting if rule not in run.cells]


Tell = Callable[[str, Any], None]


def in_a_child(note: Tell, work: Callable[[Tell], None], where: IO[bytes] | None = None) -> int | None:
    """Do the work in a fork of this process and note here what it tells; the status, unless it came to its end.

    where: is told where each thread stands if the process is ended by its alarm.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even where a kernel never returns to Python
        if where:
            faulthandler.register(signal.SIGALRM, where, chain=True)
        status = 1
        try:
            torch.set_num_threads(1)
            with os.fdopen(writing, "w", buffering=1) as pipe:
                work(lambda what, value: print(json.dumps([what, value]), file=pipe))
                print(json.dumps(["end", None]), file=pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = [json.loads(line) for line in pipe if line.endswith("\n")]
    _, ended = os.waitpid(child, 0)
    for what, value in told:
        if what != "end":
            note(what, value)
    return None if told and told[-1][0] == "end" else os.waitstatus_to_exitcode(ended)


def _note(run: EngineRun, what: str, value: Any) -> None:
    if what == "begin":
        run.cells[value] = Cell("")
    elif what == "cell":
        run.cells[value[0]] = Cell(**value[1])
    elif what == "left behind":
        run.left_behind = value
    elif what == "broken":
        run.broken = value


def _tell_all(engine: WrongEngine, rules: list[str], tests: Tests, profile: str, every_draw: bool, tell: Tell) -> None:
    draws.record(tests, rules, profile)  # what is not recorded yet has to be drawn on an honest torch
    gc.freeze()
    before, settings = [dict(vars(place)) for place in PLACES], isolation.settings()
    with ExitStack() as stack:
        try:
            stack.enter_context(engine.installed())
        except Exception as error:
            tell("broken", f"it cannot be put in: {type(error).__name__}: {error}")
            return
        catches: list[tuple[str, DrawnTest, Arguments]] = []
        shows_always = engine.hits > 0  # a value is wrong from the beginning, and nobody sees it being read
        for rule in rules:
            tell("begin", rule)
            signal.alarm(SECONDS)
            hits, (cell, catch) = engine.hits, _cell(engine, tests.get(rule, []), profile, every_draw)
            catches += [(rule, *catch)] if catch else []
            if engine.hits == hits and not shows_always:
                cell.verdict = UNREACHED if cell.verdict == SURVIVED else UNEXPLAINED
            tell("cell", (rule, asdict(cell)))
        signal.alarm(SECONDS)
        gc.collect()  # generators and blocks that a failed test left open end now, and not after the engine
        isolation.restore_changed(settings)
        try:
            stack.close()
        except Exception as error:
            tell("broken", f"it does not come off: {type(error).__name__}: {error}")
            return
    left = _changed(settings) or _left_behind(before)
    tell("left behind", left or _failing_without(catches))


def _cell(
    engine: WrongEngine, tests: list[DrawnTest], profile: str, every_draw: bool
) -> tuple[Cell, tuple[DrawnTest, Arguments] | None]:
    """The best that any test of a rule does against the engine, its account, and the first example that catches."""
    cell, first = Cell(SURVIVED), None
    every = [(test, each) for test in tests for each in test.examples(profile)]
    for test, arguments in every:
        cell.drawn += 1
        error = test.replay(arguments)
        if error is None:
            continue
        if judge.asserted(error, realise.body_of(test.function), engine):
            cell.catching += 1
            if first is None:
                first = test, arguments
                cell.verdict, cell.account, cell.draw = (
                    CAUGHT,
                    _account(error),
                    draws.shown(realise.last_failing() or realise.Failing(arguments)),
                )
            if not every_draw:
                break
        elif cell.verdict == SURVIVED:
            cell.verdict, cell.account = RAISED, _account(error)
    return cell, first


def _account(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _left_behind(before: list[dict[str, Any]]) -> str:
    for place, was in zip(PLACES, before, strict=True):
        now = vars(place)
        changed = sorted(name for name in was.keys() | now.keys() if was.get(name) is not now.get(name))
        for name in changed:
            if not _added_by_python(name, now.get(name)):
                return f"{place.__name__}.{name} is not what it was"
    return ""


def _added_by_python(name: str, value: Any) -> bool:
    """Whether a name is there without anybody's doing: a submodule imported late, the warnings shown so far."""
    return name == "__warningregistry__" or isinstance(value, types.ModuleType)


def _changed(settings: list[Any]) -> str:
    return "".join(f"{setting} is not what it was" for setting in isolation.restore_changed(settings)[:1])


def _failing_without(catches: list[tuple[str, DrawnTest, Arguments]]) -> str:
    """Why the torch that an engine leaves is not an honest one; empty if what caught the engine passes now."""
    for rule, test, arguments in catches:
        if error := test.replay(arguments):
            return f"{rule} fails without the engine: {error}"
    return ""


def run_on_the_made_up_device(engines: dict[str, list[str]]) -> dict[str, EngineRun]:
    """Run these engines of the project against these rules, in a new process that registers the device first.

    Torch takes no backend that comes after the first backward, and this process may have had one.
    """
    code = "import sys; from tests.meta.table import runs; runs.print_runs(sys.argv[1])"
    command = [sys.executable, "-c", code, json.dumps(engines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        broken = EngineRun(broken=f"the process ended with status {done.returncode}: {done.stderr}")
        return dict.fromkeys(engines, broken)
    return {
        name: EngineRun({rule: Cell(**cell) for rule, cell in run["cells"].items()}, run["left_behind"], run["broken"])
        for name, run in json.loads(done.stdout.splitlines()[-1]).items()
    }


def print_runs(engines: str) -> None:
    """Run engines, given as JSON, on the made-up device, and print what happened as the last line."""
    profiles.register()
    importlib.import_module(draws.ITS_BACKEND)
    asked: dict[str, list[str]] = json.loads(engines)
    tests = draws.load_tests(frozenset(rule for rules in asked.values() for rule in rules))
    told = {name: asdict(run_engine(load_all()[name], rules, tests)) for name, rules in asked.items()}
    print(json.dumps(told), flush=True)
