"""Metrics out of log lines: the embedded metric format, and metric filters."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.cloudwatch.emf import Datum, EmfError, extract
from localcloud.cloudwatch.filters import FilterError, compile_filter, metric_value
from localcloud.cloudwatch.metrics import MetricKey

# docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
# #CloudWatch_Embedded_Metric_Format_Specification_structure_example
EXAMPLE = {
    "_aws": {
        "Timestamp": 1574109732004,
        "CloudWatchMetrics": [
            {
                "Namespace": "lambda-function-metrics",
                "Dimensions": [["functionVersion"]],
                "Metrics": [{"Name": "time", "Unit": "Milliseconds", "StorageResolution": 60}],
            }
        ],
    },
    "functionVersion": "$LATEST",
    "time": 100,
    "requestId": "989ffbf8-9ace-4817-a57c-e4dd734019ee",
}
MINUTE = 1574109720.0


def document(directive=(), metadata=(), **members):
    """The example with other members; `directive` and `metadata` replace members of those."""
    aws = {**EXAMPLE["_aws"], "CloudWatchMetrics": [{**EXAMPLE["_aws"]["CloudWatchMetrics"][0], **dict(directive)}], **dict(metadata)}
    return json.dumps({**EXAMPLE, "_aws": aws, **members})


def test_the_example_of_the_specification():
    key = MetricKey("lambda-function-metrics", "time", (("functionVersion", "$LATEST"),))
    assert extract(json.dumps(EXAMPLE), 0) == [Datum(key, MINUTE, (100.0,), "Milliseconds")]


def test_metadata_that_lambda_puts_before_the_document_is_passed_over():
    prefix = "2019-11-18T20:42:12.004Z\t989ffbf8-9ace-4817-a57c-e4dd734019ee\tINFO\t"
    assert extract(prefix + json.dumps(EXAMPLE) + "\n", 0) == extract(json.dumps(EXAMPLE), 0)


def test_each_directive_and_each_dimension_set_makes_a_metric():
    directives = [
        {"Namespace": "A", "Dimensions": [["Stage"], ["Stage", "Service"], []], "Metrics": [{"Name": "time"}]},
        {"Namespace": "B", "Dimensions": [[]], "Metrics": [{"Name": "time"}, {"Name": "errors", "Unit": "Count"}]},
    ]
    found = extract(document(metadata={"CloudWatchMetrics": directives}, Stage="test", Service="cart", errors=2), 0)
    assert [(one.key.namespace, one.key.name, one.key.dimensions, one.values, one.unit) for one in found] == [
        ("A", "time", (("Stage", "test"),), (100.0,), "None"),
        ("A", "time", (("Service", "cart"), ("Stage", "test")), (100.0,), "None"),
        ("A", "time", (), (100.0,), "None"),
        ("B", "time", (), (100.0,), "None"),
        ("B", "errors", (), (2.0,), "Count"),
    ]


def test_a_metric_may_have_a_hundred_values():
    assert extract(document(time=list(range(100))), 0)[0].values == tuple(map(float, range(100)))


def test_high_resolution_keeps_the_second_and_standard_resolution_the_minute():
    fine = document({"Metrics": [{"Name": "time", "StorageResolution": 1}]})
    assert [extract(text, 0)[0].at for text in (fine, document())] == [1574109732.0, MINUTE]


def test_the_time_of_arrival_stands_in_for_a_missing_timestamp():
    aws = {"CloudWatchMetrics": EXAMPLE["_aws"]["CloudWatchMetrics"]}
    assert extract(json.dumps({**EXAMPLE, "_aws": aws}), 130.5)[0].at == 120.0


@pytest.mark.parametrize(
    "text",
    ["", "START RequestId: 989ffbf8", "{", '{"time": 1}', '{"_aws": 1}', '{"_aws": {}}', '{"_aws": {"Timestamp": 1}}', '["_aws"]', '["_aws", {"_aws": {}}]',
     "got " + json.dumps(EXAMPLE), '{"_aws"' + "[" * 100_000],
)  # fmt: skip
def test_lines_that_announce_no_metrics_have_none(text):
    assert extract(text, 0) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (document(metadata={"Timestamp": "now"}), "Timestamp"),
        (document(metadata={"CloudWatchMetrics": {}}), "CloudWatchMetrics"),
        (document(metadata={"CloudWatchMetrics": ["x"]}), "CloudWatchMetrics"),
        (document({"Namespace": ""}), "Namespace"),
        (document({"Namespace": 3}), "Namespace"),
        (document({"Dimensions": []}), "dimension set"),
        (document({"Dimensions": None}), "Dimensions"),
        (document({"Dimensions": ["functionVersion"]}), "dimension set"),
        (document({"Dimensions": [["functionVersion"] * 31]}), "30"),
        (document({"Dimensions": [["absent"]]}), "absent"),
        (document({"Dimensions": [["time"]]}), "time"),
        (document(functionVersion="v" * 1025), "functionVersion"),
        (document({"Metrics": None}), "Metrics"),
        (document({"Metrics": ["time"]}), "Metrics"),
        (document({"Metrics": [{"Unit": "Count"}]}), "Name"),
        (document({"Metrics": [{"Name": "time"}] * 101}), "100"),
        (document({"Metrics": [{"Name": "time", "Unit": 1}]}), "Unit"),
        (document({"Metrics": [{"Name": "requestId"}]}), "requestId"),
        (document({"Metrics": [{"Name": "absent"}]}), "absent"),
        (document(time=list(range(101))), "time has 101 values"),
        (document(time=True), "time"),
        (document(time=[1, "2"]), "time"),
        (document(time=float("nan")), "time"),
        (document(time=10**400), "time"),
        (document(time={"a": 1}), "time"),
    ],
)
def test_a_document_against_the_specification_is_refused_by_its_member(text, words):
    with pytest.raises(EmfError, match=words):
        extract(text, 0)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)
    )
)
def test_nothing_in_a_directive_breaks_more_than_the_document(anything):
    text = document({"Metrics": [{"Name": "time", "Unit": "Count"}], "Dimensions": anything}, time=anything)
    with suppress(EmfError):
        extract(text, 0)


# docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html#matching-terms-unstructured-log-events
LINES = [
    "[ERROR 400] BAD REQUEST",
    "[ERROR 401] UNAUTHORIZED REQUEST",
    "[ERROR 419] MISSING ARGUMENTS",
    "[ERROR 420] INVALID ARGUMENTS",
    "[ERROR 500] INTERNAL SERVER ERROR",
    "[INFO] REQUEST FAILED",
]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("ERROR", [0, 1, 2, 3, 4]),
        ("ERROR ARGUMENTS", [2, 3]),
        ("?ERROR ?ARGUMENTS", [0, 1, 2, 3, 4]),
        ('?FAILED ?"BAD REQUEST"', [0, 5]),
        ("?ERROR ?ARGUMENTS REQUEST", [0, 1, 5]),
        ('"INTERNAL SERVER ERROR"', [4]),
        ("ERROR -ARGUMENTS", [0, 1, 4]),
        ('-"BAD REQUEST" -ARGUMENTS', [1, 4, 5]),
        ("?ERROR -ARGUMENTS", [0, 1, 4, 5]),
        ("error", []),
        ('" "', [0, 1, 2, 3, 4, 5]),
        ("", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_terms(pattern, matched):
    matcher = compile_filter(pattern)
    assert [place for place, line in enumerate(LINES) if matcher(line)] == matched


def test_a_quoted_space_matches_lines_without_one():
    assert compile_filter('" "')("x")


def test_a_quoted_phrase_may_hold_quotes():
    matcher = compile_filter(r'"said \"no\""')
    assert matcher('he said "no"')
    assert not matcher("he said no")


# docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html#matching-terms-json-log-events
EVENT = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "cluster.name": "c",
    "user": {"id": 1, "email": "John.Stiles@example.com"},
    "users": [{"id": 2, "email": "John.Doe@example.com"}, {"id": 3, "email": "Jane.Doe@example.com"}],
    "actions": ["GET", "PUT", "DELETE"],
    "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]],
    "bandwidth": 76,
    "latency": 49.5,
    "refreshRate": 60,
    "responseTime": 5,
    "errorCode": 400,
    "number": [1e-3],
    "status": 404,
    "code": "404",
    "up": True,
    "down": False,
    "detail-type": "x",
    "quoted": 'a "b"',
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{ $.eventType = "Trail" }', False),
        ('{ $.eventType = "Update" }', False),
        ('{ $.eventType = "*" }', True),
        ('{ $.eventType = "*Trail" }', True),
        ('{ $.eventType != "*Trail" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress = 111.111.* }", True),
        ("{ $.sourceIPAddress = 111?111* }", False),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[1] = "value" }', False),
        ('{ $.arrayKey[2] = "value" }', False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.['cluster.name'] = \"c\" }", True),
        ("{ $.detail-type = x }", True),
        (r'{ $.quoted = "a \"b\"" }', True),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.absent IS NULL }", False),
        ("{ $.up IS TRUE }", True),
        ("{ $.up IS FALSE }", False),
        ("{ $.down IS FALSE }", True),
        ("{ $.number[0] IS TRUE }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.bandwidth > 75 }", True),
        ("{ $.bandwidth > 76 }", False),
        ("{ $.latency < 50 }", True),
        ("{ $.refreshRate >= 60 }", True),
        ("{ $.responseTime <= 5 }", True),
        ("{ $.responseTime <= -5 }", False),
        ("{ $.errorCode = 400}", True),
        ("{ $.errorCode=400.0 }", True),
        ("{ $.errorCode != 500 }", True),
        ("{ $.errorCode != 400 }", False),
        ("{ $.number[0] = 1e-3 }", True),
        ("{ $.number[0] != 1e+3 }", True),
        ("{ $.status = 4* }", True),
        ("{ $.status = 5* }", False),
        ("{ $.code = 404 }", True),
        ("{ $.code > 400 }", False),
        ("{ $.up > 0 }", False),
        ('{ $.absent != "x" }', False),
        ('{ $.user != "x" }', False),
        ('{ $.arrayKey = "*" }', False),
        ('{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }', True),
        ('{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch" && $.actions[2] = "nonmatch" }', True),
        ('{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch") && $.actions[2] = "nonmatch" }', False),
        ('{ ($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET" }', False),
        ('{ $.eventType = "*" && $.sourceIPAddress != 123.123.* }', True),
        ('{$.eventType="UpdateTrail"&&($.bandwidth>3||$.eventType!="*x*")}', True),
    ],
)
def test_json_conditions(pattern, matches):
    assert bool(compile_filter(pattern)(json.dumps(EVENT))) is matches


@pytest.mark.parametrize("line", ["", "ERROR", "[1]", '"text"', "3", "{", '{"a": 1', "[" * 100_000])
def test_a_json_pattern_matches_no_other_lines(line):
    assert compile_filter("{ $.a NOT EXISTS }")(line) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[ip, user, status_code = 4*]", "space-delimited"),
        ("%AUTHORIZED%", "regular expressions"),
        ("{ $.eventType = %Trail% }", "regular expressions"),
        ("{ $.arrayKey[*] = x }", r"\$.arrayKey\[\*\]"),
        ("{ $.* = x }", r"\$.\*"),
        ("{ $ = x }", "selector"),
        ("{ eventType = x }", "unexpected eventType"),
        ("{ $.a }", "unexpected end"),
        ("{ $.a = }", "unexpected end"),
        ("{ $.a = && $.b = 1 }", "unexpected &&"),
        ("{ $.a > x }", "unexpected x"),
        ("{ $.a ~ x }", "unexpected ~"),
        ("{ $.a IS NOT NULL }", "unexpected NOT"),
        ("{ $.a NOT NULL }", "unexpected NULL"),
        ("{ ($.a = 1 }", "unexpected end"),
        ("{ $.a = 1 $.b = 2 }", r"unexpected \$.b"),
        ('{ $.a = "x }', "unexpected"),
        ("{ $.a = 1", "ends with }"),
        ("{ }", "unexpected end"),
        ("RequestId: 5", "double quotes: RequestId:"),
        ("{" + "(" * 20_000 + "$.a = 1" + ")" * 20_000 + "}", "deep"),
        ('"open', "double quotes"),
        ("user@example", "double quotes"),
    ],
)
def test_other_patterns_are_refused_with_the_part_at_fault(pattern, words):
    with pytest.raises(FilterError, match=words):
        compile_filter(pattern)


# .../FilterAndPatternSyntax.html#publishing-values-found-in-logs
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1.0),
        ("2.5", 2.5),
        ("-1e2", -100.0),
        ("$.latency", 50.0),
        ("$.requestType", None),
        ("$.absent", None),
        ("$.ok", None),
        ("$.parts[1]", 3.0),
    ],
)
def test_the_value_of_a_metric_is_a_number_or_a_field(text, expected):
    match = compile_filter("{ $.latency = * }")('{"latency": 50, "requestType": "GET", "ok": true, "parts": [1, 3]}')
    assert metric_value(match, text) == expected


# .../FilterAndPatternSyntax.html#logs-metric-filters-JSON
def test_dimensions_are_fields_of_the_match():
    match = compile_filter('{ $.eventType = "*" }')(json.dumps(EVENT))
    assert [match.value(selector) for selector in ("$.eventType", "$.user.id", "$.up", "$.user", "$.SomeObject", "$.absent")] == [
        "UpdateTrail", 1, True, None, None, None,
    ]  # fmt: skip


def test_text_matches_have_no_fields():
    match = compile_filter("latency")('{"latency": 50}')
    assert metric_value(match, "$.latency") is None
    assert metric_value(match, "1") == 1.0


def test_a_metric_value_that_is_neither_is_refused():
    with pytest.raises(FilterError, match="latency"):
        metric_value(compile_filter("")("x"), "latency")


@given(st.text(alphabet=" $.ab=!<>&|()[]{}*%\"'-?1", max_size=25))
def test_any_text_is_a_pattern_or_an_error(text):
    for pattern in (text, "{" + text + "}"):
        with suppress(FilterError):
            compile_filter(pattern)('{"a": {"b": 1}}')
