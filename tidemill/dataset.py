"""Parts become a dataset: a manifest that names rows and copies none.

Light on purpose: the functions that run this hold no data frame library. Reading rows is `tidemill.load`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.errors import DatasetRefused
from tidemill.spec import WINDOW, ColumnType, ModelSpec

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PartFile(_Record):
    """One Parquet file of a part: `train`, `validation`, `test`, or a UTC day."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


def rules_id(prepare_hash: str, version: int) -> str:
    """What made a part of an upload: the spec's rules, and prepare's version. Parts of two such never meet in a dataset."""
    return f"{prepare_hash}/{version}"


class PartRecord(_Record):
    """part.json: written last, so that a reader who finds it finds the whole part.

    `days`: first and last UTC day of its rows, where the spec has a time column.
    """

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
    redacted_from: str | None = None
    days: tuple[str, str] | None = None


class DatasetPart(_Record):
    """A part in a dataset. Later parts win where a key comes again; which uploads gave a part is the ledger's to know."""

    id: str
    files: tuple[PartFile, ...]
    days: tuple[str, str] | None = None

    @classmethod
    def of(cls, record: PartRecord) -> "DatasetPart":
        named = sorted(file.name for file in record.files if DAY.fullmatch(file.name))
        return cls(id=record.id, files=record.files, days=(named[0], named[-1]) if named else record.days)


@dataclass(frozen=True)
class Candidate:
    """A part that may enter a dataset, the UTC day its upload came, and whether a person excluded it."""

    part: DatasetPart
    received_day: str = ""
    excluded: bool = False


class Window(_Record):
    """What the spec asks for and what it came to: days (inclusive, ISO) of the rows, or of the uploads where rows have no time.

    Days of uploads, and a number of uploads, choose among whole parts: the manifest's parts are their result.
    """

    asked: str
    by: Literal["rows", "uploads"]
    first_day: str | None = None
    last_day: str | None = None


class DayCuts(_Record):
    """A split by time: first day and last day (inclusive, ISO) of each side."""

    train: tuple[str, str]
    validation: tuple[str, str]
    test: tuple[str, str]


class SplitDefinition(_Record):
    """How rows are dealt: shares and salt of the key hash, and for a split by time the days that the shares came to."""

    by: Literal["time", "key"]
    train: float
    validation: float
    test: float
    salt: str
    cuts: DayCuts | None


class Dataset(_Record):
    """The manifest. `id` is the hash of all the rest. `excluded`: parts that would be in it, had nobody taken them out."""

    model: str
    key: str
    label: str
    time: str | None
    columns: dict[str, ColumnType]
    window: Window
    split: SplitDefinition
    parts: tuple[DatasetPart, ...]
    excluded: tuple[str, ...]

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:32]

    @cached_property
    def holdout(self) -> str:
        """Hash of the contents of the test files: the same held-out rows have the same."""
        return hashlib.sha256("\n".join(file.sha256 for _, file in self.files("test")).encode()).hexdigest()[:32]

    def files(self, split: SplitName) -> tuple[tuple[str, PartFile], ...]:
        """(part id, file) of every file that holds rows of this split, oldest part first."""
        return tuple((part.id, file) for part in self.parts for file in part.files if self._holds(split, file))

    def rows(self, split: SplitName) -> int:
        """Rows in the split's files: before unlabelled rows, replaced keys and rows before the window are left out."""
        return sum(file.rows for _, file in self.files(split))

    @property
    def rows_from(self) -> str | None:
        """Rows before this day are left out when files are read; days that are files of their own are not listed at all."""
        return self.window.first_day if self.window.by == "rows" and self.split.by == "key" else None

    def _holds(self, split: SplitName, file: PartFile) -> bool:
        if self.split.cuts is None:
            return file.name == split
        first, last = getattr(self.split.cuts, split)
        return bool(first <= file.name <= last)


