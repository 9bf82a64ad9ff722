"""What prepare must make of a CSV file, the slow and obvious way: the csv module, row by row, every value on its own."""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidemill.spec import Column, ModelSpec

csv.field_size_limit(100_000_000)
INTEGER = re.compile(r"[+-]?[0-9]+")
FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class BadQuotes(Exception):
    pass


@dataclass
class Expected:
    rows: list[dict[str, Any]]
    """Kept rows with their `line`, in the order of the file."""
    rejects: list[tuple[int, str, str, str | None, str]]
    records: int


def reference(data: bytes, spec: ModelSpec) -> Expected:
    lines = io.StringIO(data.decode("utf-8-sig"), newline="\n")
    seen: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            seen.append(line)
            yield line

    options = spec.data.csv
    reader = csv.reader(remembered(), strict=True, delimiter=options.delimiter, quotechar=options.quote)
    result = Expected([], [], 0)
    try:
        header = next(reader)
        seen.clear()
        number = reader.line_num + 1
        for record in reader:
            text = "".join(seen).rstrip("\r\n")
            seen.clear()
            if record:
                result.records += 1
                _judge(record, header, number, text, spec, result)
            number = reader.line_num + 1
    except csv.Error as error:
        raise BadQuotes from error
    _settle_repeats(result, spec)
    result.rejects = [reject for _, reject in sorted(enumerate(result.rejects), key=lambda pair: (pair[1][0], pair[0]))]
    return result


def _judge(record: list[str], header: list[str], number: int, text: str, spec: ModelSpec, result: Expected) -> None:
    if len(record) != len(header):
        result.rejects.append((number, "", f"{len(header)} fields", str(len(record)), text))
        return
    fields = dict(zip(header, record, strict=True))
    row: dict[str, Any] = {"line": number, "_text": text, "_key": fields[spec.key]}
    faults = []
    for name, column in spec.columns.items():
        value, rule = judged(fields[name], column, spec.data.csv.decimal)
        row[name] = value
        if rule:
            faults.append((number, name, rule, fields[name] or None, text))
    result.rejects += faults
    if not faults:
        result.rows.append(row)


def judged(text: str, column: Column, decimal: str = ".") -> tuple[Any, str | None]:
    """The typed value, or the first rule it breaks."""
    if text == "":
        return None, None if column.nullable or column.role == "ignore" else "required"
    if column.role == "ignore":
        return text, None
    value = typed(text, column.type, decimal)
    if value is None:
        return None, f"type {column.type}"
    for rule, broken in (
        (f"min {column.min or 0:g}", column.min is not None and value < column.min),
        (f"max {column.max or 0:g}", column.max is not None and value > column.max),
        (f"min_length {column.min_length}", column.min_length is not None and len(value) < column.min_length),
        (f"max_length {column.max_length}", column.max_length is not None and len(value) > column.max_length),
        ("allowed", column.allowed is not None and column.other == "reject" and value not in column.allowed),
        (f"pattern {column.pattern}", column.pattern is not None and not re.fullmatch(column.pattern, str(value))),
    ):
        if broken:
            return value, rule
    if column.allowed is not None and value not in column.allowed:
        return None, None
    return value, None


def typed(text: str, kind: str, decimal: str) -> Any:
    if kind in ("string", "category"):
        return text
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if kind == "integer":
        return int(text) if INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63 else None
    if kind == "float":
        text = text if decimal == "." else ("" if "." in text else text.replace(",", ".", 1))
        return float(text) if FLOAT.fullmatch(text) and math.isfinite(float(text)) else None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _settle_repeats(result: Expected, spec: ModelSpec) -> None:
    last = {row[spec.key]: row["line"] for row in result.rows}
    for row in result.rows:
        if last[row[spec.key]] != row["line"]:
            result.rejects.append((row["line"], spec.key, "unique key, a later row has it", row["_key"], row["_text"]))
    result.rows = [row for row in result.rows if last[row[spec.key]] == row["line"]]
