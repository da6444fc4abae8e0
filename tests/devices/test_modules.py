"""spec/devices/modules.md"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, dtypes, on_the_cpu, tensors
from tests.inputs.circumstances import AS_RESULTS, BACKWARD, UNRECORDED, also
from tests.oracles import numbers

MOVES = (
    ("lambda module, dtype: module.to(device)", True, False),
    ("lambda module, dtype: module.to(dtype)", False, True),
    ("lambda module, dtype: module.to(device, dtype)", True, True),
    ("lambda module, dtype: module.to(dtype=dtype, device=device, non_blocking=True)", True, True),
    ("lambda module, dtype: module.to(torch.empty(0, dtype=dtype, device=device))", True, True),
    ("lambda module, dtype: module.to(dtype=dtype)", False, True),
    ("lambda module, dtype: module.to(device=device)", True, False),
)
DTYPES = st.sampled_from(dtypes.FLOATING).map(lambda dtype: Expression(dtype, dtypes=frozenset({dtype})))


DTYPES_IN_TURN = st.permutations(dtypes.FLOATING).map(
    lambda drawn: [Expression(dtype, dtypes=frozenset({dtype})) for dtype in drawn[:2]]
)


def moves():
    """A move, and whether it names a device and a dtype."""
    return st.sampled_from(MOVES).map(lambda drawn: (Expression(drawn[0]), *drawn[1:]))


def contents():
    """What `module_of` takes: each tensor on the device or on the CPU."""
    weights, counts = tensors(), tensors(dtypes=st.just("torch.int64"))
    return st.tuples(*(kind | kind.map(on_the_cpu) for kind in (weights, counts)))


def module_of(weight, count):
    """A module with four parameters, two frozen, one of them with a grad, and eight buffers, one never saved, inside
    two other modules with a parameter and a buffer of their own."""
    inner = torch.nn.Module()
    inner.weight = torch.nn.Parameter(weight)
    inner.frozen = torch.nn.Parameter(weight.detach() * 2, requires_grad=False)
    inner.stopped = torch.nn.Parameter(weight.detach() * 5, requires_grad=False)
    inner.stopped.grad = torch.full_like(inner.stopped, 2)
    inner.stepped = torch.nn.Parameter(torch.stack((weight.detach(), weight.detach()), -1)[..., 1])
    inner.register_buffer("average", torch.stack((weight.detach(), weight.detach() * 3), -1)[..., 1])
    inner.register_buffer("count", count)
    inner.register_buffer("large", count + (2**53 + 1))
    inner.register_buffer("flags", count > 0)
    inner.register_buffer("infinite", weight.detach() * float("inf"))
    inner.register_buffer("small", (count * 2).to(torch.int8))
    inner.register_buffer("bytes", (count == 1).to(torch.uint8))
    inner.register_buffer("nothing", None)
    inner.register_parameter("none", None)
    inner.register_buffer("unsaved", weight.detach() * 4, persistent=False)
    module = torch.nn.Sequential(torch.nn.Sequential(inner))
    module.weight = torch.nn.Parameter(weight.detach() - 1)
    module.register_buffer("last", weight.detach() * 0.5)
    return module


def contents_of(module):
    """All parameters and buffers by their names."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@rule("devices.modules.in-place")
@also(*UNRECORDED, AS_RESULTS)
@given(drawn=contents(), drawn_moves=st.lists(moves(), min_size=2, max_size=2), named=DTYPES_IN_TURN)
def test_a_module_moves_itself_with_all_that_is_in_it(device, drawn, drawn_moves, named):
    module = module_of(*drawn)
    start = {name: repr(numbers(tensor)) for name, tensor in contents_of(module).items()}
    for (move, names_device, names_dtype), dtype in zip(drawn_moves, named, strict=True):
        before = {name: tensor.detach() for name, tensor in contents_of(module).items()}
        assert move(module, dtype) is module
        after = contents_of(module)
        assert after.keys() == before.keys()
        for name, was in before.items():
            value = after[name]
            assert value.device == (torch.empty(0, device=device).device if names_device else was.device)
            assert value.dtype == (dtype if names_dtype and was.is_floating_point() else was.dtype)
            assert value.shape == was.shape
            assert repr(numbers(value)) == start[name]
    module[0][0].average.zero_()
    assert repr(numbers(module[0][0].weight)) == start["0.0.weight"]
    assert module.to("meta", dtype) is module
    assert {value.device.type for value in contents_of(module).values()} == {"meta"}
    for name, value in contents_of(module).items():
        assert value.dtype == (dtype if before[name].is_floating_point() else before[name].dtype)
        assert value.shape == before[name].shape


@rule("devices.modules.still-leaves")
@also(*BACKWARD)
@given(drawn=contents(), drawn_move=moves(), dtype=DTYPES)
def test_a_moved_parameter_is_the_leaf_that_it_was_and_its_grad_moves_along(device, drawn, drawn_move, dtype):
    move, _, _ = drawn_move
    ((inner,),) = module = module_of(*drawn)
    gradient = (torch.arange(inner.weight.numel()) % 7 + 1).to(inner.weight).reshape(inner.weight.shape)
    slopes = numbers(gradient)
    output = inner.weight * 3
    output.backward(gradient)
    module.weight.grad = torch.tensor(5).to(module.weight).detach().expand(module.weight.shape)
    with torch.no_grad():
        module.to(torch.float64 if dtype != torch.float64 else torch.float32)
    assert isinstance(inner.weight, torch.nn.Parameter)
    assert inner.weight.grad is not None
    assert numbers(inner.weight.grad) == [3 * slope for slope in slopes]
    move(module, dtype)
    parameters = (inner.weight, inner.frozen, inner.stopped, module.weight, inner.stepped)
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in parameters)
    assert all(parameter.is_leaf for parameter in parameters)
    assert [parameter.requires_grad for parameter in parameters] == [True, False, False, True, True]
    assert inner.frozen.grad is inner.stepped.grad is None
    held = ([3 * slope for slope in slopes], [2 for _ in slopes], [5 for _ in slopes])
    for parameter, expected in zip((inner.weight, inner.stopped, module.weight), held, strict=True):
        assert parameter.grad is not None
        assert (parameter.grad.device, parameter.grad.dtype) == (parameter.device, parameter.dtype)
        assert not parameter.grad.requires_grad
        assert numbers(parameter.grad) == expected
    output = inner.weight * 4
    output.backward(gradient.to(output))
    assert numbers(inner.weight.grad) == [7 * slope for slope in slopes]
    assert numbers(inner.stopped.grad) == [2 for _ in slopes]
    module.to("meta")
    assert [parameter.requires_grad for parameter in (inner.weight, inner.frozen, module.weight)] == [True, False, True]
    assert inner.weight.is_leaf
    assert inner.weight.grad.device.type == inner.stopped.grad.device.type == "meta"
