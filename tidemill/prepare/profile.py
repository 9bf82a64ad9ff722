"""The profile of a part: what each column holds, in a few numbers."""

from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tidemill.spec import ModelSpec

TOP = 20


class ColumnProfile(BaseModel):
    """Counts of one column. min and max as text for datetimes; mean and standard deviation for numbers and booleans."""

    model_config = ConfigDict(frozen=True)

    type: str
    count: int
    missing: int
    distinct: int
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None
    std: float | None = None
    top: dict[str, int] | None = None


def profile(rows: pl.DataFrame, spec: ModelSpec) -> dict[str, ColumnProfile]:
    """Column name → profile of the kept rows, for every column that is not ignored."""
    return {name: _column(rows[name], column.type) for name, column in spec.columns.items() if column.role != "ignore"}


def _column(values: pl.Series, kind: str) -> ColumnProfile:
    counts: dict[str, Any] = {"type": kind, "count": len(values), "missing": values.null_count(), "distinct": values.drop_nulls().n_unique()}
    if kind in ("integer", "float", "boolean") and counts["missing"] < len(values):
        numbers = values.cast(pl.Float64)
        counts |= {"min": numbers.min(), "max": numbers.max(), "mean": numbers.mean(), "std": numbers.std()}
    if kind == "datetime" and counts["missing"] < len(values):
        counts |= {"min": values.min().isoformat(), "max": values.max().isoformat()}  # type: ignore[union-attr]  # a Datetime column
    if kind == "category":
        top = values.drop_nulls().value_counts(sort=True).head(TOP)
        counts["top"] = dict(sorted(zip(top.to_series(0).to_list(), top.to_series(1).to_list(), strict=True), key=lambda t: (-t[1], t[0])))
    return ColumnProfile(**counts)
