"""Two judged runs side by side: what was changed between them, and what came of it."""

from dataclasses import dataclass
from typing import Any

from tidemill.dataset import DatasetSummary
from tidemill.evaluate.record import Evaluation, Interval
from tidemill.metric import Metric
from tidemill.records import Run
from tidemill.spec import ModelSpec


@dataclass(frozen=True)
class Judged:
    """A run whose model was evaluated, with what it learned from. `summary` is None where it is gone."""

    run: Run
    spec: ModelSpec
    evaluation: Evaluation
    summary: DatasetSummary | None


@dataclass(frozen=True)
class Change:
    """A key of the spec that two runs have different values of, as they stand in a model.toml; None where it is not there."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Compared:
    """Earlier and later run. metrics: of each run's challenger, on each run's own held-out rows; `same_rows` says whether these are the same."""

    before: Judged
    after: Judged
    spec: tuple[Change, ...]

    @property
    def same_rows(self) -> bool:
        return bool(self.after.evaluation.holdout) and self.before.evaluation.holdout == self.after.evaluation.holdout

    @property
    def same_code(self) -> bool:
        return self.before.run.code_hash == self.after.run.code_hash

    @property
    def same_dataset(self) -> bool:
        return self.before.run.dataset == self.after.run.dataset

    @property
    def metrics(self) -> dict[Metric, tuple[Interval | None, Interval | None]]:
        mine, theirs = self.before.evaluation.challenger.metrics, self.after.evaluation.challenger.metrics
        return {metric: (mine.get(metric), theirs.get(metric)) for metric in (mine | theirs)}


def compare(before: Judged, after: Judged) -> Compared:
    return Compared(before, after, changes(before.spec, after.spec))


def changes(before: ModelSpec, after: ModelSpec) -> tuple[Change, ...]:
    """The keys whose values differ, in the order of a model.toml."""
    mine, theirs = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return tuple(Change(key, mine.get(key), theirs.get(key)) for key in mine | theirs if mine.get(key) != theirs.get(key))


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {key: text for name, inner in value.items() for key, text in _flat(inner, f"{path}.{name}".removeprefix(".")).items()}
    return {path: str(value)}
