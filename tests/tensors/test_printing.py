"""spec/tensors/printing.md"""

import itertools
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


def some_dtypes(with_complex=False):
    """Two dtypes, in an order of their own."""
    names = dtypes.FLOATING + dtypes.INTEGRAL + (dtypes.COMPLEX if with_complex else ())
    every = [Expression(name, dtypes=frozenset({name})) for name in names]
    return st.sampled_from([(every * 2)[first : first + 2] for first in range(len(every))])


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
    """(xs, value): tensors of no dimensions, and their one number, which a float holds exactly."""
    value = st.integers(-1000, 1000).map(lambda eighth: eighth / 8)
    special = st.sampled_from((math.inf, -math.inf, math.nan, -0.0))
    return (value | value | special).map(
        lambda drawn: ([Expression(form.format(value=f"float('{drawn}')")) for form in WITHOUT_DIMENSIONS], drawn)
    )


def tensors_with_dimensions_and_parameters():
    parameters = tensors(dtypes=dtypes.floating()).map(
        lambda x: Expression(f"torch.nn.Parameter({x.source})", dtypes=x.dtypes)
    )
    any_dtype = dtypes.differentiable() | dtypes.integral()
    return tensors(shapes(min_dims=1), any_dtype) | parameters | leaves(shapes_of_one_element().filter(bool))


SHOWS = (str, repr, "{}".format)
"""Functions that make a text of a tensor."""


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


def suffixes(x, default):
    """What stands behind the elements of a tensor, given a default dtype."""
    said = [] if x.device.type == "cpu" else [f"device='{x.device}'"]
    precision = torch.complex128 if default == torch.float64 else torch.complex64
    if x.dtype not in (default, precision, torch.int64, torch.bool):
        said.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        said.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        said.append("requires_grad=True")
    return said


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
@example(x=Expression("torch.tensor([1.0, 7.0, 2.0, 7.0, 3.0, 7.0], device=device)[::2]"))
@example(x=Expression("torch.tensor(range(20), device=device).reshape(5, 2, 2)"))
@example(x=Expression("torch.tensor(range(24), dtype=torch.float32, device=device).reshape(4, 2, 3).transpose(0, 2)"))
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
    for printed, texts in ((x, before), (written, (str(written),)), (x.detach(), (repr(x.detach()),))):
        cells = [cell(value) for value in numbers(printed)]
        width = max(len(text) for text in cells)
        aligned = rows([text.rjust(width) for text in cells], tuple(x.shape), len("tensor("))
        for text in texts:
            assert text.startswith(f"tensor({aligned}")
            assert text[len(f"tensor({aligned}")] in ",)"


@rule("tensors.printing.elements")
@also(*UNRECORDED)
@given(named=some_dtypes(), flags=st.lists(st.booleans(), min_size=2, max_size=4))
def test_the_elements_of_every_dtype_are_printed_however_they_lie(device, named, flags):
    for dtype in named:
        column = torch.tensor([[flag] for flag in flags], dtype=dtype, device=device)
        cells = [cell(value) for value in numbers(column)]
        width = max(len(text) for text in cells)
        cells = [text.rjust(width) for text in cells]
        one, many = cells[-1].strip(), len(flags)
        for text, aligned in (
            (str(column), rows(cells, (many, 1), 7)),
            (repr(column.T), rows(cells, (1, many), 7)),
            (str(torch.cat([column, torch.zeros_like(column)], 1)[:, 0]), rows(cells, (many,), 7)),
            (str(column[-1:]), f"[[{one}]]"),
            (str(column[-1, 0]), one),
        ):
            assert text.startswith((f"tensor({aligned})", f"tensor({aligned},"))


@rule("tensors.printing.suffixes")
@also(*UNRECORDED, AS_RESULTS)
@given(x=with_or_without_history())
@example(x=Expression("torch.tensor([1, 2, 3], dtype=torch.float32, device=device)"))
@example(x=Expression("torch.tensor([0.5], dtype=torch.float32, device=device)"))
@example(x=Expression("torch.tensor([0.5], device=device, requires_grad=True).sum()"))
@example(x=Expression("torch.tensor([1, 2, 3], dtype=torch.int8, device=device)"))
def test_the_text_says_what_is_not_the_default(device, x):
    before = torch.get_default_dtype()
    texts = []
    try:
        for default, recording in (
            (torch.float32, True),
            (torch.float64, False),
            (torch.float32, False),
            (torch.float64, True),
        ):
            torch.set_default_dtype(default)
            with torch.set_grad_enabled(recording):
                texts += [(default, x, str(x))]
            plain = x.detach()
            texts += [(default, plain, repr(plain))]
    finally:
        torch.set_default_dtype(before)
    for default, shown, text in texts:
        said = suffixes(shown, default)
        assert " ".join(text.split()).endswith(", ".join(["", *said]) + ")")
        assert text.count("=") == len(said)


