"""spec/modes/nesting.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, leaves
from tests.inputs.circumstances import NO_GRAD, UNRECORDED_BACKWARD, also

INFERENCE = (Expression("torch.inference_mode"), False)
FAILURES = (
    ("lambda: 1 / 0", "ZeroDivisionError"),
    ("lambda: torch.zeros(2).reshape(3)", "RuntimeError"),
    ("lambda: (step for step in ()).throw(KeyboardInterrupt)", "KeyboardInterrupt"),
    ("lambda: next(iter(()))", "StopIteration"),
    ("lambda: (step for step in ()).throw(SystemExit)", "SystemExit"),
    ("lambda: torch.zeros(2)[5]", "IndexError"),
    ("lambda: torch.zeros(2).reshape('two')", "TypeError"),
)


def failures():
    """(fail, error): fail() raises error."""
    return st.sampled_from(FAILURES).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


def expressions(pairs):
    return [(Expression(fail), Expression(error)) for fail, error in pairs]


def recorded(leaf):
    """Whether operations on a leaf are recorded: one, its sum, a copy and a view alike."""
    found = {made.grad_fn is not None for made in (leaf * 2, leaf.sum(), leaf.clone(), leaf[None])}
    assert len(found) == 1
    return found.pop()


def nests():
    """Blocks, from the outermost to the innermost; only the innermost may be inference mode."""
    return st.tuples(st.lists(blocks(), min_size=1, max_size=4), st.booleans()).map(
        lambda drawn: [*drawn[0], INFERENCE] if drawn[1] else drawn[0]
    )


@rule("modes.nesting.innermost")
@given(leaf=leaves(), nest=nests())
def test_the_innermost_block_decides_and_leaving_it_brings_back_the_one_around(device, leaf, nest):
    def enter(nested):
        if nested:
            block, records = nested[0]
            with block():
                assert recorded(leaf) == records
                enter(nested[1:])
                assert recorded(leaf) == records
                with block():
                    pass
                assert recorded(leaf) == records

    enter(nest)
    assert recorded(leaf)
    assert not torch.is_inference_mode_enabled()


@rule("modes.nesting.innermost")
@given(leaf=leaves(), around=blocks(), keyword=st.booleans())
def test_each_kind_of_block_within_each_other_brings_back_the_mode_around_it(device, leaf, around, keyword):
    first, outside = around
    kinds = (
        (torch.no_grad, False),
        (torch.enable_grad, True),
        (lambda: torch.set_grad_enabled(mode=False) if keyword else torch.set_grad_enabled(False), False),
        (lambda: torch.set_grad_enabled(mode=True) if keyword else torch.set_grad_enabled(True), True),
    )
    kept = (torch.no_grad(), False), (torch.enable_grad(), True)
    with first():
        for outer, middle in kinds:
            with outer():
                for inner, records in (*kinds, (torch.inference_mode, False)):
                    with inner():
                        assert (leaf * 2).requires_grad == records
                    assert (leaf * 2).requires_grad == middle
                for block, records in kept:  # which may be entered again once they were left
                    with block:
                        assert (leaf * 2).requires_grad == records
                    assert (leaf * 2).requires_grad == middle
            assert (leaf * 2).requires_grad == outside
    assert recorded(leaf)


@rule("modes.nesting.innermost")
@also(UNRECORDED_BACKWARD)
@given(leaf=leaves(), around=blocks(), block=blocks())
def test_gradients_that_are_asked_for_in_a_block_leave_its_mode_alone(device, leaf, around, block):
    outer, outside = around
    inner, inside = block
    found = []

    def hook(gradient):
        with torch.enable_grad():
            torch.autograd.grad((leaf * 3).sum(), leaf)
            found.append((leaf * 2).requires_grad)

    output = leaf * 1
    output.register_hook(hook)
    with outer():
        with inner():
            output.backward(torch.ones_like(leaf))
            assert (leaf * 2).requires_grad == inside
        assert (leaf * 2).requires_grad == outside
    assert found == [True]


@rule("modes.nesting.exception")
@given(leaf=leaves(), around=blocks(), nest=nests(), failure=failures())
def test_an_exception_brings_back_the_mode_as_well(device, leaf, around, nest, failure):
    fail, error = failure
    block, records = around

    def now():
        return (leaf * 2).requires_grad, torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def enter(nested):
        if not nested:
            fail()
        before = now()
        try:
            with nested[0][0]():
                enter(nested[1:])
        finally:
            assert now() == before

    with block():
        with pytest.raises(error):
            enter(nest)
        assert now() == (records, records, False)
    assert now() == (True, True, False)


@rule("modes.nesting.exception")
@given(leaf=leaves(), around=blocks(), failures=st.permutations(FAILURES).map(expressions))
def test_each_kind_of_block_brings_back_the_mode_after_each_kind_of_exception(device, leaf, around, failures):
    outer, records = around
    kinds = (
        torch.no_grad,
        torch.enable_grad,
        torch.inference_mode,
        lambda: torch.inference_mode(False),
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_grad_enabled(True),
    )
    for fail, error in failures:
        for block in kinds:
            with outer():
                with pytest.raises(error), block():
                    fail()
                assert (leaf * 2).requires_grad == records
                assert torch.is_grad_enabled() == records
                assert not torch.is_inference_mode_enabled()
            assert (leaf * 2).requires_grad


@rule("modes.nesting.plain-call")
@also(NO_GRAD)
@given(leaf=leaves(), around=blocks(), block=blocks(), modes=st.lists(st.booleans(), min_size=1, max_size=3))
def test_a_plain_call_lasts_until_the_block_around_it_is_left(device, leaf, around, block, modes):
    outer, records = around
    inner, _ = block

    def switch_and_fail(mode):
        torch.set_grad_enabled(mode)
        raise KeyError

    with outer():
        with inner():
            for mode in modes:
                torch.set_grad_enabled(mode)
                assert recorded(leaf) == mode
        assert recorded(leaf) == records
        for block in (torch.no_grad, torch.enable_grad, lambda: torch.set_grad_enabled(records), torch.inference_mode):
            for mode in (not records, records):
                with block():
                    kept = torch.set_grad_enabled(mode=mode)
                    assert torch.is_grad_enabled() == mode
                assert recorded(leaf) == records
                del kept
                assert recorded(leaf) == records
                with pytest.raises(KeyError), block():
                    switch_and_fail(mode)
                assert recorded(leaf) == records


@rule("modes.nesting.plain-call")
@also(NO_GRAD)
@given(leaf=leaves(), block=blocks(), mode=st.booleans())
def test_a_plain_call_outlasts_a_block_that_follows_it(device, leaf, block, mode):
    following, records = block

    def call():
        torch.set_grad_enabled(mode)

    try:
        call()
        assert recorded(leaf) == mode
        for block, inside in ((following, records), (torch.inference_mode, False), (following, records)):
            with block():
                assert recorded(leaf) == inside
            assert recorded(leaf) == mode
            with pytest.raises(KeyError), block():
                raise KeyError
            assert recorded(leaf) == mode
            call()
            assert recorded(leaf) == mode
    finally:
        torch.set_grad_enabled(True)


@rule("modes.nesting.inference-mode-wins")
@also(NO_GRAD)
@given(leaf=leaves(), block=blocks(recording=True))
def test_no_block_that_enables_grad_records_inside_inference_mode(device, leaf, block):
    enable, _ = block
    with torch.inference_mode():
        for _ in range(2):
            with enable():
                assert torch.is_grad_enabled()
                assert not recorded(leaf)
                assert not (leaf * 2).requires_grad
                assert not (torch.ones_like(leaf) + leaf).requires_grad
            assert not recorded(leaf)
        torch.set_grad_enabled(True)
        assert torch.is_grad_enabled()
        assert not recorded(leaf)
        with torch.no_grad(), enable():
            assert torch.is_grad_enabled()
            assert not recorded(leaf)
    with enable(), torch.inference_mode(mode=True):
        assert not recorded(leaf)


@rule("modes.nesting.inference-mode-wins")
@also(NO_GRAD)
@given(leaf=leaves(), block=blocks())
def test_switching_inference_mode_off_records_even_within_no_grad(device, leaf, block):
    switch, _ = block
    with torch.inference_mode(), switch(), torch.inference_mode(False):
        assert recorded(leaf)
    with switch(), torch.inference_mode(False):
        assert recorded(leaf)
    with torch.inference_mode():
        for _ in range(2):
            with torch.inference_mode(mode=False):
                assert recorded(leaf)
            assert not recorded(leaf)
    with torch.no_grad():
        torch.set_grad_enabled(False)
        with torch.inference_mode(False):
            assert recorded(leaf)
        assert not recorded(leaf)
