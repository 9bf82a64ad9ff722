"""Parquet: columns matched by name, their values as text, so that they keep the same rules as a CSV field.

The number of a row, from 1, stands for its line. A row as it came is told as JSON.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tidemill.errors import UploadRefused
from tidemill.prepare.columns import ignored_columns, match_columns
from tidemill.prepare.source import Source
from tidemill.prepare.table import Block, Lines, Table, only, rejects
from tidemill.spec import ModelSpec

BLOCK_ROWS, BLOCK_CELLS = 65_536, 2_000_000
CELL_BYTES = 8
TOLD_CHARACTERS = 10_000
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)


@dataclass(frozen=True)
class RowBlock(Block):
    """A slice of rows."""

    rows: int = 0

    @property
    def lines(self) -> int:
        return self.rows


@dataclass(frozen=True)
class ParquetLayout:
    frame: pl.LazyFrame
    at: dict[str, str]
    spec: ModelSpec
    ignored: tuple[str, ...]

    def parse(self, block: Block) -> Table:
        rows = _read(self.frame.slice(block.line - 1, block.lines))
        columns = rows.select(
            _text(pl.col(self.at[name]), rows.schema[self.at[name]], column.type).alias(name)
            if name in self.at
            else pl.lit(None, pl.String).alias(name)
            for name, column in self.spec.columns.items()
        )
        lines = np.arange(block.line, block.line + len(rows), dtype=np.int64)
        return Table(columns, lines, _Rows(rows), rejects([]))

    def rows_at(self, block: Block, lines: Lines) -> Table:
        return only(self.parse(block), lines)


class ParquetFile:
    """A Parquet upload, read from a copy in the work folder: its footer comes last."""

    layout: ParquetLayout

    def __init__(self, source: Source, spec: ModelSpec, max_bytes: int) -> None:
        self._source, self._spec, self._max_bytes = source, spec, max_bytes
        self._rows: int | None = None

    def blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        """Raises UploadRefused for what is no Parquet file, and for one that holds more than may be unpacked."""
        if self._rows is None:
            self._rows = self._open(chunks)
        step = max(1, min(BLOCK_ROWS, BLOCK_CELLS // len(self.layout.frame.collect_schema())))
        for start in range(0, self._rows, step):
            yield RowBlock(b"", start + 1, rows=min(step, self._rows - start))

    def _open(self, chunks: Iterator[bytes]) -> int:
        path = self._source.unpacked(chunks)
        if not path.stat().st_size:
            raise UploadRefused("the file is empty (0 bytes)")
        try:
            frame = pl.scan_parquet(path, glob=False)
            schema = frame.collect_schema()
            rows = int(frame.select(pl.len()).collect().item())
        except UNREADABLE as error:
            raise UploadRefused(f"not a Parquet file, or broken: {_first_line(error)}") from error
        if rows * len(schema) * CELL_BYTES > self._max_bytes:
            raise UploadRefused(f"the file holds {rows:,} rows of {len(schema):,} columns, more than is read at once; split it into smaller files")
        found = match_columns(schema.names(), self._spec, "the schema")
        at = {name: schema.names()[index] for name, index in found.items()}
        if nested := [f"{column} ({schema[column].base_type().__name__})" for column in at.values() if isinstance(schema[column], NESTED)]:
            raise UploadRefused(f"one value a row is needed, but not so in column {', '.join(nested[:20])}")
        self.layout = ParquetLayout(frame, at, self._spec, tuple(ignored_columns(schema.names(), found)))
        return rows


def _read(frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.collect()
    except UNREADABLE as error:
        raise UploadRefused(f"broken Parquet: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _text(values: pl.Expr, dtype: pl.DataType, wanted: str) -> pl.Expr:
    """A value as it would stand in a CSV file; NaN and empty text are missing values."""
    if dtype.is_float():
        text = values.cast(pl.String)
        if wanted == "integer":  # what pandas makes of integers with gaps
            text = pl.when(values == values.floor()).then(values.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)
        return pl.when(values.is_not_nan()).then(text)
    if isinstance(dtype, pl.Datetime):
        utc = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else values
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    text = values.cast(pl.String)
    return pl.when(text != "").then(text)


class _Rows:
    """Rows as JSON, by their index; a value that is very long is cut."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows

    def __call__(self, indices: Sequence[int]) -> list[str]:
        return [
            json.dumps({name: _told(value) for name, value in row.items()}, default=str) for row in self._rows[list(indices)].iter_rows(named=True)
        ]


def _told(value: Any) -> Any:
    return f"{value[:TOLD_CHARACTERS]}…" if isinstance(value, str) and len(value) > TOLD_CHARACTERS else value
