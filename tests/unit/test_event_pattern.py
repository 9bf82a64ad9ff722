"""An event pattern matches what EventBridge's does, and a bad one says where it is bad."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.events.operators import PatternError
from localcloud.events.pattern import compile_pattern


def matches(pattern, event):
    return compile_pattern(json.dumps(pattern))(event)


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html (the summary table)
@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ({"Name": ["Alice"]}, {"Name": "Alice"}, {"Name": "alice"}),
        ({"LastName": [""]}, {"LastName": ""}, {"LastName": None}),
        ({"UserID": [None]}, {"UserID": None}, {"UserID": ""}),
        ({"Price": [100]}, {"Price": 100}, {"Price": "100"}),
        ({"on": [True]}, {"on": True}, {"on": 1}),
        ({"count": [1]}, {"count": 1}, {"count": True}),
        ({"PaymentType": ["Cash", "Debit"]}, {"PaymentType": "Debit"}, {"PaymentType": "Credit"}),
        ({"Location": ["New York"], "Day": ["Monday"]}, {"Location": "New York", "Day": "Monday"}, {"Location": "New York", "Day": "Friday"}),
        ({"Name": [{"equals-ignore-case": "alice"}]}, {"Name": "ALICE"}, {"Name": "Alicia"}),
        ({"Region": [{"prefix": "us-"}]}, {"Region": "us-east-1"}, {"Region": "eu-us-1"}),
        ({"service": [{"prefix": {"equals-ignore-case": "eventb"}}]}, {"service": "EventBridge"}, {"service": "AnEventB"}),
        ({"FileName": [{"suffix": ".png"}]}, {"FileName": "a.png"}, {"FileName": "a.png.txt"}),
        ({"service": [{"suffix": {"equals-ignore-case": "tbridge"}}]}, {"service": "evenTBRIDGE"}, {"service": "tbridges"}),
        ({"FilePath": [{"wildcard": "dir/*.png"}]}, {"FilePath": "dir/a/b.png"}, {"FilePath": "dir/a.jpg"}),
        ({"Price": [{"numeric": ["=", 100]}]}, {"Price": 100.0}, {"Price": 101}),
        ({"Price": [{"numeric": [">", 10, "<=", 20]}]}, {"Price": 20}, {"Price": 10}),
        ({"ip": [{"cidr": "10.0.0.0/24"}]}, {"ip": "10.0.0.255"}, {"ip": "10.0.1.0"}),
        ({"ip": [{"cidr": "2001:db8::/32"}]}, {"ip": "2001:db8::1"}, {"ip": "10.0.0.1"}),
        ({"ip": [{"cidr": "10.0.0.7/24"}]}, {"ip": "10.0.0.1"}, {"ip": "not an address"}),
        ({"ProductName": [{"exists": True}]}, {"ProductName": None}, {"other": 1}),
        ({"ProductName": [{"exists": False}]}, {"other": 1}, {"ProductName": ""}),
        ({"a": [{"prefix": "1"}]}, {"a": "12"}, {"a": 12}),
    ],
)
def test_matches_as_the_operators_page_says(pattern, matching, other):
    assert matches(pattern, matching)
    assert not matches(pattern, other)


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-anything-but
@pytest.mark.parametrize(
    ("operand", "matching", "other"),
    [
        ("initializing", "running", "initializing"),
        (["stopped", "overloaded"], "running", "overloaded"),
        (123, 124, 123.0),
        ([100, 200, 300], 150, 200),
        (123, "123", 123),
        ({"prefix": "init"}, "running", "initializing"),
        ({"prefix": ["init", "error"]}, "running", "error-7"),
        ({"suffix": "1234"}, "i-123", "i-1234"),
        ({"suffix": [".txt", ".rtf"]}, "a.png", "a.rtf"),
        ({"equals-ignore-case": "initializing"}, "running", "INITIALIZING"),
        ({"equals-ignore-case": ["initializing", "stopped"]}, "running", "STOPPED"),
        ({"wildcard": "*/lib/*"}, "/bin/a", "/usr/lib/a"),
        ({"wildcard": ["*/lib/*", "*/bin/*"]}, "/opt/a", "/usr/bin/a"),
        ({"prefix": "init"}, 5, "init"),
    ],
)
def test_anything_but_refuses_only_what_it_names(operand, matching, other):
    pattern = {"detail": {"state": [{"anything-but": operand}]}}
    assert matches(pattern, {"detail": {"state": matching}})
    assert not matches(pattern, {"detail": {"state": other}})


# https://github.com/localstack/localstack/issues/9711 saw AWS match null
def test_anything_but_matches_null_but_not_a_missing_field():
    pattern = {"detail": {"foo": [{"anything-but": ["baz"]}]}}
    assert matches(pattern, {"detail": {"foo": None}})
    assert not matches(pattern, {"detail": {}})


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-exists-matching
@pytest.mark.parametrize(
    ("detail", "exists"),
    [({"c-count": 5}, True), ({"c-count": None}, True), ({"c-count": {"c1": 100}}, False), ({"c-count": []}, False), ({"state": "running"}, False)],
)
def test_only_a_leaf_exists(detail, exists):
    assert matches({"detail": {"c-count": [{"exists": True}]}}, {"detail": detail}) is exists
    assert matches({"detail": {"c-count": [{"exists": False}]}}, {"detail": detail}) is not exists


def test_absence_is_one_alternative_among_values():
    pattern = {"state": [{"exists": False}, "ok"]}
    assert [matches(pattern, event) for event in ({}, {"state": "ok"}, {"state": "bad"})] == [True, True, False]


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-complex-example-or
def test_or_holds_when_one_alternative_holds():
    pattern = {"detail": {"$or": [{"c-count": [{"numeric": [">", 0, "<=", 5]}]}, {"d-count": [{"numeric": ["<", 10]}]}, {"x-limit": [3.018e2]}]}}
    for detail in ({"c-count": 5}, {"d-count": 9}, {"x-limit": 301.8}, {"c-count": 9, "d-count": 1}):
        assert matches(pattern, {"detail": detail})
    assert not matches(pattern, {"detail": {"c-count": 6, "d-count": 10, "x-limit": 1}})


# https://github.com/aws/event-ruler#the-or-primitive
def test_or_stands_beside_other_fields_and_inside_itself():
    pattern = {
        "source": ["aws.cloudwatch"],
        "$or": [{"metricName": ["CPU"]}, {"metricType": ["M"], "$or": [{"namespace": ["EC2"]}, {"namespace": ["ES"]}]}],
    }
    assert matches(pattern, {"source": "aws.cloudwatch", "metricName": "CPU"})
    assert matches(pattern, {"source": "aws.cloudwatch", "metricType": "M", "namespace": "ES"})
    assert not matches(pattern, {"source": "aws.cloudwatch", "metricType": "M"})
    assert not matches(pattern, {"source": "aws.ec2", "metricName": "CPU"})


# event-ruler's default ("rule overriding"); that AWS takes such patterns: https://github.com/hashicorp/terraform-provider-aws/issues/41070
def test_a_field_named_again_replaces_the_earlier():
    pattern = {"source": ["a"], "$or": [{"source": ["b"]}, {"kind": ["k"]}]}
    assert matches(pattern, {"source": "b"})
    assert not matches(pattern, {"source": "a"})
    assert matches(pattern, {"source": "a", "kind": "k"})


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns-arrays.html
def test_arrays_match_when_they_intersect():
    pattern = {"resources": ["arn:1", "arn:2"]}
    assert matches(pattern, {"resources": ["arn:0", "arn:2"]})
    assert not matches(pattern, {"resources": ["arn:0"]})
    assert not matches(pattern, {"resources": []})


EMPLOYEES = [{"firstName": "John", "lastName": "Doe"}, {"firstName": "Anna", "lastName": "Smith"}, {"firstName": "Peter", "lastName": "Jones"}]


# https://github.com/aws/event-ruler#json-array-matching
@pytest.mark.parametrize("employees", [EMPLOYEES, [EMPLOYEES[:2], EMPLOYEES[2:]]])
def test_fields_of_one_object_match_in_one_array_element(employees):
    assert matches({"employees": {"firstName": ["Anna"]}}, {"employees": employees})
    assert matches({"employees": {"firstName": ["Anna"], "lastName": ["Smith"]}}, {"employees": employees})
    assert not matches({"employees": {"firstName": ["Anna"], "lastName": ["Jones"]}}, {"employees": employees})


def test_fields_of_different_arrays_are_independent():
    event = {"a": [{"x": 1}, {"x": 2}], "b": [{"x": 1}, {"x": 2}]}
    assert matches({"a": {"x": [1]}, "b": {"x": [2]}}, event)


# event-ruler asks for absence field by field, in order of their names (NameState.getNameTransitions)
def test_absence_counts_in_the_element_already_matched():
    event = {"items": [{"a": 1}, {"b": 2}]}
    assert matches({"items": {"a": [1], "b": [{"exists": False}]}}, event)
    assert not matches({"items": {"b": [2], "a": [{"exists": False}]}}, event)


SCALARS = st.sampled_from([1, 2])
ELEMENTS = st.dictionaries(st.sampled_from("xyz"), SCALARS | st.lists(st.dictionaries(st.sampled_from("pq"), SCALARS), max_size=2), max_size=3)


@given(
    st.lists(ELEMENTS, max_size=3), st.dictionaries(st.sampled_from(["x", "y", "z.p", "z.q"]), st.lists(SCALARS, min_size=1, max_size=2), min_size=1)
)
def test_array_consistency_is_what_a_search_of_all_choices_finds(elements, wanted):
    def found(element):
        subs = element.get("z", [])
        subs = subs if isinstance(subs, list) else []
        flat = {name: element[name] for name in "xy" if isinstance(element.get(name), int)}
        choices = [{**flat, **{f"z.{name}": value for name, value in sub.items()}} for sub in subs] or [flat]
        return any(all(choice.get(path) in values for path, values in wanted.items()) for choice in choices)

    pattern = {}
    for path, values in wanted.items():
        *parents, name = path.split(".")
        place = pattern
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = values
    assert matches({"items": pattern}, {"items": elements}) == any(map(found, elements))


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-wildcard-matching
@pytest.mark.parametrize(
    ("pattern", "value", "match"),
    [
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        (r"C:\\*", "C:\\temp", True),
        (r"\\\*", "\\*", True),
        ("*", "", True),
        ("a*a", "a", False),
        ("*a*b*", "aba", True),
        ("*.png", "a\nb.png", True),
        ("", "", True),
        ("a?", "ab", False),
    ],
)
def test_wildcard_escapes_and_ends(pattern, value, match):
    assert matches({"f": [{"wildcard": pattern}]}, {"f": value}) is match


@given(st.text("ab*\\", max_size=8), st.text("ab*\\", max_size=10))
def test_wildcard_agrees_with_a_regular_expression(raw, value):
    text = re.sub(r"\*+", "*", raw).replace("\\", "\\\\")
    pieces = [".*" if piece == "*" else re.escape(piece.replace("\\\\", "\\")) for piece in re.split(r"(\*)", text)]
    assert matches({"f": [{"wildcard": text}]}, {"f": value}) == bool(re.fullmatch("".join(pieces), value, re.DOTALL))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "*"]),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "$or", "prefix", "anything-but", "numeric", "wildcard", "cidr", "exists"]), child)
    ),
)


@given(JSON, st.dictionaries(st.sampled_from("ab"), JSON))
def test_any_json_is_a_pattern_or_a_pattern_error(pattern, event):
    try:
        matcher = compile_pattern(json.dumps(pattern))
    except PatternError:
        return
    assert matcher(event) in (True, False)


@given(st.dictionaries(st.sampled_from("abc"), st.none() | st.booleans() | st.integers(-3, 3) | st.text("xY", max_size=2), min_size=1))
def test_an_event_matches_itself_as_a_pattern(event):
    pattern = {name: [value] for name, value in event.items()}
    assert matches(pattern, event)
    for name, operand in itertools.product(event, [event]):
        if isinstance(operand[name], str | int) and not isinstance(operand[name], bool):
            assert not matches({**pattern, name: [{"anything-but": operand[name]}]}, event)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("{", "not JSON"),
        ('{"a": [NaN]}', "NaN is not JSON"),
        ('["a"]', "must be an object"),
        ("{}", "empty objects are not allowed"),
        ('{"a": {}}', "a: empty objects are not allowed"),
        ('{"a": {"b": "x"}}', "a.b: must be an object or an array"),
        ('{"a": []}', "a: empty arrays are not allowed"),
        ('{"a": [["x"]]}', "a: a match value is"),
        ('{"a": [{"matches": "x"}]}', "a: unknown operator 'matches'; known: prefix, suffix,"),
        ('{"a": [{}]}', "a: needs exactly one operator in an object, found none"),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "found prefix, suffix"),
        ('{"a": [{"prefix": 1}]}', "a: prefix: needs a string, found 1"),
        ('{"a": [{"prefix": {"wildcard": "x"}}]}', "a: prefix: unknown operator 'wildcard'; known: equals-ignore-case"),
        ('{"a": [{"suffix": {"equals-ignore-case": 1}}]}', "a: suffix: equals-ignore-case: needs a string"),
        ('{"a": [{"wildcard": "x**y"}]}', "a: wildcard: consecutive wildcards in 'x**y'"),
        (r'{"a": [{"wildcard": "x\\y"}]}', "a: wildcard: a backslash escapes only"),
        ('{"a": [{"exists": "yes"}]}', "a: exists: needs true or false"),
        ('{"a": [{"anything-but": null}]}', "a: anything-but: needs a string, a number"),
        ('{"a": [{"anything-but": []}]}', "a: anything-but: needs a string, a number"),
        ('{"a": [{"anything-but": ["x", 1]}]}', "only strings or only numbers"),
        ('{"a": [{"anything-but": {"prefix": ""}}]}', "a: anything-but: prefix: must not be empty"),
        ('{"a": [{"anything-but": {"numeric": ["=", 1]}}]}', "a: anything-but: unknown operator 'numeric'"),
        ('{"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}', "a: anything-but: prefix: needs a string"),
        ('{"a": [{"numeric": [">"]}]}', "a: numeric: needs [comparison, number]"),
        ('{"a": [{"numeric": ["!=", 1]}]}', "a: numeric: unknown comparison"),
        ('{"a": [{"numeric": ["=", true]}]}', "a: numeric: value of = must be a number, found true"),
        ('{"a": [{"numeric": ["<", 1, ">", 5]}]}', "a: numeric: unknown comparison"),
        ('{"a": [{"numeric": [">", 5, "<", 1]}]}', "a: numeric: bottom must be less than top"),
        ('{"a": [{"numeric": [">=", 5, "<=", 5]}]}', "a: numeric: bottom must be less than top"),
        ('{"a": [{"cidr": "10.0.0.0"}]}', "a: cidr: needs an address, a slash"),
        ('{"a": [{"cidr": "10.0.0.0/33"}]}', "a: cidr: "),
        ('{"a": [{"cidr": "10.0.0.0/32"}]}', "fewer than 32 mask bits"),
        ('{"a": [{"cidr": "10.0.0.0/255.0.0.0"}]}', "a: cidr: needs an address, a slash"),
        ('{"$or": {"a": ["x"]}}', "$or: needs an array of at least two objects"),
        ('{"$or": [{"a": ["x"]}]}', "$or: needs an array of at least two objects"),
        ('{"$or": [{"a": ["x"]}, "b"]}', "$or: needs an array of at least two objects"),
        ('{"$or": [{"prefix": ["x"]}, {"a": ["y"]}]}', "prefix: 'prefix' is an operator, not a field"),
    ],
)
def test_a_bad_pattern_says_where_and_what_is_known(pattern, told):
    with pytest.raises(PatternError, match=re.escape(told)):
        compile_pattern(pattern)
