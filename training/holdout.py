"""What judging needs of the held-out rows, gathered file by file: memory holds labels, predictions and a sample, never the rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from tidemill.dataset import Dataset
from tidemill.errors import ModelCodeFailed
from tidemill.evaluate.calibration import OTHER
from tidemill.evaluate.slices import MISSING
from tidemill.heldout import Beside, Mask, beside
from tidemill.load import PART
from tidemill.model import package
from tidemill.model.baseline import Baseline
from tidemill.model.explain import sample_rows
from tidemill.model.features import features_of, labels_of
from tidemill.prepare.profile import Profile, profile
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import Column, ModelSpec

GOLDEN = 20
SCORES, FAULT = "scores.npy", "fault.txt"
"""What `training.score` leaves of a champion in another image."""


@dataclass
class Contender:
    """A model and what it said of each row so far."""

    scorer: package.Scorer
    found: list[NDArray[np.float64]] = field(default_factory=list)

    def see(self, rows: pl.DataFrame) -> None:
        self.found.append(self.scorer.scores(features_of(rows, self.scorer.card.spec)))

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.concatenate(self.found)


@dataclass
class Former:
    """A champion. It may be of another schema, it has learned from some rows, and one of another image was scored there: `scored`.

    `dataset`: what it learned from, as its run recorded it; `fault`: why it could say nothing.
    """

    name: str
    dataset: Dataset
    card: package.TrainedModel | None = None
    scorer: package.Scorer | None = None
    scored: NDArray[np.float64] | None = None
    fault: str | None = None
    _found: list[NDArray[np.float64]] = field(default_factory=list)
    _beside: list[Beside] = field(default_factory=list)

    @classmethod
    def loaded(cls, name: str, dataset: Dataset, folder: Path) -> "Former":
        """One of this image; a model that this image cannot read says nothing."""
        try:
            scorer = package.load(folder)
        except Exception as error:  # of another version of whatever it is pickled with
            return cls(name, dataset, fault=f"its model cannot be read: {_told(error)}")
        return cls(name, dataset, scorer.card, scorer)

    @classmethod
    def elsewhere(cls, name: str, dataset: Dataset, folder: Path) -> "Former":
        """One of another image, as `training.score` left its scores."""
        if (fault := folder / FAULT).exists():
            return cls(name, dataset, fault=fault.read_text(encoding="utf-8"))
        try:
            card = package.TrainedModel.model_validate_json((folder / package.CARD).read_text(encoding="utf-8"))
        except ValueError as error:
            return cls(name, dataset, fault=f"its model.json cannot be read: {_told(error)}")
        return cls(name, dataset, card, scored=np.load(folder / SCORES))

    def see(self, rows: pl.DataFrame, held: Dataset) -> None:
        """What it cannot score must not fail the evaluation of its challenger."""
        self._beside.append(beside(rows, held, self.dataset))
        if self.fault is not None or self.scorer is None or self.card is None:
            return
        try:
            self._found.append(self.scorer.scores(features_of(rows, self.card.spec)))
        except Exception as error:  # whatever it is, it is the reason that nothing is compared
            self.fault = reason_of(error)

    def settle(self, rows: int) -> None:
        """Scores of another image must be of these rows."""
        if self.scored is not None and self.fault is None and len(self.scored) != rows:
            self.fault = f"its own image gave {len(self.scored):,} scores for {rows:,} rows"

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.concatenate(self._found) if self.scored is None else self.scored

    def rows(self, what: str) -> Mask:
        """learned, established or newer: see heldout.Beside."""
        return np.concatenate([getattr(each, what) for each in self._beside])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def reason_of(error: Exception) -> str:
    """What may be said of an error that rows caused. Messages of others may quote the rows, which are nothing for a reason or a log."""
    quotes_no_row = isinstance(error, pl.exceptions.ColumnNotFoundError | ModelCodeFailed | ValidationError)
    return _told(error) if quotes_no_row else f"{type(error).__name__} while it scored these rows"


class Holdout:
    """The rows seen so far: labels, days, the values of columns they are cut by, a sample, and every so many rows one to ask an endpoint for."""

    def __init__(self, dataset: Dataset, card: package.TrainedModel, classes: tuple[str, ...], baseline: Baseline) -> None:
        """`classes`: all that some model knows; labels are their places."""
        self.dataset, self.card, self.classes, self.baseline = dataset, card, classes, baseline
        spec = card.spec
        self._cut_by = {name: spec.columns[name] for name in spec.gate.slices}
        self._sensitive = {name: column for name, column in spec.columns.items() if column.names_groups}
        self._labels: list[NDArray[Any]] = []
        self._days: list[NDArray[np.int64]] = []
        self._newest: list[Mask] = []
        self._texts: dict[str, list[NDArray[np.object_]]] = {name: [] for name in self._cut_by | self._sensitive}
        self._keys: list[NDArray[np.uint64]] = []
        self._samples: list[pl.DataFrame] = []
        self._golden: list[pl.DataFrame] = []
        self.profile = Profile()
        self.golden_at: list[int] = []
        self.rows = 0
        expected = max(1, dataset.rows("test"))
        self._step, self._sample_step = -(-expected // GOLDEN), -(-expected // sample_rows(len(spec.features)))

    def see(self, rows: pl.DataFrame) -> None:
        spec = self.card.spec
        self._labels.append(labels_of(rows, spec, self.classes))
        if spec.time is not None:
            self._days.append(rows[spec.time].dt.epoch("d").cast(pl.Int64).to_numpy())
        for name, values in self._texts.items():
            values.append(_texts(rows[name], spec.columns[name]))
        self._newest.append(rows[PART].to_numpy() == len(self.dataset.parts) - 1)
        self._keys.append(self.baseline.sampled(rows[KEY_HASH].to_numpy()))
        known = [*spec.features, spec.label]
        self.profile = self.profile.merge(profile(rows.select(*known, KEY_HASH), _only(spec, known)))
        self._samples.append(rows[-self.rows % self._sample_step :: self._sample_step].select(known))
        at = -self.rows % self._step
        self._golden.append(rows[at :: self._step].select(spec.features))
        self.golden_at += range(self.rows + at, self.rows + len(rows), self._step)
        self.rows += len(rows)

    @property
    def labels(self) -> NDArray[Any]:
        return np.concatenate(self._labels)

    @property
    def days(self) -> NDArray[np.int64] | None:
        return np.concatenate(self._days) if self._days else None

    @property
    def newest(self) -> Mask:
        """Rows of the dataset's newest part."""
        return np.concatenate(self._newest)

    @property
    def slices(self) -> dict[str, NDArray[np.object_]]:
        return {name: np.concatenate(self._texts[name]) for name in self._cut_by}

    @property
    def sensitive(self) -> dict[str, NDArray[np.object_]]:
        return {name: np.concatenate(self._texts[name]) for name in self._sensitive}

    @property
    def golden(self) -> pl.DataFrame:
        return pl.concat(self._golden)

    @property
    def sample(self) -> tuple[pd.DataFrame, NDArray[Any]]:
        """Features and labels of some of the rows, evenly spread."""
        rows = pl.concat(self._samples)
        return features_of(rows, self.card.spec), labels_of(rows, self.card.spec, self.card.classes)

    @property
    def overlap(self) -> float:
        """The share of the rows' keys that was learned from."""
        return self.baseline.overlap(np.concatenate(self._keys))


def _texts(values: pl.Series, column: Column) -> NDArray[np.object_]:
    texts = values.cast(pl.String)
    if column.sensitive and column.allowed is not None:
        texts = pl.select(pl.when(texts.is_in(list(column.allowed)) | texts.is_null()).then(texts).otherwise(pl.lit(OTHER))).to_series()
    return texts.fill_null(MISSING).to_numpy()


def _only(spec: ModelSpec, names: list[str]) -> ModelSpec:
    return spec.model_copy(update={"columns": {name: spec.columns[name] for name in names}})
