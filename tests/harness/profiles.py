"""How hard to look: Hypothesis profiles.

`smoke` and `standard` draw the same examples in every run, so that a verdict never depends on luck; `thorough` draws
anew from a seed that the run prints.
"""

from __future__ import annotations

import random

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.engine import ConjectureRunner

DEFAULT = "standard"
EXAMPLES = {"smoke": 4, "standard": 14, "thorough": 500}


def register() -> None:
    """Make the profiles known and `standard` the one that is used."""
    _draw_each_example_anew()
    for name, examples in EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=examples,
            derandomize=name != "thorough",
            # A shared machine stalls now and then; how long an example takes says nothing about torch.
            deadline=None,
            # The first example pays for kernels that torch sets up lazily. A device that lacks dtypes has many
            # examples passed over, each of them counted and reported.
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            # One failing program a test: the smallest.
            report_multiple_bugs=False,
            # What was found in an earlier run must not change the verdict of this one.
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        )
    settings.load_profile(DEFAULT)


def _draw_each_example_anew() -> None:
    """Let Hypothesis spend no example on a variation of the one before.

    After the tenth example it follows each with up to five copies in which one part replaces another like it. That
    finds what needs two equal parts, which our strategies draw on purpose where it matters; but of 32 examples only 14
    would be drawn. There is no setting for it. If this method is gone, the examples are as Hypothesis likes them.
    """
    if hasattr(ConjectureRunner, "generate_mutations_from"):
        ConjectureRunner.generate_mutations_from = lambda runner, data: None  # type: ignore[method-assign,assignment]


def fresh_seed() -> int:
    """A seed for a run that draws anew and was given none."""
    return random.SystemRandom().getrandbits(32)