def assemble(candidates: tuple[Candidate, ...], spec: ModelSpec) -> Dataset:
    """The dataset of these parts, oldest first, within the spec's window.

    Raises DatasetRefused when a side of the split would be empty.
    """
    if all(candidate.excluded for candidate in candidates):
        raise DatasetRefused("no prepared part: nothing to learn from" if not candidates else "every part is excluded: nothing to learn from")
    window, covered = _covered(candidates, spec)
    parts = tuple(_within(window, each.part) for each in covered if not each.excluded)
    dataset = Dataset(
        model=spec.name,
        key=spec.key,
        label=spec.label,
        time=spec.time,
        columns={name: column.type for name, column in spec.columns.items()},
        window=window,
        split=_split(parts, spec),
        parts=parts,
        excluded=tuple(each.part.id for each in covered if each.excluded),
    )
    if empty := [split for split in SPLITS if not dataset.rows(split)]:
        raise DatasetRefused(f"no row falls into {' and '.join(empty)}; upload more data")
    return dataset


def _covered(candidates: tuple[Candidate, ...], spec: ModelSpec) -> tuple[Window, tuple[Candidate, ...]]:
    """The window in days, and the candidates in it, excluded ones too. What is excluded moves no bound."""
    asked = WINDOW.fullmatch(spec.data.window)
    usable = [candidate for candidate in candidates if not candidate.excluded]
    if asked and asked["uploads"]:
        oldest = usable[-int(asked["uploads"]) :][0]
        return Window(asked=spec.data.window, by="uploads"), candidates[candidates.index(oldest) :]
    if asked and asked["days"]:
        last = max(_days(candidate, spec)[1] for candidate in usable)
        first = (date.fromisoformat(last) - timedelta(days=int(asked["days"]) - 1)).isoformat()
        window = Window(asked=spec.data.window, by="rows" if spec.time else "uploads", first_day=first, last_day=last)
        return window, tuple(candidate for candidate in candidates if _days(candidate, spec)[1] >= first)
    return Window(asked=spec.data.window, by="rows" if spec.time else "uploads"), candidates


def _days(candidate: Candidate, spec: ModelSpec) -> tuple[str, str]:
    """First and last day: of the part's rows where they have a time, else of its upload."""
    if spec.time is None:
        return candidate.received_day, candidate.received_day
    if candidate.part.days is None:
        raise DatasetRefused(f"part {candidate.part.id} does not say which days its rows are of: replay its upload, or set data.window to all")
    return candidate.part.days


def _within(window: Window, part: DatasetPart) -> DatasetPart:
    """The part without the files of days before the window."""
    first = window.first_day
    if first is None or window.by == "uploads":
        return part
    return part.model_copy(update={"files": tuple(file for file in part.files if not DAY.fullmatch(file.name) or file.name >= first)})


def _split(parts: tuple[DatasetPart, ...], spec: ModelSpec) -> SplitDefinition:
    split = spec.data.split
    cuts = _day_cuts(sorted({file.name for part in parts for file in part.files}), spec) if split.by == "time" else None
    return SplitDefinition(by=split.by, train=split.train, validation=split.validation, test=split.test, salt=spec.salt, cuts=cuts)


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
    """What the split covers, for people: "1–25 January 2013" or "rows dealt by key"."""
    if dataset.split.cuts is None:
        return "rows dealt by key"
    first, last = (date.fromisoformat(day) for day in getattr(dataset.split.cuts, split))
    if first == last:
        return f"{first:%-d %B %Y}"
    start = f"{first:%-d}" if (first.year, first.month) == (last.year, last.month) else f"{first:%-d %B}"
    return f"{start}–{last:%-d %B %Y}"


class DatasetSummary(_Record):
    """A dataset in a few lines, beside its manifest: the manifest of many parts is large."""

    id: str
    window: str
    parts: int
    excluded: int
    rows: dict[SplitName, int]
    periods: dict[SplitName, str]


def summarize(dataset: Dataset) -> DatasetSummary:
    return DatasetSummary(
        id=dataset.id,
        window=dataset.window.asked,
        parts=len(dataset.parts),
        excluded=len(dataset.excluded),
        rows={split: dataset.rows(split) for split in SPLITS},
        periods={split: describe(dataset, split) for split in SPLITS},
    )
