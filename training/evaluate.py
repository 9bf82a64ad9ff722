"""evaluate: challenger, linear baseline and champion on the same held-out rows. A SageMaker processing job.

Inputs below /opt/ml/processing/input: `challenger` and, when there is one, `champion` (model.tar.gz), `dataset`, `test`
(rows). Output: /opt/ml/processing/output/evaluation.json.
"""

import os
import sys
import tarfile
from pathlib import Path

import polars as pl

from tidemill.dataset import describe
from tidemill.evaluate.compare import check_labels, compare, scores_of
from tidemill.evaluate.metrics import FloatArray
from tidemill.evaluate.record import Evaluation, GoldenRequest
from tidemill.load import load_dataset, read_manifest
from tidemill.model import package
from tidemill.model.features import features_of, labels_of
from tidemill.spec import ModelSpec
from training import paths

GOLDEN = 20


def evaluate(champion_name: str | None) -> Evaluation:
    """Score the test split with every model and write evaluation.json."""
    inputs = paths.PROCESSING / "input"
    challenger_folder = _unpack(inputs / "challenger")
    challenger = package.load(challenger_folder)
    spec, confidence = challenger.card.spec, challenger.card.spec.gate.confidence
    dataset, layout = read_manifest(inputs / "dataset")
    rows = load_dataset(inputs / "test", dataset, "test", layout=layout)
    labels = labels_of(rows, spec)
    check_labels(labels)
    scores = challenger.scores(features_of(rows, spec))
    baseline = package.load(challenger_folder, package.BASELINE).scores(features_of(rows, spec))
    comparison = None
    if champion_name is not None:
        champion = package.load(_unpack(inputs / "champion"))
        comparison = compare(labels, scores, champion.scores(features_of(rows, champion.card.spec)), champion_name, confidence)
    evaluation = Evaluation(
        model=spec.name,
        run=challenger.card.run,
        dataset=dataset.id,
        rows=len(rows),
        positives=int(labels.sum()),
        period=describe(dataset, "test"),
        confidence=confidence,
        challenger=scores_of(labels, scores, confidence),
        baseline=scores_of(labels, baseline, confidence),
        champion=comparison,
        golden=_golden(rows, scores, spec),
    )
    output = paths.PROCESSING / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "evaluation.json").write_text(evaluation.model_dump_json(indent=1), encoding="utf-8")
    return evaluation


def _golden(rows: pl.DataFrame, scores: FloatArray, spec: ModelSpec) -> tuple[GoldenRequest, ...]:
    """Rows spread evenly over the holdout."""
    at = sorted({round(i * (len(rows) - 1) / (GOLDEN - 1)) for i in range(GOLDEN)})
    return tuple(GoldenRequest(instance=rows[i].select(spec.features).to_dicts()[0], score=float(scores[i])) for i in at)


def _unpack(folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "model", filter="data")
    return folder / "model"


def main() -> None:
    evaluation = evaluate(os.environ.get("CHAMPION") or None)
    print(f"AUC {evaluation.challenger.roc_auc} on {evaluation.rows:,} rows of {evaluation.period}", flush=True)


if __name__ == "__main__":
    sys.exit(paths.command(main))
