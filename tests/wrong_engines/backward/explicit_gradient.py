"""spec/backward/explicit-gradient.md"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, differentiated, leaves_below, replaced

ONE_BY_ONE = "a derivative is that of one number by one number"

WRAP = 8
"""How many elements of a gradient are read before it is read from its beginning again."""


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


@wrong_engine("gradient-read-in-memory-order", kind="layout")
@contextmanager
def reads_a_transposed_gradient_in_the_order_of_its_memory(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and _is_dense(gradient) and not gradient.is_contiguous():
            hit()
            return gradient.as_strided(gradient.shape, torch.empty(gradient.shape).stride())
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("expanded-gradient-counts-once", kind="layout")
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


@wrong_engine("empty-output-skipped", kind="size")
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


@wrong_engine("one-number-by-one-number", kind="size", refuses=ONE_BY_ONE)
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


@wrong_engine("gradient-clipped", kind="value")
@contextmanager
def clamps_the_gradient(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and bool((gradient.detach().abs() > 1).any()):
            hit()
            return gradient.detach().clamp(-1, 1)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("zero-gradient-skipped", kind="value")
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


@wrong_engine("gradient-broadcast", kind="error")
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


@wrong_engine("gradient-reshaped", kind="error")
@contextmanager
def reshapes_a_gradient_of_the_right_size(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and not _fits(output, gradient) and gradient.numel() == output.numel():
            hit()
            return gradient.reshape(output.shape)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("mismatch-noticed-late", kind="error")
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


@wrong_engine("integer-gradient-refused", kind="dtype", refuses="expected a gradient of a floating point dtype")
@contextmanager
def refuses_a_gradient_of_integers(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _of_integers(gradient):
            hit()
            raise RuntimeError("expected a gradient of a floating point dtype")
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("integer-gradient-as-mask", kind="dtype")
@contextmanager
def reads_a_gradient_of_integers_as_a_mask(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _of_integers(gradient) and gradient.dtype is not torch.bool:
            hit()
            return gradient != 0
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("gradient-moved", kind="error")
@contextmanager
def takes_a_gradient_from_another_device(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and gradient.device != output.device:
            hit()
            return torch.empty_like(gradient, device=output.device)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("numbers-become-gradients", kind="error")
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


@wrong_engine("gradient-used-as-scratch", kind="aliasing")
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


@wrong_engine("gradient-differentiated", kind="order")
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


@wrong_engine("gradient-kept-in-graph", kind="order")
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


@wrong_engine("batched-gradient-wraps-round", kind="size", issue="pytorch#197636")
@contextmanager
def reads_a_long_gradient_of_a_batched_product_from_its_beginning_again(hit: Hit) -> Iterator[None]:
    def pullback(gradient: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
        flat = gradient.reshape(-1)
        if flat.numel() > WRAP:
            hit()
            flat = flat[torch.arange(flat.numel()) % WRAP]
        read = flat.reshape(gradient.shape)
        return read @ other.mT, one.mT @ read

    with differentiated("bmm", pullback):
        yield


@wrong_engine("gradient-tail-dropped", kind="size")
@contextmanager
def drops_the_gradient_after_the_last_multiple_of_eight(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        whole = output.numel() // 8 * 8
        if not _fits(output, gradient) or whole in (0, output.numel()):
            return gradient
        hit()
        kept = torch.arange(output.numel()).reshape(output.shape) < whole
        return gradient * kept

    with _with_gradient(change):
        yield


@wrong_engine("double-gradient-in-single", kind="dtype")
@contextmanager
def rounds_a_gradient_of_float64_to_float32(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and gradient.dtype == torch.float64:
            hit()
            return gradient.float().double()
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("gradient-of-the-first-run", kind="state")
@contextmanager
def runs_a_retained_graph_with_the_gradient_of_its_first_run(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient):
            return gradient
        first = vars(output).setdefault("_first_gradient", gradient)
        if first is not gradient:
            hit()
        return first

    with _with_gradient(change):
        yield


@wrong_engine("leaf-as-output-skipped", kind="place")
@contextmanager
def a_leaf_that_is_run_backward_itself_gets_nothing(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if output.requires_grad and output.is_leaf and _fits(output, gradient):
                hit()
                return
            backward(output, gradient, *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("gradient-written-as-it-was", kind="aliasing")
@contextmanager
def counts_a_write_to_a_gradient_of_several_dimensions(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and gradient.ndim > 1:
            hit()
            with torch.no_grad():
                gradient.narrow(0, 0, 0).zero_()
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("misfit-noticed-by-a-kernel", kind="error", issue="pytorch#12871")
@contextmanager
def lets_the_kernel_of_the_derivative_find_a_misfit(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) and gradient.numel() != output.numel():
            hit()
            raise RuntimeError(
                f"output and gradOutput have different number of elements: {output.numel()}, {gradient.numel()}"
            )
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("grad-function-takes-any-shape", kind="error", issue="pytorch#17893")
@contextmanager
def autograd_grad_repeats_or_cuts_off_a_gradient_that_does_not_fit(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, grad_outputs: Any = None, *args: Any, **kwargs: Any) -> Any:
            given = isinstance(grad_outputs, torch.Tensor) and grad_outputs.numel()
            if given and grad_outputs.shape != outputs.shape:
                hit()
                places = torch.arange(outputs.numel()) % grad_outputs.numel()
                grad_outputs = grad_outputs.reshape(-1)[places].reshape(outputs.shape)
            return grad(outputs, inputs, grad_outputs, *args, **kwargs)

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("gradient-of-the-first-run-counts", kind="state", first_sight="adversary: caught")
@contextmanager
def runs_an_output_again_with_the_gradient_of_its_first_run(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient):
            return gradient
        first = vars(output).setdefault("_first_gradient", gradient.detach().clone())
        if not torch.equal(first, gradient):
            hit()
        return first

    with _with_gradient(change):
        yield


@wrong_engine("gradient-read-from-the-start-of-its-storage", kind="layout", first_sight="adversary: caught")
@contextmanager
def ignores_the_offset_of_a_gradient(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient) or gradient.storage_offset() == 0:
            return gradient
        from_start = gradient.detach().as_strided(gradient.shape, gradient.stride(), 0)
        if not torch.equal(from_start, gradient):
            hit()
        return from_start

    with _with_gradient(change):
        yield


@wrong_engine("gradient-read-without-its-sign", kind="layout", first_sight="adversary: missed")
@contextmanager
def ignores_that_a_gradient_is_lazily_negated(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient) or not gradient.is_neg():
            return gradient
        if gradient.any():
            hit()
        return torch._neg_view(gradient.detach())

    with _with_gradient(change):
        yield


@wrong_engine("byte-gradient-is-signed", kind="dtype", first_sight="adversary: missed")
@contextmanager
def reads_a_gradient_of_unsigned_bytes_as_signed_ones(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient) or gradient.dtype != torch.uint8:
            return gradient
        if (gradient > 127).any():
            hit()
        return gradient.view(torch.int8)

    with _with_gradient(change):
        yield


@wrong_engine("retained-grad-is-the-gradient-argument", kind="aliasing", first_sight="adversary: missed")
@contextmanager
def an_output_that_retains_its_grad_adds_into_the_gradient_argument(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            fresh = output.retains_grad and not output.is_leaf and output.grad is None
            backward(output, gradient, *args, **kwargs)
            if not output.retains_grad or output.is_leaf:
                return
            taken = vars(output).get("_taken")
            if taken is not None and not torch.equal(taken, output.grad):
                hit()
                taken.copy_(output.grad)
            elif fresh and isinstance(gradient, torch.Tensor) and gradient.dtype == output.dtype:
                vars(output)["_taken"] = gradient.detach()

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("misfit-that-is-a-view-reads-its-base", kind="aliasing", first_sight="sample: caught")
@contextmanager
def reads_a_view_of_another_shape_on_in_its_base(hit: Hit) -> Iterator[None]:
    def read(output: Any, gradient: Any) -> Any:
        if not (isinstance(output, torch.Tensor) and isinstance(gradient, torch.Tensor) and gradient._is_view()):
            return gradient
        if gradient.shape == output.shape:
            return gradient
        held = gradient.untyped_storage().nbytes() // gradient.element_size() - gradient.storage_offset()
        if held < output.numel():
            return gradient
        hit()
        strides = torch.empty(output.shape, device="meta").stride()
        return gradient.detach().as_strided(output.shape, strides)

    def make(run: Any) -> Any:
        def wrong(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            options = inspect.signature(run).bind(outputs, *args, **kwargs).arguments
            name = "grad_tensors" if "tensors" in options else "grad_outputs"
            given = options.get(name)
            if isinstance(given, torch.Tensor) and isinstance(outputs, torch.Tensor):
                options[name] = read(outputs, given)
            elif isinstance(given, (tuple, list)):
                several = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
                fitted = [read(output, one) for output, one in zip(several, given, strict=False)]
                options[name] = [*fitted, *given[len(fitted) :]]
            return run(**options)

        return wrong

    with replaced(torch.autograd, "backward", make), replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("numbers-become-gradients-in-no-grad", kind="mode", first_sight="sample: missed")
@contextmanager
def makes_a_gradient_of_numbers_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if isinstance(gradient, torch.Tensor) or torch.is_grad_enabled():
            return gradient
        numbers = torch.as_tensor(numpy.asarray(gradient)).to(output.dtype)
        if numbers.ndim and numbers.shape != output.shape:
            return gradient
        hit()
        return numbers.expand(output.shape)

    with _with_gradient(change):
        yield


@wrong_engine("gradient-averaged", kind="plain", first_sight="second sample: caught")
@contextmanager
def divides_the_gradient_by_the_number_of_elements(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient) or gradient.numel() < 2:
            return gradient
        if bool(gradient.any()):
            hit()
        return gradient / gradient.numel()

    with _with_gradient(change):
        yield


@wrong_engine("gradient-of-a-view-counts-as-ones", kind="place", first_sight="second sample: caught")
@contextmanager
def runs_a_view_backward_with_ones(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        gradient = options.get("grad_tensors")
        if len(outputs) != 1 or not outputs[0]._is_view() or not _fits(outputs[0], gradient):
            honest()
            return
        ones = torch.ones_like(gradient)
        if not torch.equal(ones, gradient):
            hit()
        honest(grad_tensors=ones)

    with around_backward(wrong):
        yield


@wrong_engine("gradient-elsewhere-names-its-own-device", kind="error", first_sight="third sample: missed")
@contextmanager
def names_the_device_of_the_gradient_as_expected(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if _fits(output, gradient) and gradient.ndim and gradient.device != output.device:
            hit()
            raise RuntimeError(
                f"invalid gradient at index 0 - expected device {gradient.device} but got {output.device}"
            )
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("stepped-arrays-become-gradients", kind="layout", first_sight="third sample: missed")
@contextmanager
def makes_a_gradient_of_an_array_with_gaps(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not isinstance(gradient, numpy.ndarray) or gradient.flags.c_contiguous or gradient.shape != output.shape:
            return gradient
        hit()
        return torch.as_tensor(numpy.ascontiguousarray(gradient)).to(output.dtype)

    with _with_gradient(change):
        yield


@wrong_engine("gradient-read-as-it-first-was", kind="state", first_sight="third sample: missed")
@contextmanager
def reads_a_gradient_with_the_numbers_that_it_first_had(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not _fits(output, gradient):
            return gradient
        first = vars(gradient).get("_first_read")
        if first is None or first.shape != gradient.shape:
            gradient._first_read = gradient.detach().clone()
            return gradient
        if torch.equal(first, gradient):
            return gradient
        hit()
        return first

    with _with_gradient(change):
        yield


@wrong_engine("gradient-inside-no-grad-counts-as-ones", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def runs_backward_with_ones_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        given = options.get("grad_tensors")
        gradient = given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
        if torch.is_grad_enabled() or len(outputs) != 1 or not _fits(outputs[0], gradient):
            honest()
            return
        ones = torch.ones_like(gradient)
        if not torch.equal(ones, gradient):
            hit()
        honest(grad_tensors=[ones])

    with around_backward(wrong):
        yield
