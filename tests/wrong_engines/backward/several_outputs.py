"""spec/backward/several-outputs.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Outputs = list[torch.Tensor]
Gradients = list[Any]
EXTRA = "got fewer tensors than gradients"


def _with_outputs(change: Callable[[Outputs, Gradients], tuple[Outputs, Gradients]]) -> AbstractContextManager[None]:
    """Torch whose autograd.backward goes on with `change(outputs, gradients)`, both of them lists."""

    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            outputs = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            if grad_tensors is None:
                gradients = [None] * len(outputs)
            else:
                gradients = [grad_tensors] if isinstance(grad_tensors, torch.Tensor) else list(grad_tensors)
            backward(*change(outputs, gradients), *args, **kwargs)

        return wrong

    return replaced(torch.autograd, "backward", make)


def _is_computed_from(later: torch.Tensor, earlier: torch.Tensor) -> bool:
    waiting, seen = [later.grad_fn], set()
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions if node is not None else ():
            if following is not None and following is earlier.grad_fn:
                return True
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return False


@wrong_engine("repeated-output-counts-once")
@contextmanager
def runs_a_repeated_output_once(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        places = {id(output): place for place, output in enumerate(outputs)}
        if len(places) == len(outputs):
            return outputs, gradients
        hit()
        kept = sorted(places.values())
        return [outputs[place] for place in kept], [gradients[place] for place in kept]

    with _with_outputs(change):
        yield


@wrong_engine("inner-output-replaced")
@contextmanager
def drops_the_gradient_of_an_output_that_a_later_one_uses(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        kept = [
            place
            for place, output in enumerate(outputs)
            if not any(_is_computed_from(later, output) for later in outputs[place + 1 :])
        ]
        if len(kept) < len(outputs):
            hit()
        return [outputs[place] for place in kept], [gradients[place] for place in kept]

    with _with_outputs(change):
        yield


@wrong_engine("none-counts-as-zero")
@contextmanager
def skips_an_output_with_none_among_several_gradients(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if len(outputs) == len(gradients) > 1 and any(gradient is None for gradient in gradients):
            hit()
            kept = [place for place, gradient in enumerate(gradients) if gradient is not None]
            return [outputs[place] for place in kept], [gradients[place] for place in kept]
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("none-counts-as-ones")
@contextmanager
def fills_none_with_ones_for_any_size(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        for place, output in enumerate(outputs[: len(gradients)]):
            if gradients[place] is None and output.numel() != 1:
                hit()
                gradients[place] = torch.ones_like(output)
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("outputs-run-one-by-one")
@contextmanager
def runs_the_outputs_in_turn(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if isinstance(tensors, torch.Tensor) or isinstance(grad_tensors, torch.Tensor) or grad_tensors is None:
                backward(tensors, grad_tensors, *args, **kwargs)
                return
            for output, gradient in zip(tensors, grad_tensors, strict=False):
                hit()
                backward(output, gradient, retain_graph=True)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("missing-gradients-are-none")
@contextmanager
def skips_outputs_beyond_the_last_gradient(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if 0 < len(gradients) < len(outputs):
            hit()
            return outputs[: len(gradients)], gradients
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("extra-gradients-refused", refuses=EXTRA)
@contextmanager
def refuses_more_gradients_than_outputs(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if len(gradients) > len(outputs):
            hit()
            raise RuntimeError(EXTRA)
        return outputs, gradients

    with _with_outputs(change):
        yield
