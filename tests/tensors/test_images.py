"""spec/tensors/images.md"""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression
from tests.inputs.circumstances import UNRECORDED, also


def sides():
    """(height, width) of an image."""
    return st.tuples(st.integers(2, 5), st.integers(2, 5))


def tall():
    """(height, width) of an image that is higher than it has channels."""
    return st.tuples(st.integers(5, 7), st.integers(1, 5))


def batches():
    """What stands in front of the image: nothing, or the number of images."""
    return st.sampled_from(((), (1,), (2,)))


def channels():
    return st.integers(1, 4)


def kernels():
    return st.tuples(st.integers(1, 2), st.integers(1, 2))


def placements():
    """Ways to lay out images in memory, none of which changes their shape."""
    return st.sampled_from(
        (
            "lambda images: images",
            "lambda images: images.movedim(-3, -1).contiguous().movedim(-1, -3)",
            "lambda images: images.transpose(-2, -1).contiguous().transpose(-2, -1)",
        )
    ).map(Expression)


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(
    batch=batches(), channels=channels(), filters=channels(), sides=sides(), kernel=kernels(), placement=placements()
)
@example(batch=(), channels=3, filters=4, sides=(8, 8), kernel=(3, 3), placement=Expression("lambda images: images"))
@example(batch=(2,), channels=3, filters=4, sides=(8, 8), kernel=(3, 3), placement=Expression("lambda images: images"))
def test_a_convolution_takes_images_with_the_channels_first(device, batch, channels, filters, sides, kernel, placement):
    images = placement(torch.zeros(*batch, channels, *sides, device=device))
    weight = torch.zeros(filters, channels, *kernel, device=device)
    expected = (*batch, filters, sides[0] - kernel[0] + 1, sides[1] - kernel[1] + 1)
    assert torch.nn.functional.conv2d(images, weight).shape == expected


@rule("tensors.images.channels-first")
@also(*UNRECORDED)
@given(batch=batches(), channels=channels(), filters=channels(), sides=tall())
@example(batch=(), channels=3, filters=4, sides=(8, 8))
@example(batch=(2,), channels=3, filters=4, sides=(8, 8))
def test_a_convolution_refuses_images_with_the_channels_last(device, batch, channels, filters, sides):
    images = torch.zeros(*batch, *sides, channels, device=device)
    weight = torch.zeros(filters, channels, 1, 1, device=device)
    with pytest.raises(RuntimeError, match=f"to have {channels} channels") as refusal:
        torch.nn.functional.conv2d(images, weight)
    assert refusal.type is RuntimeError
