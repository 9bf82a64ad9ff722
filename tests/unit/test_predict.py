"""Requests become rows or a refusal that names row, column, rule and value; never a crash."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import spec
from tidemill import predict
from tidemill.answer import answers, csv_line
from tidemill.errors import ScoringRefused

GOOD = {"kind": "sail", "port": "north", "length_m": 10.5, "crew": 3}
SPEC = spec()


def test_json_and_csv_give_the_same_rows():
    by_json = predict.parse_json(json.dumps({"instances": [GOOD]}).encode(), SPEC)
    assert predict.parse_json(json.dumps([GOOD]).encode(), SPEC) == by_json
    assert predict.parse_csv(b"sail,north,10.5,3\n", SPEC) == by_json
    assert predict.parse_csv(b"crew,length_m,extra,port,kind\n3,10.5,?,north,sail\n", SPEC) == by_json


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"length_m": "abc"}, {"row": 1, "column": "length_m", "rule": "type float", "value": "abc"}),
        ({"length_m": None}, {"row": 1, "column": "length_m", "rule": "required", "value": None}),
        ({"length_m": True}, {"row": 1, "column": "length_m", "rule": "type float", "value": True}),
        ({"crew": 1.5}, {"row": 1, "column": "crew", "rule": "type integer", "value": 1.5}),
        ({"kind": 7}, {"row": 1, "column": "kind", "rule": "type category", "value": 7}),
        ({"length_m": "inf"}, {"row": 1, "column": "length_m", "rule": "type float", "value": "inf"}),
        ({"length_m": float("nan")}, {"row": 1, "column": "length_m", "rule": "type float", "value": "nan"}),
        ({"crew": [1]}, {"row": 1, "column": "crew", "rule": "type integer", "value": "[1]"}),
    ],
)
def test_a_wrong_value_is_named(change, detail):
    with pytest.raises(predict.RowRefused) as error:
        predict.parse_json(json.dumps([GOOD, GOOD | change]).encode(), SPEC)
    assert error.value.detail == detail


@pytest.mark.parametrize("body", [b"", b"{", b"7", b'{"instances": 3}', b"[1]", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_request_is_refused(body):
    with pytest.raises(ScoringRefused):
        predict.parse_json(body, SPEC)


def test_a_category_outside_allowed_with_other_missing_is_missing():
    assert predict.parse_json(json.dumps([GOOD | {"port": "moon"}]).encode(), SPEC)["port"] == [None]


def test_an_unseen_category_is_the_models_business():
    assert predict.parse_json(json.dumps([GOOD | {"kind": "raft"}]).encode(), SPEC)["kind"] == ["raft"]


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_rows_or_a_refusal(body):
    for parse in (predict.parse_json, predict.parse_csv):
        try:
            columns = parse(body, SPEC)
        except ScoringRefused:
            continue
        assert {len(values) for values in columns.values()} == {len(columns["kind"])}


def test_answers_are_one_record_a_row_and_one_csv_line_each():
    binary = answers([0.61, 0.1 + 0.2], "binary", 0.5, ())
    assert binary == [{"score": 0.61, "label": True}, {"score": 0.1 + 0.2, "label": False}]
    assert csv_line(binary[1]) == "0.30000000000000004,false\n"
    classes = answers([[0.2, 0.7, 0.1]], "multiclass", 0.5, ("a", "b", "c"))
    assert classes == [{"label": "b", "scores": {"a": 0.2, "b": 0.7, "c": 0.1}}]
    assert csv_line(classes[0]) == "b,0.2,0.7,0.1\n"
    assert answers([2.5], "regression", 0.5, ()) == [{"value": 2.5}]
    assert csv_line({"value": 2.5}) == "2.5\n"
