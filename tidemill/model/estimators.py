"""The estimators a spec can name, each a scikit-learn pipeline over the frame of `features`."""

from dataclasses import dataclass

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tidemill.model.features import LabelArray
from tidemill.spec import ModelSpec

MAX_CATEGORIES = 250
"""Below the 255 that histogram gradient boosting bins; rarer categories share one."""


@dataclass(frozen=True)
class Rows:
    """n rows of features, n labels."""

    features: pd.DataFrame
    labels: LabelArray


def fit(name: str, spec: ModelSpec, train: Rows, validation: Rows) -> Pipeline:
    """A fitted pipeline: "default" is histogram gradient boosting stopped early on validation, "linear" logistic regression."""
    return _FITTERS[name](spec, train, validation)


def _default(spec: ModelSpec, train: Rows, validation: Rows) -> Pipeline:
    """Boosting stops when the log loss on the validation rows has not improved for 20 trees."""
    categories, numbers = _kinds(spec)
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=float("nan"), encoded_missing_value=float("nan"), max_categories=MAX_CATEGORIES
    )
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", "passthrough", numbers)])
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=500,
        l2_regularization=1.0,
        early_stopping=True,
        n_iter_no_change=20,
        categorical_features=list(range(len(categories))),
        random_state=spec.train.seed,
    )
    known = columns.fit_transform(train.features)
    model.fit(known, train.labels, X_val=columns.transform(validation.features), y_val=validation.labels)
    return Pipeline([("columns", columns), ("model", model)])


def _linear(spec: ModelSpec, train: Rows, _: Rows) -> Pipeline:
    categories, numbers = _kinds(spec)
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler())
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", scale, numbers)])
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=1000, random_state=spec.train.seed))])
    return pipeline.fit(train.features, train.labels)


def _kinds(spec: ModelSpec) -> tuple[list[str], list[str]]:
    categories = [name for name in spec.features if spec.columns[name].type == "category"]
    return categories, [name for name in spec.features if name not in categories]


_FITTERS = {"default": _default, "linear": _linear}
