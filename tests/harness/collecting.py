"""Collection: a case of each test for every target, and the rules that were asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from . import options, targets
from .session import Session, target_of

NOWHERE = "nowhere"
"""The case of a rule that no device of this run can be asked about."""

TESTS_OF_VERDICT = pytest.StashKey[int]()
"""How many tests of this run say something about the same rule and target."""


class Collecting:
    """The hooks of collection; the same in every worker."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        rule = self.session.rule_of(metafunc.function)
        if rule is None or "device" not in metafunc.fixturenames:
            return
        devices = targets.for_devices(self.session.devices, rule.devices)
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
        if self.session.patterns:
            chosen: list[pytest.Item] = []
            left: list[pytest.Item] = []
            for item in items:
                (chosen if self._is_asked_for(item) else left).append(item)
            config.hook.pytest_deselected(items=left)
            items[:] = chosen

    def _is_asked_for(self, item: pytest.Item) -> bool:
        rule = self.session.rule_of_item(item)
        return rule is not None and options.matches(rule.id, self.session.patterns)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        counted = Counter(self._verdict_of(item) for item in session.items)
        for item in session.items:
            item.stash[TESTS_OF_VERDICT] = counted[self._verdict_of(item)]

    def _verdict_of(self, item: pytest.Item) -> tuple[str, str] | None:
        rule = self.session.rule_of_item(item)
        return (rule.id, target_of(item, rule)) if rule else None
