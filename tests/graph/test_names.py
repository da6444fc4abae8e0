"""spec/graph/names.md"""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves, shapes

NAMES = (
    ("lambda x: x + 1", "AddBackward0"),
    ("lambda x: 1 + x", "AddBackward0"),
    ("lambda x: x - 1", "SubBackward0"),
    ("lambda x: x * 2", "MulBackward0"),
    ("lambda x: 2 * x", "MulBackward0"),
    ("lambda x: x / 2", "DivBackward0"),
    ("lambda x: -x", "NegBackward0"),
    ("lambda x: x ** 2", "PowBackward0"),
    ("lambda x: x.pow(3)", "PowBackward0"),
    ("lambda x: x.exp()", "ExpBackward0"),
    ("lambda x: x.sum()", "SumBackward0"),
    ("lambda x: x.mean()", "MeanBackward0"),
    ("lambda x: x.clone()", "CloneBackward0"),
    ("lambda x: x + x", "AddBackward0"),
    ("lambda x: x.detach() + x", "AddBackward0"),
    ("lambda x: torch.add(x, x.detach(), alpha=2)", "AddBackward0"),
    ("lambda x: x.clone().add_(1)", "AddBackward0"),
    ("lambda x: x.detach() - x", "SubBackward0"),
    ("lambda x: x.detach() * x", "MulBackward0"),
    ("lambda x: x.clone().mul_(x)", "MulBackward0"),
    ("lambda x: x.detach() / x", "DivBackward0"),
    ("lambda x: x.negative()", "NegBackward0"),
    ("lambda x: x.clone().neg_()", "NegBackward0"),
    ("lambda x: torch.exp(x)", "ExpBackward0"),
    ("lambda x: torch.sum(x)", "SumBackward0"),
    ("lambda x: torch.mean(x)", "MeanBackward0"),
    ("lambda x: torch.clone(x)", "CloneBackward0"),
    ("lambda x: torch.nn.functional.mse_loss(x, torch.zeros_like(x))", "MseLossBackward0"),
    ("lambda x: torch.sub(x, x, alpha=2)", "SubBackward0"),
    ("lambda x: x.clone().sub_(1)", "SubBackward0"),
    ("lambda x: torch.mul(x.detach(), x)", "MulBackward0"),
    ("lambda x: x.clone().div_(2)", "DivBackward0"),
    ("lambda x: torch.div(x, x)", "DivBackward0"),
    ("lambda x: torch.pow(x, 2)", "PowBackward0"),
    ("lambda x: x.clone().pow_(2)", "PowBackward0"),
    ("lambda x: x.clone().exp_()", "ExpBackward0"),
    ("lambda x: x.sum(dtype=torch.float32)", "SumBackward0"),
    ("lambda x: torch.nn.functional.mse_loss(x.detach(), x, reduction='sum')", "MseLossBackward0"),
    ("lambda x: x.add(x)", "AddBackward0"),
    ("lambda x: torch.nn.MSELoss(reduction='none')(x, x)", "MseLossBackward0"),
)
"""A function that is one operation, and the name of its node."""

NAMES_OF_MATRICES = (
    ("lambda x: x @ x.detach().T", "MmBackward0"),
    ("lambda x: torch.mm(x.detach().T, x)", "MmBackward0"),
    ("lambda x: torch.matmul(x, x.T)", "MmBackward0"),
    ("lambda x: torch.nn.functional.linear(x, x.detach(), x.detach().sum(1))", "AddmmBackward0"),
    ("lambda x: torch.nn.functional.linear(x.detach(), x, x.sum(1))", "AddmmBackward0"),
    ("lambda x: torch.nn.functional.linear(x.detach(), x.detach(), x.sum(1))", "AddmmBackward0"),
    ("lambda x: x.detach().T.mm(x)", "MmBackward0"),
)


NARROW = [
    Expression(
        f"torch.ones({shape}, dtype=torch.bfloat16, device=device).requires_grad_()",
        dtypes=frozenset({"torch.bfloat16"}),
    )
    for shape in ("()", "2, 3")
]
"""Leaves for which a backend may compute in a wider dtype."""


def expressions(pairs):
    return [(Expression(source), name) for source, name in pairs]


@rule("graph.names.operation")
@given(leaf=leaves(), named=st.sampled_from((NAMES[::2], NAMES[1::2])).map(expressions))
@example(leaf=NARROW[0], named=expressions(NAMES))
@example(leaf=NARROW[1], named=expressions(NAMES))
def test_a_node_is_named_after_its_operation(device, leaf, named):
    for function, name in named:
        for node in (function(leaf).grad_fn, function(leaf * 1).grad_fn, function(leaf.view_as(leaf)).grad_fn):
            assert node.name() == name
            assert str(node).startswith(f"<{name} object at ")


@rule("graph.names.operation")
@given(leaf=leaves(shapes(min_dims=2, max_dims=2, min_side=1)), named=st.just(NAMES_OF_MATRICES).map(expressions))
def test_a_node_of_a_matrix_product_is_named_after_it(device, leaf, named):
    for function, name in named:
        for tensor in (leaf, leaf * 1, leaf.T):
            assert function(tensor).grad_fn.name() == name
