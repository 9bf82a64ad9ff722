"""The rejects of a part on their way to one Parquet file, sorted by line."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tidemill.prepare.pieces import Piece, Written, encode, finish
from tidemill.prepare.table import REJECTS

ROWS = 32_768


class RejectFile:
    """Rejects come in by `add` in the order of the file; those of repeated keys, known last, are merged in by `write`."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._waiting: list[pl.DataFrame] = []
        self._pieces: list[tuple[Piece, int]] = []
        self.by_rule: Counter[tuple[str, str]] = Counter()

    def add(self, rejects: pl.DataFrame) -> None:
        if not len(rejects):
            return
        self._count(rejects)
        self._waiting.append(rejects)
        if sum(map(len, self._waiting)) >= ROWS:
            self._flush()

    def write(self, repeated: Iterator[pl.DataFrame]) -> Written:
        """`repeated`: frames of rejects, by line."""
        self._flush()
        merged = [self._encoded(number, rows) for number, rows in enumerate(self._merged(repeated))]
        return finish(merged, {}, self._work / "rejects.parquet", pl.DataFrame(schema=REJECTS))

    def _merged(self, repeated: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Each piece with the repeated rows up to its last line, then what is left of them."""
        more = pl.DataFrame(schema=REJECTS)
        for piece, last in self._pieces:
            while (not len(more) or more["line"][-1] <= last) and (frame := next(repeated, None)) is not None:
                self._count(frame)
                more = pl.concat([more, frame])
            now, more = more.filter(pl.col("line") <= last), more.filter(pl.col("line") > last)
            rows = pl.read_parquet(piece.path, memory_map=False)
            piece.path.unlink()
            yield pl.concat([rows, now]).sort("line", maintain_order=True)
        if len(more):
            yield more
        for frame in repeated:
            self._count(frame)
            yield frame

    def _count(self, rejects: pl.DataFrame) -> None:
        for column, rule, count in rejects.group_by("column", "rule").len().iter_rows():
            self.by_rule[column, rule] += count

    def _flush(self) -> None:
        if self._waiting:
            rows = pl.concat(self._waiting)
            self._waiting = []
            piece = self._encoded(len(self._pieces), rows, "rejects")
            self._pieces.append((piece, int(rows["line"][-1])))

    def _encoded(self, number: int, rows: pl.DataFrame, kind: str = "merged") -> Piece:
        piece = Piece(number, self._work / f"{kind}-{number}", len(rows))
        encode(rows, piece.path)
        return piece
