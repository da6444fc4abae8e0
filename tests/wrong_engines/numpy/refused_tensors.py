"""spec/numpy/refused-tensors.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Numpy = Callable[..., np.ndarray]
Wrong = Callable[[Numpy, torch.Tensor, bool], np.ndarray]

REFUSAL = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."


@contextmanager
def _numpy(concerns: Callable[[torch.Tensor, bool], bool], hit: Hit, wrong: Wrong) -> Iterator[None]:
    """numpy() as `wrong(numpy, tensor, force)` for the tensors that it concerns, also below np.asarray."""

    def make(numpy: Any) -> Any:
        def partly_wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            if not concerns(tensor, force):
                return numpy(tensor, force=force)
            hit()
            return wrong(numpy, tensor, force)

        return partly_wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


def _is_recorded(tensor: torch.Tensor, force: bool) -> bool:
    return tensor.requires_grad and torch.is_grad_enabled() and not force


def _is_unrecorded(tensor: torch.Tensor, force: bool) -> bool:
    return tensor.requires_grad and not torch.is_grad_enabled() and not force


def _is_forced(tensor: torch.Tensor, force: bool) -> bool:
    return tensor.requires_grad and force


def _then_detached(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
    try:
        return numpy(tensor, force=force)
    finally:
        tensor.requires_grad_(False)


@wrong_engine("numpy-detaches-non-leaves", kind="error")
@contextmanager
def detaches_what_is_no_leaf(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return _is_recorded(tensor, force) and not tensor.is_leaf

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor.detach())):
        yield


@wrong_engine("array-protocol-detaches", kind="error")
@contextmanager
def detaches_for_the_protocol(hit: Hit) -> Iterator[None]:
    def make(protocol: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> np.ndarray:
            if tensor.requires_grad:
                hit()
            return protocol(tensor.detach(), *args, **kwargs)

        return wrong

    with replaced(torch.Tensor, "__array__", make):
        yield


@wrong_engine("refusal-stops-recording", kind="error")
@contextmanager
def refuses_and_stops_recording(hit: Hit) -> Iterator[None]:
    with _numpy(lambda tensor, force: _is_recorded(tensor, force) and tensor.is_leaf, hit, _then_detached):
        yield


@wrong_engine("detached-array-copies-slices", kind="layout")
@contextmanager
def copies_a_detached_slice(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        covered = tensor.numel() * tensor.element_size()
        return not tensor.requires_grad and covered < tensor.untyped_storage().nbytes()

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor, force=force).copy()):
        yield


@wrong_engine("refused-in-every-mode", kind="mode", refuses=REFUSAL)
@contextmanager
def refuses_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def refuse(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
        raise RuntimeError(REFUSAL)

    with _numpy(_is_unrecorded, hit, refuse):
        yield


@wrong_engine("no-grad-array-copies", kind="mode")
@contextmanager
def copies_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    with _numpy(_is_unrecorded, hit, lambda numpy, tensor, force: numpy(tensor).copy()):
        yield


@wrong_engine("inference-array-detaches", kind="mode")
@contextmanager
def detaches_leaves_in_inference_mode(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return _is_unrecorded(tensor, force) and tensor.is_leaf and torch.is_inference_mode_enabled()

    with _numpy(concerns, hit, _then_detached):
        yield


@wrong_engine("conj-bit-ignored", kind="error")
@contextmanager
def shows_the_memory_of_a_conjugate(hit: Hit) -> Iterator[None]:
    with _numpy(
        lambda tensor, force: tensor.is_conj() and not force, hit, lambda numpy, tensor, _: numpy(tensor.conj())
    ):
        yield


@wrong_engine("neg-bit-resolved", kind="error")
@contextmanager
def copies_a_negative(hit: Hit) -> Iterator[None]:
    def resolve(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
        return numpy(tensor.resolve_neg())

    with _numpy(lambda tensor, force: tensor.is_neg() and not force, hit, resolve):
        yield


@wrong_engine("bfloat16-widened", kind="error")
@contextmanager
def widens_bfloat16_by_force(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return force and tensor.dtype == torch.bfloat16

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor.float(), force=True)):
        yield


@wrong_engine("sparse-densified", kind="error")
@contextmanager
def makes_a_sparse_tensor_dense(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return tensor.layout == torch.sparse_coo

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor.to_dense())):
        yield


@wrong_engine("force-copies-non-leaves", kind="place")
@contextmanager
def copies_what_is_no_leaf_by_force(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return _is_forced(tensor, force) and not tensor.is_leaf

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor, force=True).copy()):
        yield


@wrong_engine("force-forgets-neg", kind="value")
@contextmanager
def drops_the_negative_bit_by_force(hit: Hit) -> Iterator[None]:
    def drop(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
        return numpy(torch._neg_view(tensor), force=True).copy()

    with _numpy(lambda tensor, force: force and tensor.is_neg(), hit, drop):
        yield


@wrong_engine("force-detaches-in-place", kind="place")
@contextmanager
def detaches_the_leaf_by_force(hit: Hit) -> Iterator[None]:
    with _numpy(lambda tensor, force: _is_forced(tensor, force) and tensor.is_leaf, hit, _then_detached):
        yield


@wrong_engine("refused-once-copied-ever-after", kind="state")
@contextmanager
def copies_the_memory_that_it_once_refused(hit: Hit) -> Iterator[None]:
    refused = set()

    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            try:
                array = numpy(tensor, force=force)
            except RuntimeError:
                refused.add(tensor.data_ptr())
                raise
            if tensor.data_ptr() not in refused:
                return array
            hit()
            return array.copy()

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("numpy-of-nothing-not-refused", kind="size", first_sight="adversary: caught")
@contextmanager
def gives_an_array_of_no_elements_for_a_tensor_that_requires_grad(hit: Hit) -> Iterator[None]:
    def make(numpy: Numpy) -> Numpy:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            if tensor.numel() or not tensor.requires_grad or not torch.is_grad_enabled() or force:
                return numpy(tensor, force=force)
            hit()
            return numpy(tensor.detach())

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield


@wrong_engine("numpy-asks-the-outer-mode", kind="mode", first_sight="adversary: missed")
@contextmanager
def gives_an_array_wherever_a_no_grad_stands_around(hit: Hit) -> Iterator[None]:
    blocks = 0

    def entering(enter: Any) -> Any:
        def wrong(block: Any) -> None:
            nonlocal blocks
            blocks += 1
            enter(block)

        return wrong

    def leaving(leave: Any) -> Any:
        def wrong(block: Any, *error: Any) -> None:
            nonlocal blocks
            blocks -= 1
            leave(block, *error)

        return wrong

    def make(numpy: Numpy) -> Numpy:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            if not blocks or not tensor.requires_grad or not torch.is_grad_enabled() or force:
                return numpy(tensor, force=force)
            hit()
            return numpy(tensor.detach())

        return wrong

    with (
        replaced(torch.no_grad, "__enter__", entering),
        replaced(torch.no_grad, "__exit__", leaving),
        replaced(torch.Tensor, "numpy", make),
    ):
        yield


@wrong_engine("force-conjugates-in-place", kind="aliasing", first_sight="second sample: caught")
@contextmanager
def resolves_the_conjugate_bit_in_the_memory_itself(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return force and tensor.is_conj() and not tensor.is_neg() and tensor.layout == torch.strided

    def wrong(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
        memory = tensor.data.conj()
        return numpy(memory.copy_(memory.conj().resolve_conj()), force=True)

    with _numpy(concerns, hit, wrong):
        yield


@wrong_engine("bfloat16-as-its-bytes", kind="aliasing", first_sight="second sample: caught")
@contextmanager
def shows_the_bytes_of_bfloat16(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return tensor.dtype == torch.bfloat16 and (force or not tensor.requires_grad)

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor.detach().view(torch.int16))):
        yield


@wrong_engine("force-copies-inside-no-grad", kind="mode", first_sight="third sample: caught")
@contextmanager
def copies_by_force_inside_no_grad(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        is_plain = tensor.layout == torch.strided and tensor.dtype != torch.bfloat16
        return force and not torch.is_grad_enabled() and is_plain and not tensor.is_conj() and not tensor.is_neg()

    with _numpy(concerns, hit, lambda numpy, tensor, force: numpy(tensor, force=True).copy()):
        yield


CONJUGATED = "Can't call numpy() on Tensor that has conjugate bit set. Use tensor.resolve_conj().numpy() instead."


@wrong_engine("neg-refused-as-conj", kind="error", first_sight="third sample: caught")
@contextmanager
def refuses_the_negative_bit_as_if_it_were_the_conjugate_one(hit: Hit) -> Iterator[None]:
    def concerns(tensor: torch.Tensor, force: bool) -> bool:
        return tensor.is_neg() and not tensor.is_conj() and not force and not _is_recorded(tensor, force)

    def wrong(numpy: Numpy, tensor: torch.Tensor, force: bool) -> np.ndarray:
        raise RuntimeError(CONJUGATED)

    with _numpy(concerns, hit, wrong):
        yield


@wrong_engine("array-protocol-with-dtype-detaches", kind="order", first_sight="third sample: caught")
@contextmanager
def detaches_where_a_dtype_is_told(hit: Hit) -> Iterator[None]:
    def make(protocol: Any) -> Any:
        def wrong(tensor: torch.Tensor, dtype: Any = None) -> np.ndarray:
            if dtype is None or not _is_recorded(tensor, False):
                return protocol(tensor, dtype)
            hit()
            return protocol(tensor.detach(), dtype)

        return wrong

    with replaced(torch.Tensor, "__array__", make):
        yield


@wrong_engine("force-always-copies", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def copies_by_force_whatever_it_is(hit: Hit) -> Iterator[None]:
    def make(numpy: Any) -> Any:
        def wrong(tensor: torch.Tensor, *, force: bool = False) -> np.ndarray:
            array = numpy(tensor, force=force)
            if not force or tensor.is_conj() or tensor.is_neg() or not array.size:
                return array
            hit()
            return array.copy()

        return wrong

    with replaced(torch.Tensor, "numpy", make):
        yield
