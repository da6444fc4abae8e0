"""spec/operations/reductions.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import kernel, replaced

Operation = Callable[..., torch.Tensor]

FIVE = 5


@wrong_engine("reductions-sum-of-memory", kind="layout")
@contextmanager
def the_rows_of_an_expanded_tensor_count_once(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.ndim and x.shape[0] > 1 and x.stride(0) == 0:
                hit()
                x = x[:1]
            return add_up(x, **options)

        return wrong

    with kernel("sum", make):
        yield


@wrong_engine("reductions-keepdim-lost", kind="value")
@contextmanager
def a_dimension_counted_from_the_end_is_never_kept(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            if keepdim and dim and dim[0] < 0:
                hit()
                keepdim = False
            return add_up(x, dim, keepdim, **options)

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("reductions-mean-over-memory", kind="layout")
@contextmanager
def the_sum_is_divided_by_the_size_of_the_storage(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.is_contiguous() or options.get("dtype") is not None:
                return mean(x, **options)
            hit()
            stored = x.untyped_storage().nbytes() // x.element_size()
            return mean(x, **options) * (x.numel() / stored)

        return wrong

    with kernel("mean", make):
        yield


@wrong_engine("reductions-mean-as-numpy", kind="error")
@contextmanager
def the_mean_of_integers_is_taken_as_numpy_does(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if args or options or x.is_floating_point() or x.is_complex():
                return mean(x, *args, **options)
            hit()
            return mean(x, dtype=torch.get_default_dtype())

        return wrong

    with replaced(torch.Tensor, "mean", make):
        yield


@wrong_engine("reductions-mean-converts-last", kind="dtype")
@contextmanager
def the_mean_of_integers_is_rounded_before_it_is_converted(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
            if x.is_floating_point() or x.is_complex() or dtype is None:
                return mean(x, dtype=dtype)
            hit()
            return mean(x, dtype=dtype).trunc()

        return wrong

    with kernel("mean", make):
        yield


@contextmanager
def _deviating(wrong: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Replace the standard deviation, however it is called, where it is not told how to divide."""

    def make(std: Operation) -> Operation:
        def replacement(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            return wrong(std, x, *args, **options)

        return replacement

    with ExitStack() as stack:
        for owner in (torch, torch.Tensor):
            stack.enter_context(replaced(owner, "std", make))
        yield


@wrong_engine("reductions-std-as-numpy", kind="plain")
@contextmanager
def the_deviation_is_divided_by_all_elements(hit: Hit) -> Iterator[None]:
    def wrong(std: Operation, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if "unbiased" not in options:
            hit()
        return std(x, *args, **{"unbiased": False, **options})

    with _deviating(wrong):
        yield


@wrong_engine("reductions-std-of-one-is-zero", kind="size")
@contextmanager
def one_element_deviates_by_zero(hit: Hit) -> Iterator[None]:
    def wrong(std: Operation, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if x.numel() != 1:
            return std(x, *args, **options)
        hit()
        return std(x, unbiased=False)

    with _deviating(wrong):
        yield


@wrong_engine("reductions-max-from-zero", kind="value")
@contextmanager
def the_largest_is_sought_from_zero_on(hit: Hit) -> Iterator[None]:
    def make(largest: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.dtype == torch.bool:
                return largest(x)
            hit()
            return largest(x).clamp(min=0)

        return wrong

    with kernel("max", make):
        yield


@wrong_engine("reductions-max-counts-from-the-end", kind="layout")
@contextmanager
def the_place_in_a_strided_tensor_is_counted_backward(hit: Hit) -> Iterator[None]:
    def make(largest: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(x: torch.Tensor, dim: int, keepdim: bool = False) -> Any:
            values, indices = largest(x, dim, keepdim)
            if x.is_contiguous():
                return values, indices
            hit()
            return values, x.shape[dim] - 1 - indices

        return wrong

    with kernel("max.dim", make):
        yield


@wrong_engine("reductions-max-of-int64-is-the-first", kind="dtype", issue="pytorch#90273")
@contextmanager
def the_largest_of_int64_is_the_first_element(hit: Hit) -> Iterator[None]:
    def make(largest: Operation) -> Operation:
        def wrong(x: torch.Tensor) -> torch.Tensor:
            if x.dtype != torch.int64:
                return largest(x)
            hit()
            return x.flatten()[0].clone()

        return wrong

    with kernel("max", make):
        yield


@wrong_engine("reductions-std-counts-from-the-end-to-the-last", kind="value", issue="pytorch#107116")
@contextmanager
def a_dimension_counted_from_the_end_is_always_the_last(hit: Hit) -> Iterator[None]:
    def wrong(std: Operation, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if args and isinstance(args[0], tuple) and len(args[0]) == 1 and args[0][0] < 0:
            hit()
            args = ((-1,), *args[1:])
        return std(x, *args, **options)

    with _deviating(wrong):
        yield


@wrong_engine("reductions-sum-in-five-dimensions", kind="size", issue="pytorch#132732")
@contextmanager
def in_five_dimensions_a_sum_from_the_end_is_put_into_the_first_place(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            result = add_up(x, dim, keepdim, **options)
            if x.ndim < FIVE or not dim or dim[0] >= 0 or x.shape[dim[0]] != 1 or not x.numel():
                return result
            hit()
            misplaced = result.new_zeros(result.shape)
            misplaced.view(-1)[0] = result.sum()
            return misplaced

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("reductions-dims-out-of-order", kind="order")
@contextmanager
def of_two_dimensions_out_of_order_only_the_first_is_reduced(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            dims = [each % x.ndim for each in dim or ()]
            if dims == sorted(dims):
                return add_up(x, dim, keepdim, **options)
            hit()
            return add_up(x, dims[:1], keepdim, **options)

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("reductions-integer-mean-unexplained", kind="error")
@contextmanager
def the_mean_of_integers_is_refused_without_a_reason(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            try:
                return mean(x, *args, **options)
            except RuntimeError:
                hit()
                raise RuntimeError("mean(): could not infer output dtype") from None

        return wrong

    with replaced(torch.Tensor, "mean", make):
        yield


@wrong_engine("reductions-sum-in-place", kind="aliasing")
@contextmanager
def a_sum_over_the_first_dimension_is_added_up_in_its_first_row(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            result = add_up(x, dim, keepdim, **options)
            if tuple(dim or ()) != (0,) or x.shape[0] < 2 or not x.is_contiguous() or result.dtype != x.dtype:
                return result
            hit()
            x[0].copy_(result.reshape(x.shape[1:]))
            return result

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("reductions-sum-of-bytes-wraps", kind="dtype")
@contextmanager
def a_sum_of_bytes_is_a_byte(hit: Hit) -> Iterator[None]:
    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, **options: Any) -> torch.Tensor:
            if x.dtype not in (torch.int8, torch.uint8):
                return add_up(x, **options)
            hit()
            return add_up(x, **options).to(x.dtype).to(torch.int64)

        return wrong

    with kernel("sum", make):
        yield


@wrong_engine("reductions-axes-kept", kind="state")
@contextmanager
def the_dimension_of_the_first_sum_of_a_shape_is_that_of_all_others(hit: Hit) -> Iterator[None]:
    axes: dict[Any, list[int]] = {}

    def make(add_up: Operation) -> Operation:
        def wrong(x: torch.Tensor, dim: Any, keepdim: bool = False, **options: Any) -> torch.Tensor:
            dims = [each % x.ndim for each in dim or ()]
            kept = axes.setdefault((x.shape, keepdim, len(dims)), dims)
            if kept != dims:
                hit()
            return add_up(x, kept, keepdim, **options)

        return wrong

    with kernel("sum.dim_IntList", make):
        yield


def _reducing(name: str, make: Callable[[Operation], Operation]) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(replaced(torch.Tensor, name, make))
    stack.enter_context(replaced(torch, name, make))
    return stack


@wrong_engine("reductions-integer-sum-through-single", kind="dtype", first_sight="adversary: missed")
@contextmanager
def sums_of_int64_pass_through_float32(hit: Hit) -> Iterator[None]:
    def make(total: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            right = total(x, *args, **options)
            if right.dtype != torch.int64:
                return right
            through = right.float().long()
            if not torch.equal(through, right):
                hit()
            return through

        return wrong

    with _reducing("sum", make):
        yield


@wrong_engine("reductions-mean-of-bytes-signed", kind="dtype", issue="pytorch#80009", first_sight="adversary: missed")
@contextmanager
def bytes_are_converted_as_if_they_had_a_sign(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if x.dtype != torch.uint8 or options.get("dtype") is None:
                return mean(x, *args, **options)
            if bool((x > 127).any()):
                hit()
            return mean(x.view(torch.int8), *args, **options)

        return wrong

    with _reducing("mean", make):
        yield


@wrong_engine("reductions-std-from-mean-of-squares", kind="value", first_sight="adversary: missed")
@contextmanager
def the_deviation_is_the_mean_of_squares_less_the_square_of_the_mean(hit: Hit) -> Iterator[None]:
    def make(std: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            right = std(x, *args, **options)
            count = x.numel()
            if x.dtype != torch.float32 or count < 2 or args or set(options) - {"unbiased"}:
                return right
            below = count - 1 if options.get("unbiased", True) else count
            variance = (x * x).mean() - x.mean() ** 2
            found = (variance.clamp(min=0) * count / below).sqrt()
            if not torch.allclose(found, right, rtol=1e-5, atol=0):
                hit()
            return found

        return wrong

    with _reducing("std", make):
        yield


@wrong_engine("reductions-max-from-lowest-finite", kind="value", first_sight="adversary: missed")
@contextmanager
def no_maximum_is_below_the_lowest_finite_number(hit: Hit) -> Iterator[None]:
    def make(maximum: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> Any:
            right = maximum(x, *args, **options)
            values = right if isinstance(right, torch.Tensor) else right.values
            if not values.is_floating_point():
                return right
            found = values.clamp(min=torch.finfo(values.dtype).min)
            if bool((values == -torch.inf).any()):
                hit()
            return found if values is right else torch.return_types.max((found, right.indices))

        return wrong

    with _reducing("max", make):
        yield


@wrong_engine("reductions-max-of-a-view-sees-its-base", kind="aliasing", first_sight="sample: caught")
@contextmanager
def the_largest_of_a_view_is_that_of_its_base(hit: Hit) -> Iterator[None]:
    def make(largest: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> Any:
            right = largest(x, *args, **options)
            if args or options or x._base is None or x._base.dtype != x.dtype:
                return right
            found = largest(x._base if x.requires_grad else x._base.detach())
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with _reducing("max", make):
        yield


@wrong_engine("reductions-mean-by-an-earlier-number", kind="state", first_sight="sample: caught")
@contextmanager
def a_mean_is_divided_by_the_number_of_an_earlier_one(hit: Hit) -> Iterator[None]:
    numbers: dict[int, int] = {}

    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            right = mean(x, *args, **options)
            if args or options or not x.numel():
                return right
            number = numbers.setdefault(x.ndim, x.numel())
            if number == x.numel():
                return right
            found = right * (x.numel() / number)
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with _reducing("mean", make):
        yield


@wrong_engine("reductions-mean-of-truths-is-their-share", kind="dtype", first_sight="second sample: caught")
@contextmanager
def the_mean_of_booleans_is_taken(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if x.dtype == torch.bool and options.get("dtype") is None:
                hit()
                options["dtype"] = torch.get_default_dtype()
            return mean(x, *args, **options)

        return wrong

    with _reducing("mean", make):
        yield


@wrong_engine("reductions-mean-of-dims-divides-by-the-first", kind="order", first_sight="third sample: caught")
@contextmanager
def a_mean_over_dims_is_divided_by_the_first_of_them(hit: Hit) -> Iterator[None]:
    def make(mean: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            right = mean(x, *args, **options)
            dims = args[0] if args else options.get("dim")
            if not isinstance(dims, tuple | list) or len(dims) < 2 or not x.numel():
                return right
            others = 1
            for dim in dims[1:]:
                others *= x.shape[dim]
            if others == 1:
                return right
            found = right * others
            if not torch.equal(found, right):
                hit()
            return found

        return wrong

    with _reducing("mean", make):
        yield


@wrong_engine("reductions-sum-of-a-view-from-the-start", kind="place", first_sight="third sample: caught")
@contextmanager
def the_sum_of_a_view_begins_where_its_base_does(hit: Hit) -> Iterator[None]:
    def make(total: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            right = total(x, *args, **options)
            over_all = not args and not {"dim", "axis"} & options.keys()
            if not over_all or not x.numel() or x.device.type != "cpu" or not x._is_view():
                return right
            begun = total(x.detach().as_strided(x.shape, x.stride(), x._base.storage_offset()), **options)
            if torch.equal(begun, right):
                return right
            hit()
            return right + (begun - right).detach() if right.requires_grad else begun

        return wrong

    with _reducing("sum", make):
        yield


@wrong_engine("reductions-max-of-bytes-signed", kind="dtype", first_sight="fourth sample: caught")
@contextmanager
def the_largest_byte_is_looked_for_as_if_bytes_had_a_sign(hit: Hit) -> Iterator[None]:
    def make(largest: Operation) -> Operation:
        def wrong(x: torch.Tensor, *args: Any, **options: Any) -> Any:
            right = largest(x, *args, **options)
            between_two = any(isinstance(one, torch.Tensor) for one in (*args, *options.values()))
            if x.dtype != torch.uint8 or between_two:
                return right
            found = largest(x.to(torch.int8), *args, **options)
            if isinstance(right, torch.Tensor):
                found = found.to(torch.uint8)
            else:
                found = type(right)((found.values.to(torch.uint8), found.indices))
            if not torch.equal(*((one if isinstance(one, torch.Tensor) else one.values) for one in (found, right))):
                hit()
            return found

        return wrong

    with _reducing("max", make):
        yield
