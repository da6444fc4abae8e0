"""spec/detach/shared-memory.md"""

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, layouts, leaves, routes, shapes, tensors, updates
from tests.inputs.circumstances import AS_RESULTS, NO_GRAD, UNRECORDED, also

KINDS = (leaves(dtypes=dtypes.differentiable()), tensors(dtypes=dtypes.floating()), tensors(dtypes=dtypes.integral()))
PICTURES = leaves(shapes(min_dims=4, max_dims=4, min_side=2), dtypes.differentiable(), among=(layouts.channels_last,))
STEPPED = leaves(shapes(min_dims=1, max_dims=2, min_side=2), dtypes.differentiable(), among=(layouts.stepped,))
ANY_TENSOR = st.one_of(*KINDS)

PLACES = st.one_of(
    routes(), st.sampled_from(["lambda x: x.clone()", "lambda x: x.conj()", "lambda x: x.detach()"]).map(Expression)
)

VIEWS = st.sampled_from(
    [
        "lambda x: x",
        "lambda x: x.view_as(x)",
        "lambda x: x.unsqueeze(0)",
        "lambda x: x.movedim(0, -1) if x.ndim > 1 else x",
        "lambda x: x[..., 1:] if x.ndim else x",
        "lambda x: x.unbind()[0] if x.ndim and x.shape[0] else x",
    ]
).map(Expression)

DETACHED = st.sampled_from(
    [
        "lambda base, original, detached: detached",
        "lambda base, original, detached: detached.view_as(detached)",
        "lambda base, original, detached: detached.detach()",
        "lambda base, original, detached: original.detach()",
    ]
).map(Expression)

ATTACHED = st.sampled_from(["lambda base, original, detached: original", "lambda base, original, detached: base"]).map(
    Expression
)


def modes(*names):
    return st.sampled_from([f"torch.{name}()" for name in names]).map(Expression)


WRITERS = st.one_of(
    st.tuples(DETACHED, modes("enable_grad", "no_grad", "inference_mode")),
    st.tuples(ATTACHED, modes("no_grad", "inference_mode")),
)

COPYINGS = (
    (Expression("lambda x: x.copy_(torch.stack([x, x * 2], -1)[..., 1])"), Expression("lambda v: 2 * v")),
    (Expression("lambda x: x.copy_(torch.stack([x, -x], 0)[1])"), Expression("lambda v: -v")),
)
"""Writes from a view that has gaps, as a stepped tensor has, and from one with an offset."""


def writes():
    return updates() | st.sampled_from(COPYINGS)


MORE_WRITES = tuple(
    (Expression(change), Expression(value))
    for change, value in (
        ("lambda x: x.masked_fill_(x == x, 2)", "lambda v: 2"),
        ("lambda x: x.__setitem__(x == x, 2)", "lambda v: 2"),
        ("lambda x: x.__isub__(1)", "lambda v: v - 1"),
        ("lambda x: x.add_(x)", "lambda v: 2 * v"),
        ("lambda x: x.detach().fill_(1)", "lambda v: 1"),
        ("lambda x: x.addcmul_(x, x)", "lambda v: v + v * v"),
    )
)

INTEGERS = tuple(dtype for dtype in dtypes.INTEGRAL if dtype != "torch.bool")

RESHAPINGS = st.sampled_from(
    [
        "lambda t: t.resize_(1)",
        "lambda t: t.resize_(0)",
        "lambda t: t.resize_(t.numel() + 5, 3)",
        "lambda t: t.resize_(0).resize_(64)",
        "lambda t: t.unsqueeze_(0)",
        "lambda t: t.squeeze_()",
        "lambda t: t.transpose_(0, -1)",
        "lambda t: t.set_()",
        "lambda t: t.swapaxes_(0, -1)",
        "lambda t: t.as_strided_((), ()) if t.numel() else t",
        "lambda t: t.detach().unsqueeze_(-1)",
        "lambda t: setattr(t, 'data', torch.ones_like(t)[None])",
        "lambda t: t.set_(torch.ones_like(t))",
        "lambda t: t.set_(torch.ones_like(t)).fill_(9)",
    ]
).map(Expression)


def elements(tensor):
    """The elements in row-major order, read without `detach()`, which is what is under test."""
    with torch.no_grad():
        return tensor.flatten().cpu().tolist()


