"""How a defect is put in: at a Python attribute, or at the dispatcher, where every way to call an operator passes."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MISSING = object()


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Callable[..., Any]], Any]) -> Iterator[None]:
    """Replace an attribute of a class or module by `make(original)`; afterwards all is as it was.

    An attribute that a class inherits is shadowed and the shadow removed again.
    """
    own = vars(owner).get(name, _MISSING)
    setattr(owner, name, make(getattr(owner, name)))
    try:
        yield
    finally:
        if own is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


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
            options = inspect.signature(backward).bind(*args, **kwargs).arguments
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
