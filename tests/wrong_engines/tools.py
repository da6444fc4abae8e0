"""How a defect is put in: at a Python attribute, or at the dispatcher, where every way to call an operator passes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.oracles.graph import nodes_reached

_MISSING = object()

OPERATORS = "aten"
"""Stands for the dispatcher where a place is an owner and a name."""

Note = Callable[[Any, str], None]
_notes: list[Note] = []


@contextmanager
def noting(note: Note) -> Iterator[None]:
    """Tell `note(owner, name)` of each place at which a defect is put in while the block lasts."""
    _notes.append(note)
    try:
        yield
    finally:
        _notes.remove(note)


def _noted(owner: Any, name: str) -> None:
    for note in _notes:
        note(owner, name)


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Callable[..., Any]], Any]) -> Iterator[None]:
    """Replace an attribute of a class or module by `make(original)`; afterwards all is as it was.

    An attribute that a class inherits is shadowed and the shadow removed again.
    """
    _noted(owner, name)
    own = vars(owner).get(name, _MISSING)
    setattr(owner, name, make(getattr(owner, name)))
    try:
        yield
    finally:
        if own is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


_OF_BACKWARD = inspect.signature(torch.autograd.backward)

Backward = Callable[..., None]
Around = Callable[[list[torch.Tensor], Backward, dict[str, Any]], None]


@contextmanager
def around_backward(wrong: Around) -> Iterator[None]:
    """Replace what every `backward()` comes down to, `torch.autograd.backward`, by `wrong(outputs, honest, options)`.

    `honest()` does what was asked for; `honest(retain_graph=False)` does it with an option changed. options: the other
    arguments by name.
    """

    def make(backward: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> None:
            options = _OF_BACKWARD.bind(*args, **kwargs).arguments
            tensors = options.pop("tensors")

            def honest(**changed: Any) -> None:
                backward(tensors, **{**options, **changed})

            wrong([tensors] if isinstance(tensors, torch.Tensor) else list(tensors), honest, options)

        return replacement

    with replaced(torch.autograd, "backward", make):
        yield


@contextmanager
def kernel(
    operator: str, make: Callable[[Callable[..., Any]], Callable[..., Any]], key: str = "AutogradCPU"
) -> Iterator[None]:
    """Replace the kernel of an aten operator ("mul.Tensor") for one dispatch key by `make(below)`.

    `below(*args)` runs the operator without autograd, so a kernel that is to be differentiable wraps it in a
    `torch.autograd.Function`.
    """
    namesake, _, overload = operator.partition(".")
    _noted(OPERATORS, namesake)
    packet = getattr(torch.ops.aten, namesake)
    called = getattr(packet, overload or "default")

    def below(*args: Any, **kwargs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return called(*args, **kwargs)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that a kernel is overridden, which is the point
        library.impl(operator, make(below), key)
    try:
        yield
    finally:
        library._destroy()


Pullback = Callable[..., "tuple[torch.Tensor, ...]"]


class _Differentiated(torch.autograd.Function):
    """What an operator computes, with a derivative of our own."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Any], pull: Pullback, *tensors: torch.Tensor) -> Any:
        ctx.pull = pull
        ctx.save_for_backward(*tensors)
        outputs = compute(*tensors)
        if isinstance(outputs, tuple):
            ctx.mark_non_differentiable(*(output for output in outputs if not output.is_floating_point()))
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *others: torch.Tensor) -> Any:
        gradients = zip(ctx.saved_tensors, ctx.pull(gradient, *ctx.saved_tensors), strict=True)
        return None, None, *(one.sum_to_size(tensor.shape).to(tensor.dtype) for tensor, one in gradients)


def differentiated(operator: str, pullback: Pullback, key: str = "AutogradCPU") -> AbstractContextManager[None]:
    """Replace the derivative of an aten operator and nothing else: what it computes stays right.

    `pullback(gradient, *arguments)` is given the gradient of the (first) output and the operator's own arguments. It
    returns the gradients of those that are tensors, in their order; one that is as large as the broadcast output is
    summed to the shape of its tensor.
    """

    def make(below: Callable[..., Any]) -> Callable[..., Any]:
        def differentiable(*args: Any, **kwargs: Any) -> Any:
            at = [position for position, argument in enumerate(args) if isinstance(argument, torch.Tensor)]

            def filled(tensors: Iterable[torch.Tensor]) -> list[Any]:
                given = dict(zip(at, tensors, strict=True))
                return [given.get(position, argument) for position, argument in enumerate(args)]

            return _Differentiated.apply(
                lambda *tensors: below(*filled(tensors), **kwargs),
                lambda gradient, *tensors: pullback(gradient, *filled(tensors), **kwargs),
                *(args[position] for position in at),
            )

        return differentiable

    return kernel(operator, make, key)


def nodes_below(outputs: Iterable[torch.Tensor]) -> list[Any]:
    """The nodes of the graph behind these outputs, those that accumulate into leaves included, each once."""
    return nodes_reached(*(output.grad_fn for output in outputs))


def leaves_below(outputs: torch.Tensor | Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The leaves whose `.grad` a backward from these outputs accumulates into, each once."""
    roots = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    waiting = [root.grad_fn for root in roots if root.grad_fn is not None]
    leaves = [root for root in roots if root.grad_fn is None and root.requires_grad]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return list({id(leaf): leaf for leaf in leaves}.values())
