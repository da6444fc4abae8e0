"""The pytest plugin that conftest.py names: options first, then everything that needs torch.

Nothing here imports torch, so that its absence can be told in one line.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from . import options, profiles
from .problems import NOT_CONFORMANCE
from .try_it import collect_try_it as pytest_collect_file

__all__ = ["pytest_addoption", "pytest_collect_file", "pytest_configure", "pytest_ignore_collect"]

profiles.register()
pytest.register_assert_rewrite("tests.oracles")


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    options.require_torch()
    options.choose_profile(config)
    given = config.invocation_params
    config.invocation_params = dataclasses.replace(given, args=options.with_equals_signs(given.args))
    from .collecting import Collecting
    from .gathering import Gathering
    from .running import Running
    from .session import open_session

    session = open_session(config)
    config.pluginmanager.register(Collecting(session))
    config.pluginmanager.register(Running(session))
    if not session.is_worker:
        config.pluginmanager.register(Gathering(session))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests of the suite itself and the benchmarks to those who ask for them."""
    if collection_path in NOT_CONFORMANCE and not options.asks_for(config, [collection_path]):
        return True
    return None
