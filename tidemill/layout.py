"""Where the rows of a split lie: in the files of its parts, or in packs, each of which holds many small files in a row.

A pack changes where rows are read from, never which: the dataset and its id know nothing of it. Light, like `tidemill.dataset`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tidemill import keys
from tidemill.dataset import SPLITS, Dataset, PartFile, SplitName

PACK_ABOVE = 64
PACK_MEAN = 64
PACK_FILES = 512
PACK_BYTES = 32_000_000
LARGE_BYTES = 16_000_000
VERSION = 1


class Layout(BaseModel):
    """Paths below the model's folder of the lake, for each split in the order of its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def paths(self, split: SplitName) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self, split)
        return found


@dataclass(frozen=True)
class Stretch:
    """Consecutive files of a split. Packed: they are one pack; otherwise each stays as it is."""

    split: SplitName
    files: tuple[tuple[str, PartFile], ...]
    packed: bool

    @property
    def id(self) -> str:
        """Hash of the contents: the same files make the same pack, in whatever dataset."""
        contents = "\n".join((str(VERSION), *(file.sha256 for _, file in self.files)))
        return hashlib.sha256(contents.encode()).hexdigest()[:32]

    @property
    def paths(self) -> tuple[str, ...]:
        return (keys.pack_path(self.split, self.id),) if self.packed else tuple(keys.rows_path(part, file.name) for part, file in self.files)


def unpacked(dataset: Dataset) -> Layout:
    """Every row in its part's own file."""
    return Layout(**{split: tuple(keys.rows_path(part, file.name) for part, file in dataset.files(split)) for split in SPLITS})


def packed(dataset: Dataset) -> Layout:
    """The rows of the splits that have many small files in packs, as far as packs are full."""
    return Layout(**{split: tuple(path for stretch in stretches(dataset, split) for path in stretch.paths) for split in SPLITS})


def packs(dataset: Dataset) -> tuple[Stretch, ...]:
    """Every pack that `packed` names."""
    return tuple(stretch for split in SPLITS for stretch in stretches(dataset, split) if stretch.packed)


def stretches(dataset: Dataset, split: SplitName) -> Iterator[Stretch]:
    """The files of a split, cut where a file's own hash says so: one time in PACK_MEAN.

    Cuts by content stay where they are when files come, go or change elsewhere, so a new upload, a moved window and an
    exclusion leave the other packs as they are. What follows the last cut may still grow and is not packed; nor is a large file.
    """
    files = dataset.files(split)
    if len(files) <= PACK_ABOVE:
        yield Stretch(split, files, packed=False)
        return
    open_files: list[tuple[str, PartFile]] = []
    for part, file in files:
        large = file.size_bytes >= LARGE_BYTES
        if not large:
            open_files.append((part, file))
        if large or _cut(file) or _full(open_files):
            yield from _closed(split, open_files)
            open_files = []
        if large:
            yield Stretch(split, ((part, file),), packed=False)
    yield Stretch(split, tuple(open_files), packed=False)


def _cut(file: PartFile) -> bool:
    return int(file.sha256[:8], 16) % PACK_MEAN == 0


def _full(files: list[tuple[str, PartFile]]) -> bool:
    return len(files) >= PACK_FILES or sum(file.size_bytes for _, file in files) >= PACK_BYTES


def _closed(split: SplitName, files: list[tuple[str, PartFile]]) -> Iterator[Stretch]:
    if files:
        yield Stretch(split, tuple(files), packed=len(files) > 1)


def channel_manifest(bucket_uri: str, model: str, layout: Layout, split: SplitName) -> list[dict[str, str] | str]:
    """A SageMaker ManifestFile: a prefix, then one key a file below it.

    Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    """
    return [{"prefix": f"{bucket_uri}/{model}/"}, *dict.fromkeys(layout.paths(split))]
