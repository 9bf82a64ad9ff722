"""evaluate: challenger, linear baseline and champion on the same held-out rows. A SageMaker processing job.

Inputs below /opt/ml/processing/input: `challenger` and, when there is one, `champion` (model.tar.gz), `dataset`, `test`
(rows). Output: /opt/ml/processing/output/evaluation.json. The holdout is gone through file by file: memory holds predictions, not rows.
"""

import os
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.answer import answers
from tidemill.dataset import Dataset, describe
from tidemill.evaluate.compare import Judge, check_labels, label_facts
from tidemill.evaluate.record import Evaluation, GoldenRequest
from tidemill.evaluate.resample import plan
from tidemill.evaluate.slices import MISSING, Holdout, Model, judge_slices
from tidemill.layout import Layout
from tidemill.load import batches, read_manifest
from tidemill.model import package
from tidemill.model.features import features_of, labels_of
from training import paths

GOLDEN = 20


@dataclass
class Contender:
    """A model and what it said of each row so far; `fault`: why it could say nothing."""

    scorer: package.Scorer
    found: list[NDArray[np.float64]] = field(default_factory=list)
    fault: str | None = None

    def see(self, rows: pl.DataFrame) -> None:
        self.found.append(self.scorer.scores(features_of(rows, self.scorer.card.spec)))

    def try_to_see(self, rows: pl.DataFrame) -> None:
        """A champion of another schema, or whose own code fails on new rows, must not fail the evaluation of its challenger."""
        if self.fault is not None:
            return
        try:
            self.see(rows)
        except Exception as error:  # whatever it is, it is the reason that nothing is compared
            self.fault = f"{type(error).__name__}: {error}"[:500]

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.concatenate(self.found)


def evaluate(champion_name: str | None) -> Evaluation:
    """Score the test split with every model and write evaluation.json."""
    inputs = paths.PROCESSING / "input"
    folder = _unpack(inputs / "challenger")
    challenger, baseline = Contender(package.load(folder)), Contender(package.load(folder, package.BASELINE))
    card = challenger.scorer.card
    champion = Contender(package.load(_unpack(inputs / "champion"))) if champion_name is not None else None
    if champion is not None:
        champion.fault = _other_question(champion.scorer.card, card)
    dataset, layout = read_manifest(inputs / "dataset")
    holdout = _Holdout(dataset, card)
    for rows in _rows(inputs / "test", dataset, layout):
        holdout.see(rows)
        challenger.see(rows)
        baseline.see(rows)
        if champion is not None:
            champion.try_to_see(rows)
    evaluation = _judged(holdout, challenger, baseline, champion, champion_name)
    output = paths.PROCESSING / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "evaluation.json").write_text(evaluation.model_dump_json(indent=1), encoding="utf-8")
    return evaluation


class _Holdout:
    """What judging needs of the rows: labels, days, and every so many rows one to ask an endpoint for."""

    def __init__(self, dataset: Dataset, card: package.TrainedModel) -> None:
        self.dataset, self.card = dataset, card
        self._labels: list[NDArray[Any]] = []
        self._days: list[NDArray[np.int64]] = []
        self._slices: dict[str, list[NDArray[np.object_]]] = {name: [] for name in card.spec.gate.slices}
        self.golden: list[tuple[int, dict[str, Any]]] = []
        self.rows = 0
        self._step = max(1, -(-dataset.rows("test") // GOLDEN))

    def see(self, rows: pl.DataFrame) -> None:
        spec = self.card.spec
        self._labels.append(labels_of(rows, spec, self.card.classes))
        if spec.time is not None:
            self._days.append(rows[spec.time].dt.epoch("d").cast(pl.Int64).to_numpy())
        for name, values in self._slices.items():
            values.append(rows[name].cast(pl.String).fill_null(MISSING).to_numpy())
        for at in range(-self.rows % self._step, len(rows), self._step):
            self.golden.append((self.rows + at, rows[at].select(spec.features).to_dicts()[0]))
        self.rows += len(rows)

    @property
    def labels(self) -> NDArray[Any]:
        return np.concatenate(self._labels)

    @property
    def slices(self) -> dict[str, NDArray[np.object_]]:
        """The columns that rows are cut by, as text."""
        return {name: np.concatenate(values) for name, values in self._slices.items()}

    @property
    def days(self) -> NDArray[np.int64] | None:
        return np.concatenate(self._days) if self._days else None


def _judged(holdout: _Holdout, challenger: Contender, baseline: Contender, champion: Contender | None, champion_name: str | None) -> Evaluation:
    card, labels = holdout.card, holdout.labels
    spec, confidence = card.spec, card.spec.gate.confidence
    check_labels(labels, spec.task)
    drawn = plan(labels, spec.task, holdout.days)
    judge = Judge(labels, spec.task, drawn, confidence)
    mine = judge.estimates(challenger.scores, card.threshold)
    comparison = theirs = None
    if champion is not None and champion.fault is None:
        other = champion.scorer.card
        theirs = Model(_aligned(champion.scores, other.classes, card.classes), other.threshold)
        comparison = judge.compare(mine, judge.estimates(*theirs), str(champion_name), spec.primary)
    said = answers(challenger.scores[[at for at, _ in holdout.golden]].tolist(), spec.task, card.threshold, card.classes)
    return Evaluation(
        model=spec.name,
        run=card.run,
        task=spec.task,
        primary=spec.primary,
        dataset=holdout.dataset.id,
        rows=holdout.rows,
        labels=label_facts(labels, spec.task, card.classes),
        period=describe(holdout.dataset, "test"),
        confidence=confidence,
        resampled=drawn.resampled,
        challenger=judge.scores(mine),
        baseline=judge.scores(judge.estimates(baseline.scores, card.threshold)),
        champion=comparison,
        slices=judge_slices(
            holdout.slices,
            Holdout(labels, holdout.days, spec.task),
            Model(challenger.scores, card.threshold),
            theirs,
            spec.primary,
            confidence,
            spec.gate.slice_min_rows,
            spec.gate.slice_drop_max,
        ),
        unreadable=champion.fault if champion is not None else None,
        warnings=(*card.warnings, *drawn.warnings),
        golden=tuple(GoldenRequest(instance=row, answer=answer) for (_, row), answer in zip(holdout.golden, said, strict=True)),
    )


def _rows(root: Path, dataset: Dataset, layout: Layout) -> Iterator[pl.DataFrame]:
    """Batches with a row at least."""
    return (rows for rows in batches(root, dataset, "test", layout=layout) if len(rows))


def _other_question(champion: package.TrainedModel, challenger: package.TrainedModel) -> str | None:
    """Why two models cannot be compared whatever the rows are."""
    if champion.spec.task != challenger.spec.task:
        return f"its task is {champion.spec.task}, the challenger's {challenger.spec.task}"
    return None


def _aligned(scores: NDArray[np.float64], classes: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.float64]:
    """A champion's probabilities under the challenger's classes; of one that it does not know, 0."""
    if classes == wanted:
        return scores
    at = {name: column for column, name in enumerate(classes)}
    return np.column_stack([scores[:, at[name]] if name in at else np.zeros(len(scores)) for name in wanted])


def _unpack(folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "model", filter="data")
    return folder / "model"


def main() -> None:
    evaluation = evaluate(os.environ.get("CHAMPION") or None)
    print(f"{evaluation.headline} on {evaluation.rows:,} rows of {evaluation.period}", flush=True)


if __name__ == "__main__":
    sys.exit(paths.command(main))
