"""evaluate: challenger, linear baseline and champions on the same held-out rows. A SageMaker processing job.

Inputs below /opt/ml/processing/input: `challenger` (model.tar.gz), `dataset`, `test` (rows); where there is a champion `champion` (or,
scored in its own image, `champion_scores`) and `champion_dataset`, and where another one was better, the same of `best`.
Output: /opt/ml/processing/output/evaluation.json, and the baseline that came with the challenger. The holdout is gone through file by
file: memory holds predictions, not rows.
"""

import os
import shutil
import sys
import tarfile
from pathlib import Path

from tidemill.dataset import Dataset
from tidemill.evaluate.record import Evaluation
from tidemill.load import PART, batches, read_manifest
from tidemill.model import package
from tidemill.model.baseline import FILE as BASELINE
from tidemill.model.baseline import Baseline
from tidemill.prepare.split import KEY_HASH
from training import paths
from training.holdout import Contender, Former, Holdout
from training.judging import Judging


def evaluate(champion_name: str | None, best_name: str | None = None) -> Evaluation:
    """Score the test split with every model and write evaluation.json."""
    inputs = paths.PROCESSING / "input"
    folder = unpacked(inputs / "challenger")
    challenger, linear = Contender(package.load(folder)), Contender(package.load(folder, package.BASELINE))
    champion, best = _former(inputs, "champion", champion_name, challenger), _former(inputs, "best", best_name, challenger)
    formers = [former for former in (champion, best) if former is not None]
    dataset, layout = read_manifest(inputs / "dataset")
    known = [former.card.classes for former in formers if former.card is not None and former.fault is None]
    classes = tuple(dict.fromkeys(name for some in (challenger.scorer.card.classes, *known) for name in some))
    holdout = Holdout(dataset, challenger.scorer.card, classes, Baseline.load(folder / BASELINE))
    columns = (*dataset.columns, KEY_HASH, PART)
    for rows in batches(inputs / "test", dataset, "test", layout=layout, columns=columns):
        if not len(rows):
            continue
        holdout.see(rows)
        for contender in (challenger, linear):
            contender.see(rows)
        for former in formers:
            former.see(rows, dataset)
    evaluation = Judging(holdout, challenger, linear, champion, best).evaluation(folder, inputs / "challenger/model.tar.gz")
    output = paths.PROCESSING / "output"
    output.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / BASELINE, output / BASELINE)
    (output / "evaluation.json").write_text(evaluation.model_dump_json(indent=1), encoding="utf-8")
    return evaluation


def _former(inputs: Path, which: str, name: str | None, challenger: Contender) -> Former | None:
    """A champion, and the record of what it learned from."""
    if name is None:
        return None
    dataset = Dataset.model_validate_json((inputs / f"{which}_dataset/manifest.json").read_text(encoding="utf-8"))
    if (elsewhere := inputs / f"{which}_scores").exists():
        former = Former.elsewhere(name, dataset, elsewhere)
    else:
        former = Former.loaded(name, dataset, unpacked(inputs / which))
    mine = challenger.scorer.card.spec.task
    if former.card is not None and former.card.spec.task != mine:
        former.fault = f"its task is {former.card.spec.task}, the challenger's {mine}"
    return former


def unpacked(folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz") as archive:
        archive.extractall(folder / "model", filter="data")
    return folder / "model"


def main() -> None:
    evaluation = evaluate(os.environ.get("CHAMPION") or None, os.environ.get("BEST") or None)
    print(f"{evaluation.headline} on {evaluation.rows:,} rows of {evaluation.period}", flush=True)


if __name__ == "__main__":
    sys.exit(paths.command(main))
