"""train: fit the spec's estimator, and the linear baseline beside it, on the rows of the train channel.

Channels: `code` (the model's folder), `dataset` (manifest.json, layout.json), `train` and `validation` (rows). The holdout is not
among them: under network isolation this process cannot reach it.
"""

import json
import sys
import time
from importlib.metadata import version

from tidemill import __version__
from tidemill.dataset import Dataset, SplitName, describe
from tidemill.errors import DatasetRefused
from tidemill.layout import Layout
from tidemill.load import load_dataset, read_manifest
from tidemill.model import estimators, package
from tidemill.model.features import features_of, labels_of
from tidemill.spec import ModelSpec, load_spec
from training import paths

LEARNED_FROM: tuple[SplitName, ...] = ("train", "validation")
PINNED = ("numpy", "pandas", "polars", "scikit-learn")


def train() -> package.TrainedModel:
    """Read the channels, fit, write the model folder; progress goes to stdout, where SageMaker's metrics are read."""
    settings = json.loads(paths.HYPERPARAMETERS.read_text(encoding="utf-8"))
    spec = load_spec(paths.CHANNELS / "code" / settings["model"] / "model.toml")
    dataset, layout = read_manifest(paths.CHANNELS / "dataset")
    train_rows, validation_rows = (_rows(dataset, layout, split, spec) for split in LEARNED_FROM)
    started = time.monotonic()
    pipeline = estimators.fit(spec.train.estimator, spec, train_rows, validation_rows)
    baseline = estimators.fit("linear", spec, train_rows, validation_rows)
    took = time.monotonic() - started
    print(f"{spec.train.estimator} estimator and linear baseline fitted to {len(train_rows.labels):,} rows in {took:.1f} s", flush=True)
    card = package.TrainedModel(
        spec=spec,
        run=settings["run"],
        dataset=dataset.id,
        estimator=spec.train.estimator,
        train_rows=len(train_rows.labels),
        train_period=describe(dataset, "train"),
        threshold=_threshold(train_rows.labels.mean()),
        versions={"python": sys.version.split()[0], "tidemill": __version__} | {name: version(name) for name in PINNED},
    )
    paths.MODEL.mkdir(parents=True, exist_ok=True)
    package.save(paths.MODEL, card, pipeline, baseline)
    return card


def _rows(dataset: Dataset, layout: Layout, split: SplitName, spec: ModelSpec) -> estimators.Rows:
    rows = load_dataset(paths.CHANNELS / split, dataset, split, layout=layout, columns=(*spec.features, spec.label))
    labels = labels_of(rows, spec)
    if len(set(labels.tolist())) < 2:
        raise DatasetRefused(f"the {len(labels):,} labelled {split} rows have one class only; upload rows of both")
    return estimators.Rows(features_of(rows, spec), labels)


def _threshold(base_rate: float) -> float:
    """A row is called positive when it is likelier to be so than an average training row: 0.5 would call few late."""
    return float(base_rate)


if __name__ == "__main__":
    sys.exit(paths.command(train))
