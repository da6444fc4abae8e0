"""spec/backward/explicit-gradient.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import leaves_below, replaced

ONE_BY_ONE = "a derivative is that of one number by one number"


def _with_gradient(change: Callable[[torch.Tensor, Any], Any]) -> AbstractContextManager[None]:
    """Torch whose Tensor.backward goes on with `change(output, gradient)` for any gradient that is given."""

    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if gradient is not None:
                gradient = change(output, gradient)
            backward(output, gradient, *args, **kwargs)

        return wrong

    return replaced(torch.Tensor, "backward", make)


def _fits(output: torch.Tensor, gradient: Any) -> bool:
    return isinstance(gradient, torch.Tensor) and gradient.shape == output.shape


def _is_dense(tensor: torch.Tensor) -> bool:
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.numel() == reach + 1


@wrong_engine("gradient-read-in-memory-order")
@contextmanager
def reads_a_transposed_gradient_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and _is_dense(gradient) and not gradient.is_contiguous():
            hit()
            return gradient.as_strided(gradient.shape, torch.empty(gradient.shape).stride())
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("expanded-gradient-counts-once")
@contextmanager
def counts_an_expanded_gradient_at_the_first_index(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient):
            return gradient
        for dimension, (size, stride) in enumerate(zip(gradient.shape, gradient.stride(), strict=True)):
            if size > 1 and stride == 0:
                hit()
                rest = torch.zeros_like(gradient.narrow(dimension, 1, size - 1))
                return torch.cat([gradient.narrow(dimension, 0, 1), rest], dimension)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("empty-output-skipped")
@contextmanager
def returns_at_once_for_an_empty_output(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if _fits(output, gradient) and output.numel() == 0:
                hit()
                return
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("one-number-by-one-number", refuses=ONE_BY_ONE)
@contextmanager
def differentiates_one_number_by_one_number_only(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if any(tensor.numel() != 1 for tensor in (output, *leaves_below(output))):
                hit()
                raise RuntimeError(ONE_BY_ONE)
            backward(output, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-clipped")
@contextmanager
def clamps_the_gradient(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and bool((gradient.detach().abs() > 1).any()):
            hit()
            return gradient.detach().clamp(-1, 1)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("zero-gradient-skipped")
@contextmanager
def returns_at_once_for_a_gradient_of_zeros(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if _fits(output, gradient) and gradient.numel() and not bool(gradient.any()):
                hit()
                return
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-broadcast")
@contextmanager
def expands_a_gradient_that_broadcasts(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and not _fits(output, gradient):
            try:
                expanded = gradient.expand(output.shape)
            except RuntimeError:
                return gradient
            hit()
            return expanded
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("gradient-reshaped")
@contextmanager
def reshapes_a_gradient_of_the_right_size(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and not _fits(output, gradient) and gradient.numel() == output.numel():
            hit()
            return gradient.reshape(output.shape)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("mismatch-noticed-late")
@contextmanager
def runs_ones_before_it_looks_at_the_shape(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if isinstance(gradient, torch.Tensor) and not _fits(output, gradient):
                hit()
                backward(output, torch.ones_like(output), retain_graph=True)
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


def _of_integers(gradient: Any) -> bool:
    return isinstance(gradient, torch.Tensor) and not gradient.is_floating_point() and not gradient.is_complex()


@wrong_engine("integer-gradient-refused", refuses="expected a gradient of a floating point dtype")
@contextmanager
def refuses_a_gradient_of_integers(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _of_integers(gradient):
            hit()
            raise RuntimeError("expected a gradient of a floating point dtype")
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("integer-gradient-as-mask")
@contextmanager
def reads_a_gradient_of_integers_as_a_mask(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _of_integers(gradient) and gradient.dtype is not torch.bool:
            hit()
            return gradient != 0
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("gradient-moved")
@contextmanager
def takes_a_gradient_from_another_device(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and gradient.device != output.device:
            hit()
            return torch.empty_like(gradient, device=output.device)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("numbers-become-gradients")
@contextmanager
def makes_a_gradient_of_numbers(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        numbers = torch.as_tensor(numpy.asarray(gradient)) if not isinstance(gradient, torch.Tensor) else gradient
        if numbers is not gradient and numbers.shape == output.shape:
            hit()
            return numbers.to(output.dtype)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("gradient-used-as-scratch")
@contextmanager
def overwrites_the_gradient_below_which_a_leaf_is_0d(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            scratch = gradient is not None and any(leaf.ndim == 0 for leaf in leaves_below(output))
            backward(output, gradient, *args, **kwargs)
            if scratch:
                hit()
                with torch.no_grad():
                    gradient.mul_(2)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-differentiated")
@contextmanager
def accumulates_into_the_gradient_argument(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            backward(output, gradient, *args, **kwargs)
            if gradient is not None and gradient.requires_grad and gradient.is_leaf:
                hit()
                backward(gradient, output.detach())

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-kept-in-graph")
@contextmanager
def keeps_the_graph_of_a_gradient_that_requires_grad(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if gradient is None or not gradient.requires_grad:
                backward(output, gradient, *args, **kwargs)
                return
            hit()
            leaves = leaves_below(output)
            for leaf, grad in zip(
                leaves, torch.autograd.grad(output, leaves, gradient, create_graph=True), strict=True
            ):
                leaf.grad = grad

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield
