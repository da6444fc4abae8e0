"""Verdicts: one for each rule and target, put together from the tests that are bound to the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

PASS, FAIL, KNOWN, FIXED = "pass", "fail", "known", "fixed"
NOT_APPLICABLE, NOT_RUN, CRASH, HANG = "not-applicable", "not-run", "crash", "hang"

WORST_FIRST = (CRASH, HANG, FAIL, FIXED, KNOWN, PASS, NOT_RUN, NOT_APPLICABLE)
"""Of several tests of one rule the worst verdict is the rule's; a test that ran outweighs one that did not."""

EXECUTED = frozenset({CRASH, HANG, FAIL, FIXED, KNOWN, PASS})
"""Verdicts that rest on code that ran on the target."""


@dataclass(frozen=True)
class Outcome:
    """What one test says about its rule on one target. Plain data: it travels between processes.

    of: how many tests of this run say something about the same rule and target.
    lacking: what the target could not run, and for how many examples.
    """

    rule: str
    target: str
    verdict: str
    of: int = 1
    examples: int = 0
    seconds: float = 0.0
    sentence: str = ""
    program: str = ""
    message: str = ""
    observed: bool = False
    lacking: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """Gathers outcomes until a rule's verdict on a target is complete."""

    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> Outcome | None:
        """The rule's verdict on the target, once every test that it has there has spoken; None before."""
        gathered = self.outcomes.setdefault((outcome.rule, outcome.target), [])
        gathered.append(outcome)
        return combined(gathered) if len(gathered) == outcome.of else None

    def verdicts(self) -> Iterator[Outcome]:
        """Every rule and target that something is known of, in the order in which they first spoke."""
        return (combined(gathered) for gathered in self.outcomes.values())

    def counts(self) -> dict[str, int]:
        """How many rules on targets have each verdict, worst first."""
        counted = Counter(outcome.verdict for outcome in self.verdicts())
        return {verdict: counted[verdict] for verdict in WORST_FIRST if counted[verdict]}


def combined(outcomes: list[Outcome]) -> Outcome:
    """One outcome for several tests of the same rule on the same target."""
    worst = min(outcomes, key=lambda outcome: WORST_FIRST.index(outcome.verdict))
    lacking: Counter[str] = Counter()
    for outcome in outcomes:
        lacking.update(outcome.lacking)
    return Outcome(
        **{
            **worst.__dict__,
            "examples": sum(outcome.examples for outcome in outcomes),
            "seconds": sum(outcome.seconds for outcome in outcomes),
            "lacking": dict(lacking),
        }
    )
