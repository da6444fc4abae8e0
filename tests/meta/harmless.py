"""Torches that are right and look different: the same operations wrapped, watched, or run under other settings.

No verdict may change on one of them. A rule that trips over such a torch is stricter than what it promises.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.wrong_engines.engine import Hit, Install, WrongEngine
from tests.wrong_engines.tools import replaced

HARMLESS: dict[str, WrongEngine] = {}


def together(*names: str) -> WrongEngine:
    """All of these at once. It shows itself when each of them has stood in the way."""

    @contextmanager
    def install(hit: Hit) -> Iterator[None]:
        unseen = set(names)

        def seen(name: str) -> None:
            unseen.discard(name)
            if not unseen:
                hit()

        with ExitStack() as stack:
            for name in names:
                stack.enter_context(HARMLESS[name].install(functools.partial(seen, name)))
            yield

    return WrongEngine(" and ".join(names), install)


def harmless(name: str) -> Callable[[Install], Install]:
    """Register a context manager `install(hit)` that changes nothing; it calls `hit` where it stands in the way."""

    def register(install: Install) -> Install:
        HARMLESS[name] = WrongEngine(name, install)
        return install

    return register


def _passing_through(hit: Hit) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            hit()
            return function(*args, **kwargs)

        return wrapped

    return make


def _wrapped(owner: Any, *names: str) -> Install:
    def install(hit: Hit) -> AbstractContextManager[None]:
        stack = ExitStack()
        for name in names:
            stack.enter_context(replaced(owner, name, _passing_through(hit)))
        return stack  # type: ignore[return-value]

    return install


harmless("backward-wrapped")(_wrapped(torch.autograd, "backward", "grad"))
harmless("tensor-backward-wrapped")(_wrapped(torch.Tensor, "backward", "retain_grad", "register_hook"))
harmless("indexing-wrapped")(_wrapped(torch.Tensor, "__getitem__", "__setitem__"))
harmless("arithmetic-wrapped")(
    _wrapped(
        torch.Tensor, "__add__", "__sub__", "__mul__", "__truediv__", "__matmul__", "__neg__", "__pow__", "__iadd__"
    )
)
harmless("copies-wrapped")(_wrapped(torch.Tensor, "detach", "clone", "to", "cpu", "numpy", "item", "tolist"))
harmless("shapes-wrapped")(_wrapped(torch.Tensor, "view", "reshape", "expand", "squeeze", "unsqueeze", "flatten"))
harmless("in-place-wrapped")(
    _wrapped(torch.Tensor, "add_", "sub_", "mul_", "zero_", "fill_", "copy_", "requires_grad_")
)
harmless("reductions-wrapped")(_wrapped(torch.Tensor, "sum", "mean", "max", "min", "std", "any", "all"))
harmless("factories-wrapped")(
    _wrapped(torch, "tensor", "zeros", "ones", "zeros_like", "ones_like", "full_like", "from_numpy", "randn", "rand")
)
harmless("modules-wrapped")(_wrapped(torch.nn.Module, "__call__", "zero_grad", "parameters", "to"))
harmless("optimizer-wrapped")(_wrapped(torch.optim.SGD, "step", "zero_grad"))


@harmless("property-grad-delegates")
@contextmanager
def the_grad_of_a_tensor_goes_through_a_property_of_python(hit: Hit) -> Iterator[None]:
    honest = torch.Tensor.grad

    def read(tensor: torch.Tensor) -> torch.Tensor | None:
        hit()
        return honest.__get__(tensor)  # type: ignore[union-attr,no-any-return]

    def write(tensor: torch.Tensor, gradient: torch.Tensor | None) -> None:
        honest.__set__(tensor, gradient)  # type: ignore[union-attr]

    with replaced(torch.Tensor, "grad", lambda _: property(read, write, lambda tensor: write(tensor, None))):
        yield


class _Watching(TorchFunctionMode):
    def __init__(self, hit: Hit) -> None:
        super().__init__()
        self.hit = hit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.hit()
        return func(*args, **(kwargs or {}))


harmless("functions-watched")(lambda hit: _Watching(hit))  # type: ignore[arg-type,return-value]


class _Dispatching(TorchDispatchMode):
    def __init__(self, hit: Hit) -> None:
        super().__init__()
        self.hit = hit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.hit()
        return func(*args, **(kwargs or {}))


harmless("operators-watched")(lambda hit: _Dispatching(hit))  # type: ignore[arg-type,return-value]


@contextmanager
def _with(setting: Callable[[Any], Any], value: Any, before: Any, hit: Hit) -> Iterator[None]:
    hit()
    setting(value)
    try:
        yield
    finally:
        setting(before)


harmless("deterministic-algorithms")(functools.partial(_with, torch.use_deterministic_algorithms, True, False))
harmless("anomalies-looked-for")(
    functools.partial(_with, lambda on: torch.autograd.set_detect_anomaly(on, check_nan=not on), True, False)
)
harmless("every-warning-shown")(functools.partial(_with, torch.set_warn_always, True, False))


@harmless("other-matmul-library")
@contextmanager
def matrices_are_multiplied_without_mkldnn(hit: Hit) -> Iterator[None]:
    hit()
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@harmless("results-row-major")
@contextmanager
def sums_and_products_are_laid_out_row_by_row(hit: Hit) -> Iterator[None]:
    """As on a backend that has one layout for results, whatever that of the operands."""
    library = torch.library.Library("aten", "IMPL")

    def row_major(out: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def kernel(one: Any, other: Any, **kwargs: Any) -> torch.Tensor:
            hit()
            result = torch.empty(0, dtype=torch.result_type(one, other))
            return out(one, other, **kwargs, out=result).contiguous()  # torch refuses here what does not fit

        return kernel

    library.impl("add.Tensor", row_major(torch.add), "CPU")
    library.impl("mul.Tensor", row_major(torch.mul), "CPU")
    try:
        yield
    finally:
        library._destroy()
