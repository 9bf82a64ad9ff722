"""What an evaluation says: evaluation.json, read by gate, register, release, and people."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tidemill.metric import KINDS, Metric, Task


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Record):
    """An estimate between two one-sided bounds: the truth lies above `low`, and below `high`, with the evaluation's confidence each."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{figure(self.value)} [{figure(self.low)}, {figure(self.high)}]"

    def signed(self) -> str:
        return f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def figure(value: float) -> str:
    """Two decimals for what lies around 1, three significant digits for the rest."""
    return f"{value:.2f}" if 0.1 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


class Resampled(_Record):
    """What the bootstrap draws: whole days where rows have a time, because rows of one day err together, else rows.

    `method`: percentile, or with few days Student's t over the days left out in turn.
    """

    by: Literal["day", "row"]
    units: int
    method: Literal["percentile", "jackknife-t"]


class Scores(_Record):
    """One model on the holdout, by metric."""

    metrics: dict[Metric, Interval]

    def __getitem__(self, metric: Metric) -> Interval:
        return self.metrics[metric]


class Comparison(_Record):
    """The challenger beside a champion on the same rows, resampled in pairs. `gain`: how much better it is in the primary metric; below 0, worse."""

    champion: str
    scores: Scores
    gain: Interval


class Slice(_Record):
    """Part of the holdout, in the primary metric. p: the chance of so low a gain if the challenger were worse by `slice_drop_max` at most."""

    by: dict[str, str]
    rows: int
    challenger: Interval
    champion: Interval | None = None
    gain: Interval | None = None
    p: float | None = None

    def __str__(self) -> str:
        return " and ".join(f"{column} = {value}" for column, value in self.by.items())


class GoldenRequest(_Record):
    """A holdout row and the answer scikit-learn gave: what a new endpoint must answer."""

    instance: dict[str, Any]
    answer: dict[str, Any]


class Evaluation(_Record):
    """One evaluation on `rows` labelled rows over `period`.

    labels: rows of each class, or mean, std, min and max of a number. unreadable: why the champion could not score these rows, so
    that there is no comparison. warnings: what a person should know before they trust the figures.
    """

    model: str
    run: str
    task: Task
    primary: Metric
    dataset: str
    rows: int
    labels: dict[str, float]
    period: str
    confidence: float
    resampled: Resampled
    challenger: Scores
    baseline: Scores
    champion: Comparison | None
    slices: tuple[Slice, ...] = ()
    unreadable: str | None = None
    warnings: tuple[str, ...] = ()
    golden: tuple[GoldenRequest, ...]

    @property
    def headline(self) -> str:
        """The primary metric with its interval, such as "AUC 0.66 [0.64, 0.69]"."""
        return named(self.primary, self.challenger)


def named(metric: Metric, scores: Scores) -> str:
    return f"{KINDS[metric].name} {scores[metric]}"
