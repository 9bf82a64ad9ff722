"""train: fit the spec's estimator, and the linear baseline beside it, on the rows of the train channel.

Channels: `code` (the model's folder), `dataset` (manifest.json, layout.json), `train` and `validation` (rows). The holdout is not
among them: under network isolation this process cannot reach it.
"""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tidemill import __version__
from tidemill.dataset import describe
from tidemill.evaluate.metrics import measured
from tidemill.jobs import objective_line
from tidemill.model import estimators, package, study
from tidemill.model.baseline import FILE as BASELINE_FILE
from tidemill.model.code import FILE
from tidemill.model.peers import ALONE, Peers
from tidemill.model.threshold import threshold_of
from training import paths
from training.learning import Asked, Learned, learn

PINNED = ("numpy", "pandas", "polars", "scikit-learn")


def train() -> package.TrainedModel | None:
    """Read the channels, fit, write the model folder; progress goes to stdout, where SageMaker's metrics are read.

    Of several instances each gets the same estimator. The first writes it, and what else is to be told of the rows it tells of its own share
    of them, a random sample; the others return None.
    """
    asked = Asked.read()
    with _peers(asked) as peers:
        learned = learn(asked, peers)
    if peers.rank:
        return None
    if peers.count > 1:
        print(f"{peers.count} instances learned from {learned.rows:,} rows, {len(learned.train.labels):,} of them here", flush=True)
    fitted = estimators.calibrated(learned.estimator, asked.spec, len(learned.classes) or 2, learned.validation)
    started = time.monotonic()
    baseline = estimators.fit("linear", asked.spec, learned.train, learned.validation, asked.module)
    took = learned.took_s + time.monotonic() - started
    card = _concluded(_card(asked, learned, peers), fitted, learned, asked)
    print(f"{card.estimator} estimator and linear baseline fitted to {learned.rows:,} rows in {took:.1f} s", flush=True)
    learned.baseline.save(_made(paths.MODEL) / BASELINE_FILE)
    package.save(paths.MODEL, card, fitted, baseline, None if asked.module is None else asked.folder / FILE)
    return card


def _peers(asked: Asked) -> AbstractContextManager[Peers]:
    if asked.spec.train.scale == "one":
        return nullcontext(ALONE)
    from training import cluster  # xgboost is loaded where it is used

    return cluster.joined()


def _card(asked: Asked, learned: Learned, peers: Peers) -> package.TrainedModel:
    shared = (
        f"learned by {peers.count} instances from {learned.rows:,} rows; threshold, calibration, learning curve and the linear baseline rest on "
        f"the first one's random share of them, {len(learned.train.labels):,} rows",
    ) if peers.count > 1 else ()  # fmt: skip
    return package.TrainedModel(
        spec=asked.spec,
        run=asked.hyperparameters["run"],
        dataset=asked.dataset.id,
        estimator=asked.spec.train.estimator,
        train_rows=learned.rows,
        train_period=describe(asked.dataset, "train"),
        classes=learned.classes,
        warnings=(*shared, *learned.warnings, *study.given_away(learned.train, learned.validation, asked.spec)),
        settings=asked.settings,
        code=asked.hyperparameters.get("code", ""),
        image=asked.hyperparameters.get("image", ""),
        versions={"python": sys.version.split()[0], "tidemill": __version__} | {name: version(name) for name in PINNED} | _engine(peers),
    )


def _engine(peers: Peers) -> dict[str, str]:
    if peers.count == 1:
        return {}
    import xgboost

    return {"xgboost": xgboost.__version__}


def _concluded(card: package.TrainedModel, fitted: Any, learned: Learned, asked: Asked) -> package.TrainedModel:
    """With the threshold and what validation rows say. The primary metric is printed for who searches."""
    spec, train_rows, validation = asked.spec, learned.train, learned.validation
    judged = validation if spec.train.search or spec.train.costs else study.some(validation, spec)
    scores = package.Scorer(card, fitted).scores(judged.features)
    if spec.task == "binary":
        threshold = threshold_of(scores, judged.labels, float(train_rows.labels.mean()), spec.train.costs)
        card = card.model_copy(update={"threshold": threshold})
    print(objective_line(measured(spec.primary, spec.task, scores, judged.labels, card.threshold)), flush=True)
    points, why_not = study.learning_curve(learned.estimator, card, train_rows, validation, asked.module)
    return card.model_copy(update={"learning": points, "warnings": (*card.warnings, *([why_not] if why_not else []))})


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(paths.command(train))
