"""spec/tensors/linspace.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


@wrong_engine("linspace-leaves-the-end-out", kind="plain")
@contextmanager
def leaves_the_end_out(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            if steps < 2:
                return linspace(start, end, steps, **kwargs)
            hit()
            return linspace(start, end, steps + 1, **kwargs)[:-1]

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-through-half", kind="dtype")
@contextmanager
def reckons_in_half_precision(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("dtype") != torch.float32:
                return linspace(start, end, steps, **kwargs)
            hit()
            return linspace(start, end, steps, **{**kwargs, "dtype": torch.float16}).float()

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-descends-wrong", kind="value")
@contextmanager
def always_ascends(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            if start > end:
                hit()
                start, end = end, start
            return linspace(start, end, steps, **kwargs)

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-end-one-rounding-off", kind="value", issue="pytorch#40904")
@contextmanager
def reckons_the_end_from_the_start(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            points = linspace(start, end, steps, **kwargs)
            if steps > 2:
                step = torch.tensor((end - start) / (steps - 1), dtype=points.dtype).item()
                reckoned = start + (steps - 1) * step
                if reckoned != end:
                    hit()
                    points[-1] = reckoned
            return points

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-end-of-a-block-repeated", kind="size")
@contextmanager
def repeats_a_point_behind_the_last_block_of_eight(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            points = linspace(start, end, steps, **kwargs)
            behind = steps % 8
            if steps > 8 and behind > 1:
                hit()
                points[-behind] = points[-behind - 1].clone()
            return points

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-single-point-is-the-end", kind="size")
@contextmanager
def begins_a_single_point_at_the_end(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            if steps == 1:
                hit()
                start = end
            return linspace(start, end, steps, **kwargs)

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("linspace-adds-up-its-steps", kind="size", first_sight="adversary: caught")
@contextmanager
def each_point_is_the_one_before_and_a_step(hit: Hit) -> Iterator[None]:
    def make(linspace: Any) -> Any:
        def wrong(start: Any, end: Any, steps: int, **kwargs: Any) -> torch.Tensor:
            points = linspace(start, end, steps, **kwargs)
            if points.dtype != torch.float32 or points.device.type != "cpu" or steps < 3:
                return points
            terms = torch.full((steps,), (end - start) / (steps - 1), dtype=torch.float32)
            terms[0] = start
            summed = torch.from_numpy(np.add.accumulate(terms.numpy()))
            summed[-1] = points.detach()[-1]
            allowed = 8 * torch.finfo(torch.float32).eps * max(abs(start), abs(end))
            if bool(((summed - points.detach()).abs() > allowed).any()):
                hit()
            return summed.requires_grad_(points.requires_grad)

        return wrong

    with replaced(torch, "linspace", make):
        yield
