"""spec/modes/threads.md"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, leaves
from tests.inputs.circumstances import NO_GRAD, UNRECORDED, also


def starters():
    """A block of any mode, inference mode too."""
    return blocks().map(lambda pair: pair[0]) | st.just(Expression("torch.inference_mode"))


@rule("modes.threads.starts-on")
@also(*UNRECORDED)
@given(leaf=leaves(), block=starters(), last=st.booleans())
def test_a_new_thread_records_whatever_the_mode_of_the_thread_that_starts_it(device, leaf, block, last):
    found = []

    def work():
        found.append(((leaf * 2).requires_grad, torch.is_inference_mode_enabled()))
        torch.set_grad_enabled(last)

    def working():
        work()
        within = threading.Thread(target=work)
        within.start()
        within.join()

    class Own(threading.Thread):
        def run(self):
            work()

    with block():
        made_inside = threading.Thread(target=work)
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(work).result()
        for _ in range(2):
            thread = threading.Thread(target=working)
            thread.start()
            thread.join()
    made_outside = Own()
    for thread, mode in ((made_inside, torch.enable_grad), (made_outside, block)):
        with mode():
            thread.start()
            thread.join()
    assert found == [(True, False)] * 7

    def started():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    torch.no_grad()(started)()
    with block(), torch.enable_grad(), torch.no_grad():
        together = [threading.Thread(target=work), threading.Timer(0, work)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)  # a plain call
    try:
        started()
    finally:
        torch.set_grad_enabled(before)
    assert found == [(True, False)] * 11


@rule("modes.threads.kept-apart")
@also(NO_GRAD)
@given(leaf=leaves(), switches=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_a_switch_in_one_thread_changes_nothing_in_the_other(device, leaf, switches):
    def recording():
        return (leaf * 2).requires_grad

    mine = other = True
    with torch.enable_grad():
        with ThreadPoolExecutor(max_workers=1) as pool:
            for here, mode in switches:
                if here:
                    torch.set_grad_enabled(mode)
                    mine = mode
                else:
                    pool.submit(torch.set_grad_enabled, mode).result()
                    other = mode
                assert recording() == mine
                assert pool.submit(recording).result() == other
        assert recording() == mine


@rule("modes.threads.kept-apart")
@also(*UNRECORDED)
@given(leaf=leaves(), block=blocks(), around=blocks())
def test_a_block_in_one_thread_changes_nothing_in_the_other(device, leaf, block, around):
    outer, _ = around
    inner, _ = block

    def recording():
        return (leaf * 2).requires_grad

    with ThreadPoolExecutor(max_workers=1) as pool, ThreadPoolExecutor(max_workers=1) as second, outer():
        assert pool.submit(recording).result()
        second.submit(torch.set_grad_enabled, False).result()
        for block in (inner, torch.inference_mode):
            with block():
                assert pool.submit(recording).result()
                assert not second.submit(recording).result()
                with pytest.raises(KeyError), inner():
                    raise KeyError
                assert pool.submit(recording).result()
                assert not second.submit(recording).result()
            assert pool.submit(recording).result()
            assert not second.submit(recording).result()


@rule("modes.threads.kept-apart")
@also(NO_GRAD)
@given(leaf=leaves(), mine=blocks(), others=st.tuples(blocks(), blocks()))
def test_what_another_thread_does_in_a_block_of_its_own_changes_nothing_here(device, leaf, mine, others):
    here, records = mine

    def recording():
        return (leaf * 2).requires_grad, torch.is_inference_mode_enabled()

    def steps():
        for block, _ in others:
            with block():
                yield recording()[0]
                torch.set_grad_enabled(not records)
                yield recording()[0]
        with torch.inference_mode():
            yield recording()[0]
        yield recording()[0]

    def fail():
        with others[0][0]():
            raise KeyError

    @torch.no_grad()
    def decorated():
        return recording()[0]

    expected = [mode for _, first in others for mode in (first, not records)] + [False, True]
    with ThreadPoolExecutor(max_workers=1) as pool, here():
        working = steps()
        for mode in expected:
            assert pool.submit(next, working).result() == mode
            assert recording() == (records, False)
        with pytest.raises(KeyError):
            pool.submit(fail).result()
        assert recording() == (records, False)
        assert not pool.submit(decorated).result()
        assert recording() == (records, False)
        assert pool.submit(recording).result() == (True, False)


@rule("modes.threads.kept-apart")
@given(leaf=leaves(), mine=st.tuples(blocks(), blocks()), others=st.tuples(blocks(), blocks()))
@example(
    leaf=Expression("torch.ones(2, device=device, requires_grad=True)"),
    mine=((Expression("torch.enable_grad"), True), (Expression("torch.no_grad"), False)),
    others=((Expression("torch.no_grad"), False), (Expression("torch.enable_grad"), True)),
)
def test_blocks_that_overlap_in_two_threads_each_bring_back_what_their_own_thread_had(device, leaf, mine, others):
    def recording():
        return (leaf * 2).requires_grad

    def entered(block):
        entering = block()
        entering.__enter__()
        return entering

    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            for mine_ends_first in (True, False):
                here, there = [], []
                for (my_block, _), (other_block, _) in zip(mine, others, strict=True):
                    here.append(entered(my_block))
                    there.append(pool.submit(entered, other_block).result())
                for my_mode, other_mode in ((mine[0][1], others[0][1]), (True, True)):
                    block, other = here.pop(), there.pop()
                    if mine_ends_first:
                        block.__exit__(None, None, None)
                        assert recording() == my_mode
                    pool.submit(other.__exit__, None, None, None).result()
                    assert pool.submit(recording).result() == other_mode
                    if not mine_ends_first:
                        block.__exit__(None, None, None)
                    assert recording() == my_mode
                    assert pool.submit(recording).result() == other_mode
    finally:
        torch.set_grad_enabled(True)
