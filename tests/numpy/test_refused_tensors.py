"""spec/numpy/refused-tensors.md"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, routes, shapes, telling_shapes, tensors, tensors_of_numpy_dtypes
from tests.inputs.circumstances import AS_RESULTS, INFERENCE, NO_GRAD, UNRECORDED, also
from tests.inputs.layouts import WRITABLE
from tests.oracles import aliases, disjoint, state

CONVERSIONS = (
    lambda x: x.numpy(),
    lambda x: np.asarray(x),
    lambda x: x.__array__(),
)
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
    """A tensor that NumPy has no name for, and what is said of it."""
    dtypes = [name for name in ("bfloat16", "complex32", "float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)]
    return st.tuples(
        st.builds(
            lambda shape, name: Expression(f"torch.empty({shape}, dtype=torch.{name}, device=device)"),
            shapes(),
            st.sampled_from(dtypes),
        ),
        st.just("unsupported ScalarType"),
    ) | st.tuples(
        tensors(shapes(min_dims=2, max_dims=2), st.just("torch.float32")).flatmap(
            lambda tensor: st.sampled_from((".to_sparse()", ".to_sparse_csr()")).map(
                lambda way: Expression(tensor.source + way)
            )
        ),
        st.just("can't convert Sparse(Csr)? layout tensor to numpy"),
    )


@rule("numpy.refused-tensors.requires-grad")
@also(NO_GRAD)
@given(leaf=leaves(telling_shapes(), NUMPY_DIFFERENTIABLE), route=routes())
def test_while_recording_a_tensor_that_requires_grad_is_refused_until_it_is_detached(device, leaf, route):
    for outer, inner in RECORDING:
        with outer(), inner():
            x = route(leaf)
            before = state(leaf, x)
            for convert in CONVERSIONS:
                with pytest.raises(RuntimeError, match=NEEDS_DETACH) as refusal:
                    convert(x)
                assert refusal.type is RuntimeError
                assert state(leaf, x) == before
    for convert in CONVERSIONS:
        assert aliases(x, convert(x.detach()))


@rule("numpy.refused-tensors.grad-mode-off")
@also(INFERENCE)
@given(leaf=leaves(telling_shapes(), NUMPY_DIFFERENTIABLE), route=routes())
def test_where_nothing_is_recorded_a_tensor_that_requires_grad_is_shared(device, leaf, route):
    x = route(leaf)
    for not_recording in NOT_RECORDING:
        before = state(leaf, x)
        with torch.enable_grad(), not_recording():
            arrays = [convert(x) for convert in CONVERSIONS]
        assert state(leaf, x) == before
        for array in arrays:
            assert aliases(x, array)


@rule("numpy.refused-tensors.conj-and-neg")
@also(*UNRECORDED)
@given(z=complex_tensors())
def test_a_tensor_with_a_bit_that_numpy_does_not_know_is_refused(device, z):
    for look, reason in WITH_A_BIT:
        x = look(z).detach()
        before = state(z, x)
        for convert in CONVERSIONS:
            with pytest.raises(RuntimeError, match=reason) as refusal:
                convert(x)
            assert refusal.type is RuntimeError
            assert state(z, x) == before


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:ComplexHalf support")
@rule("numpy.refused-tensors.unsupported")
@also(*UNRECORDED)
@given(case=unsupported())
def test_a_dtype_or_a_layout_that_numpy_lacks_is_refused_even_by_force(device, case):
    x, reason = case
    for force in (False, True):
        with pytest.raises(TypeError, match=reason) as refusal:
            x.numpy(force=force)
        assert refusal.type is TypeError


@rule("numpy.refused-tensors.force")
@also(*UNRECORDED, AS_RESULTS)
@given(tensor=tensors_of_numpy_dtypes() | leaves(telling_shapes(), NUMPY_DIFFERENTIABLE), route=routes())
def test_force_shares_memory_and_leaves_the_tensor_as_it_was(device, tensor, route):
    x = route(tensor)
    before = state(tensor, x)
    array = x.numpy(force=True)
    assert state(tensor, x) == before
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
        assert array.tolist() == x.tolist()
        assert disjoint(x, array)
