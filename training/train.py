"""train: fit the spec's estimator, and the linear baseline beside it, on the rows of the train channel.

Channels: `code` (the model's folder), `dataset` (manifest.json, layout.json), `train` and `validation` (rows). The holdout is not
among them: under network isolation this process cannot reach it.
"""

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from tidemill import __version__
from tidemill.dataset import Dataset, SplitName, describe
from tidemill.errors import DatasetRefused
from tidemill.jobs import objective_line, setting
from tidemill.layout import Layout
from tidemill.load import load_dataset, read_manifest
from tidemill.model import estimators, package, study
from tidemill.model.baseline import FILE as BASELINE_FILE
from tidemill.model.baseline import Baseline
from tidemill.model.boosting import MAX_CATEGORIES
from tidemill.model.code import FILE, load_code
from tidemill.model.features import Rows, classes_of, features_of, labels_of
from tidemill.model.threshold import threshold_of
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import ModelSpec, Setting, load_spec
from training import paths
from training.progress import Checkpoints

LEARNED_FROM: tuple[SplitName, ...] = ("train", "validation")
PINNED = ("numpy", "pandas", "polars", "scikit-learn")


def train() -> package.TrainedModel:
    """Read the channels, fit, write the model folder; progress goes to stdout, where SageMaker's metrics are read."""
    asked = json.loads(paths.HYPERPARAMETERS.read_text(encoding="utf-8"))
    folder = paths.CHANNELS / "code" / asked["model"]
    spec = load_spec(folder / "model.toml")
    settings = spec.train.settings | _searched(spec, asked)
    dataset, layout = read_manifest(paths.CHANNELS / "dataset")
    module = load_code(folder)
    frame = _labelled(dataset, layout, "train", spec)
    classes, warnings = classes_of(frame, spec), tuple(_warnings(frame, spec))
    train_rows = _rows(frame, spec, classes)
    Baseline.of(frame, spec).save(_made(paths.MODEL) / BASELINE_FILE)
    del frame  # the rows are there twice until here
    validation_rows = _rows(_labelled(dataset, layout, "validation", spec), spec, classes)
    _refuse_one_class(train_rows, validation_rows, spec)
    started = time.monotonic()
    progress = Checkpoints(paths.CHECKPOINTS, {**asked, "dataset": dataset.id}) if spec.train.search or spec.train.spot else None
    found = estimators.fit(spec.train.estimator, spec, train_rows, validation_rows, module, settings, progress)
    fitted = estimators.calibrated(found, spec, train_rows, validation_rows)
    baseline = estimators.fit("linear", spec, train_rows, validation_rows, module)
    took = time.monotonic() - started
    card = package.TrainedModel(
        spec=spec,
        run=asked["run"],
        dataset=dataset.id,
        estimator=spec.train.estimator,
        train_rows=len(train_rows.labels),
        train_period=describe(dataset, "train"),
        classes=classes,
        warnings=(*warnings, *study.given_away(train_rows, validation_rows, spec)),
        settings=settings,
        code=asked.get("code", ""),
        image=asked.get("image", ""),
        versions={"python": sys.version.split()[0], "tidemill": __version__} | {name: version(name) for name in PINNED},
    )
    judged = validation_rows if spec.train.search or spec.train.costs else study.some(validation_rows, spec)
    scores = package.Scorer(card, fitted).scores(judged.features)
    if spec.task == "binary":
        threshold = threshold_of(scores, judged.labels, float(train_rows.labels.mean()), spec.train.costs)
        card = card.model_copy(update={"threshold": threshold})
    print(objective_line(study.validated(spec.primary, scores, judged.labels, spec, card.threshold)), flush=True)
    points, why_not = study.learning_curve(found, card, train_rows, validation_rows, module)
    card = card.model_copy(update={"learning": points, "warnings": (*card.warnings, *([why_not] if why_not else []))})
    print(f"{spec.train.estimator} estimator and linear baseline fitted to {len(train_rows.labels):,} rows in {took:.1f} s", flush=True)
    package.save(paths.MODEL, card, fitted, baseline, None if module is None else folder / FILE)
    return card


def _searched(spec: ModelSpec, asked: dict[str, str]) -> dict[str, Setting]:
    """The settings that a search chose for this job."""
    names = spec.train.search.space if spec.train.search else ()
    return {name: setting(name, asked[name], spec.train) for name in names if name in asked}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _labelled(dataset: Dataset, layout: Layout, split: SplitName, spec: ModelSpec) -> pl.DataFrame:
    columns = (KEY_HASH, *spec.features, spec.label, *([spec.weight] if spec.weight else []))
    return load_dataset(paths.CHANNELS / split, dataset, split, layout=layout, columns=columns)


def _rows(frame: pl.DataFrame, spec: ModelSpec, classes: tuple[str, ...]) -> Rows:
    weights = frame[spec.weight].cast(pl.Float64).to_numpy() if spec.weight else None
    return Rows(features_of(frame, spec), labels_of(frame, spec, classes), weights)


def _refuse_one_class(train: Rows, validation: Rows, spec: ModelSpec) -> None:
    """Nothing can be learned from one class, nor training be stopped by it. Of numbers any two will do."""
    for split, rows in zip(LEARNED_FROM, (train, validation), strict=True):
        if len(np.unique(rows.labels)) < 2:
            kind = "value" if spec.task == "regression" else "class"
            raise DatasetRefused(f"the {len(rows.labels):,} labelled {split} rows have one {kind} only; upload rows of others")


def _warnings(frame: pl.DataFrame, spec: ModelSpec) -> Iterator[str]:
    """What the author should know of the columns they give."""
    for name in spec.features:
        values = frame[name]
        if values.null_count() == len(values):
            yield f"feature {name} has no value in any of the {len(values):,} training rows"
        elif values.n_unique() == 1:
            yield f"feature {name} has one value only in the training rows"
        elif spec.columns[name].type == "category" and (found := values.n_unique()) > MAX_CATEGORIES:
            yield f"feature {name} has {found:,} categories: the rarest share one"


if __name__ == "__main__":
    sys.exit(paths.command(train))
