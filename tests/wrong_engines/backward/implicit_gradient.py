"""spec/backward/implicit-gradient.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import leaves_below, replaced

REFUSAL = "grad can be implicitly created only for scalar outputs"


def _is_given(gradient: Any) -> bool:
    return gradient is not None


@wrong_engine("scalar-means-0d", refuses=REFUSAL)
@contextmanager
def refuses_one_element_with_dimensions(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not _is_given(gradient) and tensor.shape == (1,):
                hit()
                raise RuntimeError(REFUSAL)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("only-scalars-run-backward", refuses=REFUSAL)
@contextmanager
def refuses_whatever_is_not_0d(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if tensor.ndim:
                hit()
                raise RuntimeError(REFUSAL)
            backward(tensor, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("unreduced-output-refused", refuses=REFUSAL)
@contextmanager
def refuses_an_output_that_no_sum_or_mean_made(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            node = tensor.grad_fn
            if not _is_given(gradient) and node is not None and not node.name().startswith(("Sum", "Mean")):
                hit()
                raise RuntimeError(REFUSAL)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("implicit-gradient-of-ones")
@contextmanager
def seeds_any_output_with_ones(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not _is_given(gradient) and tensor.numel() != 1:
                hit()
                gradient = torch.ones_like(tensor)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("refusal-allocates-grad")
@contextmanager
def refuses_but_has_filled_grad_with_zeros(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not _is_given(gradient) and tensor.numel() > 1:
                for leaf in leaves_below(tensor):
                    if leaf.grad is None:
                        hit()
                        leaf.grad = torch.zeros_like(leaf)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("refusal-frees-graph", refuses="Trying to backward through the graph a second time")
@contextmanager
def refuses_after_freeing_the_graph(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not _is_given(gradient) and tensor.numel() != 1 and tensor.requires_grad:
                hit()
                torch.autograd.grad(tensor, leaves_below(tensor), torch.zeros_like(tensor), allow_unused=True)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield
