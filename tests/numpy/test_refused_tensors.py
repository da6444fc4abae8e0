"""spec/numpy/refused-tensors.md"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, routes, shapes, telling_shapes, tensors, tensors_of_numpy_dtypes
from tests.inputs.circumstances import AS_RESULTS, INFERENCE, NO_GRAD, UNRECORDED, also
from tests.inputs.layouts import WRITABLE
from tests.oracles import aliases, disjoint, numbers, state

CONVERSIONS = (
    lambda x: x.numpy(),
    lambda x: np.asarray(x),
    lambda x: x.__array__(),
    lambda x: x.numpy(force=False),
)
WITH_A_DTYPE = (
    lambda x: np.asarray(x, dtype="complex128"),
    lambda x: x.__array__("complex128"),
)
PLACES = (
    lambda x: x,
    lambda x: x * 1,
    lambda x: x.view_as(x),
    lambda x: (x * 1)[None],
    lambda x: x.detach().requires_grad_(),
    lambda x: torch.nn.Parameter(x.detach()),
)
"""Functions that give a tensor requiring grad at another place: a leaf, a result, a view of either, a parameter."""

FORCED = (
    lambda x: x,
    lambda x: x.view_as(x),
    lambda x: x[None],
    lambda x: x.detach(),
    lambda x: x.clone(),
    lambda x: x.movedim(0, -1) if x.ndim else x.reshape(-1),
    lambda x: torch.nn.Parameter(x.detach(), requires_grad=False),
    lambda x: x.expand(2, *x.shape)[1],
)
CONVERSION_SOURCES = ("lambda x: x.numpy()", "lambda x: np.asarray(x)", "lambda x: x.__array__()")


def shapes_and_ways():
    shapes = ((), (0,), (2, 3), (1,), (17,), (2,))
    ways = [Expression(way) for way in CONVERSION_SOURCES * 2]
    return st.sampled_from(list(zip(shapes, ways, strict=True)))


NOT_RECORDING = (
    lambda: torch.no_grad(),
    lambda: torch.set_grad_enabled(False),
    lambda: torch.inference_mode(),
)
RECORDING = (
    (lambda: torch.no_grad(), lambda: torch.enable_grad()),
    (lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True)),
    (lambda: torch.enable_grad(), lambda: torch.enable_grad()),
)
"""Two blocks, one inside the other, after which grad mode is on."""

NEEDS_DETACH = r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead"
NUMPY_DIFFERENTIABLE = st.sampled_from(
    ("torch.float32", "torch.float64", "torch.float16", "torch.complex64", "torch.complex128")
)
NO_NAME = "unsupported ScalarType"
WITH_A_BIT = (
    (lambda z: z.conj(), "conjugate bit set.*resolve_conj"),
    (lambda z: z[None].conj(), "conjugate bit set.*resolve_conj"),
    (lambda z: z.conj().transpose(0, -1), "conjugate bit set.*resolve_conj"),
    (lambda z: z.conj().imag, "negative bit set.*resolve_neg"),
    (lambda z: z.conj()[None].imag, "negative bit set.*resolve_neg"),
)
"""Views of a complex tensor that mean something else than their memory says, and what is said of them."""


@st.composite
def complex_tensors(draw):
    """A complex tensor with a real and an imaginary part, leaf or not."""
    tensor = draw(tensors(telling_shapes(), st.sampled_from(("torch.complex64", "torch.complex128")), WRITABLE))
    return Expression(f"{tensor.source}.mul_(1 + 2j)" + draw(st.sampled_from(("", ".requires_grad_()"))))


def unsupported():
    """Tensors that NumPy has no name for, and what is said of each."""
    dtypes = [name for name in ("bfloat16", "complex32", "float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)]
    ways = (".to_sparse()", ".to_sparse_csr()", ".to_sparse_csc()")
    sparse = st.sampled_from(("torch.float32", "torch.float64", "torch.int64", "torch.complex64"))
    return st.builds(
        lambda shape, tensor: [
            *((Expression(f"torch.empty({shape}, dtype=torch.{name}, device=device)"), NO_NAME) for name in dtypes),
            *(
                (Expression(f"torch.empty({form}, dtype=torch.{name}, device=device){view}"), NO_NAME)
                for name in dtypes[:1]
                for form, view in (
                    ("0", ""),
                    ("(3, 2)", ".T"),
                    ("34", "[::2]"),
                )
            ),
            *(
                (Expression(tensor.source + way), "can't convert Sparse(Cs[rc])? layout tensor to numpy")
                for way in ways
            ),
        ],
        shapes(),
        tensors(shapes(min_dims=2, max_dims=2), sparse),
    )


@rule("numpy.refused-tensors.requires-grad")
@also(NO_GRAD)
@given(leaf=leaves(telling_shapes(), NUMPY_DIFFERENTIABLE), route=routes())
def test_while_recording_a_tensor_that_requires_grad_is_refused_until_it_is_detached(device, leaf, route):
    leaf.grad = torch.full_like(leaf, 2)
    for outer, inner in RECORDING:
        with outer(), inner():
            x = route(leaf)
            before = state(leaf, x)
            for convert in (*CONVERSIONS, *WITH_A_DTYPE):
                with pytest.raises(RuntimeError, match=NEEDS_DETACH) as refusal:
                    convert(x)
                assert refusal.type is RuntimeError
                assert state(leaf, x) == before
            assert torch.is_grad_enabled()
    for convert in CONVERSIONS:
        assert aliases(x, convert(x.detach()))
    with torch.enable_grad():
        for place, once in zip(PLACES, itertools.cycle(CONVERSIONS)):
            x = place(leaf)
            for convert in (once, CONVERSIONS[0]):
                with torch.no_grad():
                    assert convert(x).tolist() == x.tolist()
                with pytest.raises(RuntimeError, match=NEEDS_DETACH):
                    convert(x)
                assert convert(x.detach()).tolist() == x.tolist()
            assert x.requires_grad
            x.detach().numpy()[...] = 1  # the memory of the detached tensor is its own
            assert numbers(x) == [1] * x.numel()


@rule("numpy.refused-tensors.requires-grad")
@also(NO_GRAD)
@given(shape_and_way=shapes_and_ways())
def test_every_dtype_and_operation_is_refused_while_recording(device, shape_and_way):
    shape, convert = shape_and_way
    for dtype in (torch.float32, torch.float64, torch.float16, torch.complex64, torch.complex128):
        leaf = torch.ones(shape, dtype=dtype, requires_grad=True)
        with torch.enable_grad():
            results = (
                leaf,
                leaf + 1,
                1 * leaf,
                leaf.sum(),
                leaf.reshape(-1),
                leaf.expand(2, *shape),
                leaf.clone()[None],
            )
            mixed = (torch.ones(shape, dtype=dtype) * leaf, torch.stack([leaf.detach(), leaf]), leaf.real.abs())
        with torch.enable_grad():
            for x in (*results, *mixed):
                version = x._version
                with pytest.raises(RuntimeError, match=NEEDS_DETACH) as refusal:
                    convert(x)
                assert refusal.type is RuntimeError
                assert x.requires_grad
                assert x._version == version
                array = convert(x.detach())
                assert array.size == 0 or array.ctypes.data == x.data_ptr()
            with pytest.raises(RuntimeError, match=NEEDS_DETACH):
                leaf.detach().requires_grad_().numpy()


@rule("numpy.refused-tensors.grad-mode-off")
@also(INFERENCE)
@given(leaf=leaves(telling_shapes(), NUMPY_DIFFERENTIABLE), route=routes())
def test_where_nothing_is_recorded_a_tensor_that_requires_grad_is_shared(device, leaf, route):
    x = route(leaf)
    leaf.grad = torch.ones_like(leaf)
    for not_recording in NOT_RECORDING:
        before = state(leaf, x)
        with torch.enable_grad(), not_recording():
            arrays = [convert(x) for convert in CONVERSIONS]
            assert not torch.is_grad_enabled()
        assert state(leaf, x) == before
        for array in arrays:
            assert str(x.dtype) == f"torch.{array.dtype.name}"
            assert array.flags.writeable
            assert aliases(x, array)
        with torch.enable_grad():
            made = [place(leaf) for place in PLACES]
        require = [tensor.requires_grad for tensor in made]
        with not_recording():
            for tensor in made:
                for convert in CONVERSIONS:
                    array = convert(tensor)
                    assert array.tolist() == tensor.tolist()
                    assert array.size == 0 or array.ctypes.data == tensor.data_ptr()
        assert [tensor.requires_grad for tensor in made] == require


@rule("numpy.refused-tensors.grad-mode-off")
@also(INFERENCE)
@given(shape_and_way=shapes_and_ways())
def test_every_dtype_is_shared_where_nothing_is_recorded(device, shape_and_way):
    shape, convert = shape_and_way
    for dtype in (torch.float32, torch.float64, torch.float16, torch.complex64, torch.complex128):
        with torch.inference_mode(False), torch.enable_grad():
            leaf = torch.ones(shape, dtype=dtype, requires_grad=True)
            made = [leaf, leaf * 1, leaf.reshape(-1), leaf.expand(2, *shape), leaf.T if len(shape) == 2 else leaf.sum()]
            with pytest.raises(RuntimeError, match=NEEDS_DETACH):
                convert(leaf)
        for not_recording in NOT_RECORDING:
            with not_recording():
                for x in made:
                    array = convert(x)
                    assert str(x.dtype) == f"torch.{array.dtype.name}"
                    assert array.shape == tuple(x.shape)
                    assert array.size == 0 or array.ctypes.data == x.data_ptr()
                    array[...] = 2
                    assert numbers(x) == [2] * x.numel()
                    assert x.requires_grad
                    assert x.is_leaf is (x is leaf)
                with torch.enable_grad(), torch.no_grad():
                    assert convert(leaf).tolist() == leaf.tolist()


@rule("numpy.refused-tensors.conj-and-neg")
@also(*UNRECORDED)
@given(z=complex_tensors())
def test_a_tensor_with_a_bit_that_numpy_does_not_know_is_refused(device, z):
    for look, reason in WITH_A_BIT:
        x = look(z).detach()
        before = state(z, x)
        for convert in (*CONVERSIONS, WITH_A_DTYPE[0]):
            with pytest.raises(RuntimeError, match=reason) as refusal:
                convert(x)
            assert refusal.type is RuntimeError
            assert state(z, x) == before
        assert x.resolve_conj().resolve_neg().numpy().tolist() == x.tolist()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:ComplexHalf support")
@rule("numpy.refused-tensors.unsupported")
@also(*UNRECORDED)
@given(cases=unsupported())
def test_a_dtype_or_a_layout_that_numpy_lacks_is_refused_even_by_force(device, cases):
    for x, reason in cases:
        for options in ({}, {"force": False}, {"force": True}):
            with pytest.raises(TypeError, match=reason) as refusal:
                x.numpy(**options)
            assert refusal.type is TypeError
        if x.dtype == torch.bfloat16:
            for other in (x.clone().requires_grad_(), x[None], x.detach(), x * 1, torch.nn.Parameter(x)):
                with pytest.raises(TypeError, match=reason):
                    other.numpy(force=True)
            assert x.float().numpy().dtype == "float32"


@rule("numpy.refused-tensors.force")
@also(*UNRECORDED, AS_RESULTS)
@given(
    tensor=tensors_of_numpy_dtypes() | leaves(telling_shapes(), NUMPY_DIFFERENTIABLE),
    route=routes(),
)
def test_force_shares_memory_and_leaves_the_tensor_as_it_was(device, tensor, route):
    x = route(tensor)
    if tensor.is_leaf and tensor.requires_grad:
        tensor.grad = torch.ones_like(tensor)
    before = state(tensor, x)
    arrays = x.numpy(force=True), x.numpy(force=True)
    assert state(tensor, x) == before
    for place in FORCED:
        other = place(tensor)
        array = other.numpy(force=True)
        assert (array.shape, array.tolist()) == (tuple(other.shape), other.tolist())
        assert array.size == 0 or array.ctypes.data == other.data_ptr()
    for array in arrays:
        assert str(x.dtype) == f"torch.{array.dtype.name}"
        assert array.flags.writeable
        assert aliases(x, array)


@rule("numpy.refused-tensors.force")
@also(*UNRECORDED)
@given(z=complex_tensors())
def test_force_copies_what_a_bit_stands_for(device, z):
    for look, _ in WITH_A_BIT:
        x = look(z)
        before = state(z, x)
        array = x.numpy(force=True)
        assert state(z, x) == before
        assert str(x.dtype) == f"torch.{array.dtype.name}"
        assert array.shape == tuple(x.shape)
        assert array.tolist() == x.tolist()
        assert disjoint(x, array)
        again = x.detach().numpy(force=True)
        assert again.tolist() == x.detach().tolist()
