"""Parquet files that grow by pieces: a piece is encoded once it is full, and again only if rows of it are taken out."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.prepare.stitch import stitch

ROWS = 65_536
"""Rows of a row group."""


class Piece(NamedTuple):
    number: int
    path: Path
    rows: int


class Written(NamedTuple):
    """A finished file."""

    path: Path
    rows: int
    size_bytes: int
    sha256: str


def encode(frame: pl.DataFrame, path: Path | BinaryIO) -> None:
    """One row group, whatever its size: the same rows give the same bytes, however they were gathered."""
    frame.rechunk().write_parquet(path, compression="zstd", compression_level=1, row_group_size=max(1, len(frame)))


def finish(pieces: list[Piece], without: dict[int, NDArray[np.int64]], target: Path, empty: pl.DataFrame | None = None) -> Written:
    """The file of these pieces, less the rows `without` names for a piece; where no row is left, `empty` or no file at all.

    Pieces that lose nothing and are of a good size are copied as they are; the others are read, joined and encoded again.
    """
    settled = list(_settled(pieces, without, target))
    if not settled and empty is None:
        return Written(target, 0, 0, "")
    if not settled and empty is not None:
        settled = [(_made(empty, target, 0), 0)]
    size, sha256 = stitch([path for path, _ in settled], target)
    for path, _ in settled:
        path.unlink()
    return Written(target, sum(rows for _, rows in settled), size, sha256)


def _settled(pieces: list[Piece], without: dict[int, NDArray[np.int64]], target: Path) -> Iterator[tuple[Path, int]]:
    open_: pl.DataFrame | None = None
    made = 0
    for piece in pieces:
        whole = piece.number not in without and (piece.rows >= ROWS // 2 or piece is pieces[-1])
        if whole and (open_ is None or len(open_) >= ROWS // 2):
            if open_ is not None:
                yield _made(open_, target, made), len(open_)
                made, open_ = made + 1, None
            yield piece.path, piece.rows
            continue
        frame = pl.read_parquet(piece.path, memory_map=False)
        piece.path.unlink()
        frame = frame if piece.number not in without else _less(frame, without[piece.number])
        open_ = frame if open_ is None else pl.concat([open_, frame])
        while len(open_) >= ROWS:
            yield _made(open_[:ROWS], target, made), ROWS
            made, open_ = made + 1, open_[ROWS:]
        if not len(open_):
            open_ = None
    if open_ is not None:
        yield _made(open_, target, made), len(open_)


def _made(frame: pl.DataFrame, target: Path, number: int) -> Path:
    path = target.with_suffix(f".again-{number}")
    encode(frame, path)
    return path


def _less(frame: pl.DataFrame, rows: NDArray[np.int64]) -> pl.DataFrame:
    keep = np.ones(len(frame), bool)
    keep[rows] = False
    return frame.filter(pl.Series(keep))
