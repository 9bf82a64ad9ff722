"""The estimators a spec can name, each a scikit-learn pipeline over the frame of `features`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from tidemill.errors import DatasetRefused, ModelCodeFailed
from tidemill.model import code
from tidemill.model.features import LabelArray
from tidemill.spec import ModelSpec

MAX_CATEGORIES = 250
"""Below the 255 that histogram gradient boosting bins; rarer categories share one."""


@dataclass(frozen=True)
class Rows:
    """n rows of features, n labels, and n weights where the spec has a column of them."""

    features: pd.DataFrame
    labels: LabelArray
    weights: NDArray[np.float64] | None = None


def fit(name: str, spec: ModelSpec, train: Rows, validation: Rows, module: ModuleType | None = None) -> Any:
    """A fitted estimator: "default" is histogram gradient boosting stopped early on validation, "linear" a linear model.

    `module` is the author's model.py: its `features` come before any estimator, and "model.py:<function>" is an estimator of it.
    Raises ModelCodeFailed for what goes wrong in there.
    """
    made = code.features(module)
    if made is not None:
        train, validation = (replace(rows, features=_author_features(made, rows.features)) for rows in (train, validation))
    authors = name.startswith(f"{code.FILE}:")
    fitted = _authors(name, spec, train, module) if authors else _FITTERS[name](spec, train, _known(validation, train, spec))
    if made is not None:
        fitted = Pipeline([("features", FunctionTransformer(made)), ("model", fitted)])
    return fitted


def calibrated(fitted: Any, spec: ModelSpec, train: Rows, validation: Rows) -> Any:
    """The estimator with its probabilities fitted to the validation rows, where the spec asks for it (Platt 1999; Zadrozny, Elkan 2002)."""
    if spec.train.calibrate == "none":
        return fitted
    rows = _known(validation, train, spec)
    return CalibratedClassifierCV(FrozenEstimator(fitted), method=spec.train.calibrate).fit(rows.features, rows.labels, sample_weight=rows.weights)


def _author_features(made: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    found = code.run(lambda: made(frame.copy()), "features(frame)")
    if not isinstance(found, pd.DataFrame) or len(found) != len(frame):
        shape = f"{len(found):,} rows" if isinstance(found, pd.DataFrame) else type(found).__name__
        raise ModelCodeFailed(f"{code.FILE}: features(frame) gave {shape} for a frame of {len(frame):,} rows")
    return found


def _authors(name: str, spec: ModelSpec, train: Rows, module: ModuleType | None) -> Any:
    estimator = code.build(module, name, spec)
    weights = {} if train.weights is None else {"sample_weight": train.weights}
    code.run(lambda: estimator.fit(train.features, train.labels, **weights), "fit")
    return estimator


def _known(validation: Rows, train: Rows, spec: ModelSpec) -> Rows:
    """Without rows of classes that no training row has."""
    if spec.task == "regression":
        return validation
    known = np.isin(validation.labels, np.unique(train.labels))
    if known.all():
        return validation
    return Rows(validation.features[known], validation.labels[known], None if validation.weights is None else validation.weights[known])


def _default(spec: ModelSpec, train: Rows, validation: Rows) -> Pipeline:
    """Boosting stops when the loss on the validation rows has not improved for 20 trees."""
    categories, numbers = _kinds(train.features)
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=float("nan"), encoded_missing_value=float("nan"), max_categories=MAX_CATEGORIES
    )
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", "passthrough", numbers)])
    settings: dict[str, Any] = {
        "learning_rate": 0.05,
        "max_iter": 500,
        "l2_regularization": 1.0,
        "early_stopping": True,
        "n_iter_no_change": 20,
        "categorical_features": list(range(len(categories))),
        "random_state": spec.train.seed,
    }
    if spec.task == "regression":
        model = HistGradientBoostingRegressor(**settings)
    else:
        model = HistGradientBoostingClassifier(**settings, class_weight="balanced" if spec.train.balance else None)
    known = columns.fit_transform(train.features)
    model.fit(
        known, train.labels, sample_weight=train.weights,
        X_val=columns.transform(validation.features), y_val=validation.labels, sample_weight_val=validation.weights,
    )  # fmt: skip
    return Pipeline([("columns", columns), ("model", model)])


def _linear(spec: ModelSpec, train: Rows, _: Rows) -> Pipeline:
    categories, numbers = _kinds(train.features)
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", scale, numbers)])
    if spec.task == "regression":
        model = Ridge(random_state=spec.train.seed)
    else:
        model = LogisticRegression(max_iter=1000, random_state=spec.train.seed, class_weight="balanced" if spec.train.balance else None)
    return Pipeline([("columns", columns), ("model", model)]).fit(train.features, train.labels, model__sample_weight=train.weights)


def _kinds(features: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Columns that are categories, and columns that are numbers or booleans; those without any value are left out.

    Raises DatasetRefused when that leaves nothing.
    """
    known = features.loc[:, features.notna().any()]
    if known.empty:
        raise DatasetRefused(f"no feature has a value in any of the {len(features):,} training rows: there is nothing to learn from")
    numbers = known.select_dtypes(["number", "bool"]).columns.tolist()
    return [name for name in known.columns if name not in numbers], numbers


_FITTERS = {"default": _default, "linear": _linear}
