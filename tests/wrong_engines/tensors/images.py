"""spec/tensors/images.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("images-channels-last-taken", kind="error")
@contextmanager
def takes_the_channels_last(hit: Hit) -> Iterator[None]:
    def make(conv2d: Any) -> Any:
        def wrong(images: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if images.shape[-3] != weight.shape[1] and images.shape[-1] == weight.shape[1]:
                hit()
                images = images.movedim(-1, -3)
            return conv2d(images, weight, *args, **kwargs)

        return wrong

    with replaced(torch.nn.functional, "conv2d", make):
        yield


@wrong_engine("images-single-needs-a-batch", kind="size")
@contextmanager
def makes_a_batch_of_a_single_image(hit: Hit) -> Iterator[None]:
    def make(conv2d: Any) -> Any:
        def wrong(images: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = conv2d(images, weight, *args, **kwargs)
            if images.ndim == 4:
                return result
            hit()
            return result[None]

        return wrong

    with replaced(torch.nn.functional, "conv2d", make):
        yield
