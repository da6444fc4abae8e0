"""spec/tensors/images.md"""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.circumstances import UNRECORDED, also


def sides():
    """(height, width) of an image."""
    return st.tuples(st.integers(2, 5), st.integers(2, 5))


def last():
    """(height, width) of an image whose channels stand behind them."""
    return st.tuples(st.sampled_from((1, 2, 3, 4, 5, 6, 7, 17)), st.integers(1, 5))


def precisions():
    return st.sampled_from(("torch.float32", "torch.float64")).map(
        lambda name: Expression(name, dtypes=frozenset({name}))
    )


def channels():
    return st.integers(1, 4)


def kernels():
    return st.tuples(st.integers(1, 2), st.integers(1, 2))


def batch_sizes():
    return st.sampled_from((((), (2,)), ((1,), ()), ((5,), (1,)), ((2,), (5,)), ((), (1,)), ((), (5,))))


def counted(*shape):
    """Small integers that differ from neighbour to neighbour, and whose sums every dtype here holds."""
    return (torch.arange(math.prod(shape)) % 7 - 3).reshape(shape)


def correlated(images, weight):
    """Each filter laid over each place of each image, and the products added up: whole numbers."""
    windows = np.lib.stride_tricks.sliding_window_view(images, weight.shape[-2:], axis=(-2, -1))
    return np.einsum("...cijkl,fckl->...fij", windows, weight).tolist()


def fresh(images):
    return images


def channels_lie_last(images):
    return images.movedim(-3, -1).contiguous().movedim(-1, -3)


def columns_lie_last(images):
    return images.transpose(-2, -1).contiguous().transpose(-2, -1)


def every_other(images):
    return images.repeat_interleave(2, -1)[..., ::2]


def one_of_several(images):
    return torch.stack([images - 1, images, images + 1])[1]


PLACEMENTS = (fresh, channels_lie_last, columns_lie_last, every_other, one_of_several)
"""Ways to lay out images in memory, none of which changes their shape."""


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(
    batches=batch_sizes(), channels=channels(), filters=channels(), sides=sides(), kernel=kernels(), dtype=precisions()
)
@example(batches=[()], channels=3, filters=4, sides=(8, 8), kernel=(3, 3), dtype=Expression("torch.float32"))
@example(batches=[(2,)], channels=3, filters=4, sides=(8, 8), kernel=(3, 3), dtype=Expression("torch.float32"))
@example(batches=[(), (2,)], channels=17, filters=1, sides=(3, 3), kernel=(1, 1), dtype=Expression("torch.float32"))
def test_a_convolution_takes_images_with_the_channels_first(device, batches, channels, filters, sides, kernel, dtype):
    weight = counted(filters, channels, *kernel).to(device, dtype)
    bias = torch.ones(filters, dtype=dtype, device=device)
    for batch in batches:
        drawn = counted(*batch, channels, *sides)
        expected = np.array(correlated(drawn.numpy(), weight.cpu().numpy()))
        for placement in PLACEMENTS:
            images = placement(drawn.to(device, dtype))
            plain = torch.nn.functional.conv2d(images, weight)
            added = torch.nn.functional.conv2d(images.detach().requires_grad_(), weight, bias)
            assert plain.shape == added.shape == expected.shape
            assert plain.detach().cpu().numpy().round().tolist() == expected.tolist()
            assert added.detach().cpu().numpy().round().tolist() == (expected + 1).tolist()
        with pytest.raises(RuntimeError, match=f"to have {channels} channels"):
            torch.nn.functional.conv2d(torch.cat([images, images], -3), weight)


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(batches=batch_sizes(), channels=channels(), filters=channels(), sides=last(), dtype=precisions())
@example(batches=[()], channels=3, filters=4, sides=(8, 8), dtype=Expression("torch.float32"))
@example(batches=[(2,)], channels=3, filters=4, sides=(8, 8), dtype=Expression("torch.float32"))
def test_a_convolution_refuses_images_with_the_channels_last(device, batches, channels, filters, sides, dtype):
    assume(sides[0] != channels)
    weight = torch.zeros(filters, channels, 1, 1, dtype=dtype, device=device)
    bias = torch.zeros(filters, dtype=dtype, device=device)
    for batch in batches:
        first = torch.zeros(*batch, channels, *sides, dtype=dtype, device=device)
        last = torch.zeros(*batch, *sides, channels, dtype=dtype, device=device)
        moved, leaf = first.movedim(-3, -1), last.clone().requires_grad_()
        for images, given_bias in ((last, None), (moved, None), (moved, bias), (leaf, bias)):
            with pytest.raises(RuntimeError, match=f"to have {channels} channels") as refusal:
                torch.nn.functional.conv2d(images, weight, given_bias)
            assert refusal.type is RuntimeError
            assert torch.nn.functional.conv2d(images.movedim(-1, -3), weight).shape == (*batch, filters, *sides)
