"""From what score on a binary model says yes. Chosen on validation rows, never on the holdout."""

import numpy as np
from numpy.typing import NDArray

from tidemill.model.features import LabelArray
from tidemill.spec import Costs

Floats = NDArray[np.float64]


def threshold_of(scores: Floats, labels: LabelArray, base_rate: float, costs: Costs | None) -> float:
    """The threshold of least cost on these n rows; without costs the base rate.

    A row is then called positive when it is likelier to be so than an average training row: 0.5 would call few of a rare class.
    """
    if costs is None:
        return base_rate
    order = np.argsort(-scores, kind="stable")
    ordered, true = scores[order], labels[order] == 1
    # cost of calling the first i rows positive, for i = 0..n; only where the score changes
    false_positives, misses = np.r_[0, np.cumsum(~true)], true.sum() - np.r_[0, np.cumsum(true)]
    cost = costs.false_positive * false_positives + costs.false_negative * misses
    ends = np.r_[True, ordered[1:] != ordered[:-1], True]
    best = int(np.argmin(np.where(ends, cost, np.inf)))
    if best == 0:
        return 1.0
    if best == len(ordered):
        return 0.0
    return float((ordered[best - 1] + ordered[best]) / 2)
