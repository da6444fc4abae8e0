"""spec/accumulation/non-leaves.md"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, nodes_below, replaced


@wrong_engine("keeps-views-of-leaves", kind="place")
@contextmanager
def a_view_of_a_leaf_keeps_its_gradient(hit: Hit) -> Iterator[None]:
    def make(view_as: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            view: torch.Tensor = view_as(tensor, other)
            if view.requires_grad and tensor.is_leaf:
                hit()
                view.retain_grad()
            return view

        return wrong

    with replaced(torch.Tensor, "view_as", make):
        yield


@wrong_engine("keeps-every-gradient", kind="plain")
@contextmanager
def every_tensor_that_requires_grad_has_its_gradient_in_grad(hit: Hit) -> Iterator[None]:
    kept: dict[tuple[Any, int], torch.Tensor] = {}

    def keeping(node: Any) -> Callable[[tuple[Any, ...]], None]:
        def keep(gradients: tuple[Any, ...]) -> None:
            for place, gradient in enumerate(gradients):
                if gradient is not None:
                    kept[node, place] = kept.get((node, place), 0) + gradient

        return keep

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        handles = [node.register_prehook(keeping(node)) for node in nodes_below(outputs)]
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()

    def make(grad: Any) -> Any:
        def read(tensor: torch.Tensor) -> Any:
            if tensor.is_leaf or (tensor.grad_fn, tensor.output_nr) not in kept:
                return grad.__get__(tensor)
            hit()
            return kept[tensor.grad_fn, tensor.output_nr]

        return property(read, grad.__set__, grad.__delete__)

    with replaced(torch.Tensor, "grad", make), around_backward(wrong):
        yield


@wrong_engine("keeps-silently", kind="plain")
@contextmanager
def nobody_warns_who_reads_the_grad_of_a_non_leaf(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def read(tensor: torch.Tensor) -> Any:
            if not tensor.is_leaf:
                hit()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return grad.__get__(tensor)

        return property(read, grad.__set__, grad.__delete__)

    with replaced(torch.Tensor, "grad", make):
        yield


@contextmanager
def _around_retain_grad(after: Callable[[torch.Tensor], None]) -> Iterator[None]:
    def make(retain_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> None:
            retain_grad(tensor)
            after(tensor)

        return wrong

    with replaced(torch.Tensor, "retain_grad", make):
        yield


@wrong_engine("retained-overwrites", kind="state")
@contextmanager
def a_retained_grad_is_that_of_the_last_call(hit: Hit) -> Iterator[None]:
    retained: list[torch.Tensor] = []

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        for tensor in retained:
            if not tensor.is_leaf and tensor.grad is not None:
                hit()
                tensor.grad = None
        honest()

    with _around_retain_grad(retained.append), around_backward(wrong):
        yield


@wrong_engine("retained-sends-twice", kind="plain")
@contextmanager
def a_retained_tensor_passes_its_gradient_on_twice(hit: Hit) -> Iterator[None]:
    def twice(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        hit()
        return tuple(gradient if gradient is None else 2 * gradient for gradient in gradients)

    def after(tensor: torch.Tensor) -> None:
        if tensor.grad_fn is not None:
            tensor.grad_fn.register_prehook(twice)

    with _around_retain_grad(after):
        yield


@wrong_engine("retain-grad-doubles-its-leaf", kind="place")
@contextmanager
def a_leaf_that_retains_counts_its_gradient_twice(hit: Hit) -> Iterator[None]:
    def twice(gradient: torch.Tensor) -> torch.Tensor:
        hit()
        return 2 * gradient

    def after(tensor: torch.Tensor) -> None:
        if tensor.is_leaf:
            tensor.register_hook(twice)

    with _around_retain_grad(after):
        yield


@wrong_engine("named-but-written", kind="place", issue="pytorch#79708")
@contextmanager
def a_non_leaf_that_was_written_in_place_gets_nothing_by_inputs(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        written = [tensor for tensor in options.get("inputs") or () if not tensor.is_leaf and tensor._version > 0]
        honest()
        for tensor in written:
            hit()
            tensor.grad = None

    with around_backward(wrong):
        yield


@wrong_engine("named-goes-on-to-the-leaves", kind="order")
@contextmanager
def inputs_that_name_a_non_leaf_serve_the_leaves_too(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        inputs = list(options.get("inputs") or ())
        if any(not tensor.is_leaf for tensor in inputs):
            hit()
            honest(inputs=[*inputs, *leaves_below(outputs)])
        else:
            honest()

    with around_backward(wrong):
        yield


@wrong_engine("retained-stays-behind", kind="place", issue="pytorch#79996")
@contextmanager
def retains_the_gradient_of_the_value_at_the_time_of_the_call(hit: Hit) -> Iterator[None]:
    def make(retain_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> None:
            if tensor.is_leaf:
                retain_grad(tensor)
                return

            def store(gradient: torch.Tensor) -> None:
                hit()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

            tensor.register_hook(store)

        return wrong

    with replaced(torch.Tensor, "retain_grad", make):
        yield


@wrong_engine("retained-stays-behind-a-view", kind="place", issue="pytorch#117366")
@contextmanager
def retains_the_gradient_of_the_value_before_a_write_through_a_view(hit: Hit) -> Iterator[None]:
    def after(tensor: torch.Tensor) -> None:
        def store(gradient: torch.Tensor) -> None:
            if tensor.grad_fn is not None and tensor.grad_fn.name().endswith("CopySlices"):
                hit()
                tensor.grad = gradient.clone()

        if not tensor.is_leaf:
            tensor.register_hook(store)

    with _around_retain_grad(after):
        yield


@wrong_engine("retained-twice-counts-twice", kind="state")
@contextmanager
def a_tensor_that_retains_twice_counts_its_gradient_twice(hit: Hit) -> Iterator[None]:
    asked: list[torch.Tensor] = []

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        twice = {id(one): one for place, one in enumerate(asked) if any(one is other for other in asked[:place])}
        before = [0 if tensor.grad is None else tensor.grad.clone() for tensor in twice.values()]
        honest()
        for tensor, held in zip(twice.values(), before, strict=True):
            if not tensor.is_leaf and tensor.grad is not None:
                hit()
                tensor.grad = held + 2 * (tensor.grad - held)

    with _around_retain_grad(asked.append), around_backward(wrong):
        yield


@wrong_engine("retained-too-late", kind="order")
@contextmanager
def retain_grad_is_ignored_once_something_was_computed(hit: Hit) -> Iterator[None]:
    def make(retain_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> None:
            now = torch.ones((), requires_grad=True).clone().grad_fn
            if not tensor.is_leaf and now._sequence_nr() > tensor.grad_fn._sequence_nr() + 1:  # type: ignore[union-attr]
                hit()
            else:
                retain_grad(tensor)

        return wrong

    with replaced(torch.Tensor, "retain_grad", make):
        yield


@wrong_engine("retain-grad-twice-doubles", kind="state", first_sight="adversary: caught")
@contextmanager
def a_second_call_of_retain_grad_retains_twice(hit: Hit) -> Iterator[None]:
    def make(retain_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> None:
            if tensor.is_leaf or not tensor.retains_grad:
                retain_grad(tensor)
                return
            weak = weakref.ref(tensor)

            def add_once_more(gradient: torch.Tensor) -> None:
                if (retaining := weak()) is not None:
                    hit()
                    grad = gradient.detach().clone()
                    retaining.grad = grad if retaining.grad is None else retaining.grad + grad

            tensor.register_hook(add_once_more)

        return wrong

    with replaced(torch.Tensor, "retain_grad", make):
        yield


@wrong_engine("retained-output-forgotten", kind="place", first_sight="adversary: missed")
@contextmanager
def the_output_itself_retains_nothing(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [(output, output.grad) for output in outputs if output.retains_grad and not output.is_leaf]
        honest()
        for output, grad in held:
            hit()
            output.grad = grad

    with around_backward(wrong):
        yield


@wrong_engine("keeps-silent-the-second-time", kind="state", first_sight="adversary: missed")
@contextmanager
def reading_grad_of_a_non_leaf_warns_once_for_each_tensor(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def read(tensor: torch.Tensor) -> Any:
            if tensor.is_leaf or tensor.retains_grad or "_told" not in vars(tensor):
                vars(tensor)["_told"] = True
                return grad.__get__(tensor)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                held = grad.__get__(tensor)
            if held is None:
                hit()
            return held

        return property(read, grad.__set__, grad.__delete__)

    with replaced(torch.Tensor, "grad", make):
        yield


@wrong_engine("retained-adds-what-it-was", kind="place", first_sight="second sample: caught")
@contextmanager
def a_written_tensor_retains_the_gradient_of_its_old_value_too(hit: Hit) -> Iterator[None]:
    retained: list[tuple[Any, Any, int]] = []

    def make(retain_grad: Any) -> Any:
        def remembering(tensor: torch.Tensor) -> None:
            if not tensor.is_leaf and not tensor.retains_grad:
                retained.append((weakref.ref(tensor), tensor.grad_fn, tensor.output_nr))
            retain_grad(tensor)

        return remembering

    def keeping(kept: list[torch.Tensor], number: int) -> Callable[[tuple[Any, ...]], None]:
        def keep(gradients: tuple[Any, ...]) -> None:
            if gradients[number] is not None:
                kept.append(gradients[number].detach().clone())

        return keep

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nodes = nodes_below(outputs)
        handles, found = [], []
        for reference, node, number in retained:
            tensor = reference()
            if tensor is not None and tensor.grad_fn is not node and node in nodes:
                kept: list[torch.Tensor] = []
                handles.append(node.register_prehook(keeping(kept, number)))
                found.append((tensor, kept))
        try:
            honest()
        finally:
            for handle in handles:
                handle.remove()
        for tensor, kept in found:
            for earlier in kept:
                if bool(earlier.any()):
                    hit()
                tensor.grad = earlier if tensor.grad is None else tensor.grad + earlier

    with replaced(torch.Tensor, "retain_grad", make), around_backward(wrong):
        yield


@wrong_engine("retain-grad-ignored-inside-no-grad", kind="mode", first_sight="second sample: caught")
@contextmanager
def nothing_is_retained_that_was_asked_for_inside_no_grad(hit: Hit) -> Iterator[None]:
    def make(retain_grad: Any) -> Any:
        def wrong(tensor: torch.Tensor) -> None:
            if torch.is_grad_enabled() or not tensor.requires_grad or tensor.is_leaf or tensor.retains_grad:
                retain_grad(tensor)
            else:
                hit()

        return wrong

    with replaced(torch.Tensor, "retain_grad", make):
        yield


@wrong_engine("keeps-the-output", kind="place", first_sight="fourth sample: caught")
@contextmanager
def the_output_keeps_the_gradient_that_it_was_given(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        honest()
        given = options.get("grad_tensors")
        gradients = [given] if given is None or isinstance(given, torch.Tensor) else list(given)
        for output, gradient in zip(outputs, gradients * (len(outputs) // len(gradients)), strict=True):
            if output.grad_fn is not None and not output.retains_grad:
                hit()
                seed = torch.ones_like(output) if gradient is None else gradient.to(output.dtype)
                output.grad = seed.detach().clone()

    with around_backward(wrong):
        yield
