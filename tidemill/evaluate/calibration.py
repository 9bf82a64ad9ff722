"""How far predictions can be taken at their word, and which classes are taken for which."""

import numpy as np

from tidemill.evaluate.compare import Labels
from tidemill.evaluate.metrics import FloatArray, IntArray
from tidemill.evaluate.record import Bin, Calibration, Confusion
from tidemill.metric import Task

BINS = 10
OTHER = "(other)"


def calibration(labels: Labels, predictions: FloatArray, task: Task) -> Calibration:
    """Reliability by ten bins of about equal size, and the expected calibration error.

    binary: score against how often the label is true; multiclass: the likeliest class's score against how often it is right (Guo and
    others 2017, arXiv:1706.04599); regression: predicted against actual value.
    """
    predicted, actual = predictions, labels.astype(np.float64)
    if task == "multiclass":
        predicted, actual = predictions.max(axis=1), (predictions.argmax(axis=1) == labels).astype(np.float64)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, BINS + 1)[1:-1]))
    which = np.searchsorted(edges, predicted, side="right")
    rows, said, came = (np.bincount(which, weights) for weights in (None, predicted, actual))
    bins = tuple(Bin(rows=int(n), predicted=float(p / n), actual=float(a / n)) for n, p, a in zip(rows, said, came, strict=True) if n)
    return Calibration(bins=bins, error=sum(each.rows * abs(each.predicted - each.actual) for each in bins) / len(labels))


def called(predictions: FloatArray, task: Task, threshold: float) -> IntArray:
    """The class that each row is called: 0 or 1, or the place of the likeliest."""
    return (predictions >= threshold).astype(np.int64) if task == "binary" else predictions.argmax(axis=1)


def confusion(labels: Labels, predictions: FloatArray, task: Task, threshold: float, classes: tuple[str, ...]) -> Confusion | None:
    """None for numbers. Rows of a class that no model knows are those of OTHER, which nothing is called."""
    if task == "regression":
        return None
    names = ("false", "true") if task == "binary" else classes
    codes = labels.astype(np.int64)
    if (codes < 0).any():
        names, codes = (*names, OTHER), np.where(codes < 0, len(names), codes)
    counts = np.bincount(codes * len(names) + called(predictions, task, threshold), minlength=len(names) ** 2).reshape(len(names), -1)
    return Confusion(classes=names, counts=tuple(tuple(row) for row in counts.tolist()))
