"""predict: a request becomes rows of features. No web framework, no model in here."""

import csv
import io
import json
import math

from tidemill.errors import ScoringRefused
from tidemill.spec import Column, ModelSpec

MAX_ROWS = 100_000


class RowRefused(ScoringRefused):
    """A value breaks the schema: `row` (from 0), `column`, `rule`, `value`."""

    def __init__(self, row: int, column: str, rule: str, value: object) -> None:
        super().__init__(f"row {row}, column {column}: {rule}, got {value!r}")
        plain = isinstance(value, str | int | None) or (isinstance(value, float) and math.isfinite(value))
        self.detail = {"row": row, "column": column, "rule": rule, "value": value if plain else str(value)}


def parse_json(body: bytes, spec: ModelSpec) -> dict[str, list[object]]:
    """Columns from `{"instances": [{...}]}` or a list of such rows; unknown fields are ignored."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ScoringRefused(f"the body is not JSON: {error}") from error
    rows = parsed.get("instances") if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ScoringRefused('the body must be {"instances": [{"<column>": <value>, ...}, ...]} or a list of such rows')
    return _columns([[row.get(name) for name in spec.features] for row in rows], spec)


def parse_csv(body: bytes, spec: ModelSpec) -> dict[str, list[object]]:
    """Columns from CSV: by name when the first line names every feature, else in the spec's order."""
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScoringRefused(f"the body is not CSV in UTF-8: {error}") from error
    if rows and set(spec.features) <= set(rows[0]):
        at = [rows[0].index(name) for name in spec.features]
        width, rows = len(rows[0]), rows[1:]
    else:
        at, width = list(range(len(spec.features))), len(spec.features)
    for number, row in enumerate(rows):
        if len(row) != width:
            raise RowRefused(number, "", f"{width} fields", len(row))
    return _columns([[row[i] or None for i in at] for row in rows], spec)


def _columns(rows: list[list[object]], spec: ModelSpec) -> dict[str, list[object]]:
    if not rows:
        raise ScoringRefused("the request has no rows")
    if len(rows) > MAX_ROWS:
        raise ScoringRefused(f"the request has {len(rows):,} rows, at most {MAX_ROWS:,} are scored at once")
    return {name: [_value(row[i], number, name, spec.columns[name]) for number, row in enumerate(rows)] for i, name in enumerate(spec.features)}


def _value(value: object, row: int, name: str, column: Column) -> object:
    """A value as the trained pipeline expects it. Unseen categories are the model's business, wrong types are not."""
    if value is None or value == "":
        if column.nullable:
            return None
        raise RowRefused(row, name, "required", value)
    if column.type == "category":
        if not isinstance(value, str):
            raise RowRefused(row, name, "type category", value)
        return None if column.other == "missing" and column.allowed and value not in column.allowed else value
    number = _boolean(value) if column.type == "boolean" else _number(value, column.type)
    if number is None:
        raise RowRefused(row, name, f"type {column.type}", value)
    return number


def _boolean(value: object) -> float | None:
    return {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}.get(str(value).lower())


def _number(value: object, kind: str) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return None if kind == "integer" and not number.is_integer() else number
