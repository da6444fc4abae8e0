"""spec/backward/complex-outputs.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, differentiated, kernel, leaves_below, replaced


def _with_gradient(change: Callable[[torch.Tensor, Any], Any]) -> AbstractContextManager[None]:
    """Torch whose Tensor.backward goes on with `change(output, gradient)`, given or None."""

    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            backward(output, change(output, gradient), *args, **kwargs)

        return wrong

    return replaced(torch.Tensor, "backward", make)


def _for(factor: Any, gradient: torch.Tensor) -> torch.Tensor | None:
    """The gradient of a factor, in its shape and as real as the factor is; none if the factor is a number."""
    if not isinstance(factor, torch.Tensor):
        return None
    return (gradient if factor.is_complex() else gradient.real).sum_to_size(factor.shape)


@wrong_engine("product-not-conjugated", kind="value")
@contextmanager
def multiplies_with_the_factor_itself(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., Any]) -> Callable[..., Any]:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, one: torch.Tensor, other: Any) -> torch.Tensor:
                ctx.factors = one.detach(), other.detach() if isinstance(other, torch.Tensor) else other
                return below(one, other)

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> Any:
                one, other = ctx.factors
                if gradient.is_complex():
                    hit()
                return _for(one, gradient * other), _for(other, gradient * one)

        return Product.apply

    with kernel("mul.Tensor", make):
        yield


@wrong_engine("imaginary-part-backward-negated", kind="value")
@contextmanager
def negates_the_gradient_of_the_imaginary_part(hit: Hit) -> Iterator[None]:
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            hit()
            return -gradient

    def make(imag: Any) -> Any:
        return property(lambda tensor: Same.apply(imag.__get__(tensor)))

    with replaced(torch.Tensor, "imag", make):
        yield


@wrong_engine("conjugate-bit-ignored", kind="layout")
@contextmanager
def reads_a_conjugate_view_as_its_base(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if gradient is not None and gradient.is_conj():
            hit()
            return gradient.conj()
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("complex-one-filled-in", kind="error", issue="pytorch#92750")
@contextmanager
def fills_in_one_for_a_complex_output_of_real_leaves(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if gradient is None and output.is_complex() and not any(leaf.is_complex() for leaf in leaves_below(output)):
            hit()
            return torch.ones_like(output)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("real-gradient-promoted", kind="error")
@contextmanager
def converts_a_real_gradient_to_complex(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if gradient is not None and output.is_complex() and not gradient.is_complex():
            hit()
            return gradient.to(output.dtype)
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("imaginary-part-dropped", kind="error")
@contextmanager
def takes_the_real_part_of_a_complex_gradient(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if gradient is not None and not output.is_complex() and gradient.is_complex():
            hit()
            return gradient.real
        return gradient

    with _with_gradient(change):
        yield


@wrong_engine("imaginary-part-of-the-base", kind="layout", issue="pytorch#184379")
@contextmanager
def reads_the_imaginary_part_of_a_conjugate_view_from_its_base(hit: Hit) -> Iterator[None]:
    def make(imag: Any) -> Any:
        def read(tensor: torch.Tensor) -> Any:
            if not tensor.is_conj():
                return imag.__get__(tensor)
            hit()
            return imag.__get__(tensor.conj())

        return property(read)

    with replaced(torch.Tensor, "imag", make):
        yield


@wrong_engine("matrix-product-of-the-base", kind="layout", issue="pytorch#148156")
@contextmanager
def multiplies_matrices_without_conjugating_them(hit: Hit) -> Iterator[None]:
    def make(product: Any) -> Any:
        def wrong(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            if one.is_conj() or other.is_conj():
                hit()
            bases = (factor.conj() if factor.is_conj() else factor for factor in (one, other))
            result: torch.Tensor = product(*bases)
            return result

        return wrong

    with replaced(torch.Tensor, "__matmul__", make):
        yield


@wrong_engine("later-gradient-conjugated", kind="state")
@contextmanager
def conjugates_what_it_adds_to_a_complex_gradient(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            leaves = [leaf for leaf in leaves_below(output) if leaf.is_complex() and leaf.grad is not None]
            held = [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]
            backward(output, *args, **kwargs)
            for leaf, before in zip(leaves, held, strict=True):
                hit()
                leaf.grad = before + (leaf.grad - before).conj()

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("real-factor-gets-the-product-of-real-parts", kind="dtype", first_sight="adversary: missed")
@contextmanager
def a_real_factor_of_a_complex_one_ignores_the_imaginary_parts(hit: Hit) -> Iterator[None]:
    def for_real(factor: torch.Tensor, other: Any, gradient: torch.Tensor) -> torch.Tensor:
        honest = gradient * (other.conj() if isinstance(other, torch.Tensor) else complex(other).conjugate())
        if factor.is_complex() or not (isinstance(other, torch.Tensor) and other.is_complex()):
            return honest if factor.is_complex() else honest.real
        of_real_parts = gradient.real * other.real
        if not torch.equal(of_real_parts, honest.real):
            hit()
        return of_real_parts

    def pullback(gradient: torch.Tensor, one: torch.Tensor, other: Any) -> tuple[torch.Tensor, ...]:
        if not isinstance(other, torch.Tensor):
            return (for_real(one, other, gradient),)
        return for_real(one, other, gradient), for_real(other, one, gradient)

    with differentiated("mul.Tensor", pullback):
        yield


@wrong_engine("complex-gradient-with-real-values-taken", kind="value", first_sight="adversary: caught")
@contextmanager
def takes_a_complex_gradient_without_imaginary_part_for_a_real_output(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not isinstance(gradient, torch.Tensor) or not gradient.is_complex() or output.is_complex():
            return gradient
        if gradient.imag.any() or gradient.shape != output.shape:
            return gradient
        hit()
        return gradient.real

    with _with_gradient(change):
        yield


@wrong_engine("transposed-gradient-is-the-adjoint", kind="layout", first_sight="second sample: caught")
@contextmanager
def conjugates_a_transposed_gradient(hit: Hit) -> Iterator[None]:
    def change(output: torch.Tensor, gradient: Any) -> Any:
        if not isinstance(gradient, torch.Tensor) or not gradient.is_complex() or gradient.ndim < 2:
            return gradient
        if gradient.is_contiguous() or not gradient.mT.is_contiguous():
            return gradient
        if bool(gradient.imag.any()):
            hit()
        return gradient.conj()

    with _with_gradient(change):
        yield


@wrong_engine("complex-one-filled-in-inside-no-grad", kind="mode", first_sight="second sample: missed")
@contextmanager
def fills_in_one_for_complex_outputs_inside_no_grad(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        given = options.get("grad_tensors")
        gradients = [given] if given is None or isinstance(given, torch.Tensor) else list(given)
        gradients += [None] * (len(outputs) - len(gradients)) if given is None else []
        if torch.is_grad_enabled() or len(gradients) != len(outputs):
            honest()
            return
        for place, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
            if gradient is None and output.is_complex() and output.numel() == 1 and output.requires_grad:
                hit()
                gradients[place] = torch.ones_like(output)
        honest(grad_tensors=gradients)

    with around_backward(wrong):
        yield


@wrong_engine("gradient-of-whole-numbers-promoted", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def converts_a_gradient_of_integers_to_complex(hit: Hit) -> Iterator[None]:
    def fit(output: torch.Tensor, gradient: Any) -> Any:
        is_real = isinstance(gradient, torch.Tensor) and not gradient.is_complex()
        if not output.is_complex() or not is_real or gradient.is_floating_point() or gradient.shape != output.shape:
            return gradient
        hit()
        return gradient.to(output.dtype)

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        given = options.get("grad_tensors")
        gradients = [given] if given is None or isinstance(given, torch.Tensor) else list(given)
        if len(gradients) != len(outputs):
            honest()
            return
        honest(grad_tensors=[fit(output, one) for output, one in zip(outputs, gradients, strict=True)])

    with around_backward(wrong):
        yield
