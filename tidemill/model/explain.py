"""Which features a model goes by: on the whole (permutation importance), and in single answers (Shapley values).

Both ask the model only for its scores, so that they hold for whatever estimator a model.py builds.
"""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tidemill.evaluate.metrics import Outcomes, statistics
from tidemill.evaluate.record import Explained, Importance, Reason
from tidemill.metric import KINDS
from tidemill.model.features import LabelArray
from tidemill.model.package import Scorer
from tidemill.spec import ModelSpec

Floats = NDArray[np.float64]
REPEATS = 3
ORDERS = 40
"""Orders of the features that a row's Shapley values are the mean of: as many again backwards, which halves their variance or better."""
CELLS = 4_000_000
"""Values of mixed rows in memory at once, and for one explanation in all: rows of many features get fewer orders, two at least."""
TOLD = 5
TIMED = 30
SEED = 20130102


def sample_rows(features: int) -> int:
    """Rows that importance is told by: fewer where there are many features, each of which costs a pass over them."""
    return int(np.clip(1_000_000 // max(1, features), 200, 5000))


def importance(scorer: Scorer, frame: pd.DataFrame, labels: LabelArray) -> tuple[Importance, ...]:
    """What the primary metric loses when one feature's values change places among n rows, the most important first (Breiman 2001, Fisher and others 2019).

    A feature whose work another one can do looks unimportant. Nothing where the metric is undefined on these rows.
    """
    primary, rng = scorer.card.spec.primary, np.random.default_rng(SEED)
    sign = 1 if KINDS[primary].higher else -1
    outcomes = Outcomes(task=scorer.card.spec.task, labels=labels, clusters=np.zeros(len(labels), np.int64), threshold=scorer.card.threshold)

    def worth(rows: pd.DataFrame) -> float:
        return sign * float(statistics(outcomes, scorer.scores(rows))[primary](np.ones((1, 1)))[0])

    whole = worth(frame)
    if not np.isfinite(whole):
        return ()
    found = []
    for name in frame.columns:
        lost = [whole - worth(frame.assign(**{name: frame[name].to_numpy()[rng.permutation(len(frame))]})) for _ in range(REPEATS)]
        found.append(Importance(feature=name, loss=float(np.mean(lost)), std=float(np.std(lost))))
    return tuple(sorted(found, key=lambda each: -each.loss))


def explain(scorer: Scorer, rows: pd.DataFrame, background: pd.DataFrame) -> tuple[Explained, ...]:
    """Why each row is answered as it is: Shapley values of its features against rows of `background`.

    By sampling (Štrumbelj and Kononenko 2014, doi:10.1007/s10115-013-0679-x): the features of a background row become the row's own one
    by one, in a random order and then backwards; what each step moves the score is its feature's. They sum to score - base exactly.
    The score: of true (binary), of the class the row is called (multiclass), or the value.
    """
    return tuple(_explained(scorer, rows.iloc[[at]], background, np.random.default_rng((SEED, at))) for at in range(len(rows)))


def _explained(scorer: Scorer, row: pd.DataFrame, background: pd.DataFrame, rng: np.random.Generator) -> Explained:
    width = len(row.columns)
    count = max(2, min(ORDERS, CELLS // (2 * width * width)))
    at_once = max(1, CELLS // (width * width))
    orders = [order for _ in range(count) for order in _both_ways(rng.permutation(width))]
    grounds = np.repeat(rng.integers(0, len(background), count), 2)
    effects, starts, end = np.zeros(width), [], 0.0
    for first in range(0, len(orders), at_once):
        some = orders[first : first + at_once]
        own = np.concatenate([_steps(order) for order in some])
        mixed = _mixed(row, background.iloc[np.repeat(grounds[first : first + at_once], width + 1)], own)
        scores = _one_score(scorer, row, mixed).reshape(len(some), width + 1)
        starts += scores[:, 0].tolist()
        end = float(scores[0, -1])
        for order, moved in zip(some, np.diff(scores, axis=1), strict=True):
            effects[order] += moved
    effects /= len(orders)
    strongest = np.argsort(-np.abs(effects), kind="stable")[:TOLD]
    reasons = tuple(
        Reason(feature=row.columns[at], value=_told(row.iloc[0, at], row.columns[at], scorer.card.spec), effect=float(effects[at]))
        for at in strongest
    )
    return Explained(base=float(np.mean(starts)), score=end, reasons=reasons)


def _both_ways(order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    yield order
    yield order[::-1]


def _steps(order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which features are the row's own after 0, 1, ... all steps."""
    return np.argsort(order)[None, :] < np.arange(len(order) + 1)[:, None]


def _mixed(row: pd.DataFrame, grounds: pd.DataFrame, own: NDArray[np.bool_]) -> pd.DataFrame:
    columns = {}
    for at, name in enumerate(row.columns):
        values = grounds[name].to_numpy().copy()
        values[own[:, at]] = row.iloc[0, at]
        columns[name] = values
    return pd.DataFrame(columns)


def _one_score(scorer: Scorer, row: pd.DataFrame, mixed: pd.DataFrame) -> Floats:
    scores = scorer.scores(mixed)
    return scores if scores.ndim == 1 else scores[:, int(scorer.scores(row)[0].argmax())]


def _told(value: object, name: str, spec: ModelSpec) -> str | None:
    column = spec.columns[name]
    if column.sensitive or value is None or value != value:
        return None
    if column.type == "boolean":
        return str(bool(value)).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def latency_ms(scorer: Scorer, frame: pd.DataFrame) -> float:
    """Median time in ms that the model takes for one row, on this machine, without a web server around it."""
    took = []
    for at in range(TIMED):
        row = frame.iloc[[at % len(frame)]]
        began = time.perf_counter()
        scorer.scores(row)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1000
