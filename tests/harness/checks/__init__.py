"""What must be true of the project before anything is collected: one small class a file, one fixture that violates it.

The fixtures stand in `tests/meta/test_checks.py`.
"""

from __future__ import annotations

from ..problems import Problem
from ..project import Project
from .check import Check
from .claims_agree import ClaimsAgree
from .claims_are_complete import ClaimsAreComplete
from .claims_are_settled import ClaimsAreSettled
from .claims_can_fail import ClaimsCanFail
from .engines_exist import EnginesExist
from .engines_name_rules import EnginesNameRules
from .mirrored import Mirrored
from .readable import Readable
from .retired_stay_retired import RetiredStayRetired
from .rules_exist import RulesExist
from .rules_have_engines import RulesHaveEngines
from .rules_have_tests import RulesHaveTests
from .tests_have_rules import TestsHaveRules
from .tests_speak_for_one_rule import TestsSpeakForOneRule

CHECKS: tuple[type[Check], ...] = (
    Readable,
    RulesExist,
    RetiredStayRetired,
    RulesHaveTests,
    TestsHaveRules,
    TestsSpeakForOneRule,
    Mirrored,
    RulesHaveEngines,
    EnginesExist,
    EnginesNameRules,
    ClaimsAreComplete,
    ClaimsAreSettled,
    ClaimsCanFail,
    ClaimsAgree,
)


def problems_of(project: Project) -> list[Problem]:
    """Everything that the checks find; where the project cannot even be read, only that."""
    unreadable = sorted(Readable().problems(project))
    return unreadable or sorted(problem for check in CHECKS for problem in check().problems(project))
