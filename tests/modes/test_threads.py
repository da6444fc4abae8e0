"""spec/modes/threads.md"""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, blocks, leaves


def starters():
    """A block of any mode, inference mode too."""
    return blocks().map(lambda pair: pair[0]) | st.just(Expression("torch.inference_mode"))


@rule("modes.threads.starts-on")
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
