"""How sure a figure is: rows are drawn anew by whole days, the same draws for every model, so that differences are paired.

Rows of one day share weather, prices, a broken sensor: drawn one by one they would look like more evidence than they are (Cameron and
Miller 2015, doi:10.3368/jhr.50.2.317). A key has one row in a dataset, so that days are the only clusters rows come in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tidemill.evaluate.metrics import FloatArray, IntArray, Outcomes, Statistic
from tidemill.evaluate.record import Interval, Resampled
from tidemill.metric import Metric, Task

REPEATS = 1000
MANY_DAYS = 30
"""From so many days on they are drawn; fewer are left out in turn, and Student's t tells how little they say (MacKinnon, Nielsen and
Webb 2023, doi:10.1016/j.jeconom.2022.04.001: the jackknife is the one to trust with few clusters)."""
WEIGHTS_AT_ONCE = 8_000_000
SEED = 20130101


@dataclass(frozen=True)
class Plan:
    """How rows are resampled: each row's cluster, and what a person should know of it."""

    clusters: IntArray
    resampled: Resampled
    warnings: tuple[str, ...] = ()

    def draws(self) -> Iterator[FloatArray]:
        """Weights of clusters, draws × clusters at a time. The same plan gives the same draws."""
        units, rng = self.resampled.units, np.random.default_rng(SEED)
        if self.resampled.method == "jackknife-t":
            yield 1.0 - np.eye(units)
            return
        at_once = max(1, min(REPEATS, WEIGHTS_AT_ONCE // units))
        for start in range(0, REPEATS, at_once):
            size = min(at_once, REPEATS - start)
            yield np.stack([np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(size)]).astype(np.float64)


def plan(labels: NDArray[np.int64] | FloatArray, task: Task, days: IntArray | None) -> Plan:
    """By day where there is more than one, and leaving one out leaves all that the metrics need; else by row."""
    rows = len(labels)
    by_row = Plan(np.arange(rows), Resampled(by="row", units=rows, method="percentile"))
    if days is None:
        return by_row
    found, clusters = np.unique(days, return_inverse=True)
    if len(found) < 2 or not _each_can_go(labels, task, clusters):
        why = "lies on one day" if len(found) < 2 else "has all rows of a class on one day"
        told = f"the holdout {why}: intervals are of single rows, which err together, and so too narrow"
        return Plan(by_row.clusters, by_row.resampled, (told,))
    many = len(found) >= MANY_DAYS
    warnings = () if many else (f"the holdout has {len(found)} days only: intervals are wide",)
    return Plan(clusters, Resampled(by="day", units=len(found), method="percentile" if many else "jackknife-t"), warnings)


def _each_can_go(labels: NDArray[np.int64] | FloatArray, task: Task, clusters: IntArray) -> bool:
    if task == "regression":  # not if all rows but those of one day have one value
        return all(len(np.unique(clusters[labels != value])) > 1 for value in {labels[np.argmax(clusters == day)] for day in range(3)})
    return all(len(np.unique(clusters[labels == label])) > 1 for label in np.unique(labels))


@dataclass(frozen=True)
class Estimates:
    """One model: each metric on all rows, and on each draw. One that is undefined on all rows, or on all draws but one, is not among them."""

    values: dict[Metric, float]
    draws: dict[Metric, FloatArray]


def estimate(statistics: Mapping[Metric, Statistic], plan: Plan) -> Estimates:
    whole = np.ones((1, plan.resampled.units))
    values = {metric: float(statistic(whole)[0]) for metric, statistic in statistics.items()}
    defined = {metric: value for metric, value in values.items() if np.isfinite(value)}
    drawn: dict[Metric, list[FloatArray]] = {metric: [] for metric in defined}
    for weights in plan.draws():
        for metric in defined:
            drawn[metric].append(statistics[metric](weights))
    draws = {metric: np.concatenate(some) for metric, some in drawn.items()}
    told = {metric for metric, some in draws.items() if np.isfinite(some).sum() >= 2}
    return Estimates({metric: value for metric, value in defined.items() if metric in told}, {metric: draws[metric] for metric in told})


def interval(value: float, draws: FloatArray, plan: Plan, confidence: float) -> Interval:
    """The estimate between its one-sided bounds. Draws on which a metric is undefined are left out."""
    draws = draws[np.isfinite(draws)]
    if plan.resampled.method == "jackknife-t":
        reach = float(stats.t.ppf(confidence, len(draws) - 1) * _error(draws, plan))
        return Interval(value=value, low=value - reach, high=value + reach)
    low, high = np.quantile(draws, [1 - confidence, confidence])
    return Interval(value=value, low=float(low), high=float(high))


def p_below(value: float, draws: FloatArray, plan: Plan, bound: float) -> float:
    """The one-sided p-value of `value` against a truth of `bound`: small when it lies far below. Student's t, or with many draws the normal."""
    draws = draws[np.isfinite(draws)]
    error = _error(draws, plan)
    if error == 0:
        return 0.0 if value < bound else 1.0
    freedom = len(draws) - 1 if plan.resampled.method == "jackknife-t" else np.inf
    return float(stats.t.cdf((value - bound) / error, freedom))


def _error(draws: FloatArray, plan: Plan) -> float:
    """The standard error that the draws tell."""
    if plan.resampled.method == "jackknife-t":
        return float(np.sqrt((len(draws) - 1) / len(draws) * ((draws - draws.mean()) ** 2).sum()))
    return float(draws.std(ddof=1))


def outcomes_of(labels: NDArray[np.int64] | FloatArray, task: Task, plan: Plan, threshold: float) -> Outcomes:
    return Outcomes(task=task, labels=labels, clusters=plan.clusters, threshold=threshold)
