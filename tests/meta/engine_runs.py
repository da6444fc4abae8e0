"""Runs rules against a wrong engine, in a child process, so that a defect never meets an honest test.

A rule has caught the engine if a test of the rule fails by what it asserts. A test that fails in another way has
only crashed, and that counts for nothing: any nonsense can make a test crash.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import Phase, settings
from packaging.version import Version

from tests.harness import bindings, isolation, profiles, realise, targets
from tests.harness.known_failures import read_known_failures
from tests.harness.problems import ROOT
from tests.harness.spec import read_spec
from tests.wrong_engines.engine import WrongEngine, load_all

CAUGHT, SURVIVED, CRASHED = "caught", "survived", "crashed"
SECONDS = 120
TORCH = Version(Version(torch.__version__).base_version)

MADE_UP, ITS_BACKEND = "unheard", "tests.meta.backends.unheard"
"""The device on which a rule about accelerators meets its engines; only the child registers it."""

PLACES = (torch, torch.Tensor, torch.autograd, torch.autograd.grad_mode, torch.autograd.graph, torch.nn.Module)
"""Where engines put defects in by replacing attributes; after an engine they have to be as they were."""


@dataclass
class EngineRun:
    """What happened with an engine in: how often its defect showed, and what each rule made of it."""

    hits: int = 0
    rules: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    left_behind: str = ""
    died: str = ""


Case = tuple[Callable[..., Any], dict[str, Any]]


def load_tests() -> dict[str, list[Case]]:
    """Every test of every rule with each of its cases on one device; no shrinking, because one failing example will do.

    A test that is known to fail on this torch is left out: it fails with and without an engine.
    """
    # The first optimizer imports torch's compiler, and that replaces functions of torch.
    torch.optim.SGD([torch.zeros(())], lr=1)
    known = read_known_failures(ROOT / "known_failures.toml", read_spec(ROOT / "spec"))
    current = settings.default
    settings.register_profile(
        "engines",
        settings.get_profile("standard"),
        phases=[phase for phase in current.phases if phase is not Phase.shrink],
    )
    settings.load_profile("engines")
    try:
        cases: dict[str, list[Case]] = {}
        for path in bindings.test_paths(ROOT / "tests"):
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for name, function in vars(module).items():
                rule = getattr(function, bindings.RULE_OF, None)
                if rule and not any(failure.covers(rule, name, targets.CPU, TORCH) for failure in known):
                    cases.setdefault(rule, []).extend((function, case) for case in _cases(function))
        return cases
    finally:
        settings.load_profile("standard")


@cache
def _about_accelerators() -> frozenset[str]:
    return frozenset(rule.id for rule in read_spec(ROOT / "spec").rules.values() if rule.devices == "accelerator")


def lacks_a_device_for(rules: Iterable[str]) -> bool:
    """Whether a rule among these is about accelerators, and this torch has no devices in Python."""
    return Version("2.11") > TORCH and not _about_accelerators().isdisjoint(rules)


def _cases(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    names = inspect.signature(function).parameters
    device = MADE_UP if getattr(function, bindings.RULE_OF) in _about_accelerators() else targets.CPU
    here = {"device": device} if "device" in names else {}
    if "dtype" not in names:
        yield here
        return
    for dtype in targets.differentiable_dtypes():
        if not targets.lacks(targets.CPU, str(dtype)):
            yield {**here, "dtype": dtype}


def run_engine(engine: WrongEngine, rules: Iterable[str], tests: dict[str, list[Case]]) -> EngineRun:
    """Put the engine in, run the tests of these rules, take it out, and run them again on the torch it leaves."""
    rules = list(rules)
    if _about_accelerators().isdisjoint(rules):
        return _forked(engine, rules, tests)
    return _spawned(engine, rules)


def _spawned(engine: WrongEngine, rules: list[str]) -> EngineRun:
    # torch takes no backend that comes after the first backward, and this process may have had one.
    code = "import sys; from tests.meta import engine_runs; engine_runs.run_alone(sys.argv[1], sys.argv[2:])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, engine.name, *rules], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return EngineRun(died=f"the process did not end in {SECONDS} seconds")
    if done.returncode:
        return EngineRun(died=f"the process ended with status {done.returncode}: {done.stderr}")
    return EngineRun(**json.loads(done.stdout.splitlines()[-1]))


def run_alone(name: str, rules: list[str]) -> None:
    """Run an engine of this project in a process of its own, and print what happened as the last line."""
    torch.set_num_threads(1)
    profiles.register()
    print(json.dumps(asdict(_in_child(load_all()[name], rules, load_tests()))), flush=True)
    os._exit(0)  # after a backward on a device with threads of its own an ordinary end may be an abort


def _forked(engine: WrongEngine, rules: list[str], tests: dict[str, list[Case]]) -> EngineRun:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the parent's handler would fail the test, not end the process
        signal.alarm(SECONDS)
        status = 1
        try:
            torch.set_num_threads(1)
            with os.fdopen(writing, "w") as pipe:
                json.dump(asdict(_in_child(engine, rules, tests)), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, ended = os.waitpid(child, 0)
    if ended or not told:
        return EngineRun(died=f"the process ended with status {os.waitstatus_to_exitcode(ended)}")
    return EngineRun(**json.loads(told))


def _in_child(engine: WrongEngine, rules: list[str], tests: dict[str, list[Case]]) -> EngineRun:
    run = EngineRun()
    if not _about_accelerators().isdisjoint(rules):
        importlib.import_module(ITS_BACKEND)
    before, before_settings = [dict(vars(place)) for place in PLACES], isolation.settings()
    with engine.installed():
        for rule in rules:
            run.rules[rule], run.accounts[rule] = _judge(engine, tests.get(rule, []))
    run.hits = engine.hits
    changed = isolation.restore_changed(before_settings)
    run.left_behind = (
        _left_behind(before)
        or "".join(f"{setting} is not what it was" for setting in changed[:1])
        or _honest(rules, tests)
    )
    return run


def _judge(engine: WrongEngine, cases: list[Case]) -> tuple[str, str]:
    """The best that any test of a rule does against the engine, and its account."""
    verdict, account = SURVIVED, ""
    for function, case in cases:
        error = _failure(function, case)
        if error is None:
            continue
        account = "".join(traceback.format_exception(error))
        if _asserted(error, realise.body_of(function), engine):
            return CAUGHT, account
        verdict = CRASHED
    return verdict, account


def _failure(function: Callable[..., Any], case: dict[str, Any]) -> BaseException | None:
    realise.begin()
    try:
        function(**case)
    except hypothesis.errors.Unsatisfiable:
        return None  # nothing that is drawn can run with this dtype
    except (Exception, pytest.fail.Exception) as error:
        return error
    return None


def _asserted(error: BaseException, body: Callable[..., Any], engine: WrongEngine) -> bool:
    """Whether the failure is what the test asserts, and not merely an error on the way."""
    if isinstance(error, hypothesis.errors.Flaky):
        causes = getattr(error, "exceptions", ())
        return bool(causes) and all(_asserted(cause, body, engine) for cause in causes)
    if isinstance(error, AssertionError | pytest.fail.Exception) and _of_the_test(error, body):
        return True
    if engine.refuses is not None and engine.refuses in str(error):
        return True
    return _within_raises(error, body)


def _of_the_test(error: BaseException, body: Callable[..., Any]) -> bool:
    """Whether what failed is an assertion of the test, an oracle or pytest, and not one of torch or the engine."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    home = frame.f_globals["__name__"]
    return home == body.__module__ or home.startswith(("tests.oracles.", "_pytest."))


def _within_raises(error: BaseException, body: Callable[..., Any]) -> bool:
    """Whether the error came out of a `with pytest.raises(...)` of the body: an error of the wrong type."""
    lines, first = inspect.getsourcelines(body)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    expecting = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any("pytest.raises" in ast.unparse(item.context_expr) for item in node.items)
    ]
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is body.__code__:
            here = line - first + 1
            return any(node.lineno <= here <= (node.end_lineno or here) for node in expecting)
    return False


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


def _honest(rules: list[str], tests: dict[str, list[Case]]) -> str:
    """Why the torch that an engine leaves is not an honest one; empty if it is."""
    for rule in rules:
        for function, case in tests.get(rule, []):
            if error := _failure(function, case):
                return f"{rule} fails without the engine: {error}"
    return ""