@rule("detach.shared-memory.same-memory")
@also(*UNRECORDED, AS_RESULTS)
@given(tensors=st.tuples(*KINDS, PICTURES), place=PLACES, mode=modes("enable_grad", "no_grad", "inference_mode"))
@example(
    tensors=(
        Expression(
            "torch.tensor([1., 2.], dtype=torch.complex64, device=device)", dtypes=frozenset({"torch.complex64"})
        ),
    ),
    place=Expression("lambda x: x.conj()"),
    mode=Expression("torch.no_grad()"),
)
def test_the_detached_tensor_is_another_object_that_reads_the_same_memory(device, tensors, place, mode):
    for original in (*map(place, tensors), tensors[0] == tensors[0]):
        with mode:
            detached = original.detach()
        with mode:
            again = torch.detach(original)
        assert (again.data_ptr(), again.stride(), again.storage_offset()) == (
            original.data_ptr(),
            original.stride(),
            original.storage_offset(),
        )
        assert again is not original
        assert detached is not original
        assert original.detach() is not detached
        assert detached.data_ptr() == original.data_ptr()
        assert detached.storage_offset() == original.storage_offset()
        assert (detached.shape, detached.stride()) == (original.shape, original.stride())
        assert (detached.dtype, detached.device) == (original.dtype, original.device)
        assert elements(detached) == elements(original)


@rule("detach.shared-memory.same-memory")
@given(leaf=leaves(dtypes=dtypes.differentiable()), plain=tensors(dtypes=dtypes.integral()))
def test_what_is_detached_has_the_memory_that_the_original_has_by_then(device, leaf, plain):
    for original in (leaf, torch.ones_like(leaf, requires_grad=True), plain, leaf * 1):
        for move in (
            lambda t: t.data[None],
            lambda t: t.data.clone(),
            lambda t: t.data.transpose(0, -1),
            lambda t: torch.stack([t.data, t.data])[1:],
            lambda t: t.data.to(t.dtype),
        ):
            original.detach()
            original.data = move(original)
            detached = original.detach()
            assert (detached.data_ptr(), detached.storage_offset()) == (original.data_ptr(), original.storage_offset())
            assert (detached.shape, detached.stride()) == (original.shape, original.stride())
            assert (detached.dtype, detached.device) == (original.dtype, original.device)
            assert elements(detached) == elements(original)


@rule("detach.shared-memory.writes-seen")
@also(*UNRECORDED)
@given(
    leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE) | STEPPED,
    view=VIEWS,
    name=DETACHED,
    updates=st.tuples(updates(), st.sampled_from(COPYINGS)),
)
@example(
    leaf=Expression("torch.tensor([1., 0., 2., 0., 3., 0.], device=device)[::2].requires_grad_()"),
    view=Expression("lambda x: x"),
    name=Expression("lambda base, original, detached: detached"),
    updates=COPYINGS,
)
@example(
    leaf=Expression("torch.tensor([[1., 0., 2., 0.], [3., 0., 1., 0.]], device=device)[:, ::2].requires_grad_()"),
    view=Expression("lambda x: x"),
    name=Expression("lambda base, original, detached: detached"),
    updates=COPYINGS,
)
def test_a_write_through_the_detached_tensor_is_read_through_the_original_and_its_base(
    device, leaf, view, name, updates
):
    original = view(leaf)
    owner = leaf if leaf._base is None else leaf._base
    detached = original.detach()
    viewed = elements(view(torch.arange(leaf.numel()).reshape(leaf.shape)))
    for change, value in updates:
        expected = [value(v) if place in viewed else v for place, v in enumerate(elements(leaf))]
        between = sum(elements(owner)) - sum(elements(leaf))
        change(name(leaf, original, detached))
        assert elements(leaf) == expected
        assert elements(original) == elements(view(leaf))
        assert elements(detached) == elements(view(leaf))
        assert sum(elements(owner)) - sum(elements(leaf)) == between


@rule("detach.shared-memory.writes-seen")
@also(*UNRECORDED)
@given(leaf=leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE), view=VIEWS, name=ATTACHED, update=writes())
def test_a_write_through_the_original_or_its_base_is_read_through_the_detached_tensor(device, leaf, view, name, update):
    change, value = update
    original = view(leaf)
    detached = original.detach()
    expected = [value(v) for v in elements(original)]
    with torch.no_grad():
        change(name(leaf, original, detached))
    assert elements(detached) == expected


