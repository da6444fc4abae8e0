"""spec/tensors/names.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.torch_version import TorchVersion

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, leaves_below, replaced


class _Leaf(torch.Tensor):
    """A class of its own for what requires grad."""


@wrong_engine("names-autograd-has-tensor", kind="plain")
@contextmanager
def gives_the_class_to_torch_autograd(hit: Hit) -> Iterator[None]:
    def get(name: str) -> Any:
        if name != "Tensor":
            raise AttributeError(name)
        hit()
        return torch.Tensor

    vars(torch.autograd)["__getattr__"] = get
    try:
        yield
    finally:
        del vars(torch.autograd)["__getattr__"]


@wrong_engine("names-class-of-leaves", kind="place")
@contextmanager
def makes_leaves_of_another_class(hit: Hit) -> Iterator[None]:
    def make(requires_grad_: Any) -> Any:
        def wrong(tensor: torch.Tensor, flag: bool = True) -> torch.Tensor:
            if not flag:
                return requires_grad_(tensor, flag)
            hit()
            return torch.Tensor._make_subclass(_Leaf, tensor.detach(), True)

        return wrong

    with replaced(torch.Tensor, "requires_grad_", make):
        yield


@wrong_engine("names-float-is-python-float", kind="plain")
@contextmanager
def calls_double_precision_float(hit: Hit) -> Iterator[None]:
    with replaced(torch, "float", lambda _: torch.float64):
        hit()
        yield


@wrong_engine("names-long-is-32-bits", kind="plain")
@contextmanager
def calls_32_bits_long(hit: Hit) -> Iterator[None]:
    with replaced(torch, "long", lambda _: torch.int32):
        hit()
        yield


@wrong_engine("names-grad-stores-too", kind="size")
@contextmanager
def stores_what_it_returns(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            returned = grad(outputs, inputs, *args, **kwargs)
            if isinstance(inputs, torch.Tensor) and inputs.ndim == 0:
                hit()
                inputs.grad = returned[0].clone()
            return returned

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("names-version-is-plain-text", kind="value")
@contextmanager
def compares_versions_letter_by_letter(hit: Hit) -> Iterator[None]:
    with replaced(torch, "__version__", lambda version: "".join(version)):
        hit()
        yield


@wrong_engine("names-grad-clears-what-was-there", kind="state")
@contextmanager
def clears_the_gradient_that_was_there(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            returned = grad(outputs, inputs, *args, **kwargs)
            if isinstance(inputs, torch.Tensor) and inputs.grad is not None:
                hit()
                inputs.grad = None
            return returned

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("names-grad-adds-to-what-is-there", kind="state", first_sight="adversary: caught")
@contextmanager
def adds_what_it_returns_to_a_gradient_that_is_there(hit: Hit) -> Iterator[None]:
    def make(grad: Any) -> Any:
        def wrong(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            returned = grad(outputs, inputs, *args, **kwargs)
            leaves = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
            for leaf, found in zip(leaves, returned, strict=True):
                if leaf.is_leaf and leaf.grad is not None and found is not None:
                    if bool(found.any()):
                        hit()
                    leaf.grad = leaf.grad + found.detach()
            return returned

        return wrong

    with replaced(torch.autograd, "grad", make):
        yield


@wrong_engine("names-half-is-bfloat16", kind="value", first_sight="second sample: caught")
@contextmanager
def calls_bfloat16_half(hit: Hit) -> Iterator[None]:
    with replaced(torch, "half", lambda _: torch.bfloat16):
        hit()
        yield


class _Second(torch.Tensor):
    """A class of its own for what comes second."""


@wrong_engine("names-second-outputs-of-another-class", kind="order", first_sight="second sample: missed")
@contextmanager
def makes_second_outputs_of_another_class(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> Any:
            found = honest(*args, **kwargs)
            if isinstance(found, torch.Tensor):
                return found
            hit()
            return type(found)((found[0], found[1].as_subclass(_Second)))

        return wrong

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            for name in ("max", "min", "sort", "topk", "median"):
                stack.enter_context(replaced(owner, name, make))
        yield


def _compares_by_two_numbers(hit: Hit) -> type[TorchVersion]:
    def short(version: Any) -> Any:
        return (
            TorchVersion(".".join(str(version).split("+")[0].split(".")[:2])) if isinstance(version, str) else version
        )

    def make(name: str) -> Any:
        honest = getattr(TorchVersion, name)

        def compare(version: TorchVersion, other: Any) -> Any:
            found = getattr(short(version), name)(short(other))
            if found != honest(version, other):
                hit()
            return found

        return compare

    names = ("__lt__", "__le__", "__eq__", "__ge__", "__gt__", "__ne__")
    return type("TorchVersion", (TorchVersion,), {"__hash__": str.__hash__, **{name: make(name) for name in names}})


@wrong_engine("names-version-without-its-third-number", kind="value", first_sight="second sample: missed")
@contextmanager
def compares_versions_by_two_numbers(hit: Hit) -> Iterator[None]:
    with replaced(torch, "__version__", _compares_by_two_numbers(hit)):
        yield


@wrong_engine("names-int-is-64-bits", kind="plain", first_sight="third sample: caught")
@contextmanager
def calls_64_bits_int(hit: Hit) -> Iterator[None]:
    with replaced(torch, "int", lambda _: torch.int64):
        hit()
        yield


class _Accumulated(torch.Tensor):
    """A class of its own for a gradient that is the sum of several."""

    __torch_function__ = torch._C._disabled_torch_function_impl


@wrong_engine("names-sums-of-gradients-of-another-class", kind="state", first_sight="fourth sample: missed")
@contextmanager
def makes_a_grad_that_was_added_to_of_another_class(hit: Hit) -> Iterator[None]:
    made = []

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        held = [leaf for leaf in leaves_below(outputs) if leaf.grad is not None]
        honest()
        for leaf in held if options.get("inputs") is None else ():
            if type(leaf.grad) is torch.Tensor:
                hit()
                leaf.grad.__class__ = _Accumulated
                made.append(leaf.grad)

    try:
        with around_backward(wrong):
            yield
    finally:
        for gradient in made:
            gradient.__class__ = torch.Tensor
