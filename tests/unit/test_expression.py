"""Checks across columns: what parses, what is refused with its place, and that they mean what Python says they mean."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.expression import Call, parse_check
from tidemill.prepare.rules import compiled

COLUMNS = {"a": "integer", "b": "float", "name": "string", "at": "datetime", "until": "datetime", "ok": "boolean"}


@pytest.mark.parametrize(
    "check",
    [
        "a >= b",
        "(a + 1) * 2 <= b / -3",
        "name != 'x' and not ok = true",
        "at < until or until is null",
        "at >= '2024-01-01'",
        "a is not null",
        "not (a = 1 or b = 2)",
    ],
)
def test_checks_that_parse(check):
    assert parse_check(check, COLUMNS).kind == "boolean"


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ("a", "is no check"),
        ("a + 1", "is no check"),
        ("a >=", "expected a column, a number or a 'text', found ''"),
        ("a >= c", "expected one of the columns a, b, name, at, until, ok, found 'c'"),
        ("a >= name", "number does not compare with text"),
        ("a >= 1 b", "expected an operator or the end, found 'b'"),
        ("(a >= 1", r"expected \)"),
        ("ok < true", "have no order"),
        ("name + 1 > 2", r"\+ needs a number"),
        ("a and ok = true", "and needs a boolean"),
        ("at > 'May'", "no ISO 8601 time"),
        ("a is 3", "expected null"),
        ("a >= 1; drop table x", "expected an operator or the end"),
        ("__import__('os')", "expected one of the columns"),
        ("(" * 60 + "a = 1" + ")" * 60, "nested more than"),
        ("", "expected a column"),
    ],
)
def test_what_is_no_check_is_told_with_its_place(check, told):
    with pytest.raises(ValueError, match=told):
        parse_check(check, COLUMNS)


NUMBERS = st.one_of(st.integers(-9, 9).map(lambda n: f"{abs(n)}" if n >= 0 else f"(-{abs(n)})"), st.sampled_from(["a", "b"]))
SUMS = st.recursive(NUMBERS, lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=4)
COMPARED = st.tuples(SUMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), SUMS).map(lambda t: f"{t[0]} {t[1]} {t[2]}")
CHECKS = st.recursive(
    COMPARED,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), inner.map(lambda c: f"not ({c})")
    ),
    max_leaves=5,
)


@given(CHECKS, st.integers(-9, 9), st.integers(-9, 9))
@settings(max_examples=150, deadline=None)
def test_a_check_means_what_python_makes_of_it(check, a, b):
    tree = parse_check(check, COLUMNS)
    assert isinstance(tree, Call)
    found = pl.DataFrame({"a": [a], "b": [float(b)]}).select(x=compiled(tree)).item()
    assert found == eval(check, {"__builtins__": {}}, {"a": a, "b": b})  # noqa: S307  # made above


def test_a_missing_value_makes_a_check_neither_true_nor_false():
    frame = pl.DataFrame({"a": [None, 1], "b": [1.0, 2.0]}, schema={"a": pl.Int64, "b": pl.Float64})
    assert frame.select(x=compiled(parse_check("a < b", COLUMNS)))["x"].to_list() == [None, True]
    assert frame.select(x=compiled(parse_check("a is null or a < b", COLUMNS)))["x"].to_list() == [True, True]
