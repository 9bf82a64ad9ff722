"""Which rows of a holdout a champion has learned from, and which came after it: told from the record of its dataset, not from hope."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.dataset import Dataset, SplitDefinition
from tidemill.load import PART
from tidemill.prepare.split import key_hashes, sides

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Beside:
    """For n rows of a holdout, what they were to a champion.

    learned: among its training or validation rows; established: in its own holdout; newer: came after its whole dataset.
    """

    learned: Mask
    established: Mask
    newer: Mask


def beside(rows: pl.DataFrame, dataset: Dataset, champion: Dataset) -> Beside:
    """Of rows of `dataset` (its key, its time where it has one, PART). On the safe side: where it cannot be told, a row was learned from.

    A row sent again has the same key and, most often, the same day: so days and keys decide, not the part it came with.
    """
    split = champion.split
    if split.cuts is not None:
        return _by_day(rows, dataset, split)
    if champion.key != dataset.key:
        return _untold(rows)
    known = {part.id for part in champion.parts}
    new = np.array([part.id not in known for part in dataset.parts])[rows[PART].to_numpy()]
    held = sides(key_hashes(rows[dataset.key], split.salt), split.train, split.validation).to_numpy() == "test"
    return Beside(~held, held & ~new, held & new)


def _untold(rows: pl.DataFrame) -> Beside:
    none = np.zeros(len(rows), bool)
    return Beside(~none, none, none)


def _by_day(rows: pl.DataFrame, dataset: Dataset, split: SplitDefinition) -> Beside:
    """Whole days were learned from: all between the first of train and the last of validation, whichever part their rows came with."""
    if dataset.time is None or split.cuts is None:
        return _untold(rows)
    days = rows[dataset.time].dt.strftime("%Y-%m-%d").to_numpy()
    last = max(split.cuts.test[1], split.cuts.validation[1])
    learned = (days >= split.cuts.train[0]) & (days <= split.cuts.validation[1])
    return Beside(learned, (days >= split.cuts.test[0]) & (days <= split.cuts.test[1]), days > last)
