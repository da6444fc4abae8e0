"""spec/leaves/flag.md"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._device import _device_constructors

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

Make = Callable[..., torch.Tensor]


@wrong_engine("leaf-factory-copies-flag", kind="plain")
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


@wrong_engine("leaf-empty-never-requires", kind="size")
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


@wrong_engine("leaf-any-dtype", kind="error")
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


@wrong_engine("leaf-integers-become-floats", kind="dtype")
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


@wrong_engine("leaf-randn-forgets-the-flag", kind="plain", issue="pytorch#100346")
@contextmanager
def randn_ignores_that_it_is_asked_for_gradients(hit: Hit) -> Iterator[None]:
    def make(honest: Make) -> Make:
        def wrong(*args: Any, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
            if requires_grad:
                hit()
            return honest(*args, **kwargs)

        return wrong

    with replaced(torch, "randn", make):
        yield


def _forgetting(forgets: Callable[[Any], bool], hit: Hit) -> Callable[[Make], Make]:
    """Makes a factory forget that it was asked for gradients where `forgets(its first argument)`."""

    def make(honest: Make) -> Make:
        def wrong(first: Any, *args: Any, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
            if requires_grad and forgets(first):
                hit()
                requires_grad = False
            return honest(first, *args, requires_grad=requires_grad, **kwargs)

        return wrong

    return make


@wrong_engine("leaf-like-of-strided-forgets", kind="layout")
@contextmanager
def a_tensor_made_to_match_a_strided_one_forgets_the_flag(hit: Hit) -> Iterator[None]:
    make = _forgetting(lambda other: not other.is_contiguous(), hit)
    with replaced(torch, "zeros_like", make), replaced(torch, "ones_like", make), replaced(torch, "full_like", make):
        yield


@wrong_engine("leaf-made-under-no-grad-forgets", kind="mode")
@contextmanager
def a_factory_forgets_the_flag_while_nothing_is_recorded(hit: Hit) -> Iterator[None]:
    make = _forgetting(lambda first: not torch.is_grad_enabled(), hit)
    with contextlib.ExitStack() as stack:
        for owner, name in ((torch, "empty_like"), (torch, "full_like"), (torch, "zeros_like")):
            stack.enter_context(replaced(owner, name, make))
        for name in ("new_zeros", "new_full", "new_tensor"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("leaf-parameter-of-one-row-forgets", kind="size")
@contextmanager
def a_parameter_with_a_side_of_one_does_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(kind: Any, data: Any = None, requires_grad: bool = True) -> torch.Tensor:
            result: torch.Tensor = honest(kind, data, requires_grad)
            if result.requires_grad and 1 in result.shape:
                hit()
                return result.requires_grad_(False)
            return result

        return staticmethod(wrong)

    with replaced(torch.nn.Parameter, "__new__", make):
        yield


@wrong_engine("leaf-takes-integers-as-data", kind="dtype", issue="pytorch#76008")
@contextmanager
def a_leaf_takes_integers_by_its_data(hit: Hit) -> Iterator[None]:
    def make(data: Any) -> property:
        def assign(tensor: torch.Tensor, value: torch.Tensor) -> None:
            if not tensor.requires_grad or value.is_floating_point() or value.is_complex():
                data.__set__(tensor, value)
            else:
                hit()

        return property(data.__get__, assign)

    with replaced(torch.Tensor, "data", make):
        yield


FLOATING_ONLY = "only Tensors of floating point dtype can require gradients"


@wrong_engine("leaf-complex-factory-drops-flag", kind="dtype", first_sight="adversary: caught")
@contextmanager
def factories_of_complex_numbers_ignore_the_flag(hit: Hit) -> Iterator[None]:
    _device_constructors()  # torch lists its factories when it first needs them: before they are replaced

    def make(factory: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            made = factory(*args, **kwargs)
            if not (made.requires_grad and made.is_complex()):
                return made
            hit()
            return made.requires_grad_(False)

        return wrong

    with ExitStack() as factories:
        for name in ("zeros", "ones", "full", "randn", "tensor"):
            factories.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("leaf-integers-refuse-any-flag", kind="error", refuses=FLOATING_ONLY, first_sight="adversary: caught")
@contextmanager
def integers_refuse_to_be_asked_for_no_gradient(hit: Hit) -> Iterator[None]:
    def make(honest: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if not requires_grad and not tensor.is_floating_point() and not tensor.is_complex():
                hit()
                raise RuntimeError(FLOATING_ONLY)
            return honest(tensor, requires_grad)

        return wrong

    with replaced(torch.Tensor, "requires_grad_", make):
        yield


@wrong_engine("leaf-converts-integer-data-inside", kind="mode", first_sight="sample: missed")
@contextmanager
def a_leaf_takes_integers_as_its_data_while_grad_mode_is_off(hit: Hit) -> Iterator[None]:
    def make(data: Any) -> property:
        def assign(tensor: torch.Tensor, value: torch.Tensor) -> None:
            discrete = not (value.is_floating_point() or value.is_complex())
            if discrete and tensor.requires_grad and tensor.is_leaf and not torch.is_grad_enabled():
                hit()
                value = value.to(tensor.dtype)
            data.__set__(tensor, value)

        return property(data.__get__, assign)

    with replaced(torch.Tensor, "data", make):
        yield


@wrong_engine("leaf-parameter-of-float16-forgets", kind="dtype", first_sight="second sample: caught")
@contextmanager
def a_parameter_of_float16_does_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(kind: Any, data: Any = None, requires_grad: bool = True) -> torch.Tensor:
            result: torch.Tensor = honest(kind, data, requires_grad)
            if result.requires_grad and result.dtype == torch.float16:
                hit()
                return result.requires_grad_(False)
            return result

        return staticmethod(wrong)

    with replaced(torch.nn.Parameter, "__new__", make):
        yield


@wrong_engine("leaf-refuses-integer-data-and-stops-requiring", kind="error", first_sight="third sample: caught")
@contextmanager
def a_leaf_that_has_refused_integers_does_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(data: Any) -> property:
        def assign(tensor: torch.Tensor, value: torch.Tensor) -> None:
            try:
                data.__set__(tensor, value)
            except RuntimeError:
                discrete = not (value.is_floating_point() or value.is_complex())
                if discrete and tensor.requires_grad and tensor.is_leaf:
                    hit()
                    tensor.requires_grad_(False)
                raise

        return property(data.__get__, assign)

    with replaced(torch.Tensor, "data", make):
        yield


@wrong_engine("leaf-parameter-flag-by-position-lost", kind="order", first_sight="fourth sample: caught")
@contextmanager
def a_parameter_requires_grad_whatever_stands_in_second_place(hit: Hit) -> Iterator[None]:
    def make(honest: Any) -> Any:
        def wrong(kind: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) < 2 or args[1]:
                return honest(kind, *args, **kwargs)
            hit()
            return honest(kind, args[0], True)

        return staticmethod(wrong)

    with replaced(torch.nn.Parameter, "__new__", make):
        yield
