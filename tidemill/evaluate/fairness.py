"""What a model does to the groups of a sensitive column, each beside the largest one, with bounds.

Selection rates are demographic parity (their ratio is the four-fifths rule of 29 CFR 1607.4(D)), true positive rates equal
opportunity, and with false positive rates equalized odds (Hardt, Price, Srebro 2016, arXiv:1610.02413).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tidemill.evaluate.calibration import called
from tidemill.evaluate.compare import Labels
from tidemill.evaluate.metrics import FloatArray
from tidemill.evaluate.record import Fairness, Group, Interval, Rate
from tidemill.evaluate.resample import Plan, interval
from tidemill.evaluate.slices import Model, Texts
from tidemill.metric import Task


class _Share(NamedTuple):
    """A rate of n rows as sum over rows: `part` of `whole`, each n numbers."""

    part: FloatArray
    whole: FloatArray


def judge_fairness(
    columns: Mapping[str, Texts], labels: Labels, model: Model, task: Task, plan: Plan, confidence: float, min_rows: int
) -> tuple[Fairness, ...]:
    """Every column with two groups of `min_rows` rows at least; smaller groups are left out. A rate without any row to go by is left out too."""
    shares = _shares(labels, model, task)
    found = (_column(name, values, shares, plan, confidence, min_rows) for name, values in columns.items())
    return tuple(each for each in found if each is not None)


def _shares(labels: Labels, model: Model, task: Task) -> dict[Rate, _Share]:
    every = np.ones(len(labels))
    if task == "regression":
        return {"mean_prediction": _Share(model.scores, every), "mean_absolute_error": _Share(np.abs(model.scores - labels), every)}
    said = called(model.scores, task, model.threshold)
    if task == "multiclass":
        return {"accuracy": _Share((said == labels).astype(np.float64), every)}
    yes, true = said.astype(np.float64), (labels == 1).astype(np.float64)
    return {
        "selection_rate": _Share(yes, every),
        "true_positive_rate": _Share(yes * true, true),
        "false_positive_rate": _Share(yes * (1 - true), 1 - true),
    }


def _column(name: str, values: Texts, shares: Mapping[Rate, _Share], plan: Plan, confidence: float, min_rows: int) -> Fairness | None:
    groups, counts = np.unique(values, return_counts=True)
    large = [(str(group), int(count)) for group, count in zip(groups, counts, strict=True) if count >= min_rows]
    if len(large) < 2:
        return None
    large.sort(key=lambda each: (-each[1], each[0]))
    estimates = {group: _estimates(values == group, shares, plan) for group, _ in large}
    reference = large[0][0]
    told = tuple(_group(group, count, estimates[group], estimates[reference], plan, confidence, group == reference) for group, count in large)
    return Fairness(column=name, reference=reference, groups=told)


def _estimates(rows: np.ndarray, shares: Mapping[Rate, _Share], plan: Plan) -> dict[Rate, tuple[float, FloatArray]]:
    """Each rate of a group on all rows, and on each draw."""
    made = {}
    for rate, share in shares.items():
        part, whole = (np.bincount(plan.clusters[rows], values[rows], plan.resampled.units) for values in share)
        if whole.sum():
            made[rate] = (float(part.sum() / whole.sum()), np.concatenate([_ratio(weights @ part, weights @ whole) for weights in plan.draws()]))
    return made


def _group(
    value: str, rows: int, mine: dict[Rate, tuple[float, FloatArray]], reference: dict[Rate, tuple[float, FloatArray]], plan: Plan,
    confidence: float, is_reference: bool,
) -> Group:  # fmt: skip
    rates = {rate: _possible(interval(*each, plan, confidence), rate) for rate, each in mine.items()}
    if is_reference:
        return Group(value=value, rows=rows, rates=rates)
    gaps = {
        rate: interval(mine[rate][0] - reference[rate][0], mine[rate][1] - reference[rate][1], plan, confidence) for rate in mine if rate in reference
    }
    return Group(value=value, rows=rows, rates=rates, gaps=gaps, ratio=_selected(mine, reference, plan, confidence))


def _possible(found: Interval, rate: Rate) -> Interval:
    """Shares lie between 0 and 1."""
    if rate in ("mean_prediction", "mean_absolute_error"):
        return found
    return found.model_copy(update={"low": max(0.0, found.low), "high": min(1.0, found.high)})


def _selected(
    mine: dict[Rate, tuple[float, FloatArray]], reference: dict[Rate, tuple[float, FloatArray]], plan: Plan, confidence: float
) -> Interval | None:
    """The ratio of selection rates; None where the reference is never selected."""
    if "selection_rate" not in mine or not reference["selection_rate"][0]:
        return None
    (value, draws), (other, others) = mine["selection_rate"], reference["selection_rate"]
    return interval(value / other, _ratio(draws, others), plan, confidence)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
