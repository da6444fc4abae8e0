"""spec/detach/shared-memory.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced


@contextmanager
def _detach(where: Callable[[torch.Tensor], bool], instead: Callable[..., torch.Tensor], hit: Hit) -> Iterator[None]:
    """`detach()` that returns `instead(tensor, honest)` for the tensors of which `where` is true."""

    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if not where(tensor):
                return below(tensor)
            hit()
            return instead(tensor, below)

        return wrong

    with kernel("detach", make):
        yield


@wrong_engine("detach-copies-strided", kind="layout")
@contextmanager
def copies_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: not tensor.is_contiguous(), lambda tensor, below: below(tensor).contiguous(), hit):
        yield


@wrong_engine("detach-copies-zero-dim", kind="size")
@contextmanager
def copies_zero_dim_tensors(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor.dim() == 0, lambda tensor, below: below(tensor).clone(), hit):
        yield


@wrong_engine("detach-drops-offset", kind="layout")
@contextmanager
def starts_at_the_beginning_of_the_storage(hit: Hit) -> Iterator[None]:
    def from_the_start(tensor: torch.Tensor, below: Callable[..., torch.Tensor]) -> torch.Tensor:
        return below(tensor).as_strided(tensor.shape, tensor.stride(), 0)

    with _detach(lambda tensor: tensor.storage_offset() > 0, from_the_start, hit):
        yield


@wrong_engine("detach-returns-itself", kind="aliasing")
@contextmanager
def hands_back_what_does_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(detach: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.requires_grad:
                return detach(tensor)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "detach", make):
        yield


@wrong_engine("detach-counts-by-itself", kind="aliasing")
@contextmanager
def has_a_version_counter_of_its_own(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: True, lambda tensor, below: tensor.data, hit):
        yield


@wrong_engine("detached-view-counts-by-itself", kind="place")
@contextmanager
def has_a_version_counter_of_its_own_for_a_view(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor._is_view(), lambda tensor, below: tensor.data, hit):
        yield


@wrong_engine("zero-goes-uncounted", kind="aliasing")
@contextmanager
def zeroes_without_counting(hit: Hit) -> Iterator[None]:
    def make(zero_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            hit()
            with torch.autograd._unsafe_preserve_version_counter(tensor):
                return zero_(tensor)

        return wrong

    with replaced(torch.Tensor, "zero_", make):
        yield


@wrong_engine("resize-reaches-original", kind="aliasing")
@contextmanager
def resizes_the_original_too(hit: Hit) -> Iterator[None]:
    # Both are kept alive, so that the id cannot become another tensor's.
    originals: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def make_detach(detach: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def remembering(tensor: torch.Tensor) -> torch.Tensor:
            detached = detach(tensor)
            originals[id(detached)] = (detached, tensor)
            return detached

        return remembering

    def make_resize(resize_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *sizes: Any) -> torch.Tensor:
            resize_(tensor, *sizes)
            _, original = originals.get(id(tensor), (None, None))
            if original is not None:
                hit()
                original.data = tensor
            return tensor

        return wrong

    with replaced(torch.Tensor, "detach", make_detach), replaced(torch.Tensor, "resize_", make_resize):
        yield


@wrong_engine("growing-loses-values", kind="size")
@contextmanager
def clears_the_memory_that_it_enlarges(hit: Hit) -> Iterator[None]:
    def make(resize_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *sizes: Any) -> torch.Tensor:
            before = tensor.untyped_storage().nbytes()
            resize_(tensor, *sizes)
            if 0 < before < tensor.untyped_storage().nbytes():
                hit()
                tensor.untyped_storage().fill_(0)
            return tensor

        return wrong

    with replaced(torch.Tensor, "resize_", make):
        yield


@wrong_engine("detach-copies-large", kind="size")
@contextmanager
def copies_more_than_sixteen_elements(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor.numel() > 16, lambda tensor, below: below(tensor).clone(), hit):
        yield


@wrong_engine("detach-resolves-conjugation", kind="dtype")
@contextmanager
def copies_what_is_lazily_conjugated(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor.is_conj(), lambda tensor, below: below(tensor).resolve_conj(), hit):
        yield


@wrong_engine("detach-remembered", kind="state")
@contextmanager
def hands_back_what_it_returned_the_first_time(hit: Hit) -> Iterator[None]:
    # Both are kept alive, so that the id cannot become another tensor's.
    known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def make(detach: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if id(tensor) in known:
                hit()
            return known.setdefault(id(tensor), (detach(tensor), tensor))[0]

        return wrong

    with replaced(torch.Tensor, "detach", make):
        yield


@wrong_engine("detach-in-inference-returns-itself", kind="mode", issue="pytorch#59633")
@contextmanager
def hands_back_the_tensor_itself_in_inference_mode(hit: Hit) -> Iterator[None]:
    def make(detach: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if not torch.is_inference_mode_enabled():
                return detach(tensor)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "detach", make):
        yield


@wrong_engine("write-in-inference-mode-uncounted", kind="mode")
@contextmanager
def multiplies_without_counting_in_inference_mode(hit: Hit) -> Iterator[None]:
    def make(mul_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, number: float) -> torch.Tensor:
            if not torch.is_inference_mode_enabled() or tensor.is_inference():
                return mul_(tensor, number)
            hit()
            with torch.autograd._unsafe_preserve_version_counter(tensor):
                return mul_(tensor, number)

        return wrong

    with replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("copy-between-equal-strides-is-a-blit", kind="layout", issue="pytorch#189961")
@contextmanager
def copies_the_memory_between_views_of_the_same_strides(hit: Hit) -> Iterator[None]:
    def spans_gaps(tensor: torch.Tensor) -> bool:
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        return tensor.numel() > 0 and last >= tensor.numel()

    def make(copy_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, source: torch.Tensor, *args: Any) -> torch.Tensor:
            if tensor.stride() != source.stride() or not spans_gaps(tensor):
                return copy_(tensor, source, *args)
            hit()
            packed = ((tensor.numel(),), (1,))
            copy_(tensor.detach().as_strided(*packed), source.detach().as_strided(*packed))
            return tensor

        return wrong

    with replaced(torch.Tensor, "copy_", make):
        yield


@wrong_engine("detach-copies-int8", kind="dtype")
@contextmanager
def copies_int8_tensors(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor.dtype is torch.int8, lambda tensor, below: below(tensor).clone(), hit):
        yield


@wrong_engine("integer-writes-go-uncounted", kind="dtype", first_sight="adversary: missed")
@contextmanager
def writes_to_integers_are_not_counted(hit: Hit) -> Iterator[None]:
    def make(write: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if tensor.is_floating_point() or tensor.is_complex() or tensor.is_inference():
                return write(tensor, *args, **kwargs)
            hit()
            written = write(tensor.data, *args, **kwargs)
            return written if written is None else tensor

        return wrong

    with ExitStack() as methods:
        for name in ("add_", "sub_", "mul_", "neg_", "zero_", "fill_", "copy_", "__iadd__", "__isub__", "__setitem__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("detach-forgets-channels-last", kind="layout", first_sight="adversary: caught")
@contextmanager
def gives_a_channels_last_image_the_strides_of_a_contiguous_one(hit: Hit) -> Iterator[None]:
    def is_channels_last(tensor: torch.Tensor) -> bool:
        return (
            tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
        )

    def contiguous_strides(tensor: torch.Tensor, below: Any) -> torch.Tensor:
        strides = torch.empty(tensor.shape, device="meta").stride()
        detached: torch.Tensor = below(tensor)
        return detached.as_strided_(tensor.shape, strides, tensor.storage_offset())

    with _detach(is_channels_last, contiguous_strides, hit):
        yield


@wrong_engine(
    "copy-between-equal-steps-fills-the-gaps", kind="layout", issue="pytorch#189961", first_sight="adversary: missed"
)
@contextmanager
def copies_between_stepped_tensors_write_side_by_side(hit: Hit) -> Iterator[None]:
    def make(copy: Any) -> Any:
        def wrong(tensor: torch.Tensor, source: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            stepped = tensor.ndim == 1 and tensor.numel() > 1 and tensor.stride(0) > 1 and not tensor.requires_grad
            if not stepped or (tensor.shape, tensor.stride()) != (source.shape, source.stride()):
                return copy(tensor, source, *args, **kwargs)
            hit()
            values = source.detach().clone()
            copy(tensor.as_strided(tensor.shape, (1,)), values, *args, **kwargs)
            return tensor

        return wrong

    with replaced(torch.Tensor, "copy_", make):
        yield


@wrong_engine("writes-in-no-grad-go-uncounted", kind="mode", first_sight="sample: caught")
@contextmanager
def writes_where_nothing_is_recorded_are_not_counted(hit: Hit) -> Iterator[None]:
    def make(write: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if torch.is_grad_enabled() or tensor.is_inference():
                return write(tensor, *args, **kwargs)
            hit()
            with torch.autograd._unsafe_preserve_version_counter(tensor):
                return write(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as methods:
        for name in ("add_", "sub_", "mul_", "neg_", "zero_", "fill_", "copy_", "__iadd__", "__isub__", "__setitem__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("detached-in-no-grad-counts-by-itself", kind="mode", first_sight="fourth sample: caught")
@contextmanager
def has_a_version_counter_of_its_own_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def is_off(tensor: torch.Tensor) -> bool:
        return not torch.is_grad_enabled() and not tensor.is_inference() and not torch.is_inference_mode_enabled()

    with _detach(is_off, lambda tensor, below: tensor.data, hit):
        yield


@wrong_engine("detach-of-truths-gives-bytes", kind="dtype", first_sight="fourth sample: caught elsewhere")
@contextmanager
def detached_truths_are_bytes(hit: Hit) -> Iterator[None]:
    with _detach(lambda tensor: tensor.dtype == torch.bool, lambda tensor, below: below(tensor).view(torch.uint8), hit):
        yield
