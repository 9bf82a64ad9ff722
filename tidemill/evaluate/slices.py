"""Challenger and champion on parts of the holdout: the rows of one value of a column, and of a pair of values.

A model may be better on the whole and worse for one airport. Many slices are many looks: each has its own p-value, and the gate
corrects them together (Holm 1979).
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.evaluate.compare import Judge, Labels
from tidemill.evaluate.metrics import FloatArray, IntArray
from tidemill.evaluate.record import Comparison, Interval, Slice
from tidemill.evaluate.resample import plan
from tidemill.metric import Metric, Task

MOST = 200
"""The largest slices are judged, no more: each costs a resampling."""
MISSING = "(missing)"
Texts = NDArray[np.object_]


class Model(NamedTuple):
    """What a model said of each row, and its threshold (binary)."""

    scores: FloatArray
    threshold: float


class Holdout(NamedTuple):
    """n rows: labels, and the day of each where they have one."""

    labels: Labels
    days: IntArray | None
    task: Task


def judge_slices(
    columns: Mapping[str, Texts], holdout: Holdout, challenger: Model, champion: Model | None, primary: Metric, confidence: float, min_rows: int,
    drop: float,
) -> tuple[Slice, ...]:  # fmt: skip
    """Every slice of `min_rows` rows or more, largest first; one in which the primary metric is undefined is left out.

    `drop`: p is the chance of so low a gain if the challenger were worse by no more than this.
    """
    found = [part for part in _parts(columns) if min_rows <= part.rows < len(holdout.labels)]
    largest = sorted(found, key=lambda each: (-each.rows, sorted(each.by.items())))[:MOST]
    judged = (_judged(each.by, each.mask(), holdout, challenger, champion, primary, confidence, drop) for each in largest)
    return tuple(each for each in judged if each is not None)


class _Part(NamedTuple):
    """Rows of one value, or of a pair of values: counted here, and looked for only if they are judged."""

    by: dict[str, str]
    rows: int
    codes: IntArray
    code: int

    def mask(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.codes == self.code
        return found


def _parts(columns: Mapping[str, Texts]) -> Iterator[_Part]:
    """Of each value, and of each pair of values of two columns."""
    coded = {name: np.unique(values, return_inverse=True) for name, values in columns.items()}
    for name, (values, codes) in coded.items():
        for code, rows in enumerate(np.bincount(codes, minlength=len(values)).tolist()):
            yield _Part({name: str(values[code])}, rows, codes, code)
    for (one, (values, codes)), (other, (others, other_codes)) in combinations(coded.items(), 2):
        joint = codes * len(others) + other_codes
        counts = np.bincount(joint, minlength=len(values) * len(others))
        for code in np.flatnonzero(counts).tolist():
            yield _Part({one: str(values[code // len(others)]), other: str(others[code % len(others)])}, int(counts[code]), joint, code)


def judge_rows(
    rows: NDArray[np.bool_], holdout: Holdout, challenger: Model, champion: Model | None, primary: Metric, confidence: float, drop: float
) -> tuple[Interval, Comparison | None, float | None] | None:  # fmt: skip
    """Some of the rows alone: the challenger, the champion beside it, and p as in Slice; None where the primary metric is undefined on them."""
    labels = holdout.labels[rows]
    drawn = plan(labels, holdout.task, None if holdout.days is None else holdout.days[rows])
    judge = Judge(labels, holdout.task, drawn, confidence, only=primary)
    mine = judge.estimates(challenger.scores[rows], challenger.threshold)
    if primary not in mine.values:
        return None
    own = judge.scores(mine)[primary]
    if champion is None:
        return own, None, None
    theirs = judge.estimates(champion.scores[rows], champion.threshold)
    if primary not in theirs.values:
        return None
    return own, judge.compare(mine, theirs, "", primary), judge.p_below(mine, theirs, primary, -drop)


def _judged(
    by: dict[str, str], rows: NDArray[np.bool_], holdout: Holdout, challenger: Model, champion: Model | None, primary: Metric, confidence: float, drop: float
) -> Slice | None:  # fmt: skip
    found = judge_rows(rows, holdout, challenger, champion, primary, confidence, drop)
    if found is None:
        return None
    own, compared, p = found
    if compared is None:
        return Slice(by=by, rows=int(rows.sum()), challenger=own)
    return Slice(by=by, rows=int(rows.sum()), challenger=own, champion=compared.scores[primary], gain=compared.gain, p=p)
