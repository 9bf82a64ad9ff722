"""The folder a trained model is kept in: what becomes model.tar.gz, and what serving and evaluation read back."""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from sklearn.pipeline import Pipeline

from tidemill.spec import ModelSpec

CARD = "model.json"
PIPELINE = "pipeline.joblib"
BASELINE = "baseline.joblib"


class TrainedModel(BaseModel):
    """model.json: what was trained, on what, with which versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ModelSpec
    run: str
    dataset: str
    estimator: str
    train_rows: int
    train_period: str
    threshold: float = Field(ge=0, le=1)
    versions: dict[str, str]


class Scorer:
    """A loaded model: probability of the positive label for a frame of features."""

    def __init__(self, card: TrainedModel, pipeline: Pipeline) -> None:
        self.card = card
        self._pipeline = pipeline

    def scores(self, features: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """n probabilities in [0, 1]."""
        return np.asarray(self._pipeline.predict_proba(features)[:, 1], dtype=np.float64)


def save(folder: Path, card: TrainedModel, pipeline: Pipeline, baseline: Pipeline) -> None:
    """Write the model's files into an existing folder."""
    joblib.dump(pipeline, folder / PIPELINE, compress=3)
    joblib.dump(baseline, folder / BASELINE, compress=3)
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")


def load(folder: Path, part: str = PIPELINE) -> Scorer:
    """The scorer of a folder written by `save`; `part` chooses the linear baseline instead of the model.

    The files are pickles: they are only ever read from our own lake, whose writers are this system's roles.
    """
    card = TrainedModel.model_validate(_read_json(folder / CARD))
    return Scorer(card, joblib.load(folder / part))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
