"""train: fit the spec's estimator, and the linear baseline beside it, on the rows of the train channel.

Channels: `code` (the model's folder), `dataset` (manifest.json), `train` and `validation` (parts). The holdout is not
among them: under network isolation this process cannot reach it.
"""

import json
import sys
import time
import traceback
from importlib.metadata import version

from tidemill.dataset import Dataset, describe
from tidemill.errors import DatasetRefused
from tidemill.load import load_dataset
from tidemill.model import estimators, package
from tidemill.model.features import features_of, labels_of
from tidemill.spec import load_spec
from training import paths

PINNED = ("numpy", "pandas", "polars", "scikit-learn", "tidemill")


def train() -> package.TrainedModel:
    """Read the channels, fit, write the model folder; progress goes to stdout, where SageMaker's metrics are read."""
    settings = json.loads(paths.HYPERPARAMETERS.read_text(encoding="utf-8"))
    spec = load_spec(paths.CHANNELS / "code" / settings["model"] / "model.toml")
    dataset = Dataset.model_validate_json((paths.CHANNELS / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    rows = load_dataset(paths.CHANNELS / "train", dataset, "train")
    features, labels = features_of(rows, spec), labels_of(rows, spec)
    if len(set(labels.tolist())) < 2:
        raise DatasetRefused(f"the {len(labels):,} training rows have one class only; upload rows of both")
    started = time.monotonic()
    pipeline = estimators.build(spec.train.estimator, spec).fit(features, labels)
    baseline = estimators.build("linear", spec).fit(features, labels)
    print(f"trained {spec.train.estimator} on {len(rows):,} rows in {time.monotonic() - started:.1f} s", flush=True)
    card = package.TrainedModel(
        spec=spec,
        run=settings["run"],
        dataset=dataset.id,
        estimator=spec.train.estimator,
        train_rows=len(rows),
        train_period=describe(dataset, "train"),
        threshold=_threshold(labels.mean()),
        versions={"python": sys.version.split()[0]} | {name: version(name) for name in PINNED},
    )
    paths.MODEL.mkdir(parents=True, exist_ok=True)
    package.save(paths.MODEL, card, pipeline, baseline)
    return card


def _threshold(base_rate: float) -> float:
    """A row is called positive when it is likelier to be so than an average training row: 0.5 would call few late."""
    return float(base_rate)


def main() -> int:
    try:
        train()
    except Exception as error:  # the container's outermost frame: the reason must reach FailureReason
        traceback.print_exc()
        paths.fail(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
