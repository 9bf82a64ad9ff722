"""The rules of a spec over columns of text: typed values for the rows that keep them, a reject for each broken one."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from tidemill.prepare.read import Table
from tidemill.spec import TEXT, Column, ModelSpec

DATETIME_FORMATS = ("%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M%#z")
NAIVE_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "category": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "datetime": pl.Datetime("us", "UTC"),
}
REJECT_SCHEMA = {"line": pl.Int64, "column": pl.String, "rule": pl.String, "value": pl.String, "row": pl.String}


@dataclass(frozen=True)
class Checked:
    """`rows`: the kept rows, typed, in the spec's column order; `rejects`: one row a broken rule; `rejected`: rows lost."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    rejected: int


def check(table: Table, spec: ModelSpec) -> Checked:
    """Type every value and apply every rule. A row with several faults is rejected once and reported for each column.

    An empty field is a missing value; nothing else is. Of rows with one key the last in the file is kept.
    """
    raw = pl.DataFrame(table.columns, schema=dict.fromkeys(spec.columns, pl.String))
    raw = raw.with_columns(pl.when(pl.all() == "").then(None).otherwise(pl.all()).name.keep())
    place = pl.DataFrame({"line": table.lines, "row": table.texts}, schema={"line": pl.Int64, "row": pl.String})
    typed = {name: typed_values(raw[name], column) for name, column in spec.columns.items()}
    faults = [
        place.select("line", pl.lit(name).alias("column"), pl.lit(rule).alias("rule"), raw[name].alias("value"), "row").filter(broken)
        for name, column in spec.columns.items()
        for rule, broken in _first_fault(raw[name], typed[name], column)
    ]
    good = ~place["line"].is_in(pl.concat([fault["line"] for fault in faults]).implode()) if faults else place["line"].is_not_null()
    key = typed[spec.key]
    repeated = good & key.is_not_null() & ~_last_of_key(key, good)
    faults.append(
        place.select(
            "line", pl.lit(spec.key).alias("column"), pl.lit("unique key, a later row has it").alias("rule"), raw[spec.key].alias("value"), "row"
        ).filter(repeated)
    )
    kept = good & ~repeated
    rejects = pl.concat([*faults, _ragged(table)]).sort("line", maintain_order=True)
    rows = pl.DataFrame([apply_other(typed[name], column).alias(name) for name, column in spec.columns.items()]).filter(kept)
    return Checked(rows, rejects, rejects["line"].n_unique())


def typed_values(text: pl.Series, column: Column) -> pl.Series:
    """Values of the column's type; null where the text is missing or is no such value. An ignored column stays text."""
    if column.role == "ignore" or column.type in TEXT:
        return text
    if column.type == "boolean":
        return text.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)
    if column.type == "datetime":
        return _datetimes(text)
    values = text.cast(DTYPES[column.type], strict=False)
    return pl.select(pl.when(values.is_finite()).then(values)).to_series() if column.type == "float" else values


def apply_other(values: pl.Series, column: Column) -> pl.Series:
    """With `other = "missing"`, values outside `allowed` become missing."""
    if column.allowed is None or column.other == "reject":
        return values
    return pl.select(pl.when(values.is_in(list(column.allowed))).then(values)).to_series()


def _datetimes(text: pl.Series) -> pl.Series:
    zoned = [pl.lit(text).str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in DATETIME_FORMATS]
    naive = [pl.lit(text).str.to_datetime(f, time_unit="us", strict=False).dt.replace_time_zone("UTC") for f in NAIVE_FORMATS]
    return pl.select(pl.coalesce(*zoned, *naive)).to_series()


def _first_fault(text: pl.Series, values: pl.Series, column: Column) -> Iterator[tuple[str, pl.Series]]:
    """(rule, mask) pairs; each row in at most one mask."""
    done = text.is_null()
    if not column.nullable and column.role != "ignore":
        yield "required", text.is_null()
    for rule, broken in _value_faults(values, column):
        mask = broken & ~done
        yield rule, mask
        done = done | mask


def _value_faults(values: pl.Series, column: Column) -> Iterator[tuple[str, pl.Series]]:
    if column.role == "ignore":
        return
    if column.type not in TEXT:
        yield f"type {column.type}", values.is_null()
    if column.min is not None:
        yield f"min {column.min:g}", (values < column.min).fill_null(False)
    if column.max is not None:
        yield f"max {column.max:g}", (values > column.max).fill_null(False)
    if column.allowed is not None and column.other == "reject":
        yield "allowed", (~values.is_in(list(column.allowed))).fill_null(False)
    if column.pattern is not None:
        yield f"pattern {column.pattern}", (~values.str.contains(f"^(?:{column.pattern})$")).fill_null(False)


def _last_of_key(key: pl.Series, good: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"key": key, "good": good}).with_row_index("at")
    last = frame.filter("good").group_by("key").agg(pl.col("at").max())["at"]
    return frame["at"].is_in(last.implode())


def _ragged(table: Table) -> pl.DataFrame:
    width = len(table.columns) + len(table.ignored)
    rows = [(r.line, "", f"{width} fields", str(r.fields), r.text) for r in table.ragged]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")
