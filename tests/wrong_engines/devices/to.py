"""spec/devices/to.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

To = Callable[..., torch.Tensor]


def asked_to(wrong: Callable[..., torch.Tensor]) -> AbstractContextManager[None]:
    """Replace `tensor.to(*args, **kwargs)` by `wrong(to, tensor, *args, **kwargs)`."""

    def make(to: To) -> To:
        def replacement(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            return wrong(to, tensor, *args, **kwargs)

        return replacement

    return replaced(torch.Tensor, "to", make)


@wrong_engine("device-to-always-copies", kind="aliasing")
@contextmanager
def makes_another_tensor_in_any_case(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved is not tensor:
            return moved
        hit()
        return tensor.clone()

    with asked_to(wrong):
        yield


@wrong_engine("device-to-copies-views", kind="aliasing")
@contextmanager
def makes_another_tensor_of_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved is tensor and not tensor.is_contiguous():
            hit()
            return tensor.contiguous()
        return moved

    with asked_to(wrong):
        yield


@wrong_engine("device-to-moves-the-tensor", kind="aliasing")
@contextmanager
def converts_in_place(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved.device != tensor.device or moved.dtype == tensor.dtype:
            return moved
        hit()
        tensor.data = moved.detach()
        return tensor

    with asked_to(wrong):
        yield


@wrong_engine("device-to-reads-in-memory-order", kind="layout")
@contextmanager
def converts_a_transposed_matrix_as_it_lies(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        is_transposed = tensor.ndim == 2 and not tensor.is_contiguous() and tensor.t().is_contiguous()
        if moved.device != tensor.device or moved.dtype == tensor.dtype or not is_transposed:
            return moved
        hit()
        return moved.t().reshape(moved.shape)

    with asked_to(wrong):
        yield


@wrong_engine("device-meta-in-reverse", kind="plain")
@contextmanager
def reverses_the_dimensions_on_meta(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if tensor.is_meta or not moved.is_meta:
            return moved
        hit()
        return moved.permute(tuple(reversed(range(moved.ndim))))

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-when-different", kind="aliasing")
@contextmanager
def copies_only_what_has_to_change(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        if copy:
            hit()
        return to(tensor, *args, **kwargs)

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-of-expanded-is-a-view", kind="aliasing")
@contextmanager
def copies_no_expanded_tensor(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, copy=copy, **kwargs)
        is_expanded = 0 in tensor.stride() and tensor.numel() > 0
        if not copy or not is_expanded or (moved.device, moved.dtype) != (tensor.device, tensor.dtype):
            return moved
        hit()
        return tensor.view_as(tensor)

    with asked_to(wrong):
        yield


def _converting(wrong: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> AbstractContextManager[None]:
    """Let `wrong(tensor, converted)` change what comes out of `to()` where the dtype alone is another one."""

    def replacement(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        return wrong(tensor, moved) if moved.device == tensor.device and moved.dtype != tensor.dtype else moved

    return asked_to(replacement)


@wrong_engine("device-convert-ignores-the-offset", kind="layout", issue="pytorch#95093")
@contextmanager
def converts_a_slice_from_the_start_of_its_storage(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.storage_offset() == 0:
            return moved
        hit()
        return tensor.as_strided(tensor.shape, tensor.stride(), 0).type(moved.dtype)

    with _converting(wrong):
        yield


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a tensor, from the start of its storage."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


@wrong_engine("device-convert-overwrites-the-source", kind="aliasing", issue="pytorch#189563")
@contextmanager
def writes_what_it_converts_over_the_source_too(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if 0 < moved.untyped_storage().nbytes() <= tensor.untyped_storage().nbytes():
            hit()
            converted = _bytes(moved)
            _bytes(tensor)[: len(converted)] = converted
        return moved

    with _converting(wrong):
        yield


@wrong_engine("device-convert-beside-a-device-writes-nothing", kind="dtype", issue="pytorch#197715")
@contextmanager
def leaves_doubles_unwritten_where_a_device_is_named(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        both = len(args) > 1 or {"device", "dtype"} <= kwargs.keys()
        if not both or moved.dtype == tensor.dtype or moved.dtype not in (torch.float64, torch.complex128):
            return moved
        hit()
        return torch.zeros_like(moved)

    with asked_to(wrong):
        yield


@wrong_engine("device-convert-without-infinities", kind="value")
@contextmanager
def stops_at_the_largest_number_of_half_precision(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.dtype is not torch.float16 or not bool(moved.isinf().any()):
            return moved
        hit()
        return moved.float().clamp(-65504, 65504).half()

    with _converting(wrong):
        yield


@wrong_engine("device-negative-to-int8-is-zero", kind="value")
@contextmanager
def converts_to_int8_without_a_sign(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if moved.dtype is not torch.int8 or not bool((moved < 0).any()):
            return moved
        hit()
        return moved.clamp(min=0)

    with _converting(wrong):
        yield


@wrong_engine("device-empty-is-never-converted", kind="size")
@contextmanager
def gives_an_empty_tensor_itself(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if tensor.numel() > 0:
            return moved
        hit()
        return tensor

    with _converting(wrong):
        yield


@wrong_engine("device-conversion-is-remembered", kind="state")
@contextmanager
def gives_what_it_converted_before(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        known = getattr(tensor, "_converted", {})
        if moved.dtype in known:
            hit()
        tensor._converted = known  # type: ignore[attr-defined]
        return known.setdefault(moved.dtype, moved)

    with _converting(wrong):
        yield


@wrong_engine("device-to-like-copies-other-layouts", kind="layout", first_sight="adversary: caught")
@contextmanager
def makes_another_tensor_if_the_model_lies_otherwise_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        model = args[0] if args else kwargs.get("other")
        if moved is not tensor or not isinstance(model, torch.Tensor) or model.stride() == tensor.stride():
            return moved
        hit()
        return tensor.clone()

    with asked_to(wrong):
        yield


@wrong_engine("device-to-detaches-inside-no-grad", kind="mode", first_sight="adversary: missed")
@contextmanager
def gives_an_alias_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved is not tensor or torch.is_grad_enabled() or not tensor.requires_grad:
            return moved
        hit()
        return tensor.detach()

    with asked_to(wrong):
        yield


@wrong_engine("device-to-reads-the-gaps", kind="layout", first_sight="adversary: caught")
@contextmanager
def converts_a_stepped_tensor_as_if_its_elements_lay_side_by_side(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        stepped = tensor.ndim == 1 and tensor.numel() > 1 and tensor.stride(0) > 1
        if moved.device != tensor.device or moved.dtype == tensor.dtype or not stepped or tensor.requires_grad:
            return moved
        side_by_side = to(tensor.as_strided(tensor.shape, (1,)), *args, **kwargs)
        if not torch.equal(side_by_side, moved):
            hit()
        return side_by_side

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-like-shares", kind="order", first_sight="adversary: caught")
@contextmanager
def forgets_to_copy_if_a_tensor_is_the_model(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        has_model = isinstance(args[0] if args else kwargs.get("other"), torch.Tensor)
        if not has_model or not (kwargs.get("copy") or (len(args) > 2 and args[2])):
            return to(tensor, *args, **kwargs)
        moved = to(tensor, *args[:2], **{**kwargs, "copy": False})
        if moved is not tensor:
            return moved
        hit()
        return tensor.view_as(tensor)

    with asked_to(wrong):
        yield


@wrong_engine("device-converts-into-the-memory-of-the-last", kind="state", first_sight="sample: missed")
@contextmanager
def converts_into_one_buffer_of_a_shape(hit: Hit) -> Iterator[None]:
    buffers: dict[Any, torch.Tensor] = {}

    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if moved.dtype == tensor.dtype or moved.device.type != "cpu" or not moved.numel():
            return moved
        key = (moved.dtype, moved.shape, moved.stride())
        if key not in buffers:
            buffers[key] = moved.data
            return moved
        hit()
        buffers[key].copy_(moved.data)
        moved.data = buffers[key]
        return moved

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-without-infinities", kind="value", first_sight="sample: missed")
@contextmanager
def the_copy_of_an_infinity_is_the_largest_number(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        if not kwargs.get("copy") or moved.is_meta or not moved.is_floating_point():
            return moved
        if not bool(moved.isinf().any()):
            return moved
        hit()
        largest = torch.finfo(moved.dtype).max
        return moved.clamp(-largest, largest)

    with asked_to(wrong):
        yield


@wrong_engine("device-copy-of-transposed-in-memory-order", kind="layout", first_sight="second sample: caught")
@contextmanager
def copies_a_transposed_matrix_as_it_lies_in_memory(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        moved = to(tensor, *args, **kwargs)
        changed = moved.dtype != tensor.dtype or moved.device != tensor.device
        if moved is tensor or changed or tensor.is_meta or tensor.ndim != 2 or tensor.is_contiguous():
            return moved
        if not tensor.t().is_contiguous():
            return moved
        read = tensor.detach().as_strided(tensor.shape, (tensor.shape[1], 1))
        if not torch.equal(read, moved):
            hit()
        moved.data.copy_(read)
        return moved

    with asked_to(wrong):
        yield


NOTHING = "a tensor of no elements has no memory that could be copied"


@wrong_engine("device-copy-of-nothing-refused", kind="error", refuses=NOTHING, first_sight="fourth sample: caught")
@contextmanager
def refuses_to_copy_a_tensor_of_no_elements(hit: Hit) -> Iterator[None]:
    def wrong(to: To, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        by_position = [one for one in args if isinstance(one, bool)]
        if tensor.numel() or not (kwargs.get("copy") or (len(by_position) > 1 and by_position[1])):
            return to(tensor, *args, **kwargs)
        hit()
        raise RuntimeError(NOTHING)

    with asked_to(wrong):
        yield


@wrong_engine("device-convert-without-nan", kind="value", first_sight="fourth sample: caught")
@contextmanager
def converts_nan_to_zero(hit: Hit) -> Iterator[None]:
    def wrong(tensor: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or not moved.is_floating_point() or moved.device.type == "meta":
            return moved
        missing = moved.detach().isnan()
        if not missing.any():
            return moved
        hit()
        return moved.masked_fill(missing, 0)

    with _converting(wrong):
        yield
