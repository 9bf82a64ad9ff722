"""What the rows learned from say beside the model: features that give the label away, and whether more rows would help."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tidemill.errors import DatasetRefused, ModelCodeFailed
from tidemill.evaluate.metrics import measured
from tidemill.evaluate.record import Learned
from tidemill.metric import KINDS, Metric
from tidemill.model import estimators
from tidemill.model.features import LabelArray, Rows
from tidemill.model.package import Scorer, TrainedModel
from tidemill.spec import ModelSpec

STUDIED = 10_000
"""So many rows at most: the answers are hints, and training should not take much longer for them."""
FEWEST = 200
GIVES_AWAY = 0.99
"""AUC, accuracy or R² of a model of one feature, from which on it is asked whether that feature is known before the label is."""
USUAL = 0.95
NOTABLE = 0.02
"""A model is still learning when twice the rows close so much of the gap to a perfect one."""


def given_away(train: Rows, validation: Rows, spec: ModelSpec) -> Iterator[str]:
    """A warning for each feature that alone predicts the validation labels almost without fail: it may be the label in disguise."""
    rows, judge = some(train, spec), some(validation, spec, STUDIED // 2)
    if spec.task == "multiclass" and np.unique(judge.labels, return_counts=True)[1].max() > USUAL * len(judge.labels):
        return  # one class nearly everywhere: whatever says so is right nearly everywhere
    for name in rows.features.columns:
        power = _power(rows.features[name], rows.labels, judge.features[name], judge.labels, spec)
        if power >= GIVES_AWAY:
            measure = {"binary": "AUC", "multiclass": "accuracy", "regression": "R²"}[spec.task]
            yield f"feature {name} alone tells the label ({measure} {power:.3f} on validation rows): is it known before the label is?"


def _power(values: pd.Series, labels: LabelArray, other: pd.Series, others: LabelArray, spec: ModelSpec) -> float:
    """How well a small tree on one feature does on other rows."""
    if not values.notna().any():
        return 0.0
    x, z = _numbers(values, labels, other, spec)
    kind = DecisionTreeRegressor if spec.task == "regression" else DecisionTreeClassifier
    tree = kind(max_leaf_nodes=32, min_samples_leaf=10, random_state=0).fit(x, labels)
    metric: dict[str, Metric] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "r2"}
    if spec.task == "multiclass":
        return float((tree.predict(z) == others).mean())
    found = tree.predict(z) if spec.task == "regression" else tree.predict_proba(z)[:, -1]
    return measured(metric[spec.task], spec.task, found, others)


def _numbers(values: pd.Series, labels: LabelArray, other: pd.Series, spec: ModelSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n × 1 of each: categories by the mean label of their rows, or their commonest class; a missing value stays missing."""
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64)[:, None], other.to_numpy(np.float64)[:, None]
    by = pd.Series(labels, index=values.index).groupby(values)
    code = by.agg(lambda found: found.mode().iloc[0]) if spec.task == "multiclass" else by.mean()
    return tuple(column.map(code).to_numpy(np.float64)[:, None] for column in (values, other))


def learning_curve(
    fitted: Any, card: TrainedModel, train: Rows, validation: Rows, module: ModuleType | None
) -> tuple[tuple[Learned, ...], str | None]:
    """The primary metric on the validation rows after learning from a quarter, a half and all of at most STUDIED rows, and why not, if not.

    `train`: those at hand. `fitted`: the estimator of all rows, not calibrated; it is the last point where there are no more than twice STUDIED.
    """
    spec, rows = card.spec, len(train.labels)
    whole, validation = min(rows, STUDIED), some(validation, card.spec, STUDIED // 2)
    if whole // 4 < FEWEST:
        return (), None
    points = []
    try:
        for size in (whole // 4, whole // 2, *([whole] if rows > 2 * STUDIED else [])):
            fewer = some(train, spec, size)
            if spec.task != "regression" and len(np.unique(fewer.labels)) < len(np.unique(train.labels)):
                return (), None
            points.append((size, _value(estimators.fit(spec.train.estimator, spec, fewer, validation, module, card.settings), card, validation)))
        points += [] if rows > 2 * STUDIED else [(card.train_rows, _value(fitted, card, validation))]
    except (ModelCodeFailed, DatasetRefused) as error:
        return (), f"no learning curve: from {size:,} rows the estimator could not learn: {str(error).splitlines()[0]}"
    return tuple(Learned(rows=size, value=value) for size, value in points if np.isfinite(value)), None


def _value(estimator: Any, card: TrainedModel, validation: Rows) -> float:
    scores = Scorer(card, estimator).scores(validation.features)
    return measured(card.spec.primary, card.spec.task, scores, validation.labels, card.threshold)


def still_learning(points: tuple[Learned, ...], primary: Metric) -> bool | None:
    """Whether each doubling of the rows, at the end of the curve, closes a notable part of the gap to a perfect model; None where it is not known."""
    if len(points) < 2:
        return None
    before, after = points[-2:]
    best = KINDS[primary].most if KINDS[primary].higher else 0.0
    gap, left = abs(best - before.value), abs(best - after.value)
    return bool(gap > 0 and 1 - (left / gap) ** (1 / np.log2(after.rows / before.rows)) > NOTABLE)


def some(rows: Rows, spec: ModelSpec, count: int = STUDIED) -> Rows:
    """So many of the rows, by the spec's seed; each smaller choice is part of the larger."""
    if len(rows.labels) <= count:
        return rows
    at = np.sort(np.random.default_rng(spec.train.seed).permutation(len(rows.labels))[:count])
    return rows.at(at)
