"""Evaluate a challenger, its linear baseline and the champion on the same rows."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import DatasetRefused
from tidemill.evaluate.metrics import FloatArray, statistics
from tidemill.evaluate.record import Comparison, Interval, Scores
from tidemill.evaluate.resample import Estimates, Plan, estimate, interval, outcomes_of, p_below
from tidemill.metric import KINDS, Kind, Metric, Task

Labels = NDArray[np.int64] | FloatArray


def check_labels(labels: Labels, task: Task) -> None:
    """Refuse a holdout on which nothing can be judged."""
    if not len(labels):
        raise DatasetRefused("the holdout has no labelled row")
    if task != "regression" and len(np.unique(labels)) < 2:
        raise DatasetRefused(f"the holdout has {len(labels):,} rows of one class only: no metric can tell a model from a guess")
    if task == "regression" and len(np.unique(labels)) < 2:
        raise DatasetRefused(f"the holdout has {len(labels):,} rows of one value only: no metric can tell a model from a guess")


class Judge:
    """The holdout's labels and how they are resampled; every model is judged on the same rows and draws."""

    def __init__(self, labels: Labels, task: Task, plan: Plan, confidence: float, only: Metric | None = None) -> None:
        self._labels, self._task, self._plan, self._confidence, self._only = labels, task, plan, confidence, only

    def estimates(self, predictions: FloatArray, threshold: float = 0.5) -> Estimates:
        """Of one model, in every metric or the one that was asked for; `threshold` is the model's own (binary)."""
        every = statistics(outcomes_of(self._labels, self._task, self._plan, threshold), predictions)
        return estimate({metric: each for metric, each in every.items() if self._only in (None, metric)}, self._plan)

    def scores(self, estimates: Estimates) -> Scores:
        found = {metric: interval(value, estimates.draws[metric], self._plan, self._confidence) for metric, value in estimates.values.items()}
        return Scores(metrics={metric: _possible(each, KINDS[metric]) for metric, each in found.items()})

    def compare(self, challenger: Estimates, champion: Estimates, name: str, primary: Metric) -> Comparison:
        """The gain in the primary metric, resampled in pairs."""
        value, draws = _gain(challenger, champion, primary)
        return Comparison(champion=name, scores=self.scores(champion), gain=interval(value, draws, self._plan, self._confidence))

    def p_below(self, challenger: Estimates, champion: Estimates, primary: Metric, bound: float) -> float:
        """The chance of a gain as low as this one, were the true one `bound`."""
        return p_below(*_gain(challenger, champion, primary), self._plan, bound)


def _gain(challenger: Estimates, champion: Estimates, primary: Metric) -> tuple[float, FloatArray]:
    sign = 1 if KINDS[primary].higher else -1
    value = sign * (challenger.values[primary] - champion.values[primary])
    return value, sign * (challenger.draws[primary] - champion.draws[primary])


def _possible(interval: Interval, kind: Kind) -> Interval:
    """Without what the metric can never be."""
    return interval.model_copy(update={"low": max(interval.low, kind.least), "high": min(interval.high, kind.most)})


def label_facts(labels: Labels, task: Task, classes: tuple[str, ...]) -> Mapping[str, float]:
    """Rows of each class, or mean, std, min and max of a number. Rows of a class that no model knows count as "other"."""
    if task == "regression":
        return {"mean": float(labels.mean()), "std": float(labels.std()), "min": float(labels.min()), "max": float(labels.max())}
    if task == "binary":
        positives = int(labels.sum())
        return {"true": positives, "false": len(labels) - positives}
    unknown = int((labels < 0).sum())
    return {name: int((labels == code).sum()) for code, name in enumerate(classes)} | ({"other": unknown} if unknown else {})
