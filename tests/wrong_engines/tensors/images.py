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


MISMATCH = "Source and weight input channels mismatch"


@wrong_engine("images-permuted-refused", kind="layout", issue="pytorch#84206", refuses=MISMATCH)
@contextmanager
def refuses_permuted_images(hit: Hit) -> Iterator[None]:
    def make(conv2d: Any) -> Any:
        def wrong(images: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if not images.is_contiguous() and images.shape[-3] == weight.shape[1]:
                hit()
                raise RuntimeError(MISMATCH)
            return conv2d(images, weight, *args, **kwargs)

        return wrong

    with replaced(torch.nn.functional, "conv2d", make):
        yield


@wrong_engine("images-refusal-names-the-height", kind="error")
@contextmanager
def names_what_it_got_as_what_it_wants(hit: Hit) -> Iterator[None]:
    def make(conv2d: Any) -> Any:
        def wrong(images: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            got, wanted = images.shape[-3], weight.shape[1]
            try:
                return conv2d(images, weight, *args, **kwargs)
            except RuntimeError:
                hit()
                raise RuntimeError(f"expected input to have {got} channels, but got {wanted} instead") from None

        return wrong

    with replaced(torch.nn.functional, "conv2d", make):
        yield


@wrong_engine("images-single-of-a-batch-is-its-first", kind="place", first_sight="third sample: missed")
@contextmanager
def reads_the_first_image_of_a_batch(hit: Hit) -> Iterator[None]:
    def make(conv2d: Any) -> Any:
        def wrong(images: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if images.ndim == 3 and images.device.type == "cpu" and images._is_view():
                first = images.detach().as_strided(images.shape, images.stride(), images._base.storage_offset())
                if not torch.equal(first, images):
                    hit()
                    images = images + (first - images.detach()) if images.requires_grad else first
            return conv2d(images, weight, *args, **kwargs)

        return wrong

    with replaced(torch.nn.functional, "conv2d", make), replaced(torch, "conv2d", make):
        yield
