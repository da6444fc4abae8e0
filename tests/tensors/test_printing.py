"""spec/tensors/printing.md"""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, leaves, places, shapes, shapes_of_one_element, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.inputs.layouts import contiguous
from tests.oracles import numbers, state

RESULTS = (
    "({x} * 2)",
    "{x}.sum()",
    "{x}.view_as({x})",
    "{x}.detach()",
    "{x}.clone()",
    "{x}[None]",
    "torch.nn.Parameter({x})",
)

SPECS = ("{:.3f}", "{:+.2e}", "{:10.4f}", "{}")


LARGER = ((8,), (9,), (2, 9), (3, 11), (4, 4), (5, 1, 5), (2, 2, 5), (2, 2, 2, 1), (1, 2, 1, 2), (2, 3, 1, 2))
"""Shapes beyond what a device does at once, or of four dimensions, whose rows still fit in a line."""


def full_shapes():
    """Shapes with elements, short enough for a row to fit in a line."""
    return shapes(min_side=1)


def plain_tensors():
    return tensors(full_shapes() | st.sampled_from(LARGER), st.sampled_from(dtypes.FLOATING + dtypes.INTEGRAL))


@st.composite
def with_or_without_history(draw):
    """A tensor, a leaf that requires grad, or a result of such a leaf."""
    plain = tensors(full_shapes(), dtypes.floating() | dtypes.integral() | dtypes.complex_())
    leaf = draw(leaves(full_shapes(), dtypes.differentiable()))
    results = [Expression(form.format(x=leaf.source), dtypes=leaf.dtypes) for form in RESULTS]
    return draw(plain | st.just(leaf) | st.sampled_from(results))


WITHOUT_DIMENSIONS = (
    "torch.tensor({value}, device=device)",
    "torch.tensor({value}, device=device, requires_grad=True)",
    "torch.tensor([7.0, {value}], device=device)[1]",
    "torch.tensor([{value}], device=device, requires_grad=True).prod()",
    "torch.tensor({value}, device=device, requires_grad=True).view(()).clone()",
    "torch.tensor([[7.0], [{value}]], device=device, requires_grad=True)[1, 0]",
)


def numbers_without_dimensions():
    """(x, value): a tensor of no dimensions, and its one number, which a float holds exactly."""
    value = st.integers(-1000, 1000).map(lambda eighth: eighth / 8)
    special = st.sampled_from((math.inf, -math.inf, math.nan, -0.0))
    return st.tuples(value | value | special, st.sampled_from(WITHOUT_DIMENSIONS)).map(
        lambda drawn: (Expression(drawn[1].format(value=f"float('{drawn[0]}')")), drawn[0])
    )


def tensors_with_dimensions_and_parameters():
    parameters = tensors(dtypes=dtypes.floating()).map(
        lambda x: Expression(f"torch.nn.Parameter({x.source})", dtypes=x.dtypes)
    )
    any_dtype = dtypes.differentiable() | dtypes.integral()
    return tensors(shapes(min_dims=1), any_dtype) | parameters | leaves(shapes_of_one_element().filter(bool))


def specs():
    return st.sampled_from(SPECS)


def shows():
    """Functions that make a text of a tensor."""
    return st.sampled_from(("str", "repr", "'{}'.format")).map(Expression)


def cell(value):
    return f"{value:.0f}." if isinstance(value, float) else str(value)


def rows(cells, shape, indent):
    """The cells in brackets, the rows of the last two dimensions one below the other."""
    if not shape:
        return cells[0]
    if len(shape) == 1:
        return f"[{', '.join(cells)}]"
    size = len(cells) // shape[0]
    blocks = [rows(cells[start : start + size], shape[1:], indent + 1) for start in range(0, len(cells), size)]
    return f"[{(',' + chr(10) * (len(shape) - 1) + ' ' * (indent + 1)).join(blocks)}]"


@rule("tensors.printing.elements")
@also(*UNRECORDED, AS_RESULTS)
@given(x=plain_tensors())
@example(x=Expression("torch.tensor([2.0, 2.0, 2.0], device=device)"))
@example(x=Expression("torch.tensor([7.0], device=device)"))
@example(x=Expression("torch.zeros(2, 3, device=device)"))
@example(x=Expression("torch.tensor([[1, 2], [3, 4]], device=device)"))
@example(x=Expression("torch.tensor([[11, 22, 33], [14, 25, 36]], device=device)"))
@example(x=Expression("torch.tensor(range(130), device=device).reshape(10, 13)"))
@example(x=Expression("torch.tensor(range(24), device=device).reshape(4, 3, 2)"))
@example(x=Expression("torch.tensor(range(1000), device=device).reshape(100, 10)"))
@example(x=Expression("torch.tensor([[-100.0], [1.0]], device=device)"))
@example(x=Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).T"))
@example(x=Expression("torch.tensor([[1, 2, 3], [4, 5, 6]], device=device).T"))
@example(x=Expression("torch.tensor([7.0, 2.0], device=device)[1]"))
@example(x=Expression("torch.tensor([200, 255, 3], dtype=torch.uint8, device=device)"))
def test_the_elements_are_printed_in_aligned_rows(device, x):
    written = x.clone()
    before = str(x), repr(written)
    with torch.no_grad():
        written.fill_(11)
    for printed, texts in ((x, before), (written, (str(written),))):
        cells = [cell(value) for value in numbers(printed)]
        width = max(len(text) for text in cells)
        aligned = rows([text.rjust(width) for text in cells], tuple(x.shape), len("tensor("))
        for text in texts:
            assert text.startswith(f"tensor({aligned}")
            assert text[len(f"tensor({aligned}")] in ",)"


