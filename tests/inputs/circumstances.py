"""Circumstances: what a rule does not speak of and what therefore must not matter, around a test that knows nothing of
it.

Most rules about numbers, memory and errors hold whether or not operations are recorded, and whether or not a tensor
stands in a graph; most about gradients hold wherever and however often backward was called. `@also` has each example
run once more in one such circumstance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from unittest import mock

import torch

from .expression import IT, Expression

Test = TypeVar("Test", bound=Callable[..., object])

ALSO = "conformance_also"


@dataclass(frozen=True)
class Circumstance:
    """What is put around an example.

    block: the source of a context manager that is entered before anything is drawn into a tensor, which may name what
        this module has; empty for none.
    then: statements after each tensor of numbers that can require grad, and did not.
    """

    block: str = ""
    then: tuple[str, ...] = ()

    def entered(self) -> AbstractContextManager[object]:
        """The block, to be entered."""
        block: AbstractContextManager[object] = eval(self.block) if self.block else nullcontext()
        return block

    def arguments(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """What was drawn, with every such tensor among it put into this circumstance."""
        return {name: self._around(value) for name, value in drawn.items()} if self.then else drawn

    def _around(self, value: Any) -> Any:
        if isinstance(value, Expression):
            return replace(value, then=(*value.then, *self.then)) if _can_require_grad(value) else value
        if isinstance(value, tuple | list):
            return type(value)(self._around(member) for member in value)
        return value


def _can_require_grad(drawn: Expression) -> bool:
    dtype = drawn.facts.get("dtype", "")
    return dtype.startswith(("torch.float", "torch.bfloat", "torch.complex")) and "requires_grad" not in repr(drawn)


AS_IT_IS = Circumstance()

NO_GRAD = Circumstance("torch.no_grad()", (f"{IT}.requires_grad_()",))
"""Grad mode is off, and what was drawn are leaves that require grad."""

INFERENCE = Circumstance("torch.inference_mode()")
"""All happens in inference mode."""

UNRECORDED = (NO_GRAD, INFERENCE)
"""Those in which nothing is recorded."""

AS_RESULTS = Circumstance(then=(f"{IT}.requires_grad_()", f"{IT} = {IT}.view_as({IT})"))
"""What was drawn are results that require grad: views of leaves, laid out as they are."""


@contextmanager
def backward_unrecorded() -> Iterator[None]:
    """A block in which every `backward` is called where grad mode is off."""
    method, function = torch.no_grad()(torch.Tensor.backward), torch.no_grad()(torch.autograd.backward)
    with mock.patch.object(torch.Tensor, "backward", method), mock.patch.object(torch.autograd, "backward", function):
        yield


@contextmanager
def backward_again() -> Iterator[None]:
    """A block in which every backward has been through its graph before, with a gradient of zeros."""
    backward = torch.autograd.backward

    def again(tensors: Any, *args: Any, **options: Any) -> None:
        outputs = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        zeros = [torch.zeros_like(output) for output in outputs]
        backward(outputs, zeros, retain_graph=True, inputs=options.get("inputs"))
        backward(tensors, *args, **options)

    with mock.patch.object(torch.autograd, "backward", again):
        yield


UNRECORDED_BACKWARD = Circumstance("backward_unrecorded()")
"""Every backward is called where grad mode is off."""

SECOND_BACKWARD = Circumstance("backward_again()")
"""Every backward is the second through its graph, after one that added nothing."""


BACKWARD = (UNRECORDED_BACKWARD, SECOND_BACKWARD)


def also(*circumstances: Circumstance) -> Callable[[Test], Test]:
    """Run each example of a test once more, in one of these circumstances. Stands between `@rule` and `@given`."""

    def mark(test: Test) -> Test:
        setattr(test, ALSO, circumstances)
        return test

    return mark


def circumstances_of(test: Callable[..., object], drawn: dict[str, Any]) -> tuple[Circumstance, ...]:
    """Those in which a test runs this example: as it is, and another that only depends on what was drawn.

    So Hypothesis sees an example fail again whenever it runs it again, and the examples take turns.
    """
    others: tuple[Circumstance, ...] = getattr(test, ALSO, ())
    if not others:
        return (AS_IT_IS,)
    turn = zlib.crc32(repr(sorted((name, repr(value)) for name, value in drawn.items())).encode())
    return AS_IT_IS, others[turn % len(others)]
