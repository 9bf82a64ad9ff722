"""The default estimator on several instances: XGBoost's histogram gradient boosting, each instance with the rows of its share.

XGBoost adds the histograms up over the network (Chen and Guestrin 2016, section 4): every instance grows the same trees, those of all rows.
What must be known of all rows before, such as the categories, is gathered. Why XGBoost: docs/decisions/0021-distributed-training.md.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from tidemill.errors import DatasetRefused, ModelCodeFailed
from tidemill.evaluate.metrics import measured
from tidemill.jobs import STEPS
from tidemill.metric import Task
from tidemill.model.boosting import MAX_CATEGORIES, PATIENCE, Grown, Progress, Settings, encoder
from tidemill.model.features import Rows, told_apart
from tidemill.model.peers import Peers
from tidemill.spec import ModelSpec

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.05, "n_estimators": 500, "max_leaves": 31, "max_depth": 0, "grow_policy": "lossguide", "reg_lambda": 1.0, "tree_method": "hist",
}  # fmt: skip
"""Those of the default estimator on one instance, in XGBoost's words."""
OBJECTIVES: dict[Task, str] = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}


def boosted(spec: ModelSpec, train: Rows, validation: Rows, settings: Settings, progress: Progress | None, peers: Peers) -> Pipeline:
    """Fitted to the rows of all peers; each of them gets the same pipeline. `settings`: of XGBoost's own names, they come before ours.

    Raises DatasetRefused where an instance has no rows, ModelCodeFailed where the author's features differ in kind between instances.
    """
    if not all(peers.gather(min(len(train.labels), len(validation.labels)))):
        raise DatasetRefused(f"train.instances: one of {peers.count} instances got no row to learn from or to validate: upload more, or take fewer")
    categories, numbers = _kinds(train.features, peers)
    encode = FrozenEstimator(_encoder(train.features[categories], peers)) if categories else encoder()
    columns = ColumnTransformer([("categories", encode, categories), ("numbers", "passthrough", numbers)]).fit(train.features.head(1))
    chosen = DEFAULTS | {"random_state": spec.train.seed, "objective": OBJECTIVES[spec.task]} | dict(settings)
    if spec.task == "multiclass":
        chosen["num_class"] = max(peers.gather(int(train.labels.max()))) + 1
    types = ["c"] * len(categories) + ["q"] * len(numbers)
    known = xgboost.QuantileDMatrix(
        columns.transform(train.features), train.labels, weight=_weights(train, spec, peers), feature_types=types, enable_categorical=True,
        max_bin=chosen.get("max_bin"),
    )  # fmt: skip
    held = xgboost.QuantileDMatrix(
        columns.transform(validation.features), validation.labels, weight=validation.weights, feature_types=types, enable_categorical=True, ref=known
    )
    booster = _grow(chosen, known, held, spec, validation, progress, peers)
    return Pipeline([("columns", columns), ("model", _estimator(booster, spec, types))])


def _grow(
    chosen: Mapping[str, Any], known: Any, held: Any, spec: ModelSpec, validation: Rows, progress: Progress | None, peers: Peers
) -> Any:  # fmt: skip
    """The booster of the best number of trees by the loss on all validation rows. The leader tells how far it is, by its own of them."""
    most = int(chosen["n_estimators"])
    step = max(1, -(-most // STEPS))
    grown = peers.gather(progress.load() if progress is not None and peers.rank == 0 else None)[0] or Grown(None)
    booster = _begun(chosen, [known, held], grown)
    while grown.trees < most and grown.since < PATIENCE:
        booster.update(known, grown.trees)
        grown.trees += 1
        loss = float(booster.eval(held).rpartition(":")[2])  # over the rows of all
        grown.best, grown.since = (loss, 0) if loss < grown.best else (grown.best, grown.since + 1)
        if progress is not None and (grown.trees % step == 0 or grown.trees == most):
            grown.model = bytes(booster.save_raw())
            if peers.rank == 0:
                progress.save(grown)
                progress.tell(measured(spec.primary, spec.task, booster.predict(held), validation.labels))
            booster = _begun(chosen, [known, held], grown)  # as after an interruption, which must change nothing
    return booster[: grown.trees - grown.since]


def _begun(chosen: Mapping[str, Any], data: list[Any], grown: Grown) -> Any:
    """A booster that goes on from so many trees. What is drawn from then on (subsample, colsample_bynode) follows from their number."""
    parameters = {name: value for name, value in chosen.items() if name != "n_estimators"}
    parameters["random_state"] += grown.trees
    return xgboost.Booster(parameters, data, model_file=None if grown.model is None else bytearray(grown.model))


def _estimator(booster: Any, spec: ModelSpec, types: list[str]) -> Any:
    kind = xgboost.XGBRegressor if spec.task == "regression" else xgboost.XGBClassifier
    estimator = kind(enable_categorical=True, feature_types=types)
    estimator.load_model(booster.save_raw())
    return estimator


def _kinds(features: pd.DataFrame, peers: Peers) -> tuple[list[str], list[str]]:
    """As `kinds` of the rows of all: a column without a value on one instance may have some on another."""
    categories, numbers = told_apart(features)
    if any(other != (categories, numbers) for other in peers.gather((categories, numbers))):
        raise ModelCodeFailed(
            "model.py: features(frame) gave columns that are numbers on one instance and something else on another: give them a type"
        )
    filled = peers.gather({str(name) for name in features.columns[features.notna().any()]})
    present = set().union(*filled)
    if not present:
        raise DatasetRefused("no feature has a value in any of the training rows: there is nothing to learn from")
    return [name for name in categories if name in present], [name for name in numbers if name in present]


def _encoder(features: pd.DataFrame, peers: Peers) -> OrdinalEncoder:
    """As if it had been fitted to the rows of all: the rarest categories of all of them share a code."""
    counted = peers.gather({name: Counter(features[name].dropna().tolist()) for name in features})
    shown = {name: _shown(sum((each[name] for each in counted), Counter())) for name in features}
    rows = max(map(len, shown.values()), default=1)
    frame = {name: values + [values[0]] * (rows - len(values)) for name, values in shown.items()}
    return encoder().fit(pd.DataFrame(frame, index=range(rows), dtype=object))


def _shown(counts: Counter[Any]) -> list[Any]:
    """Each category, and those that keep a code of their own twice: by this the encoder knows them for the frequent ones."""
    ordered = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return ordered + ordered[: MAX_CATEGORIES - 1]


def _weights(train: Rows, spec: ModelSpec, peers: Peers) -> NDArray[np.float64] | None:
    """Those of the rows, times those that make the classes of all rows weigh the same (scikit-learn's "balanced") where the spec asks for it."""
    if not spec.train.balance:
        return train.weights
    counts: Counter[int] = sum((Counter(each) for each in peers.gather(dict(Counter(train.labels.tolist())))), Counter())
    total = sum(counts.values())
    balanced = np.array([total / (len(counts) * counts[int(label)]) for label in train.labels])
    return balanced if train.weights is None else balanced * train.weights
