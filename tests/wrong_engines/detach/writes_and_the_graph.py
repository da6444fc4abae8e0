"""spec/detach/writes-and-the-graph.md"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import Backward, around_backward, kernel, leaves_below, nodes_below, replaced

REFUSED = "a leaf Variable that requires grad is being used in an in-place operation."
NOTICED = "one of the variables needed for gradient computation has been modified by an inplace operation"


@wrong_engine("saved-scalars-unchecked", kind="size")
@contextmanager
def squares_zero_dim_tensors_without_a_check(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.unchecked = tensor.data
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * 2 * ctx.unchecked.conj()

    with replaced(torch.Tensor, "__mul__", lambda mul: _squaring(mul, Square, lambda tensor: tensor.dim() == 0)):
        yield


def _squaring(mul: Any, square: Any, where: Callable[[torch.Tensor], bool]) -> Any:
    def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
        return square.apply(tensor) if other is tensor and where(tensor) else mul(tensor, other)

    return wrong


@wrong_engine("saved-results-unchecked", kind="aliasing")
@contextmanager
def exponentiates_without_a_check(hit: Hit) -> Iterator[None]:
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            result = torch.exp(tensor)
            ctx.unchecked = result.data
            return result

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * ctx.unchecked

    with replaced(torch.Tensor, "exp", lambda exp: lambda tensor: Exp.apply(tensor)):
        yield


@wrong_engine("writes-to-empty-uncounted", kind="size")
@contextmanager
def gives_empty_tensors_a_counter_of_their_own(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.numel():
                return below(tensor)
            hit()
            return tensor.data

        return wrong

    with kernel("detach", make):
        yield


@wrong_engine("in-place-check-fires-late", kind="error")
@contextmanager
def raises_after_filling_grad(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            try:
                backward(tensor, *args, **kwargs)
            except RuntimeError as error:
                if NOTICED in str(error):
                    hit()
                    for leaf in leaves_below(tensor):
                        leaf.grad = torch.zeros_like(leaf)
                raise

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("scaling-forgets-written-input", kind="state")
@contextmanager
def gives_no_gradient_to_what_was_written_since(hit: Hit) -> Iterator[None]:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor, number: Any) -> torch.Tensor:
            ctx.tensor, ctx.number, ctx.version = tensor.detach(), number, tensor._version
            return torch.mul(tensor, number)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            if ctx.tensor._version != ctx.version:
                hit()
                return torch.zeros_like(gradient), None
            return gradient * ctx.number, None

    def make(mul: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any) -> torch.Tensor:
            return mul(tensor, other) if isinstance(other, torch.Tensor) else Scale.apply(tensor, other)

        return wrong

    with replaced(torch.Tensor, "__mul__", make):
        yield


@wrong_engine("earlier-view-loses-its-leaf", kind="state")
@contextmanager
def gives_no_gradient_through_unsqueeze_to_what_was_written_since(hit: Hit) -> Iterator[None]:
    class Unsqueeze(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor, dim: int) -> torch.Tensor:
            ctx.tensor, ctx.dim, ctx.version = tensor.detach(), dim, tensor._version
            return torch.unsqueeze(tensor, dim).clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            passed = gradient.squeeze(ctx.dim)
            if ctx.tensor._version != ctx.version:
                hit()
                passed = torch.zeros_like(passed)
            return passed, None

    with replaced(torch.Tensor, "unsqueeze", lambda unsqueeze: lambda tensor, dim: Unsqueeze.apply(tensor, dim)):
        yield


@wrong_engine("saved-version-is-zero", kind="state", refuses=NOTICED)
@contextmanager
def takes_any_earlier_write_for_a_later_one(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.tensor = tensor.detach()
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            if ctx.tensor._version != 0:
                hit()
                raise RuntimeError(NOTICED)
            return gradient * 2 * ctx.tensor

    with replaced(torch.Tensor, "__mul__", lambda mul: _squaring(mul, Square, lambda tensor: True)):
        yield


@wrong_engine("detached-leaf-writes-to-copy", kind="place")
@contextmanager
def detaches_a_copy_of_a_leaf(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor) -> torch.Tensor:
            if not (tensor.is_leaf and tensor.requires_grad):
                return below(tensor)
            hit()
            return below(tensor).clone()

        return wrong

    with kernel("detach", make):
        yield


@wrong_engine("detached-write-needs-no-grad", kind="error", issue="pytorch#95167", refuses=REFUSED)
@contextmanager
def refuses_in_grad_mode_to_write_to_what_requires_grad_under_another_name(hit: Hit) -> Iterator[None]:
    def marked(original: torch.Tensor, other_name: torch.Tensor) -> torch.Tensor:
        other_name._names_what_requires_grad = original.requires_grad  # type: ignore[attr-defined]
        return other_name

    def make_detach(detach: Any) -> Any:
        return lambda tensor: marked(tensor, detach(tensor))

    def make_data(data: Any) -> property:
        return property(lambda tensor: marked(tensor, data.__get__(tensor)), data.__set__)

    def make_update(update: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if torch.is_grad_enabled() and getattr(tensor, "_names_what_requires_grad", False):
                hit()
                raise RuntimeError(REFUSED)
            return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as defects:
        defects.enter_context(replaced(torch.Tensor, "detach", make_detach))
        defects.enter_context(replaced(torch.Tensor, "data", make_data))
        for name in ("add_", "mul_", "copy_", "__isub__"):
            defects.enter_context(replaced(torch.Tensor, name, make_update))
        yield


@wrong_engine("write-joins-the-graph", kind="place")
@contextmanager
def passes_the_gradient_of_the_original_to_the_operand(hit: Hit) -> Iterator[None]:
    # Both are kept alive, so that the id cannot become another tensor's.
    originals: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def make_detach(detach: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def remembering(tensor: torch.Tensor) -> torch.Tensor:
            detached = detach(tensor)
            originals[id(detached)] = (detached, tensor)
            return detached

        return remembering

    def make_add(add_: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, operand: Any, **kwargs: Any) -> torch.Tensor:
            add_(tensor, operand, **kwargs)
            _, original = originals.get(id(tensor), (None, None))
            if original is not None and getattr(operand, "requires_grad", False):
                # A view needs a new node now; grad_fn makes it, and without it register_hook() kills torch 2.13.
                _ = original.grad_fn
                original.register_hook(lambda gradient: pass_on(gradient, operand))
            return tensor

        return wrong

    def pass_on(gradient: torch.Tensor, operand: torch.Tensor) -> None:
        hit()
        operand.grad = gradient.clone()

    with replaced(torch.Tensor, "detach", make_detach), replaced(torch.Tensor, "add_", make_add):
        yield


@wrong_engine("saved-strided-by-copy", kind="layout")
@contextmanager
def saves_a_copy_of_what_is_not_contiguous(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(tensor.contiguous())
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * 2 * ctx.saved_tensors[0].conj()

    def strided(tensor: torch.Tensor) -> bool:
        return not tensor.is_contiguous()

    with replaced(torch.Tensor, "__mul__", lambda mul: _squaring(mul, Square, strided)):
        yield


@wrong_engine("saved-bfloat16-unchecked", kind="dtype")
@contextmanager
def squares_bfloat16_without_a_check(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.unchecked = tensor.data
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * 2 * ctx.unchecked

    def bfloat16(tensor: torch.Tensor) -> bool:
        return tensor.dtype is torch.bfloat16

    with replaced(torch.Tensor, "__mul__", lambda mul: _squaring(mul, Square, bfloat16)):
        yield


@wrong_engine("saved-second-factor-unchecked", kind="order")
@contextmanager
def checks_the_first_factor_only(hit: Hit) -> Iterator[None]:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            ctx.unchecked = other.data
            return torch.mul(one, other)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            hit()
            return gradient * ctx.unchecked.conj(), None

    def make(mul: Any) -> Any:
        def wrong(one: torch.Tensor, other: Any) -> torch.Tensor:
            data = isinstance(other, torch.Tensor) and not other.requires_grad and other.shape == one.shape
            return Product.apply(one, other) if data and one.requires_grad else mul(one, other)

        return wrong

    with replaced(torch.Tensor, "__mul__", make):
        yield


@wrong_engine("idle-write-uncounted", kind="value")
@contextmanager
def adds_zero_without_counting(hit: Hit) -> Iterator[None]:
    def make(add_: Any) -> Any:
        def wrong(tensor: torch.Tensor, other: Any, **kwargs: Any) -> torch.Tensor:
            if isinstance(other, torch.Tensor) or other != 0:
                return add_(tensor, other, **kwargs)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "add_", make):
        yield


@wrong_engine("in-place-check-blames-freeing", kind="error")
@contextmanager
def says_that_the_graph_was_freed(hit: Hit) -> Iterator[None]:
    def make(backward: Any) -> Any:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            try:
                backward(tensor, *args, **kwargs)
            except RuntimeError as error:
                if NOTICED not in str(error):
                    raise
                hit()
                raise RuntimeError("Trying to backward through the graph a second time") from error

        return wrong

    with replaced(torch.Tensor, "backward", make):
        yield


@wrong_engine("saved-views-unchecked", kind="place", issue="pytorch#197887")
@contextmanager
def squares_views_without_a_check(hit: Hit) -> Iterator[None]:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.unchecked = tensor.data
            return tensor.square()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * 2 * ctx.unchecked.conj()

    def view(tensor: torch.Tensor) -> bool:
        return tensor.grad_fn is not None and tensor._is_view()

    with replaced(torch.Tensor, "__mul__", lambda mul: _squaring(mul, Square, view)):
        yield


@wrong_engine("saved-angles-unchecked", kind="plain")
@contextmanager
def takes_the_sine_without_a_check(hit: Hit) -> Iterator[None]:
    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
            ctx.unchecked = tensor.data
            return torch.sin(tensor)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            hit()
            return gradient * ctx.unchecked.cos().conj()

    with replaced(torch.Tensor, "sin", lambda sin: lambda tensor: Sine.apply(tensor)):
        yield


@wrong_engine("sum-along-a-dimension-saves-its-input", kind="place", refuses=NOTICED, first_sight="adversary: missed")
@contextmanager
def a_sum_along_a_dimension_minds_what_was_written_since(hit: Hit) -> Iterator[None]:
    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: torch.Tensor, below: Any, args: Any, kwargs: Any) -> torch.Tensor:
            ctx.tensor, ctx.version, ctx.arguments = tensor.detach(), tensor._version, (args, kwargs)
            return below(tensor, *args, **kwargs)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
            if ctx.tensor._version != ctx.version:
                hit()
                raise RuntimeError(NOTICED)
            (dims, *rest), kwargs = ctx.arguments
            if ctx.tensor.ndim and not (rest[0] if rest else kwargs.get("keepdim", False)):
                for dim in sorted(at % ctx.tensor.ndim for at in dims or range(ctx.tensor.ndim)):
                    gradient = gradient.unsqueeze(dim)
            return gradient.expand(ctx.tensor.shape).to(ctx.tensor.dtype), None, None, None

    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda tensor, *args, **kwargs: Sum.apply(tensor, below, args, kwargs)

    with kernel("sum.dim_IntList", make):
        yield


@wrong_engine("saved-matrices-unchecked", kind="plain", first_sight="sample: missed")
@contextmanager
def multiplies_matrices_without_a_check(hit: Hit) -> Iterator[None]:
    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
                ctx.unchecked = a.data, b.data
                ctx.seen = [(matrix, matrix._version) for matrix in (a, b) if not matrix.is_inference()]
                return below(a, b)

            @staticmethod
            def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                if any(matrix._version != version for matrix, version in ctx.seen):
                    hit()
                a, b = ctx.unchecked
                return below(gradient, b.t().conj()), below(a.t().conj(), gradient)

        return lambda a, b: Product.apply(a, b)

    with kernel("mm", make):
        yield


@wrong_engine("copying-the-same-uncounted", kind="value", first_sight="second sample: caught")
@contextmanager
def copying_what_is_there_counts_for_nothing(hit: Hit) -> Iterator[None]:
    def make(copy: Any) -> Any:
        def wrong(tensor: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
            recorded = torch.is_grad_enabled() and (tensor.requires_grad or source.requires_grad)
            fits = tensor.dtype == source.dtype and tensor.device == source.device and tensor.shape == source.shape
            if recorded or not fits or not torch.equal(tensor, source):
                return copy(tensor, source, non_blocking)
            hit()
            return tensor

        return wrong

    with replaced(torch.Tensor, "copy_", make):
        yield


@wrong_engine("earlier-view-minds-writes", kind="plain", refuses=NOTICED, first_sight="second sample: caught")
@contextmanager
def a_view_of_a_leaf_minds_what_was_written_to_it(hit: Hit) -> Iterator[None]:
    views: list[tuple[weakref.ref[torch.Tensor], int]] = []

    def refuse() -> None:
        hit()
        raise RuntimeError(NOTICED)

    def minding(leaf: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        if not (isinstance(leaf, torch.Tensor) and leaf.is_leaf and view.requires_grad and view is not leaf):
            return view
        unwritten, current = leaf._version, leaf.detach()
        view.register_hook(lambda gradient: refuse() if current._version != unwritten else None)
        views.append((weakref.ref(view), unwritten))
        return view

    def wrong(outputs: list[torch.Tensor], honest: Backward, options: dict[str, Any]) -> None:
        # A view that is used after a write has a node of its own for that, without the hook.
        nodes = nodes_below(outputs)
        for reference, unwritten in views:
            view = reference()
            if view is not None and view._version != unwritten and view.grad_fn in nodes:
                refuse()
        honest()

    def make(honest: Any) -> Any:
        return lambda leaf, *args, **kwargs: minding(leaf, honest(leaf, *args, **kwargs))

    def make_attribute(honest: Any) -> property:
        return property(lambda leaf: minding(leaf, honest.__get__(leaf)))

    names = ("view", "reshape", "unsqueeze", "squeeze", "flatten", "t", "transpose", "permute", "narrow", "select")
    with ExitStack() as stack:
        for name in (*names, "expand", "view_as", "diagonal", "__getitem__"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        for name in names[1:]:
            stack.enter_context(replaced(torch, name, make))
        stack.enter_context(replaced(torch.Tensor, "T", make_attribute))
        stack.enter_context(around_backward(wrong))
        yield


@wrong_engine(
    "addition-saves-what-is-not-contiguous", kind="layout", refuses=NOTICED, first_sight="fourth sample: caught"
)
@contextmanager
def an_addition_minds_what_was_written_to_a_strided_operand(hit: Hit) -> Iterator[None]:
    class Addition(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, below: Any, one: torch.Tensor, other: Any, alpha: Any) -> torch.Tensor:
            operands = [operand for operand in (one, other) if isinstance(operand, torch.Tensor)]
            saved = [operand for operand in operands if not operand.is_contiguous() and not operand.is_inference()]
            ctx.saved = [(operand.detach(), operand._version) for operand in saved]
            ctx.operands = [(operand.shape, operand.dtype) for operand in operands]
            ctx.alpha = alpha
            return below(one, other, alpha=alpha)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
            if any(operand._version != version for operand, version in ctx.saved):
                hit()
                raise RuntimeError(NOTICED)
            gradients = []
            for (shape, dtype), factor in zip(ctx.operands, (1, ctx.alpha), strict=False):
                share = (gradient if factor == 1 else gradient * factor).sum_to_size(shape)
                gradients.append((share if dtype.is_complex or not share.is_complex() else share.real).to(dtype))
            return None, *gradients, *(None,) * (3 - len(gradients))

    def make(below: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda one, other, *, alpha=1: Addition.apply(below, one, other, alpha)

    with kernel("add.Tensor", make):
        yield
