"""Keys that come more than once in an upload: of their rows the last is kept. Key hashes lie on disk, so memory stays flat."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidemill.prepare.split import Hashes
from tidemill.prepare.table import Lines

SHELVES = 64
"""Hashes are sorted a shelf at a time: 100 million rows make shelves of 38 MB."""
ENTRY = np.dtype([("hash", "<u8"), ("line", "<i8"), ("piece", "<u4"), ("row", "<u4")])
Entries = NDArray[np.void]


@dataclass(frozen=True)
class Repeats:
    """Rows that a later row of the same key replaces: `lines`, ascending, and for each piece which of its rows they are."""

    lines: Lines
    rows: dict[int, NDArray[np.int64]]


class KeyShelves:
    """Where the key of every row is noted, with the piece that holds the row: in one file, the rows of a piece by shelf."""

    def __init__(self, work: Path) -> None:
        self._path = work / "keys"
        self._counts: list[NDArray[np.int64]] = []

    def add(self, piece: int, hashes: Hashes, lines: Lines) -> None:
        shelf = (hashes >> np.uint64(58)).astype(np.uint8)
        order = np.argsort(shelf, kind="stable")
        entries = np.empty(len(hashes), ENTRY)
        entries["hash"], entries["line"], entries["piece"], entries["row"] = hashes[order], lines[order], piece, order
        with self._path.open("ab") as file:
            entries.tofile(file)
        self._counts.append(np.bincount(shelf, minlength=SHELVES))

    def repeats(self) -> Repeats:
        found = list(map(_earlier, self._shelves()))
        entries = np.concatenate(found) if found else np.empty(0, ENTRY)
        entries = entries[np.argsort(entries["piece"], kind="stable")]
        pieces, starts = np.unique(entries["piece"], return_index=True)
        rows = np.split(entries["row"].astype(np.int64), starts[1:])
        return Repeats(np.sort(entries["line"]), dict(zip(pieces.tolist(), rows, strict=False)))

    def _shelves(self) -> Iterator[Entries]:
        if not self._counts:
            return
        counts = np.array(self._counts)
        starts = (np.cumsum(counts) - counts.ravel()).reshape(counts.shape)
        with self._path.open("rb") as file:
            for shelf in range(SHELVES):
                at = zip(starts[:, shelf].tolist(), counts[:, shelf].tolist(), strict=True)
                parts = [os.pread(file.fileno(), count * ENTRY.itemsize, start * ENTRY.itemsize) for start, count in at]
                yield np.frombuffer(b"".join(parts), ENTRY)


def _earlier(entries: Entries) -> Entries:
    """The entries whose hash comes again later. Most hashes come once: a plain sort says so before anything is ordered."""
    hashes = np.sort(entries["hash"])
    again = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(again):
        return np.empty(0, ENTRY)  # not entries[:0], which would keep the whole shelf
    at = np.minimum(np.searchsorted(again, entries["hash"]), len(again) - 1)
    some = entries[again[at] == entries["hash"]]
    some = some[np.lexsort((some["line"], some["hash"]))]
    earlier: Entries = some[:-1][some["hash"][1:] == some["hash"][:-1]]
    return earlier
