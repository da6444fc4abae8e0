"""spec/backward/implicit-gradient.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

REFUSAL = "grad can be implicitly created only for scalar outputs"


def _is_given(gradient: Any) -> bool:
    return gradient is not None


@wrong_engine("scalar-means-0d", kind="size", refuses=REFUSAL)
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


@wrong_engine("only-scalars-run-backward", kind="size", refuses=REFUSAL)
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


@wrong_engine("unreduced-output-refused", kind="place", refuses=REFUSAL)
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


@wrong_engine("implicit-gradient-of-ones", kind="error")
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


@wrong_engine("refusal-allocates-grad", kind="error")
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


@wrong_engine("refusal-frees-graph", kind="error", refuses="Trying to backward through the graph a second time")
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


@wrong_engine("nothing-needs-no-gradient", kind="size")
@contextmanager
def returns_in_silence_for_an_output_of_no_element(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not _is_given(gradient) and tensor.requires_grad and tensor.numel() == 0:
                hit()
                return
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("refusal-is-remembered", kind="state", refuses=REFUSAL)
@contextmanager
def refuses_the_leaves_of_an_output_that_was_refused(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            leaves = leaves_below(tensor)
            if any(vars(leaf).pop("_was_refused", False) for leaf in leaves):
                hit()
                raise RuntimeError(REFUSAL)
            try:
                backward(tensor, gradient, *args, **kwargs)
            except RuntimeError:
                for leaf in leaves:
                    leaf._was_refused = True  # type: ignore[attr-defined]
                raise

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("refusal-turns-grad-mode-off", kind="mode", refuses="does not require grad and does not have a grad_fn")
@contextmanager
def grad_mode_stays_off_after_a_refusal(hit: Hit) -> Iterator[None]:
    recording = torch.is_grad_enabled()

    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            try:
                backward(tensor, gradient, *args, **kwargs)
            except RuntimeError:
                hit()
                torch._C._set_grad_enabled(False)
                raise

        return wrong

    try:
        with replaced(torch.Tensor, "backward", make):
            yield
    finally:
        torch._C._set_grad_enabled(recording)


@wrong_engine("one-element-counts-its-storage", kind="aliasing", refuses=REFUSAL, first_sight="adversary: caught")
@contextmanager
def refuses_one_element_that_is_part_of_a_larger_storage(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            larger = tensor.untyped_storage().nbytes() > tensor.element_size()
            if not _is_given(gradient) and tensor.numel() == 1 and larger and tensor.requires_grad:
                hit()
                raise RuntimeError(REFUSAL)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("expanded-output-is-one-element", kind="layout", first_sight="adversary: caught")
@contextmanager
def seeds_an_output_whose_elements_share_one_place_in_memory(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            places = [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
            one_place = places and not any(places) and tensor.numel() and not tensor.is_complex()
            if not _is_given(gradient) and one_place and tensor.requires_grad:
                hit()
                gradient = torch.ones_like(tensor)
            backward(tensor, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("implicit-gradient-is-the-last-one", kind="state", first_sight="sample: missed")
@contextmanager
def runs_an_output_with_the_gradient_of_the_last_time(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        output, gradient = outputs[0], options.get("grad_tensors")
        if len(outputs) > 1 or output.numel() == 1:
            honest()
        elif gradient is None and hasattr(output, "_last_gradient"):
            hit()
            honest(grad_tensors=output._last_gradient)
        else:
            honest()
            output._last_gradient = gradient  # type: ignore[attr-defined]

    with around_backward(wrong):
        yield


@wrong_engine("refusal-clears-earlier-grad", kind="state", first_sight="second sample: caught")
@contextmanager
def clears_the_gradients_that_were_there_when_it_refuses(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError as refusal:
            for leaf in leaves_below(outputs) if REFUSAL in str(refusal) else ():
                if leaf.grad is not None:
                    hit()
                    leaf.grad = None
            raise

    with around_backward(wrong):
        yield


@wrong_engine("implicit-gradient-of-ones-beyond-sixteen", kind="size", first_sight="fourth sample: caught")
@contextmanager
def seeds_outputs_of_more_than_sixteen_elements(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        given = options.get("grad_tensors")
        if isinstance(given, torch.Tensor):
            honest()
            return
        gradients = list(given) if given is not None else [None] * len(outputs)
        for position, output in enumerate(outputs):
            is_missing = position < len(gradients) and gradients[position] is None
            if is_missing and output.numel() > 16 and output.requires_grad and output.is_floating_point():
                hit()
                gradients[position] = torch.ones_like(output)
        honest(grad_tensors=gradients)

    with around_backward(wrong):
        yield


@wrong_engine("one-element-that-is-a-leaf-refused", kind="error", refuses=REFUSAL, first_sight="fourth sample: caught")
@contextmanager
def refuses_a_leaf_of_one_element(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        leaves = [one for one in outputs if one.is_leaf and one.requires_grad and one.numel() == 1]
        is_real = all(leaf.is_floating_point() for leaf in leaves)
        if len(leaves) == len(outputs) == 1 and is_real and options.get("grad_tensors") is None:
            hit()
            raise RuntimeError(REFUSAL)
        honest()

    with around_backward(wrong):
        yield
