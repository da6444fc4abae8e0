"""spec/tensors/from-data.md"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced


def _is_list(data: Any) -> bool:
    return isinstance(data, list | tuple)


def _first(data: Any) -> Any:
    while _is_list(data) and data:
        data = data[0]
    return data


@wrong_engine("creation-drops-a-level-of-one", kind="size")
@contextmanager
def takes_a_single_list_for_the_list(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if _is_list(data) and len(data) == 1 and _is_list(data[0]) and len(data[0]) > 1:
                hit()
                data = data[0]
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-columns-first", kind="plain")
@contextmanager
def reads_tuples_by_columns(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            right = tensor(data, *args, **kwargs)
            if not isinstance(data, list) or not all(isinstance(row, tuple) for row in data) or right.numel() < 2:
                return right
            hit()
            return tensor(list(zip(*data, strict=True)), *args, **kwargs).reshape(right.shape)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-dtype-of-first", kind="order")
@contextmanager
def lets_the_first_number_decide(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            right = tensor(data, *args, **kwargs)
            if not _is_list(data) or right.is_complex() or not right.numel() or "dtype" in kwargs:
                return right
            hit()
            return right.to(tensor(_first(data)).dtype)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-python-precision", kind="dtype")
@contextmanager
def makes_a_float_as_wide_as_pythons(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if isinstance(data, float) and "dtype" not in kwargs:
                hit()
                kwargs["dtype"] = torch.float64
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-ignores-dtype-of-whole-numbers", kind="dtype")
@contextmanager
def keeps_whole_numbers_whole(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if type(_first(data)) is int and kwargs.get("dtype") == torch.float32 and not kwargs.get("requires_grad"):
                hit()
                kwargs["dtype"] = torch.int64
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-forgets-flag-in-double", kind="dtype")
@contextmanager
def forgets_the_flag_in_double_precision(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("dtype") == torch.float64 and kwargs.get("requires_grad"):
                hit()
                kwargs["requires_grad"] = False
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-takes-flag-and-dtype-by-position", kind="error")
@contextmanager
def takes_flag_and_dtype_by_position(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if args and isinstance(args[0], bool) and all(isinstance(dtype, torch.dtype) for dtype in args[1:]):
                hit()
                kwargs.update(zip(("requires_grad", "dtype"), args[:2], strict=False))
                args = args[2:]
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-shares-equal-numbers", kind="aliasing")
@contextmanager
def gives_equal_numbers_the_same_memory(hit: Hit) -> Iterator[None]:
    made: dict[Any, torch.Tensor] = {}

    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            right = tensor(data, *args, **kwargs)
            if right.ndim or right.requires_grad:
                return right
            shared = made.setdefault((data, right.dtype, right.device), right)
            if shared is not right:
                hit()
            return shared.detach()

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-loses-the-end", kind="size")
@contextmanager
def reads_whole_blocks_of_four(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            right = tensor(data, *args, **kwargs)
            end = right.numel() % 4
            if right.numel() > 16 and end:
                hit()
                right.detach().view(-1)[-end:] = 0
            return right

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-dtype-of-last-truth", kind="order")
@contextmanager
def lets_a_last_truth_value_decide(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if not isinstance(data, list) or not data or data[-1] is not True:
                return tensor(data, *args, **kwargs)
            hit()
            return tensor(data, *args, **{"dtype": torch.bool, **kwargs})

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-empty-members-forgotten", kind="size", first_sight="adversary: caught")
@contextmanager
def a_list_of_empty_lists_is_empty(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if isinstance(data, (list, tuple)) and data and all(isinstance(one, list) and not one for one in data):
                hit()
                data = []
            return tensor(data, *args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-whole-numbers-through-double", kind="value", first_sight="adversary: caught")
@contextmanager
def whole_numbers_pass_through_a_float(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made = tensor(data, *args, **kwargs)
            if made.dtype != torch.int64 or not isinstance(data, (int, list, tuple)):
                return made
            through = made.double().long()
            if not torch.equal(through, made):
                hit()
            return through

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-complex-always-single", kind="dtype", first_sight="sample: caught")
@contextmanager
def makes_complex_numbers_single(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made = tensor(data, *args, **kwargs)
            if made.dtype != torch.complex128 or kwargs.get("dtype") is not None or hasattr(data, "dtype"):
                return made
            hit()
            return tensor(data, *args, **{**kwargs, "dtype": torch.complex64})

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-second-position-unexplained", kind="error", first_sight="second sample: caught")
@contextmanager
def refuses_a_second_position_without_saying_why(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) > 1:
                hit()
                raise TypeError("tensor() received an invalid combination of arguments")
            return tensor(*args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-whole-numbers-inside-no-grad-are-floats", kind="mode", first_sight="third sample: caught")
@contextmanager
def makes_floats_of_whole_numbers_inside_no_grad(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made = tensor(data, *args, **kwargs)
            told = kwargs.get("dtype") is not None or hasattr(data, "dtype")
            if torch.is_grad_enabled() or made.dtype != torch.int64 or told:
                return made
            hit()
            return tensor(data, *args, **{**kwargs, "dtype": torch.get_default_dtype()})

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-takes-a-dtype-by-position", kind="error", first_sight="third sample: caught")
@contextmanager
def takes_a_dtype_in_second_place(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) == 2 and isinstance(args[1], torch.dtype) and "dtype" not in kwargs:
                hit()
                return tensor(args[0], dtype=args[1], **kwargs)
            return tensor(*args, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-ignores-what-follows-by-position", kind="error", first_sight="fourth sample: caught")
@contextmanager
def looks_at_the_first_argument_only(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) > 1:
                hit()
            return tensor(*args[:1], **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield


@wrong_engine("creation-lists-of-floats-always-single", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def makes_lists_of_floats_single(hit: Hit) -> Iterator[None]:
    def make(tensor: Any) -> Any:
        def wrong(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            made = tensor(data, *args, **kwargs)
            told = kwargs.get("dtype") is not None or not _is_list(data) or hasattr(_first(data), "dtype")
            if told or not made.is_floating_point() or made.dtype == torch.float32:
                return made
            hit()
            return tensor(data, *args, **{**kwargs, "dtype": torch.float32})

        return wrong

    with replaced(torch, "tensor", make):
        yield
