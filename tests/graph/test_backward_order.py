"""spec/graph/backward-order.md"""

from functools import cache

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, dtypes, leaves
from tests.inputs.circumstances import BACKWARD, UNRECORDED_BACKWARD, also
from tests.oracles import numbers

DTYPES = st.sampled_from((*dtypes.FLOATING, "torch.complex64"))
"""Dtypes that may require gradients, real ones above all."""


BINARY = (
    ("lambda a, b: a + b", (1, 1)),
    ("lambda a, b: 2 * a + b", (2, 1)),
    ("lambda a, b: a.add(b, alpha=2)", (1, 2)),
    ("lambda a, b: torch.stack([a, b]).sum(0)", (1, 1)),
    ("lambda a, b: a - b", (1, -1)),
)
"""A function of two tensors, and its derivative with respect to each."""


@cache
def a_step(number):
    """An operation with its two slopes, and the places of its operands in the results of `number` steps before it."""
    places = st.integers(0, number)
    return st.tuples(st.sampled_from(BINARY).map(lambda pair: (Expression(pair[0]), pair[1])), places, places)


PROGRAMS = st.one_of(*(st.tuples(*map(a_step, range(count))) for count in (3, 2, 4, 1)))
"""Programs of up to four steps."""


def run(leaf, steps):
    """The results of all steps, behind a first one that is the leaf times one."""
    results = [leaf * 1]
    for (operation, _), one, other in steps:
        results.append(operation(results[one], results[other]))
    return results


def gradients_of_last(steps):
    """For each result the derivative of the last one by it; None where the last one was not computed from it."""
    gradients = [None] * len(steps) + [1]
    for place in range(len(steps), 0, -1):
        (_, slopes), *operands = steps[place - 1]
        for operand, slope in zip(operands, slopes, strict=True):
            if gradients[place] is not None:
                gradients[operand] = (gradients[operand] or 0) + slope * gradients[place]
    return gradients


DIAMOND = (
    ((Expression("lambda a, b: a * 3 + b * 0"), (3, 0)), 0, 0),
    ((Expression("lambda a, b: a * 4 + b * 0"), (4, 0)), 0, 0),
    ((Expression("lambda a, b: a + b"), (1, 1)), 1, 2),
)


@rule("graph.backward-order.once")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), steps=PROGRAMS, block_and_mode=blocks())
@example(
    leaf=Expression("torch.ones(2, 0, device=device, requires_grad=True)"),
    steps=DIAMOND,
    block_and_mode=(Expression("torch.no_grad"), False),
)
@example(
    leaf=Expression("torch.tensor(2., device=device, requires_grad=True)"),
    steps=DIAMOND,
    block_and_mode=(Expression("torch.enable_grad"), True),
)
def test_each_result_hears_its_whole_gradient_once_and_what_is_not_below_hears_nothing(
    device, leaf, steps, block_and_mode
):
    block, _ = block_and_mode
    results = run(leaf, steps)
    heard, heard_too = [[] for _ in results], [[] for _ in results]
    for result, gradients, another in zip(results, heard, heard_too, strict=True):
        result.register_hook(gradients.append)
        result.register_hook(another.append)
    # Where all that arrives is one number, it is easily mistaken for another's.
    weights = torch.arange(leaf.numel(), device=device).reshape(leaf.shape) % 3 - 1
    for output, seeds in (
        (results[-1].real.sum(), [1] * leaf.numel()),
        ((results[-1] * weights).real.sum(), numbers(weights)),
    ):
        calls = (
            lambda output=output: output.backward(retain_graph=True),
            lambda output=output: output.backward(retain_graph=True, inputs=[leaf]),
            lambda output=output: torch.autograd.grad(output, leaf, retain_graph=True),
        )
        for call in calls:
            with block():
                call()
            for gradients, another, gradient in zip(heard, heard_too, gradients_of_last(steps), strict=True):
                expected = [] if gradient is None else [[gradient * seed for seed in seeds]]
                assert [numbers(arrived) for arrived in gradients] == expected
                assert [numbers(arrived) for arrived in another] == expected
                gradients.clear()
                another.clear()


LADDER = (
    ((Expression("lambda a, b: a + b"), (1, 1)), 0, 0),
    ((Expression("lambda a, b: a + b"), (1, 1)), 1, 1),
    ((Expression("lambda a, b: a + b"), (1, 1)), 2, 0),
)
"""A program whose first result is used both by the last and by one that is further from it."""


@rule("graph.backward-order.users-first")
@also(*BACKWARD)
@given(leaf=leaves(dtypes=DTYPES), steps=PROGRAMS)
@example(leaf=Expression("torch.ones(2, device=device, requires_grad=True)"), steps=LADDER)
@example(leaf=Expression("torch.tensor(2., device=device, requires_grad=True)"), steps=LADDER)
def test_a_gradient_is_complete_before_it_is_passed_on(device, leaf, steps):
    results = run(leaf, steps)
    order = []
    for place in (*range(1, len(results), 2), *range(0, len(results), 2)):
        results[place].register_hook(lambda gradient, place=place: order.append(place))
    output = results[-1].real.sum()
    output.register_hook(lambda gradient: order.append(len(results)))
    for options in ({"retain_graph": True}, {"inputs": [leaf], "retain_graph": True}, {}):
        order.clear()
        output.backward(**options)
        assert order[:2] == [len(results), len(results) - 1]
        for place, (_, *operands) in enumerate(steps, start=1):
            if place in order:
                assert order.index(place) < min(order.index(operand) for operand in operands)
