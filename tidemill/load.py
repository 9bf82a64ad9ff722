"""`load_dataset`: the one reader of a dataset's rows, for training, evaluation, checkout and notebooks."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from tidemill.dataset import Dataset, SplitName
from tidemill.layout import Layout, unpacked
from tidemill.prepare.split import KEY_HASH

PART = "_part"
"""The place of a row's part among those of the dataset, for who asks for it as a column."""
BATCH_BYTES = 64_000_000
BATCH_FILES = 256


@dataclass(frozen=True)
class Share:
    """The rows of one of `of` readers, who between them read every row: its keys are dealt by their hash, so they are a random sample of all."""

    number: int
    of: int


def read_manifest(folder: Path) -> tuple[Dataset, Layout]:
    """The manifest and the layout of the dataset channel."""
    manifest, layout = ((folder / f"{name}.json").read_text(encoding="utf-8") for name in ("manifest", "layout"))
    return Dataset.model_validate_json(manifest), Layout.model_validate_json(layout)


def load_dataset(
    root: Path, dataset: Dataset, split: SplitName, *, layout: Layout | None = None, columns: Sequence[str] | None = None, share: Share | None = None
) -> pl.DataFrame:
    """The labelled rows of one split, or a share of them, in the order of parts and files; every column of the spec, or `columns`.

    `root` holds `rows/<part>/<file>.parquet`, or what `layout` names. A row before the window does not exist; of rows with
    one key the newest part's counts, also where it has no label. Which rows those are is settled on keys alone, so that
    memory holds the rows of the answer and little more.
    """
    return pl.concat(batches(root, dataset, split, layout=layout, columns=columns, share=share), rechunk=False)


def batches(
    root: Path, dataset: Dataset, split: SplitName, *, layout: Layout | None = None, columns: Sequence[str] | None = None, share: Share | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of `load_dataset`, some files at a time: what is larger than memory is gone through."""
    paths = [root / path for path in (layout or unpacked(dataset)).paths(split)]
    wanted = list(dataset.columns if columns is None else columns)
    stored = [name for name in wanted if name != PART]
    counts = _counting_rows(paths, dataset, share)
    parts = _parts(dataset, split) if PART in wanted else None
    seen = 0
    for batch in _batches(paths):
        rows = pl.read_parquet(batch, columns=stored, glob=False)
        if parts is not None:
            rows = rows.with_columns(parts[seen : seen + len(rows)])
        yield rows.select(wanted).filter(counts[seen : seen + len(rows)])
        seen += len(rows)


def _parts(dataset: Dataset, split: SplitName) -> pl.Series:
    """PART of every row of the split's files. Packed or not, they come in this order."""
    at = {part.id: number for number, part in enumerate(dataset.parts)}
    files = dataset.files(split)
    return pl.Series(PART, np.repeat([at[part] for part, _ in files], [file.rows for _, file in files]), pl.Int32)


def join_files(files: Iterable[bytes]) -> bytes:
    """Parquet files of a split as one, with the same rows in the same order."""
    out = io.BytesIO()
    pl.concat([pl.read_parquet(io.BytesIO(file)) for file in files]).write_parquet(out, compression="zstd")
    return out.getvalue()


def _counting_rows(paths: list[Path], dataset: Dataset, share: Share | None) -> pl.Series:
    """For each row of the files whether it is in the dataset, and in the share of it."""
    timed = [dataset.time] if dataset.rows_from and dataset.time else []
    marks = pl.scan_parquet(paths, glob=False).select(KEY_HASH, dataset.label, *timed).with_row_index("at")
    if share is not None:
        marks = marks.filter(pl.col(KEY_HASH) % share.of == share.number)
    if timed and dataset.rows_from:
        marks = marks.filter(pl.col(timed[0]) >= _midnight(dataset.rows_from))
    newest = marks.collect().unique(KEY_HASH, keep="last").filter(pl.col(dataset.label).is_not_null())["at"]
    counts = np.zeros(pl.scan_parquet(paths, glob=False).select(pl.len()).collect().item(), bool)
    counts[newest.to_numpy()] = True
    return pl.Series(counts)


def _midnight(day: str) -> pl.Expr:
    return pl.lit(date.fromisoformat(day)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _batches(paths: list[Path]) -> Iterator[list[Path]]:
    """Consecutive files that are read together: one call a file is slow for a thousand, one call for all is twice the memory."""
    batch: list[Path] = []
    size = 0
    for path in paths:
        batch.append(path)
        size += path.stat().st_size
        if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
