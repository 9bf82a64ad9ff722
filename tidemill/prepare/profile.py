"""The profile of a part: what each column holds, in a few numbers that merge.

It is of the rows that keep the rules, before repeated keys are settled. `merge` adds two up: counts, minimum and maximum
exactly, mean and standard deviation up to rounding, the rest within the errors that `tidemill.prepare.sketch` states.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tidemill.prepare.sketch import Distinct, Quantiles, Top
from tidemill.prepare.split import KEY_HASH, Hashes, mix, salt_seed, text_hashes
from tidemill.spec import NUMERIC, TEXT, Column, ModelSpec

PROFILE_VERSION = 1
COUNT = "_count"
SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class ColumnProfile:
    """One column. min and max are numbers, or ISO 8601 for datetimes; `m2` is the sum of squared distances from the mean."""

    type: str
    count: int
    missing: int
    distinct: Distinct
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None
    m2: float | None = None
    quantiles: Quantiles | None = None
    top: Top | None = None

    @property
    def std(self) -> float | None:
        present = self.count - self.missing
        return math.sqrt(self.m2 / (present - 1)) if self.m2 is not None and present > 1 else None

    def merge(self, other: "ColumnProfile") -> "ColumnProfile":
        mean, m2 = _moments(self, other)
        return ColumnProfile(
            self.type, self.count + other.count, self.missing + other.missing, self.distinct.merge(other.distinct),
            _extreme(min, self.min, other.min), _extreme(max, self.max, other.max), mean, m2,
            self.quantiles.merge(other.quantiles) if self.quantiles and other.quantiles else self.quantiles or other.quantiles,
            self.top.merge(other.top) if self.top and other.top else self.top or other.top,
        )  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """Column name → profile, for every column that is not ignored."""

    columns: dict[str, ColumnProfile] = field(default_factory=dict)

    def merge(self, other: "Profile") -> "Profile":
        if not self.columns or not other.columns:
            return self if self.columns else other
        return Profile({name: column.merge(other.columns[name]) for name, column in self.columns.items()})

    def dump(self) -> dict[str, Any]:
        """As it is stored: what people read, and under `sketch` what merging needs."""
        return {"version": PROFILE_VERSION, "columns": {name: _dump(column) for name, column in self.columns.items()}}


def load_profile(stored: dict[str, Any]) -> Profile:
    if stored["version"] != PROFILE_VERSION:
        raise ValueError(f"a profile of version {stored['version']}, this code reads {PROFILE_VERSION}")
    return Profile({name: _load(column) for name, column in stored["columns"].items()})


def profile(rows: pl.DataFrame, spec: ModelSpec) -> Profile:
    """The profile of rows with their KEY_HASH."""
    columns = {name: column for name, column in spec.columns.items() if column.role != "ignore"}
    numbers = [name for name, column in columns.items() if column.type in NUMERIC or column.type == "boolean"]
    ranged = [*numbers, *(name for name, column in columns.items() if column.type == "datetime")]
    facts = rows.select(
        *(pl.col(name).null_count().alias(f"{name}.missing") for name in columns),
        *(pl.col(name).min().alias(f"{name}.min") for name in ranged),
        *(pl.col(name).max().alias(f"{name}.max") for name in ranged),
        *(pl.col(name).mean().alias(f"{name}.mean") for name in numbers),
        *(pl.col(name).cast(pl.Float64).var().alias(f"{name}.var") for name in numbers),
    ).row(0, named=True)
    seed = salt_seed(spec.salt)
    return Profile({name: _column(name, column, rows, facts, seed) for name, column in columns.items()})


def _column(name: str, column: Column, rows: pl.DataFrame, facts: dict[str, Any], seed: int) -> ColumnProfile:
    present = rows[name].drop_nulls() if facts[f"{name}.missing"] else rows[name]
    more: dict[str, Any] = {}
    if column.type in NUMERIC:
        more["quantiles"] = Quantiles.of(present.to_numpy().astype(np.float64))
    if f"{name}.mean" in facts:
        more |= {"mean": facts[f"{name}.mean"], "m2": (facts[f"{name}.var"] or 0.0) * (len(present) - 1) if len(present) else None}
    if f"{name}.min" in facts:
        more |= {end: _plain(facts[f"{name}.{end}"]) for end in ("min", "max")}
    if column.role == "key":
        hashes = rows[KEY_HASH].to_numpy()
    elif column.type in TEXT:
        counted = present.value_counts(name=COUNT)
        hashes = text_hashes(counted[name], seed)
        if not column.sensitive:
            more["top"] = Top.of(counted[name], counted[COUNT])
    else:
        hashes = _number_hashes(present, seed)
    return ColumnProfile(column.type, len(rows), facts[f"{name}.missing"], Distinct.of(hashes), **more)


def _number_hashes(present: pl.Series, seed: int) -> Hashes:
    if present.dtype == pl.Boolean:
        present = present.unique()
    if present.dtype == pl.Float64:
        numbers = present.to_numpy() + 0.0  # -0.0 is 0.0
    else:
        numbers = (present if present.dtype == pl.Int64 else present.to_physical().cast(pl.Int64)).to_numpy()
    return mix(numbers.view(np.uint64) ^ np.uint64(seed))


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, float):
        return value
    return int(value) if isinstance(value, int) else str(value.isoformat())


def _extreme(pick: Any, one: Any, other: Any) -> Any:
    present = [value for value in (one, other) if value is not None]
    return pick(present) if present else None


def _moments(one: ColumnProfile, other: ColumnProfile) -> tuple[float | None, float | None]:
    """Chan, Golub, LeVeque 1979."""
    if one.mean is None or other.mean is None:
        some = one if other.mean is None else other
        return some.mean, some.m2
    n, m = one.count - one.missing, other.count - other.missing
    gap = other.mean - one.mean
    return one.mean + gap * m / (n + m), (one.m2 or 0.0) + (other.m2 or 0.0) + gap * gap * n * m / (n + m)


def _dump(column: ColumnProfile) -> dict[str, Any]:
    plain = {"type": column.type, "count": column.count, "missing": column.missing, "distinct": column.distinct.count}
    told = {name: getattr(column, name) for name in ("min", "max", "mean", "std") if getattr(column, name) is not None}
    sketch: dict[str, Any] = {"distinct": column.distinct.dump(), "m2": column.m2}
    if column.quantiles is not None:
        if column.quantiles.rows:
            told["quantiles"] = dict(zip(map(str, SHARES), column.quantiles.at(list(SHARES)), strict=True))
        sketch["quantiles"] = [level.tolist() for level in column.quantiles.levels]
    if column.top is not None:
        told |= {"top": column.top.counts, "top_error": column.top.error}
    return plain | told | {"sketch": sketch}


def _load(stored: dict[str, Any]) -> ColumnProfile:
    sketch = stored["sketch"]
    levels = sketch.get("quantiles")
    return ColumnProfile(
        stored["type"], stored["count"], stored["missing"], Distinct.load(sketch["distinct"]), stored.get("min"), stored.get("max"),
        stored.get("mean"), sketch["m2"], None if levels is None else Quantiles(tuple(np.array(level, np.float64) for level in levels)),
        Top(stored["top"], stored["top_error"]) if "top" in stored else None,
    )  # fmt: skip
