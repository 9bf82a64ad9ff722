"""What an evaluation says: evaluation.json, read by gate, register, release, and people."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tidemill.metric import KINDS, Metric, Task

Rate = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "accuracy", "mean_prediction", "mean_absolute_error"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(BaseModel):
    """An estimate between two one-sided bounds: the truth lies above `low`, and below `high`, with the evaluation's confidence each."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


class Bin(_Record):
    """Rows with like predictions: what was predicted on the mean, and what came of it."""

    rows: int
    predicted: float
    actual: float


class Calibration(_Record):
    """How far predictions can be taken at their word, by `bins` of about equal size. `error`: mean distance between predicted and actual."""

    bins: tuple[Bin, ...]
    error: float


class Confusion(_Record):
    """Rows by their true class (down) and the one they were called (across)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Group(_Record):
    """People or things of one value of a sensitive column. rates: what the model does to them; gaps: how far from the reference group;
    ratio: its selection rate over the reference's (binary)."""

    value: str
    rows: int
    rates: dict[Rate, Interval]
    gaps: dict[Rate, Interval] = {}
    ratio: Interval | None = None


class Fairness(_Record):
    """One sensitive column; `reference` is its largest group, which the others are set beside."""

    column: str
    reference: str
    groups: tuple[Group, ...]


class Importance(_Record):
    """How much of the primary metric is lost when a feature's values are shuffled among rows: the mean and the standard deviation of repeats."""

    feature: str
    loss: float
    std: float


class Reason(_Record):
    """How far a feature's value moved one answer, in the answer's own unit; `value` is None where it is missing or sensitive."""

    feature: str
    value: str | None
    effect: float


class Explained(_Record):
    """One row: what the model says on the mean, what it says here, and the features that made the difference, the strongest first."""

    base: float
    score: float
    reasons: tuple[Reason, ...]


class Shift(_Record):
    """A column in the rows learned from and in the holdout: population stability index, and the share that is missing in each."""

    column: str
    psi: float
    missing: tuple[float, float]


class Learned(_Record):
    """The primary metric on validation rows of a model that learned from so many rows."""

    rows: int
    value: float


class Apart(_Record):
    """Part of the holdout that tells something of its own: `name` says which; figures as in a slice."""

    name: Literal["established", "newer", "newest"]
    rows: int
    challenger: Interval
    champion: Interval | None = None
    gain: Interval | None = None


class Evaluation(_Record):
    """One evaluation on `rows` labelled rows over `period`.

    labels: rows of each class, or mean, std, min and max of a number. unreadable: why the champion could not score these rows, so
    that there is no comparison. best: the same comparison with the best champion there was, where that is another. set_beside: both,
    compared or not. left_out: rows that a champion had learned from, which judge nobody. holdout: hash of the files held out. warnings:
    what a person should know before they trust the figures. importance, explained: of a sample of the rows. model_sha256: of the fitted
    pipeline; versions: of what made it; settings: of the estimator.
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
    best: Comparison | None = None
    slices: tuple[Slice, ...] = ()
    apart: tuple[Apart, ...] = ()
    left_out: int = 0
    holdout: str = ""
    threshold: float | None = None
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    fairness: tuple[Fairness, ...] = ()
    importance: tuple[Importance, ...] = ()
    explained: tuple[Explained, ...] = ()
    shift: tuple[Shift, ...] = ()
    learning: tuple[Learned, ...] = ()
    more_data_helps: bool | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    model_sha256: str = ""
    versions: dict[str, str] = {}
    settings: dict[str, bool | int | float | str] = {}
    set_beside: tuple[str, ...] = ()
    unreadable: str | None = None
    warnings: tuple[str, ...] = ()
    golden: tuple[GoldenRequest, ...]

    @property
    def champion_name(self) -> str | None:
        """The champion of that moment, whether it could be compared or not."""
        return self.set_beside[0] if self.set_beside else self.champion.champion if self.champion else None

    @property
    def best_name(self) -> str | None:
        return self.set_beside[1] if len(self.set_beside) > 1 else self.best.champion if self.best else None

    @property
    def headline(self) -> str:
        """The primary metric with its interval, such as "AUC 0.66 [0.64, 0.69]"."""
        return named(self.primary, self.challenger)


def named(metric: Metric, scores: Scores) -> str:
    return f"{KINDS[metric].name} {scores[metric]}"
