"""Evaluate a challenger, its linear baseline and the champion on the same rows."""

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import DatasetRefused
from tidemill.evaluate.metrics import FloatArray, auc_difference, auc_interval, brier, log_loss
from tidemill.evaluate.record import Comparison, Scores

SEED = 20130101


def check_labels(labels: NDArray[np.int8]) -> None:
    """Refuse a holdout on which no ranking can be judged."""
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        raise DatasetRefused(f"the holdout has {len(labels):,} rows of one class only ({positives:,} positive): AUC is undefined")


def scores_of(labels: NDArray[np.int8], scores: FloatArray, confidence: float) -> Scores:
    return Scores(roc_auc=auc_interval(labels, scores, confidence, SEED), log_loss=log_loss(labels, scores), brier=brier(labels, scores))


def compare(labels: NDArray[np.int8], challenger: FloatArray, champion: FloatArray, name: str, confidence: float) -> Comparison:
    difference = auc_difference(labels, challenger, champion, confidence, SEED)
    return Comparison(champion=name, scores=scores_of(labels, champion, confidence), difference=difference)
