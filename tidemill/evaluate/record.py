"""What an evaluation says: evaluation.json, read by gate, register, release, and people."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Record):
    """An estimate with its bootstrap percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def signed(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Scores(_Record):
    """One model on the holdout. log_loss in nats, brier in [0, 1]."""

    roc_auc: Interval
    log_loss: float
    brier: float


class Comparison(_Record):
    """Challenger minus champion on the same rows, resampled in pairs."""

    champion: str
    scores: Scores
    difference: Interval


class GoldenRequest(_Record):
    """A holdout row and the score scikit-learn gave it: what a new endpoint must answer."""

    instance: dict[str, Any]
    score: float


class Evaluation(_Record):
    """One evaluation. `rows` labelled rows, `positives` of them true, over `period`."""

    model: str
    run: str
    dataset: str
    rows: int
    positives: int
    period: str
    confidence: float
    challenger: Scores
    baseline: Scores
    champion: Comparison | None
    golden: tuple[GoldenRequest, ...]