@rule("tensors.printing.suffixes")
@also(*UNRECORDED, AS_RESULTS)
@given(x=with_or_without_history(), recording=st.booleans())
@example(x=Expression("torch.tensor([1, 2, 3], dtype=torch.float32, device=device)"), recording=True)
@example(x=Expression("torch.tensor([0.5], dtype=torch.float32, device=device)"), recording=False)
@example(x=Expression("torch.tensor([0.5], device=device, requires_grad=True).sum()"), recording=True)
@example(x=Expression("torch.tensor([1, 2, 3], dtype=torch.int8, device=device)"), recording=True)
def test_the_text_says_what_is_not_the_default(device, x, recording):
    before = torch.get_default_dtype()
    for default, unsaid in (
        (torch.float32, (torch.float32, torch.complex64, torch.int64, torch.bool)),
        (torch.float64, (torch.float64, torch.complex128, torch.int64, torch.bool)),
    ):
        torch.set_default_dtype(default)
        try:
            with torch.set_grad_enabled(recording):
                text = " ".join(str(x).split())
        finally:
            torch.set_default_dtype(before)
        said = []
        if x.device.type != "cpu":
            said.append(f"device='{x.device}'")
        if x.dtype not in unsaid:
            said.append(f"dtype={x.dtype}")
        if x.grad_fn is not None:
            said.append(f"grad_fn=<{x.grad_fn.name()}>")
        elif x.requires_grad:
            said.append("requires_grad=True")
        assert text.endswith(", ".join(["", *said]) + ")")
        assert text.count("=") == len(said)


@rule("tensors.printing.f-strings")
@also(*UNRECORDED)
@given(x_and_value=numbers_without_dimensions(), spec=specs())
@example(x_and_value=(Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).sum()"), 10.0), spec="{}")
def test_a_tensor_of_no_dimensions_is_formatted_as_its_number(device, x_and_value, spec):
    x, value = x_and_value
    assert spec.format(x) == spec.format(value)
    assert f"{x}" == f"{value}"


@rule("tensors.printing.f-strings")
@also(*UNRECORDED)
@given(number=st.sampled_from((0, 7, -3, True, False, 2**53 + 1, 1j, 2 - 3j)), spec=st.sampled_from(("{}", "{:>12}")))
@example(number=-3, spec="{:+d}")
@example(number=5, spec="{:.3f}")
def test_integers_truth_values_and_complex_numbers_are_formatted_as_pythons(device, number, spec):
    for x in (torch.tensor(number, device=device), torch.tensor([7, number], device=device)[1:].squeeze()):
        value = number if type(number) is not bool or x.dtype == torch.bool else int(number)
        assert spec.format(x) == spec.format(value)
    if type(number) is int and abs(number) < 100:
        for dtype in (torch.int8, torch.int16, torch.int32):
            assert spec.format(torch.tensor(number, dtype=dtype, device=device)) == spec.format(number)


@rule("tensors.printing.f-strings")
@also(*UNRECORDED, AS_RESULTS)
@given(x=tensors_with_dimensions_and_parameters(), spec=st.sampled_from((*SPECS[:-1], "{:>10}", "{:d}")))
@example(x=Expression("torch.tensor([7.0], device=device)"), spec="{:.3f}")
@example(x=Expression("torch.nn.Parameter(torch.tensor(2.0, device=device))"), spec="{:.3f}")
def test_any_other_tensor_is_formatted_as_it_prints_and_takes_no_format(device, x, spec):
    assert f"{x}" == str(x)
    with pytest.raises(TypeError, match="unsupported format string") as refusal:
        spec.format(x)
    assert refusal.type is TypeError


@rule("tensors.printing.harmless")
@also(*BACKWARD)
@given(leaf=leaves(full_shapes(), among=(contiguous,), earlier_grad=True), place=places(), show=shows())
@example(
    leaf=Expression("torch.ones(3, 1, device=device, requires_grad=True)"),
    place=Expression("lambda x: x.view_as(x)"),
    show=Expression("str"),
)
@example(
    leaf=Expression("torch.tensor(2.0, device=device, requires_grad=True)"),
    place=Expression("lambda x: x.clone()"),
    show=Expression("'{}'.format"),
)
def test_printing_does_not_touch_the_graph(device, leaf, place, show):
    x = place(leaf)
    with torch.no_grad():
        leaf.add_(1)
    before = state(leaf)
    show(x)
    assert torch.is_grad_enabled()
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            assert show(x).startswith("tensor(") or x.ndim == 0
            assert show(leaf)
            assert torch.is_grad_enabled() is (mode is torch.enable_grad)
            assert torch.is_inference_mode_enabled() is (mode is torch.inference_mode)
    assert state(leaf) == before
    assert numbers(x) in ([*numbers(leaf)], [number - 1 for number in numbers(leaf)])
    leaf.grad = None
    x.backward(torch.full_like(x, 3))
    assert numbers(leaf.grad) == [3] * leaf.numel()
