"""spec/graph/acyclic.md"""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.harness.bindings import rule
from tests.inputs import Expression, leaves
from tests.oracles.graph import nodes_reached

CHANGES = (
    "lambda y: y + y",
    "lambda y: y * 2",
    "lambda y: y.mul_(2)",
    "lambda y: y.add_(y)",
    "lambda y: y.mul_(y)",
    "lambda y: y.copy_(y * 2)",
    "lambda y: y.__setitem__(..., y + 1) or y",
    "lambda y: (y.view_as(y).add_(1), y)[1]",
    "lambda y: y.view_as(y).mul_(2)",
    "lambda y: y[None].add_(1)[0]",
    "lambda y: y.mul_(y[None][0])",
    "lambda y: torch.stack([y, y]).unbind()[1] * 1",
    "lambda y: y.clone().copy_(y)",
    "lambda y: torch.where(y.detach() > 0, y, y.exp_())",
    "lambda y: y.add_(y.sum())",
    "lambda y: y.mul_(y).add_(y)",
    "lambda y: torch.cat([y[None], y[None]])[1].mul_(y)",
    "lambda y: torch.autograd.grad((y * y).sum(), y, create_graph=True)[0]",
    "lambda y: torch.no_grad()(y.add_)(1)",
)
"""Steps of a loop that goes on with what it computed before, or changes it in place."""


def each_change():
    """All of these."""
    return st.just([Expression(change) for change in CHANGES])


@rule("graph.acyclic.no-way-back")
@given(
    leaf=leaves(),
    changes=st.lists(st.sampled_from(CHANGES).map(Expression), min_size=1, max_size=5),
    every=each_change(),
)
@example(
    leaf=Expression("torch.tensor([1., 2., 3.], device=device, requires_grad=True)"),
    changes=[Expression("lambda x: x * 2"), Expression("lambda y: y.sum()")],
    every=[],
)
def test_no_edges_lead_from_a_node_back_to_it(device, leaf, changes, every):
    result = leaf * 1
    for change in changes:
        result = change(result)
    for last in (result, *(change(leaf * 1) for change in every)):
        for node in nodes_reached(last.grad_fn):
            assert node not in nodes_reached(*[following for following, _ in node.next_functions])
