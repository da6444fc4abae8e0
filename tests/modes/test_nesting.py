"""spec/modes/nesting.md"""

import itertools

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
    ("lambda: torch.zeros(2).sum().backward()", "RuntimeError"),
)


def failures():
    """(fail, error): fail() raises error."""
    return st.sampled_from(FAILURES).map(lambda pair: (Expression(pair[0]), Expression(pair[1])))


def expressions(pairs):
    return [(Expression(fail), Expression(error)) for fail, error in pairs]


OPERATIONS = (
    lambda x: x * 2,
    lambda x: torch.ones_like(x) * x,
    lambda x: torch.ones_like(x) + x,
    lambda x: 2 - x,
    lambda x: x / torch.ones_like(x),
    lambda x: x.mean(),
    lambda x: torch.stack([torch.ones_like(x), torch.ones_like(x), x]),
    lambda x: torch.outer(x.flatten(), x.flatten()),
    lambda x: torch.where(x == x, torch.ones_like(x), x),
    lambda x: torch.zeros_like(x).add_(x),
    lambda x: x.abs(),
    lambda x: x.flatten()[:0].clone(),
)


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
@given(
    leaf=leaves(),
    around=blocks(),
    keyword=st.booleans(),
    start=st.integers(0, len(OPERATIONS) - 1),
)
def test_each_kind_of_block_within_each_other_brings_back_the_mode_around_it(device, leaf, around, keyword, start):
    first, outside = around
    turns = itertools.cycle((*OPERATIONS[start:], *OPERATIONS[:start]))
    kinds = (
        (torch.no_grad, False),
        (torch.enable_grad, True),
        (lambda: torch.set_grad_enabled(mode=False) if keyword else torch.set_grad_enabled(False), False),
        (lambda: torch.set_grad_enabled(mode=True) if keyword else torch.set_grad_enabled(True), True),
    )
    kept = (torch.no_grad(), False), (torch.enable_grad(), True)

    def returned(block):
        for _ in range(2):
            with block():
                break
        with block():
            return next(turns)(leaf).requires_grad

    with first():
        for outer, middle in kinds:
            with outer():
                for inner, records in (*kinds, (torch.inference_mode, False)):
                    with inner():
                        assert next(turns)(leaf).requires_grad == records
                    assert next(turns)(leaf).requires_grad == middle
                    assert returned(inner) == records
                    assert next(turns)(leaf).requires_grad == middle
                for block, records in kept:  # which may be entered again once they were left
                    with block:
                        assert next(turns)(leaf).requires_grad == records
                    assert next(turns)(leaf).requires_grad == middle
            assert next(turns)(leaf).requires_grad == outside
            assert torch.is_grad_enabled() == outside
    assert recorded(leaf)


@rule("modes.nesting.innermost")
@given(leaf=leaves(), nest=st.lists(blocks(), min_size=9, max_size=17))
def test_a_deep_nest_is_left_block_by_block(device, leaf, nest):
    entered = []
    try:
        for block, records in nest:
            entering = block()
            entering.__enter__()
            entered.append((entering, records))
            assert (leaf * 2).requires_grad == records
        while entered:
            assert (leaf * 2).requires_grad == entered[-1][1]
            entered.pop()[0].__exit__(None, None, None)
        assert (leaf * 2).requires_grad
    finally:
        torch.set_grad_enabled(True)


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
@given(leaf=leaves(), around=blocks(), failures=st.permutations(FAILURES).map(lambda drawn: expressions(drawn[:4])))
def test_each_kind_of_block_brings_back_the_mode_after_each_kind_of_exception(device, leaf, around, failures):
    outer, records = around
    hooked = torch.ones(2, device=device, requires_grad=True)
    hooked.register_hook(lambda gradient: 1 / 0)
    output = hooked * 2

    def fail_in_a_hook():
        output.backward(torch.ones(2, device=device), retain_graph=True)

    def fail_in_a_generator():
        next(torch.no_grad()(lambda: (yield 1 / 0))())

    def fail_in_inner_blocks():
        with torch.no_grad(), torch.enable_grad(), torch.inference_mode():
            torch.set_grad_enabled(True)
            raise KeyError

    def fail_where_the_mode_was_switched():
        torch.set_grad_enabled(not records)
        raise KeyError

    def fail_while_another_is_handled():
        try:
            fail_in_inner_blocks()
        finally:
            torch.zeros(2).item()

    kinds = (
        torch.no_grad,
        torch.enable_grad,
        torch.inference_mode,
        lambda: torch.inference_mode(False),
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_grad_enabled(True),
    )
    for fail, error in (
        *failures,
        (fail_in_a_hook, ZeroDivisionError),
        (fail_in_a_generator, ZeroDivisionError),
        (fail_in_inner_blocks, KeyError),
        (fail_where_the_mode_was_switched, KeyError),
        (fail_while_another_is_handled, (ValueError, RuntimeError)),
    ):
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

    other = torch.ones(2, device=device, requires_grad=True)
    with torch.enable_grad():
        output = other * 3
    happenings = (
        lambda: output.backward(torch.ones_like(output), retain_graph=True),
        lambda: torch.autograd.grad(output, other, torch.ones_like(output), retain_graph=True),
        lambda: torch.no_grad()(lambda: leaf * 2)(),
        lambda: list(torch.enable_grad()(lambda: (yield leaf * 2))()),
        lambda: torch.nn.Parameter(leaf.detach()),
        lambda: (repr(leaf), leaf.detach().tolist()),
    )
    try:
        call()
        assert recorded(leaf) == mode
        for happens in happenings:
            happens()
            assert torch.is_grad_enabled() == mode
            assert (leaf * 2).requires_grad == mode
        for block, inside in ((following, records), (torch.inference_mode, False), (following, records)):
            with block():
                assert recorded(leaf) == inside
            assert recorded(leaf) == mode
            with pytest.raises(KeyError), block():
                raise KeyError
            assert recorded(leaf) == mode
            call()
            assert recorded(leaf) == mode
        for again in (not mode, not mode, mode):
            torch.set_grad_enabled(again)
            assert recorded(leaf) == again
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
        with pytest.raises(KeyError), enable():
            raise KeyError
        assert not recorded(leaf)
        with enable(), torch.inference_mode():
            assert not recorded(leaf)
        assert not recorded(leaf)
        assert not torch.enable_grad()(lambda: leaf * 2)().requires_grad
        with enable():
            torch.set_grad_enabled(True)
            for operation in OPERATIONS:
                assert not operation(leaf).requires_grad
    with enable(), torch.inference_mode(mode=True):
        assert not recorded(leaf)
    torch.inference_mode()(enable()(lambda: None))()
    with torch.inference_mode(), enable():
        assert not recorded(leaf)


@rule("modes.nesting.inference-mode-wins")
@also(NO_GRAD)
@given(leaf=leaves(), block=blocks())
def test_switching_inference_mode_off_records_even_within_no_grad(device, leaf, block):
    switch, _ = block
    with switch(), torch.inference_mode(False):
        for operation in OPERATIONS:
            assert operation(leaf).requires_grad
    for around in (torch.inference_mode, switch):
        with around():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            with pytest.raises(KeyError), torch.inference_mode(False):
                raise KeyError
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
            assert torch.inference_mode(False)(lambda: leaf * 2)().requires_grad
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
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
