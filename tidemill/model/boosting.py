"""The default estimator: scikit-learn's histogram gradient boosting, stopped early on the validation rows.

With a Progress it grows by steps, so that a search can stop it half-way and an interrupted job can go on where it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from tidemill.evaluate.metrics import measured
from tidemill.jobs import STEPS
from tidemill.metric import Metric, Task
from tidemill.model.features import Rows, kinds
from tidemill.spec import ModelSpec

Settings = Mapping[str, Any]
NO_SETTINGS: Settings = {}
MAX_CATEGORIES = 250
"""Below the 255 that histogram gradient boosting bins; rarer categories share one."""
PATIENCE = 20
"""Trees without a better loss on the validation rows, after which no more are made."""
LOSS: dict[Task, Metric] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


@dataclass
class Grown:
    """A model that is being grown: trees so far, the best loss on the validation rows, and trees since it was the best."""

    model: Any
    trees: int = 0
    best: float = np.inf
    since: int = 0


class Progress(Protocol):
    """Where a model that grows by steps is kept, and who is told. `load`: what an interrupted job left, if it was this one."""

    def load(self) -> Grown | None: ...
    def save(self, grown: Grown) -> None: ...
    def tell(self, value: float) -> None: ...


def boosted(spec: ModelSpec, train: Rows, validation: Rows, settings: Settings, progress: Progress | None) -> Pipeline:
    """`settings` of scikit-learn's own names come before ours."""
    categories, numbers = kinds(train.features)
    columns = ColumnTransformer([("categories", encoder(), categories), ("numbers", "passthrough", numbers)])
    chosen = {"learning_rate": 0.05, "max_iter": 500, "l2_regularization": 1.0, "random_state": spec.train.seed} | dict(settings)
    chosen["categorical_features"] = list(range(len(categories)))
    known = Rows(columns.fit_transform(train.features), train.labels, train.weights)
    held = Rows(columns.transform(validation.features), validation.labels, validation.weights)
    model = _at_once(spec, chosen, known, held) if progress is None else _by_steps(spec, chosen, known, held, progress)
    return Pipeline([("columns", columns), ("model", model)])


def encoder() -> OrdinalEncoder:
    """Categories as numbers; a value that no row learned from had is missing."""
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=float("nan"), encoded_missing_value=float("nan"), max_categories=MAX_CATEGORIES
    )


def _made(spec: ModelSpec, chosen: Settings) -> Any:
    if spec.task == "regression":
        return HistGradientBoostingRegressor(**chosen)
    return HistGradientBoostingClassifier(**chosen, class_weight="balanced" if spec.train.balance else None)


def _at_once(spec: ModelSpec, chosen: Settings, train: Rows, validation: Rows) -> Any:
    model = _made(spec, {**chosen, "early_stopping": True, "n_iter_no_change": PATIENCE})
    return model.fit(
        train.features, train.labels, sample_weight=train.weights,
        X_val=validation.features, y_val=validation.labels, sample_weight_val=validation.weights,
    )  # fmt: skip


def _by_steps(spec: ModelSpec, chosen: Settings, train: Rows, validation: Rows, progress: Progress) -> Any:
    """The same trees, some at a time; the model ends with a step that was no better, as the other ends with trees that were none."""
    most = int(chosen["max_iter"])
    step = max(1, -(-most // STEPS))
    grown = progress.load() or Grown(_made(spec, {**chosen, "early_stopping": False, "warm_start": True, "max_iter": 1}))
    while grown.trees < most and grown.since < PATIENCE:
        grown.trees = min(most, grown.trees + step)
        grown.model.set_params(max_iter=grown.trees).fit(train.features, train.labels, sample_weight=train.weights)
        loss = _value(grown.model, LOSS[spec.task], validation, spec)
        grown.best, grown.since = (loss, 0) if loss < grown.best else (grown.best, grown.since + step)
        progress.save(grown)
        progress.tell(_value(grown.model, spec.primary, validation, spec))
    return grown.model


def _value(model: Any, metric: Metric, rows: Rows, spec: ModelSpec) -> float:
    """Of predictions for the validation rows, whose classes are those of the training rows."""
    found = model.predict(rows.features) if spec.task == "regression" else model.predict_proba(rows.features)
    return measured(metric, spec.task, found[:, 1] if spec.task == "binary" else found, rows.labels)
