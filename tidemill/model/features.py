"""Rows of a dataset or a request become the pandas frame that estimators see."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from tidemill.spec import ModelSpec

LabelArray = NDArray[np.int8]


def features_of(rows: pl.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """n rows × the spec's features: categories as `object` with None, everything else as float64 with NaN."""
    return features_from_columns({name: rows[name].to_list() for name in spec.features}, spec)


def features_from_columns(columns: Mapping[str, Sequence[object]], spec: ModelSpec) -> pd.DataFrame:
    """The same frame from lists of python values, None where a value is missing."""
    data = {name: _values(columns[name], spec.columns[name].type) for name in spec.features}
    return pd.DataFrame(data, columns=list(spec.features))


def labels_of(rows: pl.DataFrame, spec: ModelSpec) -> LabelArray:
    """n labels, 1 for true."""
    return rows[spec.label].cast(pl.Int8).to_numpy()


def _values(values: Sequence[object], kind: str) -> "np.ndarray[tuple[int], np.dtype[np.object_] | np.dtype[np.float64]]":
    if kind == "category":
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
