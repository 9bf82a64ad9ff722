"""`load_dataset`: the one reader of a dataset's rows, for training, evaluation and notebooks."""

from pathlib import Path

import polars as pl

from tidemill.dataset import Dataset, SplitName
from tidemill.prepare.split import KEY_HASH


def load_dataset(root: Path, dataset: Dataset, split: SplitName) -> pl.DataFrame:
    """The labelled rows of one split, in the order of parts and files; `root` holds `<part id>/<file>.parquet`.

    Where a key comes again within the split, the row of the newest part wins.
    """
    frames = [pl.read_parquet(root / part / f"{file.name}.parquet") for part, file in dataset.files(split)]
    rows = pl.concat(frames).unique(KEY_HASH, keep="last", maintain_order=True)
    return rows.filter(pl.col(dataset.label).is_not_null()).drop(KEY_HASH)
