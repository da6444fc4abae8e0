"""spec/leaves/flag.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Make = Callable[..., torch.Tensor]


@wrong_engine("leaf-factory-copies-flag")
@contextmanager
def takes_the_flag_over(hit: Hit) -> Iterator[None]:
    def make(honest: Make) -> Make:
        def wrong(other: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            result = honest(other, *args, **kwargs)
            if other.requires_grad and "requires_grad" not in kwargs:
                hit()
                result.requires_grad_()
            return result

        return wrong

    with replaced(torch, "zeros_like", make), replaced(torch, "ones_like", make):
        yield


@wrong_engine("leaf-empty-never-requires")
@contextmanager
def forgets_the_flag_of_tensors_without_elements(hit: Hit) -> Iterator[None]:
    def make(honest: Make) -> Make:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            result = honest(*args, **kwargs)
            if result.requires_grad and result.numel() == 0:
                hit()
                return result.detach()
            return result

        return wrong

    with replaced(torch, "tensor", make), replaced(torch, "zeros", make):
        yield


@wrong_engine("leaf-any-dtype")
@contextmanager
def lets_the_flag_be_set_on_any_tensor(hit: Hit) -> Iterator[None]:
    def is_discrete(tensor: torch.Tensor) -> bool:
        return not (tensor.is_floating_point() or tensor.is_complex())

    def make_attribute(honest: Any) -> property:
        def read(tensor: torch.Tensor) -> bool:
            return bool(vars(tensor).get("_asked") or honest.__get__(tensor))

        def write(tensor: torch.Tensor, flag: bool) -> None:
            if flag and is_discrete(tensor):
                hit()
                tensor._asked = True  # type: ignore[attr-defined]
            else:
                honest.__set__(tensor, flag)

        return property(read, write)

    def make_method(honest: Make) -> Make:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if requires_grad and is_discrete(tensor):
                tensor.requires_grad = True
                return tensor
            return honest(tensor, requires_grad)

        return wrong

    def make_constructor(honest: Make) -> Make:
        def wrong(data: Any, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
            return honest(data, **kwargs).requires_grad_(requires_grad)

        return wrong

    with (
        replaced(torch.Tensor, "requires_grad", make_attribute),
        replaced(torch.Tensor, "requires_grad_", make_method),
        replaced(torch, "tensor", make_constructor),
    ):
        yield


@wrong_engine("leaf-integers-become-floats")
@contextmanager
def makes_floats_of_integers_that_are_to_require_grad(hit: Hit) -> Iterator[None]:
    def make(honest: Make) -> Make:
        def wrong(data: Any, dtype: Any = None, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
            if requires_grad and dtype in (torch.int64, torch.int32):
                hit()
                dtype = torch.float32
            return honest(data, dtype=dtype, requires_grad=requires_grad, **kwargs)

        return wrong

    with replaced(torch, "tensor", make):
        yield
