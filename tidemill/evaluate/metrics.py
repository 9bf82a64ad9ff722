"""Metrics of probability forecasts, with bootstrap intervals."""

import numpy as np
from numpy.typing import NDArray

from tidemill.evaluate.record import Interval

REPEATS = 1000
FloatArray = NDArray[np.float64]


def roc_auc(labels: NDArray[np.int8], scores: FloatArray, weights: FloatArray | None = None) -> float:
    """Area under the ROC curve: the chance that a true row scores above a false one, ties counted half.

    labels, scores, weights: n. Weights are how often a row was drawn. Source: Fawcett 2006, doi:10.1016/j.patrec.2005.10.010.
    """
    return _Ranked(labels, scores).auc(np.ones(len(labels)) if weights is None else weights)


def log_loss(labels: NDArray[np.int8], scores: FloatArray) -> float:
    """Mean negative log-likelihood in nats; probabilities are kept 1e-15 away from 0 and 1."""
    p = np.clip(scores, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def brier(labels: NDArray[np.int8], scores: FloatArray) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    return float(np.mean((scores - labels) ** 2))


def auc_interval(labels: NDArray[np.int8], scores: FloatArray, confidence: float, seed: int) -> Interval:
    """roc_auc with its bootstrap percentile interval."""
    ranked = _Ranked(labels, scores)
    draws = np.array([ranked.auc(weights) for weights in _resamples(len(labels), seed)])
    return _interval(ranked.auc(np.ones(len(labels))), draws, confidence)


def auc_difference(labels: NDArray[np.int8], challenger: FloatArray, champion: FloatArray, confidence: float, seed: int) -> Interval:
    """roc_auc(challenger) − roc_auc(champion) with a paired bootstrap: both models see the same resampled rows."""
    a, b = _Ranked(labels, challenger), _Ranked(labels, champion)
    whole = np.ones(len(labels))
    draws = np.array([a.auc(weights) - b.auc(weights) for weights in _resamples(len(labels), seed)])
    return _interval(a.auc(whole) - b.auc(whole), draws, confidence)


class _Ranked:
    """Labels sorted by score once, so that each resample costs one pass."""

    def __init__(self, labels: NDArray[np.int8], scores: FloatArray) -> None:
        self._order = np.argsort(scores, kind="stable")
        self._positive = (labels[self._order] == 1).astype(np.float64)
        ordered = scores[self._order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def auc(self, weights: FloatArray) -> float:
        w = weights[self._order]
        positive = np.add.reduceat(w * self._positive, self._starts)
        negative = np.add.reduceat(w * (1 - self._positive), self._starts)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def _resamples(n: int, seed: int) -> "list[FloatArray]":
    rng = np.random.default_rng(seed)
    return [np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) for _ in range(REPEATS)]


def _interval(value: float, draws: FloatArray, confidence: float) -> Interval:
    """The percentile interval; draws with one class only have no AUC and are left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))