@rule("detach.shared-memory.writes-seen")
@also(*UNRECORDED)
@given(
    leaf=leaves(shapes(min_dims=1, min_side=1), dtypes.differentiable(), among=(layouts.expanded,)),
    update=updates(),
)
def test_a_write_to_one_row_of_a_detached_expanded_tensor_is_read_in_every_row(device, leaf, update):
    change, value = update
    expected = [value(v) for v in elements(leaf)]
    change(leaf.detach()[0])
    assert elements(leaf) == expected


@rule("detach.shared-memory.writes-seen")
@also(*UNRECORDED)
@given(
    plain=tensors(dtypes=st.sampled_from(INTEGERS), among=layouts.WRITABLE),
    flags=tensors(dtypes=st.just("torch.bool"), among=layouts.WRITABLE),
    view=VIEWS,
    name=DETACHED,
)
def test_a_write_to_whole_numbers_or_flags_is_read_through_all_that_share_the_memory(device, plain, flags, view, name):
    for tensor, change, value in (
        (plain, lambda x: x.fill_(101), lambda v: 101),
        (plain, lambda x: x.add_(2), lambda v: v + 2),
        (flags, lambda x: x.logical_not_(), lambda v: not v),
    ):
        original = view(tensor)
        detached = original.detach()
        viewed = elements(view(torch.arange(tensor.numel()).reshape(tensor.shape)))
        for writing in (name(tensor, original, detached), original):
            expected = [value(v) if place in viewed else v for place, v in enumerate(elements(tensor))]
            change(writing)
            assert elements(tensor) == expected
            assert elements(original) == elements(view(tensor))
            assert elements(detached) == elements(original)


@rule("detach.shared-memory.version-shared")
@also(NO_GRAD)
@given(
    pair=st.tuples(
        leaves(dtypes=dtypes.differentiable(), among=layouts.WRITABLE),
        tensors(dtypes=st.sampled_from(INTEGERS), among=layouts.WRITABLE),
    ),
    view=VIEWS,
    writer=WRITERS,
    changes=st.tuples(updates(idle=True), st.sampled_from(MORE_WRITES)),
)
def test_a_write_raises_the_version_of_all_that_share_the_memory(device, pair, view, writer, changes):
    name, mode = writer
    flags, flip = pair[0].detach() != 0, lambda x: x.logical_not_()
    always = (
        lambda x: x.zero_(),
        lambda x: x.copy_(torch.ones_like(x)),
        lambda x: x.add_(0),
        lambda x: x.mul_(1),
        lambda x: x.sub_(x),
        lambda x: x.square_(),
        lambda x: x.neg_(),
        lambda x: x.fill_(torch.ones((), dtype=x.dtype, device=x.device)),
        lambda x: torch.add(x, 1, out=x),
        lambda x: torch.mul(x, x, out=x),
        lambda x: x.copy_(torch.ones(x.shape, device=x.device)),
        lambda x: x.flatten()[:0].view(-1).zero_() if x.is_contiguous() else x.zero_(),
        lambda x: x[None].index_fill_(0, torch.zeros(1, dtype=torch.int64, device=x.device), 1),
    )
    writes = [(tensor, change) for change in (*(change for change, _ in changes), *always) for tensor in pair]
    for tensor, write in (*writes, (flags, flip)):
        original = view(tensor)
        detached = original.detach()
        owner = tensor if tensor._base is None else tensor._base
        sharing = [owner, tensor, original, detached, detached.view_as(detached), detached.detach()]
        before = tensor._version
        with mode:
            write(name(tensor, original, detached))
        versions = {one._version for one in sharing}
        assert len(versions) == 1
        assert versions.pop() > before


@rule("detach.shared-memory.own-shape")
@also(*UNRECORDED, AS_RESULTS)
@given(tensor=ANY_TENSOR, view=VIEWS, reshapings=st.tuples(RESHAPINGS, RESHAPINGS, RESHAPINGS))
def test_a_new_shape_for_the_detached_tensor_is_its_own(device, tensor, view, reshapings):
    for original in (tensor, view(tensor), view(tensor).clone()):
        before = (original.shape, original.stride(), original.storage_offset(), elements(original))
        for reshaping in reshapings:
            reshaping(original.detach())
            assert (original.shape, original.stride(), original.storage_offset(), elements(original)) == before
