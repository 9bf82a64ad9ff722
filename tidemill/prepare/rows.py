"""The rows of a part on their way to its files: dealt to train, validation and test, or to days; repeated keys taken out."""

from collections import defaultdict
from pathlib import Path

import polars as pl

from tidemill.prepare.pieces import ROWS, Piece, Written, encode, finish
from tidemill.prepare.repeats import KeyShelves, Repeats
from tidemill.prepare.rules import LINE
from tidemill.prepare.split import KEY_HASH, file_names
from tidemill.spec import ModelSpec

GATHERED = ROWS + ROWS // 2
"""Rows that wait in memory for their piece to fill, all files together; above it the fullest files give theirs up early."""


class RowFiles:
    """Rows come in by `add`, block by block in the order of the file; `write` leaves the part's files."""

    def __init__(self, spec: ModelSpec, work: Path) -> None:
        self._spec, self._work = spec, work
        self._waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)
        self._pieces: dict[str, list[Piece]] = defaultdict(list)
        self._keys = KeyShelves(work)
        self._made = 0

    def add(self, rows: pl.DataFrame) -> None:
        for (name,), group in rows.with_columns(file_names(rows, self._spec).alias("_file")).partition_by("_file", as_dict=True).items():
            self._waiting[name].append(group.drop("_file"))
            self._counts[name] += len(group)
            if self._counts[name] >= ROWS:
                self._flush(name, whole=True)
        while sum(self._counts.values()) > GATHERED:
            self._flush(max(self._counts, key=self._counts.__getitem__), whole=False)

    def repeats(self) -> Repeats:
        for name in sorted(self._waiting):
            self._flush(name, whole=False)
        return self._keys.repeats()

    def write(self, repeats: Repeats) -> dict[str, Written]:
        """The files by name; a file all of whose rows were replaced is left out."""
        files = {name: finish(pieces, repeats.rows, self._work / f"{name}.parquet") for name, pieces in sorted(self._pieces.items())}
        return {name: file for name, file in files.items() if file.rows}

    def _flush(self, name: str, *, whole: bool) -> None:
        """Encode what waits for a file; `whole`: full pieces only, the rest waits on."""
        rows = pl.concat(self._waiting.pop(name))
        while len(rows) >= (ROWS if whole else 1):
            self._piece(name, rows[:ROWS])
            rows = rows[ROWS:]
        self._counts[name] = len(rows)
        if len(rows):
            self._waiting[name].append(rows)

    def _piece(self, name: str, rows: pl.DataFrame) -> None:
        piece = Piece(self._made, self._work / f"piece-{self._made}", len(rows))
        self._keys.add(piece.number, rows[KEY_HASH].to_numpy(), rows[LINE].to_numpy())
        encode(rows.drop(LINE), piece.path)
        self._pieces[name].append(piece)
        self._made += 1
