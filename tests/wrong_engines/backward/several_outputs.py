"""spec/backward/several-outputs.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced

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


@wrong_engine("repeated-output-takes-its-first-gradient", kind="order")
@contextmanager
def runs_a_repeated_output_with_its_first_gradient_each_time(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        first: dict[int, Any] = {}
        for output, gradient in zip(outputs, gradients, strict=False):
            if first.setdefault(id(output), gradient) is not gradient:
                hit()
        return outputs, [first[id(output)] for output in outputs[: len(gradients)]] + gradients[len(outputs) :]

    with _with_outputs(change):
        yield


@wrong_engine("inner-output-replaced", kind="place")
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


@wrong_engine("none-counts-as-zero", kind="order")
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


@wrong_engine("none-counts-as-ones", kind="error")
@contextmanager
def fills_a_none_in_a_sequence_with_ones_for_any_size(hit: Hit) -> Iterator[None]:
    def filled(output: torch.Tensor, gradient: Any) -> Any:
        if gradient is not None or output.numel() == 1:
            return gradient
        hit()
        return torch.ones_like(output)

    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            outputs = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            if isinstance(grad_tensors, list | tuple) and len(grad_tensors) == len(outputs):
                grad_tensors = [filled(*pair) for pair in zip(outputs, grad_tensors, strict=True)]
            backward(tensors, grad_tensors, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


@wrong_engine("outputs-run-one-by-one", kind="error")
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


@wrong_engine("missing-gradients-are-none", kind="error")
@contextmanager
def skips_outputs_beyond_the_last_gradient(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if 0 < len(gradients) < len(outputs):
            hit()
            return outputs[: len(gradients)], gradients
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("extra-gradients-refused", kind="error", refuses=EXTRA)
@contextmanager
def refuses_more_gradients_than_outputs(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if len(gradients) > len(outputs):
            hit()
            raise RuntimeError(EXTRA)
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("outputs-added-in-the-first-gradient", kind="aliasing", issue="pytorch#59828")
@contextmanager
def adds_the_gradients_of_a_repeated_output_in_the_memory_of_the_first(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        kept: dict[int, int] = {}
        for place, output in enumerate(outputs[: len(gradients)]):
            first = kept.setdefault(id(output), place)
            if first != place and gradients[first] is not None and all(gradients[first].stride()):
                hit()
                gradients[first].add_(gradients[place])
                gradients[place] = torch.zeros_like(gradients[place])
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("outputs-averaged", kind="plain")
@contextmanager
def gives_the_mean_over_the_outputs(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if len(gradients) == len(outputs) > 1 and all(gradient is not None for gradient in gradients):
            hit()
            gradients = [gradient / len(outputs) for gradient in gradients]
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("widest-output-decides", kind="dtype")
@contextmanager
def leaves_out_outputs_of_another_dtype_than_the_first(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        kept = [place for place, output in enumerate(outputs[: len(gradients)]) if output.dtype == outputs[0].dtype]
        if len(kept) < len(outputs) == len(gradients):
            hit()
            return [outputs[place] for place in kept], [gradients[place] for place in kept]
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("roots-of-one-node-collapse", kind="place", first_sight="adversary: missed")
@contextmanager
def keeps_one_of_several_outputs_of_the_same_operation(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        last = {output.grad_fn: output.output_nr for output in outputs}
        kept = [
            place
            for place, output in enumerate(outputs)
            if output.grad_fn is None or last[output.grad_fn] == output.output_nr
        ]
        if len(kept) == len(outputs) or len(gradients) != len(outputs):
            return outputs, gradients
        hit()
        return [outputs[place] for place in kept], [gradients[place] for place in kept]

    with _with_outputs(change):
        yield


@wrong_engine("leaf-among-outputs-dropped", kind="place", first_sight="adversary: missed")
@contextmanager
def a_leaf_that_is_an_output_and_is_reached_by_another_gets_only_that(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        reached = {id(leaf) for leaf in leaves_below([output for output in outputs if not output.is_leaf])}
        kept = [place for place, output in enumerate(outputs) if id(output) not in reached]
        if len(kept) == len(outputs) or len(gradients) != len(outputs):
            return outputs, gradients
        hit()
        return [outputs[place] for place in kept], [gradients[place] for place in kept]

    with _with_outputs(change):
        yield


@wrong_engine("only-the-first-gradient-is-checked", kind="order", first_sight="adversary: caught")
@contextmanager
def reshapes_gradients_after_the_first(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        for place, (output, gradient) in enumerate(zip(outputs, gradients, strict=False)):
            fits = gradient is None or gradient.shape == output.shape or gradient.numel() != output.numel()
            if place > 0 and not fits:
                hit()
                gradients[place] = gradient.reshape(output.shape)
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("complex-none-filled-in", kind="order", first_sight="adversary: missed")
@contextmanager
def fills_none_with_one_for_a_complex_output_among_several(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        for place, output in enumerate(outputs[: len(gradients)]):
            if len(outputs) > 1 and gradients[place] is None and output.is_complex() and output.numel() == 1:
                hit()
                gradients[place] = torch.ones_like(output)
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("outputs-beyond-the-gradients-left-out", kind="plain", first_sight="sample: caught")
@contextmanager
def leaves_out_outputs_that_no_gradient_is_left_for(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if 0 < len(gradients) < len(outputs):
            hit()
            outputs = outputs[: len(gradients)]
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("extra-gradients-refused-where-grad-is-held", kind="state", refuses=EXTRA, first_sight="sample: missed")
@contextmanager
def refuses_more_gradients_than_outputs_if_a_leaf_holds_a_grad(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        if len(gradients) > len(outputs) and any(leaf.grad is not None for leaf in leaves_below(outputs)):
            hit()
            raise RuntimeError(EXTRA)
        return outputs, gradients

    with _with_outputs(change):
        yield


@wrong_engine("filled-in-gradient-handed-out", kind="aliasing", first_sight="sample: missed")
@contextmanager
def the_gradient_that_is_filled_in_becomes_the_grad_of_a_leaf(hit: Hit) -> Iterator[None]:
    ones: dict[tuple[torch.Size, torch.dtype], torch.Tensor] = {}

    def make(backward: Any) -> Any:
        def wrong(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            outputs = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            single = grad_tensors is None or isinstance(grad_tensors, torch.Tensor)
            gradients = [grad_tensors] * len(outputs) if single else list(grad_tensors)
            filled_in = []
            for place, (output, gradient) in enumerate(zip(outputs, gradients, strict=False)):
                if gradient is None and output.numel() == 1 and output.dtype.is_floating_point:
                    one = ones.setdefault((output.shape, output.dtype), torch.ones_like(output).detach())
                    if one.item() != 1:
                        hit()
                    gradients[place] = one.clone()
                    filled_in.append(one)
            fresh = [leaf for leaf in leaves_below(outputs) if leaf.grad is None]
            backward(outputs, gradients, *args, **kwargs)
            for one in filled_in[:1]:
                for leaf in fresh:
                    fits = leaf.grad is not None and leaf.shape == one.shape and leaf.dtype == one.dtype
                    if fits and torch.equal(leaf.grad, one):
                        hit()
                        leaf.grad = one
                        break

        return wrong

    with replaced(torch.autograd, "backward", make):
        yield


NOT_SCALAR = "grad can be implicitly created only for scalar outputs"


@wrong_engine("none-for-a-view-asks-its-base", kind="place", refuses=NOT_SCALAR, first_sight="second sample: caught")
@contextmanager
def refuses_none_for_one_element_of_a_larger_tensor(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        for output, gradient in zip(outputs, gradients, strict=False):
            base = output._base
            if gradient is None and output.numel() == 1 and base is not None and base.numel() != 1:
                hit()
                raise RuntimeError(NOT_SCALAR)
        return outputs, gradients

    with _with_outputs(change):
        yield


def _are_different(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return one is not other
    return one.shape != other.shape or one.dtype != other.dtype or not torch.equal(one, other)


@wrong_engine("outputs-take-gradients-from-the-back", kind="order", first_sight="third sample: caught elsewhere")
@contextmanager
def pairs_outputs_with_gradients_from_the_back(hit: Hit) -> Iterator[None]:
    def change(outputs: Outputs, gradients: Gradients) -> tuple[Outputs, Gradients]:
        kinds = {(output.shape, output.dtype, output.device) for output in outputs}
        back = gradients[::-1]
        if len(kinds) > 1 or len(gradients) != len(outputs):
            return outputs, gradients
        if any(_are_different(one, other) for one, other in zip(gradients, back, strict=True)):
            hit()
        return outputs, back

    with _with_outputs(change):
        yield


@wrong_engine(
    "refusal-of-several-frees-the-graph",
    kind="plain",
    refuses="Trying to backward through the graph a second time",
    first_sight="fourth sample: caught",
)
@contextmanager
def refuses_several_outputs_after_freeing_their_graph(hit: Hit) -> Iterator[None]:
    def wrong(outputs: Outputs, honest: Backward, options: dict[str, Any]) -> None:
        try:
            honest()
        except RuntimeError:
            recorded = [output for output in outputs if output.grad_fn is not None]
            if len(outputs) > 1 and recorded:
                zeros = [torch.zeros_like(output) for output in recorded]
                # A graph that is freed already is refused here, and none the worse for it.
                with suppress(RuntimeError):
                    torch.autograd.grad(recorded, leaves_below(recorded), zeros, allow_unused=True)
                    hit()
            raise

    with around_backward(wrong):
        yield
