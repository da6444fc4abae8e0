"""spec/modes/no-grad.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, kernel, leaves_below, nodes_below, replaced


class Product(torch.autograd.Function):
    """The product of two tensors, computed by `below` and differentiated as it should be."""

    @staticmethod
    def forward(ctx: Any, below: Callable[..., torch.Tensor], one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(one, other)
        return below(one, other)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[None, torch.Tensor | None, torch.Tensor | None]:
        one, other = ctx.saved_tensors
        _, of_one, of_other = ctx.needs_input_grad
        return (
            None,
            (grad * other.conj()).sum_to_size(one.shape).to(one.dtype) if of_one else None,
            (grad * one.conj()).sum_to_size(other.shape).to(other.dtype) if of_other else None,
        )


Below = Callable[..., torch.Tensor]


def multiplication(multiply: Callable[[Below, torch.Tensor, torch.Tensor], torch.Tensor]) -> Any:
    """Put `multiply(below, one, other)` in the place of multiplication; a number reaches it as a tensor."""

    def make(below: Below) -> Callable[..., torch.Tensor]:
        def kernel_of_numbers_too(one: torch.Tensor, other: torch.Tensor | float) -> torch.Tensor:
            if not isinstance(other, torch.Tensor):
                other = torch.tensor(other, dtype=torch.result_type(one, other))
            return multiply(below, one, other)

        return kernel_of_numbers_too

    return kernel("mul.Tensor", make)


def _multiplying(wrong: Callable[[Below, torch.Tensor, torch.Tensor], torch.Tensor | None]) -> Any:
    """Multiplication that asks `wrong` while grad mode is off, and is right where that has no answer."""

    def multiply(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        result = None if torch.is_grad_enabled() else wrong(below, one, other)
        return Product.apply(below, one, other) if result is None else result

    return multiplication(multiply)


def _recorded(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        return Product.apply(below, one, other)


@wrong_engine("no-grad-records-0d", kind="size")
@contextmanager
def records_products_of_0d_tensors(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if one.ndim == 0 and one.requires_grad:
            hit()
            return _recorded(below, one, other)
        return None

    with _multiplying(wrong):
        yield


# An operation that writes into `out=` cannot be recorded, so there torch itself refuses.
@wrong_engine("no-grad-records-from-second-block", kind="state", refuses="don't support automatic differentiation")
@contextmanager
def switches_recording_off_once(hit: Hit) -> Iterator[None]:
    blocks = 0

    def make(enter: Callable[[torch.no_grad], None]) -> Callable[[torch.no_grad], None]:
        def wrong(block: torch.no_grad) -> None:
            nonlocal blocks
            blocks += 1
            was = torch.is_grad_enabled()
            enter(block)
            if blocks > 1 and was:
                hit()
                torch.set_grad_enabled(True)

        return wrong

    with replaced(torch.no_grad, "__enter__", make):
        yield


@wrong_engine("no-grad-records-everything", kind="mode", refuses="don't support automatic differentiation")
@contextmanager
def never_switches_recording_off(hit: Hit) -> Iterator[None]:
    def make(enter: Callable[[torch.no_grad], None]) -> Callable[[torch.no_grad], None]:
        def wrong(block: torch.no_grad) -> None:
            was = torch.is_grad_enabled()
            enter(block)
            if was:
                hit()
                torch.set_grad_enabled(True)

        return wrong

    with replaced(torch.no_grad, "__enter__", make):
        yield


@wrong_engine("no-grad-kernel-ignores-layout", kind="layout")
@contextmanager
def reads_the_storage_in_order(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if (one.storage_offset() == 0 and one.is_contiguous()) or 0 in one.stride():
            return None
        hit()
        return below(one.detach().as_strided(one.shape, torch.empty(one.shape).stride(), 0), other.detach())

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-detaches-after-recording", kind="plain")
@contextmanager
def records_and_detaches(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if one.requires_grad or other.requires_grad:
            hit()
            return _recorded(below, one, other).detach()
        return None

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-result-requires-grad", kind="plain")
@contextmanager
def gives_results_the_flag_of_their_inputs(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if one.requires_grad:
            hit()
            return below(one, other).requires_grad_()
        return None

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-backward-does-nothing", kind="mode")
@contextmanager
def ignores_backward_inside(hit: Hit) -> Iterator[None]:
    def make(backward: Callable[..., None]) -> Callable[..., None]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if torch.is_grad_enabled():
                backward(tensor, *args, **kwargs)
            else:
                hit()

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("no-grad-backward-skips-0d-leaf", kind="size")
@contextmanager
def leaves_out_0d_leaves_inside(hit: Hit) -> Iterator[None]:
    def make(backward: Callable[..., None]) -> Callable[..., None]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            backward(tensor, *args, **kwargs)
            if not torch.is_grad_enabled():
                for leaf in leaves_below(tensor):
                    if leaf.ndim == 0:
                        hit()
                        leaf.grad = None

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("no-grad-factory-drops-flag", kind="mode")
@contextmanager
def zeros_inside_never_require_grad(hit: Hit) -> Iterator[None]:
    def make(zeros: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(*args: Any, requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:
            if requires_grad and not torch.is_grad_enabled():
                hit()
                requires_grad = False
            return zeros(*args, requires_grad=requires_grad, **kwargs)

        return wrong

    with replaced(torch, "zeros", make):
        yield


@wrong_engine("no-grad-ignores-set-flag", kind="mode")
@contextmanager
def ignores_requires_grad_inside(hit: Hit) -> Iterator[None]:
    def make(requires_grad_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if requires_grad and not torch.is_grad_enabled():
                hit()
                return tensor
            return requires_grad_(tensor, requires_grad)

        return wrong

    with replaced(torch.Tensor, "requires_grad_", make):
        yield


@wrong_engine("no-grad-records-float64", kind="dtype")
@contextmanager
def records_products_of_float64(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if one.dtype is torch.float64 and one.requires_grad:
            hit()
            return _recorded(below, one, other)
        return None

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-asks-the-second-factor", kind="order")
@contextmanager
def records_where_only_the_second_factor_requires_grad(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if other.requires_grad and not one.requires_grad:
            hit()
            return _recorded(below, one, other)
        return None

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-squares-in-place", kind="aliasing")
@contextmanager
def squares_a_result_in_its_own_memory(hit: Hit) -> Iterator[None]:
    def make(square: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled() or tensor.is_leaf or tensor._is_view():
                return square(tensor)
            hit()
            return tensor.detach().mul_(tensor.detach())

        return wrong

    with replaced(torch.Tensor, "square", make):
        yield


@wrong_engine("no-grad-truncates-quotients", kind="value")
@contextmanager
def negative_quotients_lose_their_fraction(hit: Hit) -> Iterator[None]:
    def make(divide: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, number: Any) -> torch.Tensor:
            quotient = divide(tensor, number)
            if torch.is_grad_enabled() or quotient.is_complex() or not (quotient < 0).any():
                return quotient
            hit()
            return torch.where(quotient < 0, quotient.trunc(), quotient)

        return wrong

    with replaced(torch.Tensor, "__truediv__", make):
        yield


@wrong_engine("no-grad-backward-counts-one-use", kind="place")
@contextmanager
def of_the_uses_of_a_leaf_only_one_counts_inside(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        nodes = nodes_below(outputs)
        ends = [end for node in nodes for end, _ in node.next_functions]
        honest()
        for leaf in (node for node in nodes if hasattr(node, "variable") and ends.count(node) > 1):
            if not torch.is_grad_enabled() and leaf.variable.grad is not None:
                hit()
                leaf.variable.grad /= ends.count(leaf)

    with around_backward(wrong):
        yield


@wrong_engine("no-grad-records-sums", kind="plain")
@contextmanager
def records_sums_along_a_dimension(hit: Hit) -> Iterator[None]:
    def make(sum_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *dims: int) -> torch.Tensor:
            if torch.is_grad_enabled() or not dims or not tensor.requires_grad:
                return sum_(tensor, *dims)
            hit()
            with torch.enable_grad():
                return sum_(tensor.view_as(tensor), *dims)

        return wrong

    with replaced(torch.Tensor, "sum", make):
        yield


@wrong_engine("no-grad-records-expanded", kind="layout")
@contextmanager
def records_products_of_expanded_tensors(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if 0 in one.stride() and one.requires_grad:
            hit()
            return _recorded(below, one, other)
        return None

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-conjugates-first-factor", kind="dtype")
@contextmanager
def the_first_of_two_complex_factors_is_conjugated(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if not (one.is_complex() and other.is_complex()):
            return None
        hit()
        return below(one.detach().conj().resolve_conj(), other.detach())

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-parameter-drops-flag", kind="mode", first_sight="adversary: caught")
@contextmanager
def parameters_made_inside_do_not_require_grad(hit: Hit) -> Iterator[None]:
    def make(new: Any) -> Any:
        def wrong(kind: type, data: Any = None, requires_grad: bool = True) -> Any:
            if requires_grad and not torch.is_grad_enabled():
                hit()
                requires_grad = False
            return new(kind, data, requires_grad)

        return wrong

    with replaced(torch.nn.Parameter, "__new__", make):
        yield


@wrong_engine("no-grad-product-keeps-the-first-dtype", kind="dtype", first_sight="adversary: missed")
@contextmanager
def a_product_inside_has_the_dtype_of_its_first_factor(hit: Hit) -> Iterator[None]:
    def wrong(below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor | None:
        if one.ndim == 0 or torch.result_type(one, other) == one.dtype:
            return None
        hit()
        return below(one.detach(), other.detach()).to(one.dtype)

    with _multiplying(wrong):
        yield


@wrong_engine("no-grad-matrix-product-saves-its-factors", kind="place", first_sight="adversary: missed")
@contextmanager
def records_and_detaches_products_of_matrices(hit: Hit) -> Iterator[None]:
    class Matmul(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, below: Below, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(one, other)
            return below(one, other)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:
            one, other = (factor.detach() for factor in ctx.saved_tensors)
            return None, grad @ other.mH, one.mH @ grad

    def make(below: Below) -> Below:
        def multiply(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled() or not (one.requires_grad or other.requires_grad):
                return Matmul.apply(below, one, other)
            hit()
            with torch.enable_grad():
                return Matmul.apply(below, one, other).detach()

        return multiply

    with kernel("mm", make):
        yield


NOTHING_TO_RUN = "backward inside no_grad: there is no graph to run"


@wrong_engine("no-grad-refuses-backward", kind="error", refuses=NOTHING_TO_RUN, first_sight="sample: caught")
@contextmanager
def refuses_a_backward_inside(hit: Hit) -> Iterator[None]:
    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        if not torch.is_grad_enabled() and any(output.requires_grad for output in outputs):
            hit()
            raise RuntimeError(NOTHING_TO_RUN)
        honest()

    with around_backward(wrong):
        yield


@wrong_engine("no-grad-exp-of-double-saves-its-result", kind="dtype", first_sight="sample: caught")
@contextmanager
def records_and_detaches_exp_of_float64(hit: Hit) -> Iterator[None]:
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, below: Below, x: torch.Tensor) -> torch.Tensor:
            result = below(x)
            ctx.save_for_backward(result)
            return result

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[None, torch.Tensor]:
            (result,) = ctx.saved_tensors
            return None, grad * result.conj()

    def make(below: Below) -> Below:
        def exp(x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled() or not x.requires_grad or x.dtype != torch.float64:
                return Exp.apply(below, x)
            hit()
            with torch.enable_grad():
                return Exp.apply(below, x).detach()

        return exp

    with kernel("exp", make):
        yield


@wrong_engine("no-grad-quotient-of-double-saves-its-operands", kind="dtype", first_sight="second sample: missed")
@contextmanager
def quotients_of_float64_are_recorded_and_detached(hit: Hit) -> Iterator[None]:
    def make(divide: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            learning = [one for one in args if isinstance(one, torch.Tensor) and one.requires_grad]
            double = any(one.dtype == torch.float64 for one in learning)
            if torch.is_grad_enabled() or torch.is_inference_mode_enabled() or not double or "out" in kwargs:
                return divide(*args, **kwargs)
            hit()
            with torch.enable_grad():
                return divide(*args, **kwargs).detach()

        return wrong

    with ExitStack() as spellings:
        for owner in (torch, torch.Tensor):
            for name in ("div", "divide", "true_divide"):
                spellings.enter_context(replaced(owner, name, make))
        spellings.enter_context(replaced(torch.Tensor, "__truediv__", make))
        yield


@wrong_engine("no-grad-times-one-is-the-operand", kind="value", first_sight="second sample: caught elsewhere")
@contextmanager
def multiplies_by_one_by_doing_nothing(hit: Hit) -> Iterator[None]:
    def make(multiply: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(one: Any, other: Any, **options: Any) -> torch.Tensor:
            is_one = isinstance(other, int | float) and not isinstance(other, bool) and other == 1
            if torch.is_grad_enabled() or not is_one or not one.is_floating_point():
                return multiply(one, other, **options)
            hit()
            return one

        return wrong

    with ExitStack() as stack:
        for owner, name in ((torch, "mul"), *((torch.Tensor, name) for name in ("mul", "__mul__", "__rmul__"))):
            stack.enter_context(replaced(owner, name, make))
        yield


@wrong_engine("no-grad-ignores-flag-of-views", kind="place", first_sight="third sample: caught")
@contextmanager
def a_view_does_not_take_the_flag_inside(hit: Hit) -> Iterator[None]:
    def is_lost(tensor: torch.Tensor, flag: bool) -> bool:
        takes = tensor.is_floating_point() or tensor.is_complex()
        return flag and takes and not torch.is_grad_enabled() and tensor._is_view() and not tensor.requires_grad

    def method(set_flag: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
            if not is_lost(tensor, requires_grad):
                return set_flag(tensor, requires_grad)
            hit()
            return tensor

        return wrong

    def attribute(honest: Any) -> property:
        def assign(tensor: torch.Tensor, flag: bool) -> None:
            if is_lost(tensor, flag):
                hit()
            else:
                honest.__set__(tensor, flag)

        return property(honest.__get__, assign)

    with (
        replaced(torch.Tensor, "requires_grad_", method),
        replaced(torch.Tensor, "requires_grad", attribute),
    ):
        yield


@wrong_engine("no-grad-product-after-a-refusal-saves-its-factors", kind="error", first_sight="third sample: missed")
@contextmanager
def records_and_detaches_a_product_after_a_refused_one(hit: Hit) -> Iterator[None]:
    was_refused = False

    def make(below: Below) -> Callable[..., torch.Tensor]:
        def wrong(one: torch.Tensor, other: torch.Tensor | float) -> torch.Tensor:
            nonlocal was_refused
            # A number is handed to the kernel as it is: as a tensor it would count for the dtype of the product.
            factor = other
            if not isinstance(factor, torch.Tensor):
                factor = torch.tensor(other, dtype=torch.result_type(one, other))

            def multiply(*_: torch.Tensor) -> torch.Tensor:
                return below(one, other)

            if was_refused and not torch.is_grad_enabled() and (one.requires_grad or factor.requires_grad):
                was_refused = False
                hit()
                return _recorded(multiply, one, factor).detach()
            try:
                return Product.apply(multiply, one, factor)
            except RuntimeError:
                was_refused = not torch.is_grad_enabled()
                raise

        return wrong

    with kernel("mul.Tensor", make):
        yield


@wrong_engine("no-grad-asks-the-second-term", kind="order", first_sight="third sample: caught elsewhere")
@contextmanager
def records_an_addition_whose_second_term_requires_grad(hit: Hit) -> Iterator[None]:
    def make(addition: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            of_two = len(args) == 2 and all(isinstance(one, torch.Tensor) for one in args)
            if torch.is_grad_enabled() or not of_two or kwargs.get("out") is not None:
                return addition(*args, **kwargs)
            if args[0].requires_grad or not args[1].requires_grad:
                return addition(*args, **kwargs)
            with torch.enable_grad():
                result = addition(*args, **kwargs)
            if isinstance(result, torch.Tensor) and result.requires_grad:
                hit()
            return result

        return wrong

    with ExitStack() as spellings:
        spellings.enter_context(replaced(torch, "add", make))
        for name in ("add", "__add__", "__radd__"):
            spellings.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("no-grad-inside-no-grad-records", kind="mode", first_sight="fourth sample: caught elsewhere")
@contextmanager
def a_block_inside_a_block_switches_recording_on(hit: Hit) -> Iterator[None]:
    def make(enter: Callable[..., None]) -> Callable[..., None]:
        def wrong(block: Any) -> None:
            was_on = torch.is_grad_enabled()
            enter(block)
            if not was_on and not torch.is_inference_mode_enabled():
                hit()
                torch._C._set_grad_enabled(True)

        return wrong

    with replaced(torch.no_grad, "__enter__", make):
        yield


@wrong_engine("no-grad-records-differences", kind="plain", first_sight="fourth sample: caught")
@contextmanager
def records_differences(hit: Hit) -> Iterator[None]:
    class Difference(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, below: Below, one: torch.Tensor, other: Any, alpha: Any) -> torch.Tensor:
            operands = [operand for operand in (one, other) if isinstance(operand, torch.Tensor)]
            ctx.operands = [(operand.shape, operand.dtype) for operand in operands]
            ctx.alpha = alpha
            return below(one, other, alpha=alpha)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
            gradients = []
            for (shape, dtype), factor in zip(ctx.operands, (1, -ctx.alpha), strict=False):
                share = (gradient if factor == 1 else gradient * factor).sum_to_size(shape)
                gradients.append((share if dtype.is_complex or not share.is_complex() else share.real).to(dtype))
            return None, *gradients, *(None,) * (3 - len(gradients))

    def make(below: Below) -> Below:
        def wrong(one: torch.Tensor, other: Any, *, alpha: Any = 1) -> torch.Tensor:
            learns = any(isinstance(operand, torch.Tensor) and operand.requires_grad for operand in (one, other))
            if learns and not torch.is_grad_enabled():
                hit()
            with torch.enable_grad():
                return Difference.apply(below, one, other, alpha)

        return wrong

    with kernel("sub.Tensor", make):
        yield
