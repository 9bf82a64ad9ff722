"""Metrics of each task as functions of row weights, so that one computation serves the estimate and every resample.

A metric is made once of labels and predictions; given weights of clusters (draws × clusters: how often each was drawn) it answers one
value a draw. Most are functions of sums over rows and cost one matrix product; rankings go through the rows in order of score.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidemill.metric import Metric, Task, metrics_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CLIP = 1e-15
"""Probabilities are kept so far away from 0 and 1 in the log loss."""


@dataclass(frozen=True)
class Outcomes:
    """n rows as they came out.

    labels: 0 or 1; or the code of a class, -1 for one that no model knows; or numbers. clusters: for each row the number of its
    cluster, from 0. threshold: from what score on a row is called true (binary only).
    """

    task: Task
    labels: NDArray[np.int64] | FloatArray
    clusters: IntArray
    threshold: float = 0.5

    @property
    def units(self) -> int:
        return int(self.clusters.max(initial=-1)) + 1


class Statistic(Protocol):
    """One metric of one model. weights: draws × clusters; the answer: one value a draw, NaN where it is undefined."""

    def __call__(self, weights: FloatArray) -> FloatArray: ...


def statistics(outcomes: Outcomes, predictions: FloatArray) -> dict[Metric, Statistic]:
    """Every metric of the task. predictions: n probabilities of true, n × k of the classes, or n numbers."""
    makers = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
    made = makers[outcomes.task](outcomes, predictions)
    return {metric: made[metric] for metric in metrics_of(outcomes.task)}


def measured(metric: Metric, task: Task, predictions: FloatArray, labels: NDArray[np.int64] | FloatArray, threshold: float = 0.5) -> float:
    """One metric over all rows; NaN where it is undefined."""
    outcomes = Outcomes(task=task, labels=labels, clusters=np.zeros(len(labels), np.int64), threshold=threshold)
    return float(statistics(outcomes, predictions)[metric](np.ones((1, 1)))[0])


def _binary(outcomes: Outcomes, scores: FloatArray) -> dict[Metric, Statistic]:
    labels = outcomes.labels.astype(np.float64)
    p = np.clip(scores, CLIP, 1 - CLIP)
    right = (scores >= outcomes.threshold) == (labels == 1)
    return {
        "roc_auc": _Ranked(outcomes, scores).roc_auc,
        "average_precision": _Ranked(outcomes, scores).average_precision,
        "log_loss": _mean(outcomes, -np.where(labels == 1, np.log(p), np.log1p(-p))),
        "brier": _mean(outcomes, (scores - labels) ** 2),
        "accuracy": _mean(outcomes, right.astype(np.float64)),
    }


def _multiclass(outcomes: Outcomes, probabilities: FloatArray) -> dict[Metric, Statistic]:
    """A class that the model does not know has probability 0."""
    labels, classes = outcomes.labels.astype(np.int64), probabilities.shape[1]
    known = labels >= 0
    own = np.where(known, probabilities[np.arange(len(labels)), np.where(known, labels, 0)], 0.0)
    called = probabilities.argmax(axis=1)
    hits = np.zeros((len(labels), 3 * classes))  # for each class: right, called, true
    rows = np.arange(len(labels))
    hits[rows, called * 3 + 1] = 1
    hits[rows[known], labels[known] * 3 + 2] = 1
    hits[rows[called == labels], called[called == labels] * 3] = 1
    return {
        "log_loss": _mean(outcomes, -np.log(np.clip(own, CLIP, 1 - CLIP))),
        "accuracy": _mean(outcomes, (called == labels).astype(np.float64)),
        "f1_macro": _Sums(_by_cluster(outcomes, hits), _f1_macro),
    }


def _f1_macro(sums: FloatArray, _: FloatArray) -> FloatArray:
    """The mean over classes that are true or called somewhere of 2 · right / (called + true)."""
    by_class = sums.reshape(len(sums), -1, 3)
    seen = by_class[..., 1] + by_class[..., 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: FloatArray = np.nanmean(np.where(seen > 0, 2 * by_class[..., 0] / seen, np.nan), axis=1)
    return found


def _regression(outcomes: Outcomes, predicted: FloatArray) -> dict[Metric, Statistic]:
    labels = outcomes.labels.astype(np.float64)
    error, centred = labels - predicted, labels - labels.mean()  # centred: sums of squares of large numbers would lose digits
    squares = _by_cluster(outcomes, np.column_stack([error**2, centred, centred**2]))
    return {
        "rmse": _Sums(_by_cluster(outcomes, error[:, None] ** 2), lambda sums, rows: np.sqrt(sums[:, 0] / rows)),
        "mae": _mean(outcomes, np.abs(error)),
        "r2": _Sums(squares, _r2),
    }


def _r2(sums: FloatArray, rows: FloatArray) -> FloatArray:
    """1 − residual / total sum of squares; undefined where all labels are one."""
    total = sums[:, 2] - sums[:, 1] ** 2 / rows
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - sums[:, 0] / total, np.nan)


def _by_cluster(outcomes: Outcomes, values: FloatArray) -> FloatArray:
    """clusters × m sums of n × m values, and the rows of each cluster as a last column."""
    columns = [*values.T, np.ones(len(values))]
    return np.column_stack([np.bincount(outcomes.clusters, column, outcomes.units) for column in columns])


def _mean(outcomes: Outcomes, values: FloatArray) -> Statistic:
    return _Sums(_by_cluster(outcomes, values[:, None]), lambda sums, rows: sums[:, 0] / rows)


@dataclass(frozen=True)
class _Sums:
    """A function of weighted sums: draws × m of them, and the rows of each draw."""

    by_cluster: FloatArray
    finish: Callable[[FloatArray, FloatArray], FloatArray]

    def __call__(self, weights: FloatArray) -> FloatArray:
        sums = weights @ self.by_cluster
        return self.finish(sums[:, :-1], sums[:, -1])


class _Ranked:
    """Labels sorted by score once, so that each draw costs one pass over the rows."""

    def __init__(self, outcomes: Outcomes, scores: FloatArray) -> None:
        order = np.argsort(-scores, kind="stable")
        self._positive = (outcomes.labels[order] == 1).astype(np.float64)
        self._clusters = outcomes.clusters[order]
        ordered = scores[order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # of rows with one score

    def roc_auc(self, weights: FloatArray) -> FloatArray:
        """The chance that a true row scores above a false one, ties counted half (Fawcett 2006, doi:10.1016/j.patrec.2005.10.010)."""
        return np.array([self._roc_auc(*self._tied(draw)) for draw in weights])

    def average_precision(self, weights: FloatArray) -> FloatArray:
        """Σ (recallₙ − recallₙ₋₁) · precisionₙ over the scores, highest first (scikit-learn's average_precision_score)."""
        return np.array([self._average_precision(*self._tied(draw)) for draw in weights])

    def _tied(self, draw: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight of the true and of the false rows at each score."""
        w = draw[self._clusters]
        true = w * self._positive
        return np.add.reduceat(true, self._starts), np.add.reduceat(w - true, self._starts)

    @staticmethod
    def _roc_auc(true: FloatArray, false: FloatArray) -> float:
        pairs = true.sum() * false.sum()
        below = false.sum() - np.cumsum(false)
        return float((true * (below + false / 2)).sum() / pairs) if pairs else float("nan")

    @staticmethod
    def _average_precision(true: FloatArray, false: FloatArray) -> float:
        if not true.sum():
            return float("nan")
        called = np.cumsum(true + false)
        with np.errstate(invalid="ignore"):
            return float(np.nansum(true * np.cumsum(true) / called) / true.sum())
