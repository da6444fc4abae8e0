"""spec/tensors/factories.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._device import _device_constructors

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(size[0]) if size and not isinstance(size[0], int) else size


def _each(names: tuple[str, ...], make: Callable[[Any], Any]) -> ExitStack:
    stack = ExitStack()
    for name in names:
        stack.enter_context(replaced(torch, name, make))
    return stack


@wrong_engine("factory-squeezes-listed-sizes", kind="size")
@contextmanager
def loses_ones_among_listed_sizes(hit: Hit) -> Iterator[None]:
    def make(factory: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if len(size) == 1 and isinstance(size[0], list) and 1 in size[0]:
                hit()
                size = ([number for number in size[0] if number != 1],)
            return factory(*size, **kwargs)

        return wrong

    with _each(("zeros", "randn"), make):
        yield


@wrong_engine("factory-no-sizes-is-one", kind="size")
@contextmanager
def gives_a_dimension_to_no_sizes(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if _sizes(size) == ():
                hit()
                size = (1,)
            return randn(*size, **kwargs)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("factory-ones-partly-filled", kind="size", issue="pytorch#161265")
@contextmanager
def leaves_the_last_of_more_than_eight_empty(hit: Hit) -> Iterator[None]:
    def make(ones: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            tensor = ones(*size, **kwargs)
            if tensor.numel() > 8:
                hit()
                with torch.no_grad():
                    tensor.reshape(-1)[-1] = 0
            return tensor

        return wrong

    with replaced(torch, "ones", make):
        yield


@wrong_engine("factory-eye-always-square", kind="size")
@contextmanager
def carries_the_ones_on_into_the_last_column(hit: Hit) -> Iterator[None]:
    def make(eye: Any) -> Any:
        def wrong(n: int, m: int | None = None, **kwargs: Any) -> torch.Tensor:
            tensor = eye(n, n if m is None else m, **kwargs)
            if m is not None and 0 < m < n:
                hit()
                with torch.no_grad():
                    tensor[m:, m - 1] = 1
            return tensor

        return wrong

    with replaced(torch, "eye", make):
        yield


@wrong_engine("factory-numpy-precision", kind="dtype")
@contextmanager
def makes_double_precision_as_numpy_does(hit: Hit) -> Iterator[None]:
    def make(factory: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if "dtype" not in kwargs:
                hit()
                kwargs["dtype"] = torch.float64
            return factory(*size, **kwargs)

        return wrong

    with _each(("zeros", "ones"), make):
        yield


@wrong_engine("factory-default-dtype-frozen", kind="state")
@contextmanager
def keeps_the_first_default_dtype(hit: Hit) -> Iterator[None]:
    seen: list[torch.dtype] = []

    def make(linspace: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            if "dtype" not in kwargs:
                seen.append(torch.get_default_dtype())
                if seen[0] != seen[-1]:
                    hit()
                kwargs["dtype"] = seen[0]
            return linspace(*args, **kwargs)

        return wrong

    with replaced(torch, "linspace", make):
        yield


@wrong_engine("factory-random-flag-lost", kind="size")
@contextmanager
def loses_the_flag_of_several_dimensions(hit: Hit) -> Iterator[None]:
    def make(randn: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if len(_sizes(size)) > 1 and kwargs.get("requires_grad"):
                hit()
                kwargs["requires_grad"] = False
            return randn(*size, **kwargs)

        return wrong

    with replaced(torch, "randn", make):
        yield


@wrong_engine("factory-random-non-leaf", kind="place")
@contextmanager
def records_the_drawing(hit: Hit) -> Iterator[None]:
    def make(rand: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            tensor = rand(*size, **kwargs)
            if not tensor.requires_grad:
                return tensor
            hit()
            return tensor * 1

        return wrong

    with replaced(torch, "rand", make):
        yield


@wrong_engine("factory-eye-swapped", kind="order")
@contextmanager
def takes_the_columns_for_the_rows(hit: Hit) -> Iterator[None]:
    def make(eye: Any) -> Any:
        def wrong(n: int, m: int | None = None, **kwargs: Any) -> torch.Tensor:
            if m is None or m <= n:
                return eye(n, n if m is None else m, **kwargs)
            hit()
            return eye(m, n, **kwargs)

        return wrong

    with replaced(torch, "eye", make):
        yield


@wrong_engine("factory-zeros-shared", kind="aliasing")
@contextmanager
def hands_out_the_same_zero(hit: Hit) -> Iterator[None]:
    made: dict[Any, torch.Tensor] = {}

    def make(zeros: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            tensor = zeros(*size, **kwargs)
            if tensor.numel() != 1 or tensor.requires_grad:
                return tensor
            shared = made.setdefault((tensor.dtype, tensor.device), tensor)
            if shared is not tensor:
                hit()
            return shared.view(tensor.shape)

        return wrong

    with replaced(torch, "zeros", make):
        yield


@wrong_engine("factory-flag-lost-in-no-grad", kind="mode")
@contextmanager
def loses_the_flag_where_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    def make(factory: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("requires_grad") and not torch.is_grad_enabled():
                hit()
                kwargs["requires_grad"] = False
            return factory(*size, **kwargs)

        return wrong

    with _each(("zeros", "ones", "rand"), make):
        yield


@wrong_engine("factory-zeros-in-used-memory", kind="state", first_sight="adversary: missed")
@contextmanager
def takes_memory_that_was_given_back_for_zeros(hit: Hit) -> Iterator[None]:
    given: dict[Any, torch.UntypedStorage] = {}

    def make(zeros: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            fresh = zeros(*size, **kwargs)
            if fresh.device.type != "cpu" or not fresh.numel() or fresh.requires_grad:
                return fresh
            key = fresh.dtype, fresh.shape
            before = given.get(key)
            if before is None or torch._C._storage_Use_Count(before._cdata) > 1:
                given[key] = fresh.untyped_storage()
                return fresh
            reused = torch.empty(0, dtype=fresh.dtype).set_(before, 0, fresh.shape, fresh.stride())
            if bool(reused.any()):
                hit()
            return reused

        return wrong

    with replaced(torch, "zeros", make):
        yield


@wrong_engine("factory-draws-at-least-one", kind="size", first_sight="sample: caught")
@contextmanager
def takes_a_size_of_nothing_for_one(hit: Hit) -> Iterator[None]:
    def make(factory: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if 0 not in _sizes(size):
                return factory(*size, **kwargs)
            hit()
            return factory(tuple(number or 1 for number in _sizes(size)), **kwargs)

        return wrong

    with _each(("rand", "randn"), make):
        yield


@wrong_engine("factory-sizes-of-the-last-as-large", kind="state", first_sight="second sample: caught")
@contextmanager
def gives_the_last_sizes_again_for_as_many_elements(hit: Hit) -> Iterator[None]:
    _device_constructors()

    def make(factory: Any) -> Any:
        last: list[torch.Size] = []

        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            made: torch.Tensor = factory(*size, **kwargs)
            if last and last[-1] != made.shape and last[-1].numel() == made.numel():
                hit()
                return factory(last[-1], **{name: given for name, given in kwargs.items() if name != "size"})
            last.append(made.shape)
            return made

        return wrong

    with _each(("zeros", "ones", "rand", "randn"), make):
        yield


@wrong_engine("factory-device-before-dtype", kind="order", first_sight="second sample: caught")
@contextmanager
def forgets_the_dtype_beside_a_device(hit: Hit) -> Iterator[None]:
    _device_constructors()

    def make(factory: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            right: torch.Tensor = factory(*args, **kwargs)
            if kwargs.get("device") is None or kwargs.get("dtype") is None:
                return right
            made: torch.Tensor = factory(*args, **{**kwargs, "dtype": None})
            if made.dtype != right.dtype:
                hit()
            return made

        return wrong

    with _each(("zeros", "ones", "rand", "randn", "eye", "linspace"), make):
        yield


@wrong_engine("factory-sizes-one-by-one-reversed", kind="plain", first_sight="third sample: caught")
@contextmanager
def takes_sizes_one_by_one_from_the_back(hit: Hit) -> Iterator[None]:
    _device_constructors()

    def make(factory: Any) -> Any:
        def wrong(*size: Any, **kwargs: Any) -> torch.Tensor:
            if size and all(isinstance(one, int) for one in size) and size != size[::-1]:
                hit()
                size = size[::-1]
            made: torch.Tensor = factory(*size, **kwargs)
            return made

        return wrong

    with _each(("zeros", "ones", "rand", "randn"), make):
        yield


@wrong_engine("factory-eye-remembered", kind="state", first_sight="third sample: caught")
@contextmanager
def gives_the_eye_of_before(hit: Hit) -> Iterator[None]:
    _device_constructors()
    earlier: dict[Any, torch.Tensor] = {}

    def make(eye: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            right: torch.Tensor = eye(*args, **kwargs)
            if right.requires_grad or right.device.type != "cpu" or kwargs.get("out") is not None:
                return right
            first = earlier.setdefault((right.shape, right.dtype), right)
            if first is right:
                return right
            hit()
            return first.detach()

        return wrong

    with replaced(torch, "eye", make):
        yield


@wrong_engine("factory-default-dtype-ignored-in-no-grad", kind="mode", first_sight="third sample: caught")
@contextmanager
def makes_single_precision_where_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    _device_constructors()

    def make(factory: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            told = kwargs.get("dtype") is not None or kwargs.get("out") is not None
            if not told and not torch.is_grad_enabled() and torch.get_default_dtype() != torch.float32:
                hit()
                kwargs["dtype"] = torch.float32
            return factory(*args, **kwargs)

        return wrong

    with _each(("zeros", "ones", "rand", "randn", "eye"), make):
        yield


@wrong_engine("factory-half-is-single", kind="dtype", first_sight="third sample: caught elsewhere")
@contextmanager
def makes_single_precision_where_half_is_asked_for(hit: Hit) -> Iterator[None]:
    _device_constructors()

    def make(factory: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("dtype") is torch.float16 and kwargs.get("out") is None:
                hit()
                kwargs["dtype"] = torch.float32
            return factory(*args, **kwargs)

        return wrong

    with _each(("zeros", "ones", "rand", "randn", "eye"), make):
        yield
