"""spec/tensors/images.md"""

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


def batches():
    """What stands in front of the image: nothing, or the number of images."""
    return st.sampled_from(((), (1,), (2,), (5,)))


def channels():
    return st.integers(1, 4)


def kernels():
    return st.tuples(st.integers(1, 2), st.integers(1, 2))


def fresh(images):
    return images


def channels_lie_last(images):
    return images.movedim(-3, -1).contiguous().movedim(-1, -3)


def columns_lie_last(images):
    return images.transpose(-2, -1).contiguous().transpose(-2, -1)


def every_other(images):
    return images.repeat_interleave(2, -1)[..., ::2]


PLACEMENTS = (fresh, channels_lie_last, columns_lie_last, every_other)
"""Ways to lay out images in memory, none of which changes their shape."""


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(batch=batches(), channels=channels(), filters=channels(), sides=sides(), kernel=kernels(), dtype=precisions())
@example(batch=(), channels=3, filters=4, sides=(8, 8), kernel=(3, 3), dtype=Expression("torch.float32"))
@example(batch=(2,), channels=3, filters=4, sides=(8, 8), kernel=(3, 3), dtype=Expression("torch.float32"))
def test_a_convolution_takes_images_with_the_channels_first(device, batch, channels, filters, sides, kernel, dtype):
    weight = torch.zeros(filters, channels, *kernel, dtype=dtype, device=device)
    bias = torch.zeros(filters, dtype=dtype, device=device)
    expected = (*batch, filters, sides[0] - kernel[0] + 1, sides[1] - kernel[1] + 1)
    for placement in PLACEMENTS:
        images = placement(torch.zeros(*batch, channels, *sides, dtype=dtype, device=device))
        assert torch.nn.functional.conv2d(images, weight).shape == expected
        assert torch.nn.functional.conv2d(images, weight, bias).shape == expected
        images.requires_grad_()
        assert torch.nn.functional.conv2d(images, weight, bias).shape == expected


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(batch=batches(), channels=channels(), filters=channels(), sides=last())
@example(batch=(), channels=3, filters=4, sides=(8, 8))
@example(batch=(2,), channels=3, filters=4, sides=(8, 8))
def test_a_convolution_refuses_images_with_the_channels_last(device, batch, channels, filters, sides):
    assume(sides[0] != channels)
    weight = torch.zeros(filters, channels, 1, 1, device=device)
    bias = torch.zeros(filters, device=device)
    first = torch.zeros(*batch, channels, *sides, device=device)
    for images in (torch.zeros(*batch, *sides, channels, device=device), first.movedim(-3, -1)):
        for given_bias in (None, bias):
            with pytest.raises(RuntimeError, match=f"to have {channels} channels") as refusal:
                torch.nn.functional.conv2d(images, weight, given_bias)
            assert refusal.type is RuntimeError
