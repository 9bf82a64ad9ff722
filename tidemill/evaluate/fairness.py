"""What a model does to the groups of a sensitive column, each beside the largest one, with bounds.

Selection rates are demographic parity (their ratio is the four-fifths rule of 29 CFR 1607.4(D)), true positive rates equal
opportunity, and with false positive rates equalized odds (Hardt, Price, Srebro 2016, arXiv:1610.02413).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.evaluate.calibration import called
from tidemill.evaluate.compare import Labels
from tidemill.evaluate.metrics import FloatArray
from tidemill.evaluate.record import Fairness, Group, Interval, Rate
from tidemill.evaluate.resample import Plan, interval
from tidemill.evaluate.slices import Model, Texts
from tidemill.metric import Task

FEWEST = 20
"""Rows that a rate is of, such as the true ones for a true positive rate: of fewer nothing is told."""
_Rates = dict[Rate, tuple[float, FloatArray]]
"""Each rate on all rows, and on each draw."""


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
    estimates = _estimates({group: values == group for group, _ in large}, shares, plan)
    reference = large[0][0]
    told = tuple(_group(group, count, estimates[group], estimates[reference], plan, confidence, group == reference) for group, count in large)
    return Fairness(column=name, reference=reference, groups=told)


def _estimates(groups: Mapping[str, NDArray[np.bool_]], shares: Mapping[Rate, _Share], plan: Plan) -> dict[str, _Rates]:
    """Each rate of each group on all rows, and on each draw: the draws are gone through once. Rates with too little to go by are left out."""
    asked = [(group, rate, *_sums(rows, share, plan)) for group, rows in groups.items() for rate, share in shares.items()]
    asked = [each for each in asked if _tells(each[3], plan)]
    made: dict[str, _Rates] = {group: {} for group in groups}
    if not asked:
        return made
    parts, wholes = (np.column_stack([each[at] for each in asked]) for at in (2, 3))
    drawn = np.concatenate([_ratio(weights @ parts, weights @ wholes) for weights in plan.draws()])
    for at, (group, rate, part, whole) in enumerate(asked):
        if np.isfinite(drawn[:, at]).sum() >= 2:
            made[group][rate] = (float(part.sum() / whole.sum()), drawn[:, at])
    return made


def _sums(rows: NDArray[np.bool_], share: _Share, plan: Plan) -> tuple[FloatArray, FloatArray]:
    part, whole = (np.bincount(plan.clusters[rows], values[rows], plan.resampled.units).astype(np.float64) for values in share)
    return part, whole


def _tells(whole: FloatArray, plan: Plan) -> bool:
    """A rate is of FEWEST rows at least, and where days are drawn of rows on more than one: else no draw would differ from another."""
    return bool(whole.sum() >= FEWEST and (plan.resampled.by == "row" or np.count_nonzero(whole) > 1))


def _group(
    value: str, rows: int, mine: _Rates, reference: _Rates, plan: Plan,
    confidence: float, is_reference: bool,
) -> Group:  # fmt: skip
    rates = {rate: _possible(interval(*each, plan, confidence), rate) for rate, each in mine.items()}
    if is_reference:
        return Group(value=value, rows=rows, rates=rates)
    beside = {rate: (mine[rate][0] - reference[rate][0], mine[rate][1] - reference[rate][1]) for rate in mine if rate in reference}
    gaps = {rate: interval(*each, plan, confidence) for rate, each in beside.items() if np.isfinite(each[1]).sum() >= 2}
    return Group(value=value, rows=rows, rates=rates, gaps=gaps, ratio=_selected(mine, reference, plan, confidence))


def _possible(found: Interval, rate: Rate) -> Interval:
    """Shares lie between 0 and 1."""
    if rate in ("mean_prediction", "mean_absolute_error"):
        return found
    return found.model_copy(update={"low": max(0.0, found.low), "high": min(1.0, found.high)})


def _selected(mine: _Rates, reference: _Rates, plan: Plan, confidence: float) -> Interval | None:
    """The ratio of selection rates; None where the reference is never selected."""
    if "selection_rate" not in mine or "selection_rate" not in reference or not reference["selection_rate"][0]:
        return None
    (value, draws), (other, others) = mine["selection_rate"], reference["selection_rate"]
    ratios = _ratio(draws, others)
    return interval(value / other, ratios, plan, confidence) if np.isfinite(ratios).sum() >= 2 else None


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
