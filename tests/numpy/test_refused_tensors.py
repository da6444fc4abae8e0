"""spec/numpy/refused-tensors.md"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, routes, shapes, tensors, tensors_of_numpy_dtypes
from tests.inputs.layouts import WRITABLE
from tests.oracles import aliases, disjoint, state

CONVERSIONS = ("lambda x: x.numpy()", "lambda x: np.asarray(x)", "lambda x: x.__array__()")
NOT_RECORDING = ("torch.no_grad()", "torch.inference_mode()", "torch.set_grad_enabled(False)")
NEEDS_DETACH = r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead"
NUMPY_DIFFERENTIABLE = st.sampled_from(
    ("torch.float32", "torch.float64", "torch.float16", "torch.complex64", "torch.complex128")
)
CONJUGATED = ("lambda z: z.conj()", "lambda z: z.conj()[None]", "lambda z: z.transpose(0, -1).conj()")
NEGATED = ("lambda z: z.conj().imag", "lambda z: z.conj()[None].imag")
COMPLEX = st.sampled_from(("torch.complex64", "torch.complex128"))


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
@given(leaf=leaves(dtypes=NUMPY_DIFFERENTIABLE), route=routes(), convert=st.sampled_from(CONVERSIONS).map(Expression))
def test_a_tensor_that_requires_grad_is_refused_until_it_is_detached(device, leaf, route, convert):
    x = route(leaf)
    before = state(leaf, x)
    with pytest.raises(RuntimeError, match=NEEDS_DETACH) as refusal:
        convert(x)
    assert refusal.type is RuntimeError
    assert state(leaf, x) == before
    assert aliases(x, convert(x.detach()))


@rule("numpy.refused-tensors.grad-mode-off")
@given(
    leaf=leaves(dtypes=NUMPY_DIFFERENTIABLE),
    route=routes(),
    convert=st.sampled_from(CONVERSIONS).map(Expression),
    mode=st.sampled_from(NOT_RECORDING).map(Expression),
)
def test_where_nothing_is_recorded_a_tensor_that_requires_grad_is_shared(device, leaf, route, convert, mode):
    x = route(leaf)
    before = state(leaf, x)
    with mode:
        array = convert(x)
    assert state(leaf, x) == before
    assert aliases(x, array)


@rule("numpy.refused-tensors.requires-grad")
@given(
    leaf=leaves(dtypes=NUMPY_DIFFERENTIABLE),
    convert=st.sampled_from(CONVERSIONS).map(Expression),
    mode=st.sampled_from(NOT_RECORDING[::2]).map(Expression),
)
def test_where_recording_was_turned_on_again_it_is_refused(device, leaf, convert, mode):
    with mode, torch.enable_grad(), pytest.raises(RuntimeError, match=NEEDS_DETACH):
        convert(leaf)


@rule("numpy.refused-tensors.conj-and-neg")
@given(
    z=tensors(dtypes=COMPLEX),
    case=st.tuples(st.sampled_from(CONJUGATED).map(Expression), st.just("conjugate bit set.*resolve_conj"))
    | st.tuples(st.sampled_from(NEGATED).map(Expression), st.just("negative bit set.*resolve_neg")),
    convert=st.sampled_from(CONVERSIONS).map(Expression),
)
def test_a_tensor_with_a_bit_that_numpy_does_not_know_is_refused(device, z, case, convert):
    look, reason = case
    x = look(z)
    before = state(z, x)
    with pytest.raises(RuntimeError, match=reason) as refusal:
        convert(x)
    assert refusal.type is RuntimeError
    assert state(z, x) == before


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:ComplexHalf support")
@rule("numpy.refused-tensors.unsupported")
@given(case=unsupported(), force=st.booleans())
def test_a_dtype_or_a_layout_that_numpy_lacks_is_refused_even_by_force(device, case, force):
    x, reason = case
    with pytest.raises(TypeError, match=reason) as refusal:
        x.numpy(force=force)
    assert refusal.type is TypeError


@rule("numpy.refused-tensors.force")
@given(x=tensors_of_numpy_dtypes())
def test_force_shares_the_memory_of_a_plain_tensor(device, x):
    assert aliases(x, x.numpy(force=True))


@rule("numpy.refused-tensors.force")
@given(leaf=leaves(dtypes=NUMPY_DIFFERENTIABLE), route=routes())
def test_force_shares_the_memory_of_a_tensor_that_requires_grad(device, leaf, route):
    x = route(leaf)
    before = state(leaf, x)
    array = x.numpy(force=True)
    assert state(leaf, x) == before
    assert aliases(x, array)


@rule("numpy.refused-tensors.force")
@given(
    z=tensors(dtypes=COMPLEX, among=WRITABLE) | leaves(dtypes=COMPLEX, among=WRITABLE),
    look=st.sampled_from(CONJUGATED + NEGATED).map(Expression),
)
def test_force_copies_what_a_bit_stands_for(device, z, look):
    x = look(z)
    before = state(z, x)
    array = x.numpy(force=True)
    assert state(z, x) == before
    assert array.tolist() == x.tolist()
    assert disjoint(x, array)
