"""spec/numpy/writes.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced


@wrong_engine("add-zero-returns-itself", kind="value")
@contextmanager
def adds_nothing_to_itself(hit: Hit) -> Iterator[None]:
    def make(add: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if not isinstance(other, int) or other != 0:
                return add(tensor, other)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "__add__", make):
        yield


@wrong_engine("addition-changes-the-array", kind="aliasing")
@contextmanager
def adds_in_place_to_the_memory_of_an_array(hit: Hit) -> Iterator[None]:
    def make(add: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            is_array = not tensor.untyped_storage().resizable()
            if not is_array or 0 in tensor.stride():
                return add(tensor, other)
            hit()
            return tensor.add_(other)

        return wrong

    with replaced(torch.Tensor, "__add__", make):
        yield


@wrong_engine("in-place-copies-stepped", kind="layout")
@contextmanager
def multiplies_a_stepped_tensor_elsewhere(hit: Hit) -> Iterator[None]:
    def make(mul: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            if tensor.is_contiguous():
                return mul(tensor, other)
            hit()
            return tensor.set_(tensor * other)

        return wrong

    with replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("saved-by-copy", kind="aliasing")
@contextmanager
def saves_copies(hit: Hit) -> Iterator[None]:
    def pack(tensor: torch.Tensor) -> torch.Tensor:
        hit()
        return tensor.detach().clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        yield


@wrong_engine("array-counts-as-write", kind="aliasing", refuses="has been modified by an inplace operation")
@contextmanager
def counts_an_array_as_a_write(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            array = numpy(tensor, force=force)
            if tensor.is_contiguous() and not tensor.requires_grad:
                hit()
                tensor.add_(0)
            return array

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


class _Product(torch.autograd.Function):
    """A product that saves a second factor which needs no gradient as a copy."""

    @staticmethod
    def forward(ctx: Any, compute: Any, x: torch.Tensor, other: torch.Tensor) -> Any:
        ctx.save_for_backward(x, other if ctx.needs_input_grad[2] else other.clone())
        return compute(x, other)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        x, other = ctx.saved_tensors
        return None, (gradient * other).sum_to_size(x.shape), (gradient * x).sum_to_size(other.shape)


@wrong_engine("constant-factor-saved-by-copy", kind="order")
@contextmanager
def saves_a_copy_of_a_constant_factor(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        def product(x: torch.Tensor, other: Any) -> Any:
            other = torch.as_tensor(other, dtype=getattr(other, "dtype", x.dtype))
            if x.requires_grad and not other.requires_grad:
                hit()
            return _Product.apply(below, x, other)

        return product

    with kernel("mul.Tensor", make):
        yield


@wrong_engine("in-place-skips-the-end", kind="size")
@contextmanager
def adds_to_whole_blocks_of_four(hit: Hit) -> Iterator[None]:
    def make(add_: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            end = tensor.numel() % 4
            if tensor.numel() < 16 or not end or not tensor.is_contiguous():
                return add_(tensor, *args, **kwargs)
            hit()
            last = tensor.view(-1)[-end:]
            kept = last.clone()
            add_(tensor, *args, **kwargs)
            last.copy_(kept)
            return tensor

        return wrong

    with replaced(torch.Tensor, "add_", make):
        yield


@wrong_engine("clone-waits-for-torch-to-write", kind="aliasing", first_sight="adversary: missed")
@contextmanager
def a_clone_shares_until_torch_writes(hit: Hit) -> Iterator[None]:
    def exporting(numpy: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> np.ndarray:
            x._exported = True
            return numpy(x, **kwargs)

        return wrong

    def make(clone: Any) -> Any:
        def wrong(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            if kwargs or x.device.type != "cpu" or x.requires_grad or not x.is_contiguous() or x.storage_offset():
                return clone(x, **kwargs)
            try:
                shared = torch._lazy_clone(x)
            except RuntimeError:  # memory that NumPy has allocated can't be copied on write
                return clone(x)
            if hasattr(x, "_exported"):
                hit()
            return shared

        return wrong

    with replaced(torch.Tensor, "numpy", exporting), replaced(torch.Tensor, "clone", make):
        yield


class _ProductOfNumbers(torch.autograd.Function):
    """A product that saves factors of one element as copies, and tells `hit` if they have been written since."""

    @staticmethod
    def forward(ctx: Any, compute: Any, hit: Hit, *factors: torch.Tensor) -> Any:
        ctx.hit, ctx.origins = hit, [factor.detach() for factor in factors]
        ctx.save_for_backward(*(factor.clone() if factor.numel() == 1 else factor for factor in factors))
        return compute(*factors)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        factors = ctx.saved_tensors
        if any(not torch.equal(saved, origin) for saved, origin in zip(factors, ctx.origins, strict=True)):
            ctx.hit()
        shares = (gradient * other.conj() for other in reversed(factors))
        return (
            None,
            None,
            *(
                (share if factor.is_complex() else share.real).sum_to_size(factor.shape).to(factor.dtype)
                for share, factor in zip(shares, factors, strict=True)
            ),
        )


@wrong_engine("one-number-saved-by-copy", kind="size", first_sight="second sample: caught")
@contextmanager
def saves_a_copy_of_a_factor_of_one_element(hit: Hit) -> Iterator[None]:
    def make(below: Any) -> Any:
        def product(x: torch.Tensor, other: Any) -> Any:
            other = torch.as_tensor(other, dtype=getattr(other, "dtype", x.dtype))
            return _ProductOfNumbers.apply(below, hit, x, other)

        return product

    with kernel("mul.Tensor", make):
        yield


WRITES = ("add_", "sub_", "mul_", "div_", "neg_", "zero_", "fill_", "copy_", "clamp_", "exp_", "sqrt_", "__setitem__")


@wrong_engine("second-write-leaves-the-array", kind="state", first_sight="fourth sample: missed")
@contextmanager
def a_tensor_leaves_the_array_at_the_second_write(hit: Hit) -> Iterator[None]:
    def make_tensor(take: Any) -> Any:
        def over(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            tensor = take(data, *args, **kwargs)
            if isinstance(data, np.ndarray):
                vars(tensor)["_writes"] = 0
            return tensor

        return over

    def make_array(numpy: Any) -> Any:
        def under(tensor: torch.Tensor, **kwargs: Any) -> np.ndarray:
            array = numpy(tensor, **kwargs)
            vars(tensor).setdefault("_writes", 0)
            return array

        return under

    def make_write(write: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if "_writes" in vars(tensor):
                vars(tensor)["_writes"] += 1
                is_free = not (tensor.requires_grad and torch.is_grad_enabled()) and not tensor.is_inference()
                if vars(tensor)["_writes"] == 2 and tensor.numel() and is_free:
                    hit()
                    tensor.data = tensor.detach().clone()
            return write(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as stack:
        for name in ("from_numpy", "as_tensor", "asarray"):
            stack.enter_context(replaced(torch, name, make_tensor))
        stack.enter_context(replaced(torch.Tensor, "numpy", make_array))
        for name in (*WRITES, "__iadd__", "__isub__", "__imul__", "__itruediv__"):
            stack.enter_context(replaced(torch.Tensor, name, make_write))
        yield
