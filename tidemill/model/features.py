"""Rows of a dataset or a request become the pandas frame that estimators see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from tidemill.errors import DatasetRefused
from tidemill.spec import ModelSpec

LabelArray = NDArray[np.int64] | NDArray[np.float64]
Values = NDArray[np.object_] | NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """n rows of features, n labels, and n weights where the spec has a column of them."""

    features: pd.DataFrame
    labels: LabelArray
    weights: NDArray[np.float64] | None = None

    def at(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> "Rows":
        return Rows(
            self.features[places] if places.dtype == bool else self.features.iloc[places],
            self.labels[places],
            None if self.weights is None else self.weights[places],
        )

    @classmethod
    def joined(cls, some: Sequence["Rows"]) -> "Rows":
        weights = [rows.weights for rows in some if rows.weights is not None]
        return cls(
            pd.concat([rows.features for rows in some], ignore_index=True), np.concatenate([rows.labels for rows in some]),
            np.concatenate(weights) if weights else None,
        )  # fmt: skip


def kinds(features: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Columns that are categories, and columns that are numbers or booleans; those without any value are left out.

    Raises DatasetRefused when that leaves nothing.
    """
    known = features.loc[:, features.notna().any()]
    if known.empty:
        raise DatasetRefused(f"no feature has a value in any of the {len(features):,} training rows: there is nothing to learn from")
    return told_apart(known)


def told_apart(features: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Columns that are categories, and columns that are numbers or booleans."""
    numbers = features.select_dtypes(["number", "bool"]).columns.tolist()
    return [name for name in features.columns if name not in numbers], numbers


def features_of(rows: pl.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """n rows × the spec's features: categories as `object` with None, everything else as float64 with NaN."""
    data = {name: _column(rows[name], spec.columns[name].type) for name in spec.features}
    return pd.DataFrame(data, columns=list(spec.features))


def features_from_columns(columns: Mapping[str, Sequence[object]], spec: ModelSpec) -> pd.DataFrame:
    """The same frame from lists of python values, None where a value is missing."""
    data = {name: _values(columns[name], spec.columns[name].type) for name in spec.features}
    return pd.DataFrame(data, columns=list(spec.features))


def labels_of(rows: pl.DataFrame, spec: ModelSpec, classes: Sequence[str] = ()) -> LabelArray:
    """n labels: 1 for true; or the place of the class among `classes`, -1 for one that is not there; or numbers."""
    labels = rows[spec.label]
    if spec.task == "binary":
        return labels.cast(pl.Int64).to_numpy()
    if spec.task == "regression":
        return labels.cast(pl.Float64).to_numpy()
    codes = {name: code for code, name in enumerate(classes)}
    return labels.replace_strict(codes, default=-1, return_dtype=pl.Int64).to_numpy()


def classes_of(rows: pl.DataFrame, spec: ModelSpec) -> tuple[str, ...]:
    """The classes of a multiclass label, sorted; none for another task."""
    return tuple(rows[spec.label].unique().sort().to_list()) if spec.task == "multiclass" else ()


def _column(values: pl.Series, kind: str) -> Values:
    if kind == "category":
        return np.array(values.to_list(), dtype=object)
    return values.cast(pl.Float64).to_numpy()


def _values(values: Sequence[object], kind: str) -> Values:
    if kind == "category":
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
