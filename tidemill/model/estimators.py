"""The estimators a spec can name, each a scikit-learn pipeline over the frame of `features`."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tidemill.errors import DatasetRefused, ModelCodeFailed
from tidemill.model import code
from tidemill.model.boosting import NO_SETTINGS, Progress, Settings, boosted
from tidemill.model.features import Rows, kinds
from tidemill.model.peers import ALONE, Peers
from tidemill.spec import ModelSpec


def fit(
    name: str, spec: ModelSpec, train: Rows, validation: Rows, module: ModuleType | None = None, settings: Settings = NO_SETTINGS,
    progress: Progress | None = None, peers: Peers = ALONE,
) -> Any:  # fmt: skip
    """A fitted estimator: "default" is histogram gradient boosting stopped early on validation, "linear" a linear model.

    The default one of a spec with scale = "distributed" learns from the rows of all `peers`, every other from those given.

    `module` is the author's model.py: its `features` come before any estimator, and "model.py:<function>" is an estimator of it.
    `settings`: of the estimator, by name. `progress`: the default estimator tells it how far it is. Raises ModelCodeFailed for what goes
    wrong in there.
    """
    made = code.features(module)
    if made is not None:
        train, validation = (replace(rows, features=_author_features(made, rows.features)) for rows in (train, validation))
    if name.startswith(f"{code.FILE}:"):
        fitted = _authors(name, spec, train, module, settings)
    elif name == "default" and spec.train.scale == "distributed":
        from tidemill.model import distributed  # xgboost is loaded where it is used

        fitted = distributed.boosted(spec, train, _known(validation, spec), settings, progress, peers)
    elif name == "default":
        fitted = boosted(spec, train, _known(validation, spec), settings, progress)
    else:
        fitted = _linear(spec, train, settings)
    if made is not None:
        fitted = Pipeline([("features", FunctionTransformer(made)), ("model", fitted)])
    return fitted


def calibrated(fitted: Any, spec: ModelSpec, classes: int, validation: Rows) -> Any:
    """The estimator of so many classes with its probabilities fitted to the validation rows, where the spec asks for it (Platt 1999; Zadrozny, Elkan 2002)."""
    if spec.train.calibrate == "none":
        return fitted
    rows = _known(validation, spec)
    if missing := classes - len(np.unique(rows.labels)):
        raise DatasetRefused(f"train.calibrate needs validation rows of every class, and {missing} have none: upload more rows, or leave it out")
    return CalibratedClassifierCV(FrozenEstimator(fitted), method=spec.train.calibrate).fit(rows.features, rows.labels, sample_weight=rows.weights)


def _author_features(made: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    found = code.run(lambda: made(frame.copy()), "features(frame)")
    if not isinstance(found, pd.DataFrame) or len(found) != len(frame):
        shape = f"{len(found):,} rows" if isinstance(found, pd.DataFrame) else type(found).__name__
        raise ModelCodeFailed(f"{code.FILE}: features(frame) gave {shape} for a frame of {len(frame):,} rows")
    return found


def _authors(name: str, spec: ModelSpec, train: Rows, module: ModuleType | None, settings: Settings) -> Any:
    estimator = code.build(module, name, spec, settings)
    weights = {} if train.weights is None else {"sample_weight": train.weights}
    code.run(lambda: estimator.fit(train.features, train.labels, **weights), "fit")
    return estimator


def _known(validation: Rows, spec: ModelSpec) -> Rows:
    """Without rows of classes that no training row has."""
    known = validation.labels >= 0
    if spec.task == "regression" or known.all():
        return validation
    return validation.at(known)


def _linear(spec: ModelSpec, train: Rows, settings: Settings) -> Pipeline:
    categories, numbers = kinds(train.features)
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", scale, numbers)])
    if spec.task == "regression":
        model = Ridge(random_state=spec.train.seed, **settings)
    else:
        model = LogisticRegression(max_iter=1000, random_state=spec.train.seed, class_weight="balanced" if spec.train.balance else None, **settings)
    return Pipeline([("columns", columns), ("model", model)]).fit(train.features, train.labels, model__sample_weight=train.weights)
