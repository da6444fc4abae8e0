"""spec/backward/no-graph.md"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, replaced


def _ignoring(is_ignored: Callable[[torch.Tensor, Any], bool], hit: Hit) -> AbstractContextManager[None]:
    """Torch whose Tensor.backward returns in silence for such an output without a graph."""

    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not output.requires_grad and is_ignored(output, gradient):
                hit()
                return
            backward(output, gradient, *args, **kwargs)

        return wrong

    return replaced(torch.Tensor, "backward", make)


@wrong_engine("no-graph-ignored", kind="error")
@contextmanager
def ignores_outputs_without_a_graph(hit: Hit) -> Iterator[None]:
    with _ignoring(lambda output, gradient: True, hit):
        yield


@wrong_engine("no-graph-with-gradient-ignored", kind="error")
@contextmanager
def ignores_outputs_without_a_graph_if_a_gradient_is_given(hit: Hit) -> Iterator[None]:
    with _ignoring(lambda output, gradient: gradient is not None, hit):
        yield


@wrong_engine("boolean-output-ignored", kind="error")
@contextmanager
def ignores_boolean_outputs(hit: Hit) -> Iterator[None]:
    with _ignoring(lambda output, gradient: output.dtype is torch.bool, hit):
        yield


@wrong_engine("no-graph-asks-for-gradient", kind="error")
@contextmanager
def asks_for_a_gradient_before_it_looks_for_a_graph(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if gradient is None and not output.requires_grad and output.numel() > 1:
                hit()
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("no-graph-skipped", kind="error")
@contextmanager
def leaves_outputs_without_a_graph_out(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if isinstance(tensors, list) and isinstance(grad_tensors, list):
                kept = [place for place, output in enumerate(tensors) if output.requires_grad]
                if 0 < len(kept) < len(tensors):
                    hit()
                    tensors, grad_tensors = [tensors[place] for place in kept], [grad_tensors[place] for place in kept]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("no-graph-noticed-late", kind="error")
@contextmanager
def runs_the_outputs_before_the_one_without_a_graph(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if isinstance(tensors, list) and isinstance(grad_tensors, list) and tensors[0].requires_grad:
                first = next((place for place, output in enumerate(tensors) if not output.requires_grad), None)
                if first is not None:
                    hit()
                    backward(tensors[:first], grad_tensors[:first], retain_graph=True)
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("argmax-requires-grad", kind="dtype", issue="pytorch#37680")
@contextmanager
def an_argmax_requires_grad_if_its_input_does(hit: Hit) -> Iterator[None]:
    def make_argmax(argmax: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result: torch.Tensor = argmax(tensor, *args, **kwargs)
            result._follows = tensor.requires_grad  # type: ignore[attr-defined]
            return result

        return wrong

    def make_flag(requires_grad: Any) -> Any:
        def read(tensor: torch.Tensor) -> bool:
            if vars(tensor).get("_follows"):
                hit()
                return True
            return bool(requires_grad.__get__(tensor))

        return property(read, requires_grad.__set__)

    with replaced(torch.Tensor, "argmax", make_argmax), replaced(torch.Tensor, "requires_grad", make_flag):
        yield


@wrong_engine("no-graph-of-another-type", kind="error")
@contextmanager
def raises_a_value_error_for_an_output_without_a_graph(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if not output.requires_grad and output.is_inference():
                hit()
                raise ValueError("element 0 of tensors does not require grad and does not have a grad_fn")
            backward(output, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("no-graph-misplaced", kind="order")
@contextmanager
def names_the_first_place_whichever_output_has_no_graph(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(tensors, list) and tensors[0].requires_grad and not tensors[-1].requires_grad:
                hit()
                raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
            backward(tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("no-graph-names-the-first", kind="order", first_sight="adversary: caught")
@contextmanager
def the_refusal_names_the_first_output_whichever_it_is(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError as error:
            said = re.sub(r"element \d+ of", "element 0 of", str(error))
            if said == str(error):
                raise
            hit()
            raise RuntimeError(said) from None

    with around_backward(wrong):
        yield


@wrong_engine("no-graph-with-zero-gradient-skipped", kind="value", first_sight="sample: caught")
@contextmanager
def leaves_outputs_without_a_graph_out_if_their_gradient_is_zero(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            if isinstance(tensors, list | tuple) and isinstance(grad_tensors, list | tuple):
                pairs = list(zip(tensors, grad_tensors, strict=False))
                kept = [
                    (output, gradient)
                    for output, gradient in pairs
                    if output.requires_grad or gradient is None or gradient.any()
                ]
                if 0 < len(kept) < len(pairs):
                    hit()
                    tensors, grad_tensors = [output for output, _ in kept], [gradient for _, gradient in kept]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield
