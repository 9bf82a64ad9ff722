"""Parts made by hand, as prepare would leave them in the lake: a few rows, their files, and what the manifest says of them."""

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from tests.samples import SPEC, spec
from tidemill import keys
from tidemill.dataset import DatasetPart, PartFile
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import ModelSpec

UNTIMED = SPEC.replace('day = { role = "time", type = "datetime" }', 'day = { role = "ignore", type = "string" }').replace(
    'by = "time"', 'by = "key"'
)


@dataclass(frozen=True)
class Row:
    """A boat: its key, its day of May 2024, whether it sank (None: not known yet), and a number that tells it from every other row."""

    key: str
    day: int
    sank: bool | None
    crew: int

    @property
    def date(self) -> str:
        return f"2024-05-{self.day:02d}"

    @property
    def hash(self) -> int:
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8])

    def file(self, model: ModelSpec) -> str:
        """The file of a part that the row lies in."""
        split, share = model.data.split, self.hash / 2**64
        if split.by == "time":
            return self.date
        return "train" if share < split.train else "validation" if share < split.train + split.validation else "test"


def window(text: str, base: str = SPEC) -> ModelSpec:
    return spec(base.replace("min_rows = 1", f'min_rows = 1\nwindow = "{text}"'))


def frame(rows: list[Row], model: ModelSpec) -> pl.DataFrame:
    days = [datetime.fromisoformat(f"{row.date}T00:00:00+00:00") for row in rows]
    columns = {
        "id": pl.Series([row.key for row in rows], dtype=pl.String),
        "day": pl.Series(days, dtype=pl.Datetime("us", "UTC")) if model.time else pl.Series([row.date for row in rows], dtype=pl.String),
        "sank": pl.Series([row.sank for row in rows], dtype=pl.Boolean),
        "kind": pl.Series(["sail"] * len(rows), dtype=pl.String),
        "port": pl.Series([None] * len(rows), dtype=pl.String),
        "length_m": pl.Series([10.0] * len(rows), dtype=pl.Float64),
        "crew": pl.Series([row.crew for row in rows], dtype=pl.Int64),
        "note": pl.Series([None] * len(rows), dtype=pl.String),
        KEY_HASH: pl.Series([row.hash for row in rows], dtype=pl.UInt64),
    }
    return pl.DataFrame(columns)


def write_part(root: Path, name: str, rows: list[Row], model: ModelSpec) -> DatasetPart:
    """The part's files below `root`, which stands for the model's folder of the lake."""
    files = []
    for file in sorted({row.file(model) for row in rows}):
        out = io.BytesIO()
        held = [row for row in rows if row.file(model) == file]
        frame(held, model).write_parquet(out, compression="zstd")
        path = root / keys.rows_path(name, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
        files.append(PartFile(name=file, rows=len(held), size_bytes=len(out.getvalue()), sha256=hashlib.sha256(out.getvalue()).hexdigest()))
    days = sorted(row.date for row in rows)
    return DatasetPart(id=name, files=tuple(files), days=(days[0], days[-1]) if model.time and rows else None)
