"""Parts become a dataset: a manifest that names rows and copies none.

Light on purpose: the functions that run this hold no data frame library. Reading rows is `tidemill.load`.
"""

import hashlib
import json
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.errors import DatasetRefused
from tidemill.spec import ModelSpec

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PartFile(_Record):
    """One Parquet file of a part: `train`, `validation`, `test`, or a UTC day."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


class PartRecord(_Record):
    """part.json: written last, so that a reader who finds it finds the whole part."""

    id: str
    model: str
    content_sha256: str
    prepare_hash: str
    version: int
    rows: int
    kept: int
    labelled: int
    rejected: int
    rejects_by_rule: dict[str, int]
    ignored_columns: tuple[str, ...]
    files: tuple[PartFile, ...]


class DatasetPart(_Record):
    """A part in a dataset. Later parts win where a key comes again; which uploads gave a part is the ledger's to know."""

    id: str
    files: tuple[PartFile, ...]


class DayCuts(_Record):
    """A split by time: first day and last day (inclusive, ISO) of each side."""

    train: tuple[str, str]
    validation: tuple[str, str]
    test: tuple[str, str]


class Dataset(_Record):
    """The manifest. `id` is the hash of all the rest."""

    model: str
    label: str
    key: str
    parts: tuple[DatasetPart, ...]
    split_by: Literal["time", "key"]
    cuts: DayCuts | None

    @property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:32]

    def files(self, split: SplitName) -> tuple[tuple[str, PartFile], ...]:
        """(part id, file) of every file that holds rows of this split, oldest part first."""
        return tuple((part.id, file) for part in self.parts for file in part.files if self._holds(split, file))

    def rows(self, split: SplitName) -> int:
        """Rows in the split's files: before unlabelled rows and replaced keys are left out."""
        return sum(file.rows for _, file in self.files(split))

    def _holds(self, split: SplitName, file: PartFile) -> bool:
        if self.cuts is None:
            return file.name == split
        first, last = getattr(self.cuts, split)
        return bool(first <= file.name <= last)


def assemble(parts: tuple[DatasetPart, ...], spec: ModelSpec) -> Dataset:
    """The dataset of these parts, oldest first.

    Raises DatasetRefused when a side of the split would be empty.
    """
    if not parts:
        raise DatasetRefused("no prepared part: nothing to learn from")
    cuts = _day_cuts(sorted({file.name for part in parts for file in part.files}), spec) if spec.data.split.by == "time" else None
    dataset = Dataset(model=spec.name, label=spec.label, key=spec.key, parts=parts, split_by=spec.data.split.by, cuts=cuts)
    if empty := [split for split in SPLITS if not dataset.rows(split)]:
        raise DatasetRefused(f"no row falls into {' and '.join(empty)}; upload more data")
    return dataset


def _day_cuts(days: list[str], spec: ModelSpec) -> DayCuts:
    """Cut the days that have rows by count: train first, test last, each whole day on one side."""
    split = spec.data.split
    to_train = round(len(days) * split.train)
    to_validation = round(len(days) * (split.train + split.validation))
    sides = days[:to_train], days[to_train:to_validation], days[to_validation:]
    if not all(sides):
        raise DatasetRefused(f"{len(days)} day{'s' * (len(days) != 1)} of data cannot be cut into train, validation and test; upload more days")
    train, validation, test = ((side[0], side[-1]) for side in sides)
    return DayCuts(train=train, validation=validation, test=test)


def describe(dataset: Dataset, split: SplitName) -> str:
    """What the split covers, for people: "2013-01-01 to 2013-01-25" or "by key"."""
    if dataset.cuts is None:
        return "rows dealt by key"
    first, last = (date.fromisoformat(day) for day in getattr(dataset.cuts, split))
    if first == last:
        return f"{first:%-d %B %Y}"
    start = f"{first:%-d}" if (first.year, first.month) == (last.year, last.month) else f"{first:%-d %B}"
    return f"{start}–{last:%-d %B %Y}"


def channel_manifest(bucket_uri: str, dataset: Dataset, split: SplitName) -> list[dict[str, str] | str]:
    """A SageMaker ManifestFile: a prefix, then one key a file below it.

    Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    files = [f"{part}/{file.name}.parquet" for part, file in dataset.files(split)]
    return [{"prefix": f"{bucket_uri}/{dataset.model}/parts/"}, *dict.fromkeys(files)]
