"""What a training job learns: the rows of its channels, what they say at once, and the estimator that is fitted to them, on one instance or many."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from tidemill.dataset import Dataset, SplitName
from tidemill.errors import DatasetRefused
from tidemill.jobs import setting
from tidemill.layout import Layout
from tidemill.load import Share, load_dataset, read_manifest
from tidemill.model import estimators
from tidemill.model.baseline import Baseline
from tidemill.model.boosting import MAX_CATEGORIES
from tidemill.model.code import load_code
from tidemill.model.features import Rows, classes_of, features_of, labels_of
from tidemill.model.peers import Peers
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import ModelSpec, Setting, load_spec
from training import paths
from training.progress import Checkpoints

RARE = 20
LEARNED_FROM: tuple[SplitName, ...] = ("train", "validation")


@dataclass(frozen=True)
class Asked:
    """The job as its channels and hyperparameters describe it."""

    hyperparameters: dict[str, str]
    folder: Path
    spec: ModelSpec
    settings: dict[str, Setting]
    dataset: Dataset
    layout: Layout
    module: ModuleType | None

    @classmethod
    def read(cls) -> "Asked":
        told = json.loads(paths.HYPERPARAMETERS.read_text(encoding="utf-8"))
        folder = paths.CHANNELS / "code" / told["model"]
        spec = load_spec(folder / "model.toml")
        searched = spec.train.search.space if spec.train.search else ()
        settings = spec.train.settings | {name: setting(name, told[name], spec.train) for name in searched if name in told}
        dataset, layout = read_manifest(paths.CHANNELS / "dataset")
        return cls(told, folder, spec, settings, dataset, layout, load_code(folder))


@dataclass(frozen=True)
class Learned:
    """The estimator, the seconds it took, and what is known of all rows.

    `train` and `validation` are those of this instance; on the leader also some of each class that only others have.
    """

    estimator: Any
    took_s: float
    train: Rows
    validation: Rows
    classes: tuple[str, ...]
    rows: int
    baseline: Baseline
    warnings: tuple[str, ...]


def learn(asked: Asked, peers: Peers) -> Learned:
    """Fit the spec's estimator to the train rows, each peer with its share of them. Raises DatasetRefused on all peers at once."""
    spec, share = asked.spec, Share(peers.rank, peers.count) if peers.count > 1 else None
    frame = _labelled(asked, "train", share)
    classes = tuple(sorted(set().union(*peers.gather(classes_of(frame, spec)))))
    first, *others = peers.gather(Baseline.of(frame, spec))
    for other in others:
        first = first.merge(other)
    warnings = tuple(_warnings(frame, spec, peers))
    train = _rows(frame, spec, classes)
    del frame  # the rows are there twice until here
    validation = _rows(_labelled(asked, "validation", share), spec, classes)
    _refuse_one_class(train, validation, spec, peers)
    job = {**asked.hyperparameters, "dataset": asked.dataset.id}
    progress = Checkpoints(paths.CHECKPOINTS, job) if spec.train.search or spec.train.spot else None
    started = time.monotonic()
    fitted = estimators.fit(spec.train.estimator, spec, train, validation, asked.module, asked.settings, progress, peers)
    took_s = time.monotonic() - started
    rows = sum(peers.gather(len(train.labels)))
    if spec.task != "regression":
        train, validation = _with_rare(train, peers), _with_rare(validation, peers)
    return Learned(fitted, took_s, train, validation, classes, rows, first, warnings)


def _labelled(asked: Asked, split: SplitName, share: Share | None) -> pl.DataFrame:
    spec = asked.spec
    columns = (KEY_HASH, *spec.features, spec.label, *([spec.weight] if spec.weight else []))
    return load_dataset(paths.CHANNELS / split, asked.dataset, split, layout=asked.layout, columns=columns, share=share)


def _rows(frame: pl.DataFrame, spec: ModelSpec, classes: tuple[str, ...]) -> Rows:
    weights = frame[spec.weight].cast(pl.Float64).to_numpy() if spec.weight else None
    return Rows(features_of(frame, spec), labels_of(frame, spec, classes), weights)


def _with_rare(rows: Rows, peers: Peers) -> Rows:
    """On the leader with up to RARE rows of an instance, for each class that the leader's share has none of: else it could not judge it."""
    have = peers.gather(set(np.unique(rows.labels).tolist()))
    lacking = sorted(set().union(*have) - have[0])
    at = np.concatenate([np.flatnonzero(rows.labels == label)[:RARE] for label in lacking] or [np.zeros(0, np.int64)])
    lent = peers.gather(rows.at(at))
    return Rows.joined([rows, *lent[1:]]) if lacking and peers.rank == 0 else rows


def _refuse_one_class(train: Rows, validation: Rows, spec: ModelSpec, peers: Peers) -> None:
    """Nothing can be learned from one class, nor training be stopped by it. Of numbers any two will do."""
    for split, rows in zip(LEARNED_FROM, (train, validation), strict=True):
        found = peers.gather((len(rows.labels), np.unique(rows.labels)[:2].tolist()))
        if len({label for _, labels in found for label in labels}) < 2:
            kind, count = "value" if spec.task == "regression" else "class", sum(count for count, _ in found)
            raise DatasetRefused(f"the {count:,} labelled {split} rows have one {kind} only; upload rows of others")


def _warnings(frame: pl.DataFrame, spec: ModelSpec, peers: Peers) -> Iterator[str]:
    """What the author should know of the columns they give."""
    for name in spec.features:
        values = frame[name]
        seen = values.drop_nulls().unique().to_list() if spec.columns[name].type == "category" else (values.min(), values.max())
        found = peers.gather((len(frame), values.null_count(), set(seen) - {None}))
        rows, missing = sum(each[0] for each in found), sum(each[1] for each in found)
        different = len(set().union(*(each[2] for each in found)))
        if missing == rows:
            yield f"feature {name} has no value in any of the {rows:,} training rows"
        elif different == 1 and not missing:
            yield f"feature {name} has one value only in the training rows"
        elif spec.columns[name].type == "category" and different > MAX_CATEGORIES:
            yield f"feature {name} has {different:,} categories: the rarest share one"
