"""What is drawn is text: what the text builds, what it prints, and that the two cannot differ."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import realise
from tests.inputs.expression import Expression, build, expressions_in, source_of, statements

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=3),
)
EXPRESSIONS = st.one_of(
    SCALARS.map(lambda value: Expression(source_of(value))),
    st.integers(0, 9).map(lambda number: Expression("[]", then=(f"{{it}}.append({number})", "{it} *= 2"))),
)
VALUES = st.recursive(
    SCALARS | EXPRESSIONS,
    lambda members: st.lists(members, max_size=3) | st.lists(members, max_size=3).map(tuple),
    max_leaves=8,
)


def plain(value: object) -> object:
    """What a drawn value stands for, worked out without running any statement but an expression's own."""
    if isinstance(value, Expression):
        if value.then:
            return [int(value.then[0].removeprefix("{it}.append(").removesuffix(")"))] * 2
        return eval(value.source)
    if isinstance(value, tuple | list):
        return type(value)(plain(member) for member in value)
    return value


def run(lines: list[str], name: str) -> Any:
    namespace: dict[str, Any] = {}
    exec("\n".join(lines), namespace)
    return namespace[name]


@given(value=VALUES)
def test_what_is_built_is_what_the_printed_lines_build(value: object) -> None:
    # Compared as text, because nan is not equal to itself and -0.0 is to 0.0.
    assert repr(build({}, "drawn", value)) == repr(plain(value))
    assert repr(run(statements("drawn", value), "drawn")) == repr(plain(value))


@given(value=VALUES)
def test_what_is_printed_binds_the_name_last(value: object) -> None:
    lines = statements("drawn", value)
    bound = [node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)]
    assert "drawn" in bound
    assert all(name.startswith("drawn") or name in ("float", "complex") for name in bound)


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (Expression("torch.ones(2)"), ["v = torch.ones(2)"]),
        (
            Expression("torch.ones(2)", then=("{it}.grad = 2 * {it}", "print({it})")),
            ["v = torch.ones(2)", "v.grad = 2 * v", "print(v)"],
        ),
        ((Expression("f"), Expression("g")), ["v = (f, g)"]),
        ((Expression("f"),), ["v = (f,)"]),
        ([Expression("f"), 3, "text"], ["v = [f, 3, 'text']"]),
        (
            (1, Expression("f", then=("{it}()",)), [Expression("g")]),
            ["v_0 = 1", "v_1 = f", "v_1()", "v_2 = [g]", "v = (v_0, v_1, v_2)"],
        ),
        ([(Expression("f", then=("{it}()",)),)], ["v_0_0 = f", "v_0_0()", "v_0 = (v_0_0,)", "v = [v_0]"]),
        ((), ["v = ()"]),
        ([], ["v = []"]),
        (float("inf"), ['v = float("inf")']),
        ((float("-inf"), -0.0), ['v = (float("-inf"), -0.0)']),
        (complex("nan+1j"), ['v = complex("(nan+1j)")']),
        (True, ["v = True"]),
    ],
)
def test_a_value_prints_as_the_lines_that_a_person_would_write(value: object, lines: list[str]) -> None:
    assert statements("v", value) == lines


def test_a_long_tuple_or_list_has_a_line_for_each_member() -> None:
    member = "text of some length, " * 3
    for value in ((member, member), [member, member]):
        [lines] = statements("v", value)
        assert [line.strip(" ,") for line in lines.splitlines()[1:-1]] == [repr(member)] * 2
        assert run([lines], "v") == build({}, "v", value) == value


def test_an_expression_shows_its_source_and_its_statements() -> None:
    assert repr(Expression("torch.ones(2)", then=("{it}.grad = {it}",))) == "torch.ones(2); _.grad = _"


def test_a_value_without_expressions_is_handed_on_as_it_is() -> None:
    for value in ([1, (2, "three")], "text", 4.5, object()):
        assert build({}, "drawn", value) is value


def test_what_is_built_anew_shares_nothing_with_what_was_built_before() -> None:
    drawn = Expression("[1]", then=("{it}.append(2)",))
    first, second = build({}, "drawn", drawn), build({}, "drawn", drawn)
    assert first == second == [1, 2]
    assert first is not second


def test_a_later_value_may_name_an_earlier_one() -> None:
    namespace: dict[str, Any] = {}
    assert build(namespace, "x", Expression("[1]")) is build(namespace, "y", Expression("x"))


def test_every_expression_in_a_value_is_found() -> None:
    one, two = Expression("one"), Expression("two")
    assert list(expressions_in((one, [3, (two, "text")], {"not": "looked into"}))) == [one, two]


def test_facts_are_no_part_of_what_an_expression_is() -> None:
    assert Expression("x", facts={"shape": ()}) == Expression("x", facts={"shape": (1,)})


@pytest.mark.parametrize(
    "drawn",
    [
        Expression("torch.ones(2, device=device)"),
        Expression("math.inf"),
        Expression("np.ones(2)"),
        Expression("torch.ones(2)", then=("{it}.numpy()[0] = np.float32(math.pi)",)),
    ],
    ids=repr,
)
def test_a_source_may_name_torch_numpy_math_and_the_device(drawn: Expression) -> None:
    seen = []

    def test(device: str, value: Any) -> None:
        seen.append(value)

    realise.begin()
    realise.realising(test)(device="cpu", value=drawn)
    assert len(seen) == 1
