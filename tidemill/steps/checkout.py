"""checkout: a dataset as three Parquet files on this machine, each object it is made of verified against the manifest."""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tidemill import keys
from tidemill.dataset import SPLITS, Dataset, PartFile, SplitName
from tidemill.errors import CheckoutRefused
from tidemill.load import load_dataset
from tidemill.ports import Store

READERS = 8


def checkout(dataset: Dataset, folder: Path, *, lake: Store) -> dict[SplitName, int]:
    """Write `<split>.parquet` and, last, `manifest.json`; the rows of each split are those that training and evaluation see.

    Raises CheckoutRefused when the folder holds something already, or an object is not what the manifest names.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckoutRefused(f"{folder}: not an empty folder: name another, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".checkout-", dir=folder) as work:
        counts = {split: _write(dataset, split, Path(work), lake) for split in SPLITS}
        for split in SPLITS:
            (Path(work) / f"{split}.parquet").rename(folder / f"{split}.parquet")
    (folder / "manifest.json").write_text(dataset.model_dump_json(indent=1), encoding="utf-8")
    return counts


def _write(dataset: Dataset, split: SplitName, work: Path, lake: Store) -> int:
    root = work / split
    fetch_rows(dataset, split, root, lake=lake)
    rows = load_dataset(root, dataset, split)
    rows.write_parquet(work / f"{split}.parquet", compression="zstd")
    return len(rows)


def fetch_rows(dataset: Dataset, split: SplitName, root: Path, *, lake: Store) -> None:
    """The files of a split below `root`, as `load_dataset` reads them. Raises CheckoutRefused for one that is not what the manifest names."""
    with ThreadPoolExecutor(READERS) as pool:
        fetched = pool.map(lambda each: _fetch(dataset.model, each[0], each[1], root, lake), dataset.files(split))
        for _ in fetched:
            pass  # the first fault is raised here


def _fetch(model: str, part: str, file: PartFile, root: Path, lake: Store) -> None:
    key = keys.part_file(model, part, file.name)
    data = lake.get(key)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise CheckoutRefused(
            f"{lake.uri(key)}: sha256 {found[:16]}…, the manifest names {file.sha256[:16]}…: "
            "the object was changed after the dataset was made; bring its earlier version back"
        )
    path = root / keys.rows_path(part, file.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
