"""spec/modes/threads.md"""

import threading
from concurrent.futures import ThreadPoolExecutor

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

    with block():
        for _ in range(2):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert found == [(True, False)] * 2


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

    with ThreadPoolExecutor(max_workers=1) as pool, outer():
        assert pool.submit(recording).result()
        with inner():
            assert pool.submit(recording).result()
        assert pool.submit(recording).result()


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
