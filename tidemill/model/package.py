"""The folder a trained model is kept in: what becomes model.tar.gz, and what serving and evaluation read back."""

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tidemill.errors import ModelCodeFailed
from tidemill.evaluate.record import Learned
from tidemill.model.code import FILE, load_code
from tidemill.spec import ModelSpec, Setting

CARD = "model.json"
PIPELINE = "pipeline.joblib"
BASELINE = "baseline.joblib"


class TrainedModel(BaseModel):
    """model.json: what was trained, on what, with which versions.

    `threshold`: binary; `classes`: multiclass, in the order of the scores. `code`: hash of the model's folder; `image`: with its digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ModelSpec
    run: str
    dataset: str
    estimator: str
    train_rows: int
    train_period: str
    threshold: float = Field(default=0.5, ge=0, le=1)
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    learning: tuple[Learned, ...] = ()
    settings: dict[str, Setting] = {}
    code: str = ""
    image: str = ""
    versions: dict[str, str]


class Scorer:
    """A loaded model."""

    def __init__(self, card: TrainedModel, estimator: Any) -> None:
        self.card = card
        self._estimator = estimator

    def scores(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """n probabilities of true, n × classes probabilities, or n numbers, as the task is. Raises ModelCodeFailed for anything else."""
        task = self.card.spec.task
        found = self._estimator.predict(features) if task == "regression" else self._estimator.predict_proba(features)
        scores = np.asarray(found, dtype=np.float64)
        wanted = {"binary": (len(features), 2), "multiclass": (len(features), len(self.card.classes)), "regression": (len(features),)}[task]
        if scores.shape != wanted or not np.isfinite(scores).all():
            told = f"of shape {scores.shape}" if scores.shape != wanted else "that are not all finite"
            raise ModelCodeFailed(f"the estimator '{self.card.estimator}' gave scores {told} for {len(features):,} rows, expected shape {wanted}")
        return scores[:, 1] if task == "binary" else scores


def save(folder: Path, card: TrainedModel, estimator: Any, baseline: Any, code: Path | None = None) -> None:
    """Write the model's files into an existing folder; `code` is the author's model.py, which the pickles may need."""
    if code is not None:
        shutil.copyfile(code, folder / FILE)
    joblib.dump(estimator, folder / PIPELINE, compress=3)
    joblib.dump(baseline, folder / BASELINE, compress=3)
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")


def load(folder: Path, part: str = PIPELINE) -> Scorer:
    """The scorer of a folder written by `save`; `part` chooses the linear baseline instead of the model.

    The files are pickles: they are only ever read from our own lake, whose writers are this system's roles.
    """
    card = TrainedModel.model_validate(_read_json(folder / CARD))
    load_code(folder)
    return Scorer(card, joblib.load(folder / part))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
