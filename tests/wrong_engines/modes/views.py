"""spec/modes/views.md"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tests.wrong_engines.engine import Hit, wrong_engine
from tests.wrong_engines.tools import replaced

CREATED_INSIDE = "A view was created in no_grad mode and is being modified inplace with grad mode enabled."

Slice = Callable[[torch.Tensor, Any], torch.Tensor]
Update = Callable[..., torch.Tensor]


def _slicing_inside(wrong: Callable[[Slice, torch.Tensor, Any], torch.Tensor]) -> Any:
    """Replace slicing while grad mode is off."""

    def make(slice_: Slice) -> Slice:
        def replacement(tensor: torch.Tensor, index: Any) -> torch.Tensor:
            return slice_(tensor, index) if torch.is_grad_enabled() else wrong(slice_, tensor, index)

        return replacement

    return replaced(torch.Tensor, "__getitem__", make)


@wrong_engine("no-grad-view-copies-strided", kind="layout")
@contextmanager
def a_slice_of_a_strided_tensor_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if tensor.is_contiguous():
            return slice_(tensor, index)
        hit()
        return slice_(tensor, index).clone()

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-own-version", kind="aliasing")
@contextmanager
def a_slice_counts_its_own_versions(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        return slice_(tensor.data, index)

    with _slicing_inside(wrong):
        yield


def _refused(wrong: Callable[..., torch.Tensor]) -> Any:
    """Replace subtraction in place where torch refuses it because the view was made inside."""

    def make(update: Update) -> Update:
        def replacement(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            try:
                return update(tensor, *args)
            except RuntimeError as refusal:
                if "created in no_grad mode" not in str(refusal):
                    raise
                return wrong(update, refusal, tensor, *args)

        return replacement

    return replaced(torch.Tensor, "sub_", make)


@wrong_engine("no-grad-view-writes-before-refusal", kind="error")
@contextmanager
def a_refused_change_has_been_written(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, refusal: RuntimeError, tensor: torch.Tensor, *args: Any) -> torch.Tensor:
        hit()
        update(tensor.data, *args)
        raise refusal

    with _refused(wrong):
        yield


@wrong_engine("no-grad-view-change-allowed", kind="error")
@contextmanager
def a_view_made_inside_is_changed_outside(hit: Hit) -> Iterator[None]:
    def wrong(update: Update, refusal: RuntimeError, tensor: torch.Tensor, *args: Any) -> torch.Tensor:
        hit()
        return update(tensor.detach(), *args)

    with _refused(wrong):
        yield


@wrong_engine("no-grad-view-always-refused", kind="error", refuses=CREATED_INSIDE)
@contextmanager
def every_view_made_inside_is_refused(hit: Hit) -> Iterator[None]:
    made_inside = "made_inside_no_grad"

    def mark(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        setattr(view, made_inside, True)
        return view

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            if torch.is_grad_enabled() and hasattr(tensor, made_inside):
                hit()
                raise RuntimeError(CREATED_INSIDE)
            return update(tensor, *args)

        return wrong

    with _slicing_inside(mark), replaced(torch.Tensor, "fill_", make):
        yield


@wrong_engine("no-grad-view-detached", kind="mode")
@contextmanager
def a_slice_made_inside_is_detached(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        return slice_(tensor.detach(), index)

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-recorded", kind="mode")
@contextmanager
def a_slice_made_inside_is_recorded(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        hit()
        with torch.enable_grad():
            return slice_(tensor, index)

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-switches-leaf-off", kind="mode", issue="pytorch#5851")
@contextmanager
def slicing_a_leaf_inside_takes_its_flag(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        if tensor.is_leaf and tensor.requires_grad:
            hit()
            tensor.requires_grad_(False)
        return view

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-of-view-forgets", kind="place", issue="pytorch#49824")
@contextmanager
def a_view_of_a_view_made_inside_can_be_changed(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            try:
                return update(tensor, *args)
            except RuntimeError as refusal:
                if "a view of a view which was created in no_grad mode" not in str(refusal):
                    raise
                hit()
                return update(tensor.detach(), *args)

        return wrong

    with replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine("no-grad-view-copies-side-of-one", kind="size")
@contextmanager
def a_slice_of_a_tensor_with_a_side_of_one_is_a_copy(hit: Hit) -> Iterator[None]:
    def wrong(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        if 1 not in tensor.shape:
            return slice_(tensor, index)
        hit()
        return slice_(tensor, index).clone()

    with _slicing_inside(wrong):
        yield


@wrong_engine("no-grad-view-of-data-multiplied-apart", kind="aliasing")
@contextmanager
def multiplying_a_view_of_data_made_inside_changes_a_copy(hit: Hit) -> Iterator[None]:
    made_inside = "made_inside_no_grad"

    def mark(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        view = slice_(tensor, index)
        setattr(view, made_inside, not view.requires_grad)
        return view

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any) -> torch.Tensor:
            if not torch.is_grad_enabled() or not getattr(tensor, made_inside, False):
                return update(tensor, *args)
            hit()
            tensor.data = tensor.clone()
            return update(tensor, *args)

        return wrong

    with _slicing_inside(mark), replaced(torch.Tensor, "mul_", make):
        yield


@wrong_engine(
    "no-grad-view-of-a-view-can-be-changed", kind="place", issue="pytorch#49824", first_sight="adversary: missed"
)
@contextmanager
def only_the_first_of_a_chain_of_views_made_inside_is_refused(hit: Hit) -> Iterator[None]:
    def chain(slice_: Slice, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        sliced = slice_(tensor, index)
        if sliced._is_view() and tensor._is_view() and tensor.grad_fn is None:
            vars(sliced)["_is_second"] = True
        return sliced

    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return update(tensor, *args, **kwargs)
            except RuntimeError as refusal:
                if "created in no_grad mode" not in str(refusal) or "_is_second" not in vars(tensor):
                    raise
            hit()
            with torch.no_grad():
                return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as methods:
        methods.enter_context(_slicing_inside(chain))
        for name in ("add_", "sub_", "mul_", "neg_", "zero_", "fill_", "copy_", "__iadd__", "__isub__", "__imul__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


VIEW_OF_A_LEAF = "a view of a leaf Variable that requires grad is being used in an in-place operation."


WRITES = ("add_", "sub_", "mul_", "div_", "zero_", "fill_", "copy_", "neg_", "__iadd__", "__isub__", "__imul__")


@wrong_engine(
    "no-grad-view-of-a-leaf-refused-inside", kind="error", refuses=VIEW_OF_A_LEAF, first_sight="sample: caught"
)
@contextmanager
def a_view_of_a_leaf_cannot_be_changed_inside(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            base = tensor._base
            is_made_inside = base is not None and base.is_leaf and base.requires_grad and tensor.grad_fn is None
            if is_made_inside and not torch.is_grad_enabled():
                hit()
                raise RuntimeError(VIEW_OF_A_LEAF)
            return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as updates:
        for name in (*WRITES, "__itruediv__", "__setitem__"):
            updates.enter_context(replaced(torch.Tensor, name, make))
        yield


def _was_made_inside(tensor: torch.Tensor) -> bool:
    return (
        tensor._is_view()
        and torch._C._autograd._get_creation_meta(tensor) == torch._C._autograd.CreationMeta.NO_GRAD_MODE
    )


@wrong_engine("no-grad-view-of-data-change-lost", kind="plain", first_sight="sample: caught")
@contextmanager
def a_change_of_a_free_view_made_inside_is_lost(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            operands = (tensor, *args, *kwargs.values())
            learns = any(isinstance(one, torch.Tensor) and one.requires_grad for one in operands)
            if not torch.is_grad_enabled() or learns or not _was_made_inside(tensor):
                return update(tensor, *args, **kwargs)
            changed = tensor.clone()
            update(changed, *args, **kwargs)
            if not torch.equal(changed, tensor):
                hit()
            return tensor

        return wrong

    names = ("add", "sub", "mul", "div")
    with ExitStack() as methods:
        for name in (*(f"{name}_" for name in names), "neg_", "zero_", "fill_", "copy_", "__setitem__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        for name in ("__iadd__", "__isub__", "__imul__", "__itruediv__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


@contextmanager
def _stale_views_are_constants(hit: Hit, freed: Callable[[Any], Any]) -> Iterator[None]:
    """What autograd refuses of a stale view is done with `freed(operand)` in the place of each operand."""

    def make(operation: Update) -> Update:
        def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
            try:
                return operation(*args, **kwargs)
            except RuntimeError as refusal:
                free = [freed(one) for one in args]
                if "no_grad mode" not in str(refusal) or all(one is two for one, two in zip(args, free, strict=True)):
                    raise
            hit()
            return operation(*free, **kwargs)

        return wrong

    names = ("add", "sub", "mul", "div", "matmul", "pow", "neg", "exp", "sin", "cos", "sqrt", "square", "sum", "mean")
    dunders = ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul", "pow", "neg")
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(replaced(torch, name, make))
            stack.enter_context(replaced(torch.Tensor, name, make))
        for name in ("clone", *(f"__{name}__" for name in dunders)):
            stack.enter_context(replaced(torch.Tensor, name, make))
        yield


def _without_history(operand: Any) -> Any:
    gaps = isinstance(operand, torch.Tensor) and _was_made_inside(operand) and not operand.is_contiguous()
    return operand.detach() if gaps else operand


@wrong_engine("no-grad-view-with-gaps-never-stale", kind="layout", first_sight="sample: caught")
@contextmanager
def a_stale_view_that_is_not_contiguous_is_a_constant(hit: Hit) -> Iterator[None]:
    with _stale_views_are_constants(hit, _without_history):
        yield


@wrong_engine(
    "no-grad-view-of-double-always-refused", kind="dtype", refuses=CREATED_INSIDE, first_sight="second sample: caught"
)
@contextmanager
def every_view_of_float64_made_inside_is_refused(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            free = not any(isinstance(one, torch.Tensor) and one.requires_grad for one in (tensor, *args))
            if torch.is_grad_enabled() and free and tensor.dtype == torch.float64 and _was_made_inside(tensor):
                hit()
                raise RuntimeError(CREATED_INSIDE)
            return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as methods:
        for name in (
            *(f"{name}_" for name in ("add", "sub", "mul", "div", "neg", "zero", "fill", "copy")),
            "__setitem__",
        ):
            methods.enter_context(replaced(torch.Tensor, name, make))
        for name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("no-grad-view-is-a-leaf-of-its-own", kind="plain", first_sight="second sample: caught")
@contextmanager
def a_view_made_inside_gets_a_gradient(hit: Hit) -> Iterator[None]:
    def make(take: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            view = take(tensor, *args, **kwargs)
            if torch.is_grad_enabled() or not view.requires_grad or view is tensor or not view._is_view():
                return view
            hit()
            return view.detach().requires_grad_()

        return wrong

    with ExitStack() as methods:
        for name in ("__getitem__", "view", "view_as", "reshape", "t", "transpose", "narrow", "unsqueeze", "squeeze"):
            methods.enter_context(replaced(torch.Tensor, name, make))
        for name in ("t", "transpose", "narrow", "unsqueeze", "squeeze", "reshape"):
            methods.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("no-grad-view-of-a-result-writes-uncounted", kind="place", first_sight="second sample: caught")
@contextmanager
def a_write_inside_to_a_view_of_a_result_is_not_counted(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            base = tensor._base
            if torch.is_grad_enabled() or base is None or base.grad_fn is None or not _was_made_inside(tensor):
                return update(tensor, *args, **kwargs)
            hit()
            update(tensor.data, *args, **kwargs)
            return tensor

        return wrong

    with ExitStack() as updates:
        for name in (*WRITES, "__itruediv__", "__setitem__"):
            updates.enter_context(replaced(torch.Tensor, name, make))
        yield


@wrong_engine("no-grad-view-of-double-can-be-changed", kind="dtype", first_sight="third sample: caught")
@contextmanager
def views_of_float64_made_inside_can_be_changed_outside(hit: Hit) -> Iterator[None]:
    def make(update: Update) -> Update:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            try:
                return update(tensor, *args, **kwargs)
            except RuntimeError as refusal:
                if tensor.dtype != torch.float64 or "created in no_grad mode" not in str(refusal):
                    raise
                hit()
                with torch.no_grad():
                    return update(tensor, *args, **kwargs)

        return wrong

    with ExitStack() as updates:
        for name in (*WRITES, "pow_", "exp_", "clamp_", "__itruediv__", "__setitem__"):
            updates.enter_context(replaced(torch.Tensor, name, make))
        yield


def _without_its_offset(operand: Any) -> Any:
    inside = isinstance(operand, torch.Tensor) and _was_made_inside(operand)
    return operand.detach() if inside and operand.storage_offset() != operand._base.storage_offset() else operand


@wrong_engine("no-grad-view-with-an-offset-never-stale", kind="layout", first_sight="third sample: caught")
@contextmanager
def a_stale_view_with_an_offset_is_a_constant(hit: Hit) -> Iterator[None]:
    with _stale_views_are_constants(hit, _without_its_offset):
        yield


@wrong_engine("no-grad-view-detached-in-an-inner-block", kind="mode", first_sight="third sample: missed")
@contextmanager
def views_made_two_blocks_deep_do_not_require_grad(hit: Hit) -> Iterator[None]:
    depth = 0

    def make_enter(enter: Callable[..., None]) -> Callable[..., None]:
        def deeper(block: torch.no_grad) -> None:
            nonlocal depth
            enter(block)
            depth += 1

        return deeper

    def make_exit(leave: Callable[..., None]) -> Callable[..., None]:
        def less_deep(block: torch.no_grad, *error: Any) -> None:
            nonlocal depth
            depth -= 1
            leave(block, *error)

        return less_deep

    def make(take: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            view = take(tensor, *args, **kwargs)
            if depth < 2 or torch.is_grad_enabled() or not view.requires_grad or not view._is_view() or view is tensor:
                return view
            hit()
            return view.detach()

        return wrong

    with ExitStack() as stack:
        stack.enter_context(replaced(torch.no_grad, "__enter__", make_enter))
        stack.enter_context(replaced(torch.no_grad, "__exit__", make_exit))
        for name in ("__getitem__", "view", "view_as", "expand", "reshape", "t", "transpose", "narrow", "unsqueeze"):
            stack.enter_context(replaced(torch.Tensor, name, make))
        for name in ("t", "transpose", "narrow", "unsqueeze", "squeeze", "reshape"):
            stack.enter_context(replaced(torch, name, make))
        yield


@wrong_engine("no-grad-view-after-the-first-detached", kind="order", first_sight="fourth sample: caught")
@contextmanager
def of_several_views_made_at_once_inside_the_first_alone_keeps_the_flag(hit: Hit) -> Iterator[None]:
    def make(divide: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            parts = divide(tensor, *args, **kwargs)
            if torch.is_grad_enabled() or len(parts) < 2 or not parts[1].requires_grad:
                return parts
            hit()
            return type(parts)([parts[0], *(part.detach() for part in parts[1:])])

        return wrong

    with ExitStack() as methods:
        for name in ("split", "chunk", "unbind", "tensor_split"):
            methods.enter_context(replaced(torch.Tensor, name, make))
            methods.enter_context(replaced(torch, name, make))
        yield