@rule("tensors.printing.suffixes")
@also(*UNRECORDED)
@given(named=some_dtypes(with_complex=True), shape=st.sampled_from(((), (1,), (2, 1), (17,))))
def test_every_dtype_and_every_kind_of_tensor_says_what_it_is(device, named, shape):
    for dtype in named:
        plain = torch.ones(shape, dtype=dtype, device=device)
        every = [plain, plain[None], plain.expand(2, *shape)]
        if dtype.is_floating_point or dtype.is_complex:
            leaf = plain.clone().requires_grad_() if not plain.is_inference() else torch.ones_like(plain)
            leaf.requires_grad_()
            with torch.enable_grad():
                every += [leaf, leaf * 1, leaf.sum(), leaf.view(-1), leaf.detach()]
        for x in every:
            said = suffixes(x, torch.get_default_dtype())
            text = " ".join(str(x).split())
            assert text.endswith(", ".join(["", *said]) + ")")
            assert text.count("=") == len(said)


@rule("tensors.printing.f-strings")
@also(*UNRECORDED)
@given(xs_and_value=numbers_without_dimensions())
@example(xs_and_value=([Expression("torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).sum()")], 10.0))
def test_a_tensor_of_no_dimensions_is_formatted_as_its_number(device, xs_and_value):
    xs, value = xs_and_value
    for x, spec in zip(xs, itertools.cycle(SPECS)):
        assert spec.format(x) == spec.format(value)
        assert f"{x}" == f"{value}" == format(x.detach(), "")
        with torch.no_grad():
            x.detach().zero_()
        assert f"{x} {x:.2f}" == "0.0 0.00"


@rule("tensors.printing.f-strings")
@also(*UNRECORDED)
@given(named=some_dtypes(), number=st.sampled_from((1, 0, 2, 3)))
def test_a_number_of_every_dtype_is_formatted_as_pythons(device, named, number):
    for dtype in named:
        real = dtype.is_floating_point
        value = number / 4 if real else bool(number) if dtype == torch.bool else number
        x = torch.tensor([[7, value]], dtype=dtype, device=device)[0, 1]
        for tensor in (x, x.clone(), x.detach().requires_grad_() if real else x, x.expand(2)[1]):
            for spec in ("{}", "{:>9}", "{:+.3e}" if real else "{:05d}"):
                assert spec.format(tensor) == spec.format(value)
        assert f"{x.reshape(1)}" == str(x.reshape(1))
        if dtype in (torch.float64, torch.float32):
            tenth = "0.1" if dtype == torch.float64 else "0.10000000149011612"
            assert f"{torch.tensor(0.1, dtype=dtype, device=device)}" == tenth


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
@given(x=tensors_with_dimensions_and_parameters())
@example(x=Expression("torch.tensor([7.0], device=device)"))
@example(x=Expression("torch.nn.Parameter(torch.tensor(2.0, device=device))"))
def test_any_other_tensor_is_formatted_as_it_prints_and_takes_no_format(device, x):
    others = (torch.nn.Parameter(torch.tensor(2.0, device=device)), torch.tensor([[True]], device=device))
    for other in (x, *others):
        assert f"{other}" == SHOWS[2](other) == str(other)
    for spec in ("{:.3f}", "{:>10}", "{:d}"):
        with pytest.raises(TypeError, match="unsupported format string") as refusal:
            spec.format(x)
        assert refusal.type is TypeError
    for other in others:
        with pytest.raises(TypeError, match="unsupported format string"):
            f"{other:.3f}"
    assert f"{x}" == str(x)


@rule("tensors.printing.harmless")
@also(*BACKWARD)
@given(leaf=leaves(full_shapes(), among=(contiguous,), earlier_grad=True), place=places())
@example(
    leaf=Expression("torch.ones(3, 1, device=device, requires_grad=True)"), place=Expression("lambda x: x.view_as(x)")
)
@example(
    leaf=Expression("torch.tensor(2.0, device=device, requires_grad=True)"), place=Expression("lambda x: x.clone()")
)
def test_printing_does_not_touch_the_graph(device, leaf, place):
    x = place(leaf)
    with torch.no_grad():
        leaf.add_(1)
    before = state(leaf)
    str(x)
    assert torch.is_grad_enabled()
    plain, single = torch.ones(2, device=device), torch.tensor(2.0, device=device)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            for shown, show in zip((x, plain, single), SHOWS[::-1], strict=True):
                assert show(shown).startswith("tensor(") or shown.ndim == 0
                assert torch.is_grad_enabled() is (mode is torch.enable_grad)
                assert torch.is_inference_mode_enabled() is (mode is torch.inference_mode)
            assert f"{single}" == "2.0"
            assert torch.is_grad_enabled() is (mode is torch.enable_grad)
    assert torch.is_grad_enabled()
    assert state(leaf) == before
    assert numbers(x) in ([*numbers(leaf)], [number - 1 for number in numbers(leaf)])
    graph = x.grad_fn
    leaf.grad = None
    x.backward(torch.full_like(x, 3))
    assert numbers(leaf.grad) == [3] * leaf.numel()
    before = state(leaf)
    for shown, show in zip((leaf.grad, x, leaf), SHOWS, strict=True):
        show(shown)
    assert state(leaf) == before
    assert x.grad_fn is graph
    assert x.requires_grad
    x = place(leaf)
    total = (x * 2).sum()
    assert f"{x} {total}"
    assert torch.is_grad_enabled()
    total.backward()
    assert numbers(leaf.grad) == [5] * leaf.numel()
