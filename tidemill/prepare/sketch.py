"""Small summaries that merge: quantiles, distinct counts, frequent values. Merging is commutative, and associative within the stated errors."""

import base64
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.prepare.split import Hashes, mix

Floats = NDArray[np.float64]

QUANTILE_K = 256
QUANTILE_ERROR = 0.015
"""A quantile's rank is right within this share of the rows, for 99 of 100 sketches (tests/unit/test_prepare_profile.py looks)."""
SAMPLED = 32_768
DISTINCT_K = 512
DISTINCT_ERROR = 0.045
"""Standard error (relative) of a count above DISTINCT_K: 1/sqrt(k - 2); counts up to it are exact."""
TOP_K = 64
"""A value's count is exact while there are at most so many values; above, it is too low by `error` at most, which is at most rows / (TOP_K + 1)."""


@dataclass(frozen=True)
class Quantiles:
    """KLL sketch (Karnin, Lang, Liberty 2016): level i holds values that stand for 2^i rows each.

    What KLL leaves to chance is decided by a hash of the number of rows, so that the same rows give the same sketch.
    """

    levels: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, values: Floats) -> "Quantiles":
        """Many rows are thinned first: of 2^s neighbours one is taken, for the smallest s that leaves SAMPLED or fewer."""
        top = max(0, int(np.ceil(np.log2(max(1, len(values)) / SAMPLED))))
        levels = [np.empty(0)] * (top + 1)
        start = 0
        for level in range(top, -1, -1):
            groups = (len(values) - start) >> level
            chance = mix(np.arange(groups, dtype=np.uint64) + np.uint64(len(values)))
            picked = (np.arange(groups) << level) + (chance & np.uint64((1 << level) - 1)).astype(np.int64)
            levels[level] = values[start + picked]
            start += groups << level
        return cls(tuple(levels))._compressed()

    def merge(self, other: "Quantiles") -> "Quantiles":
        height = max(len(self.levels), len(other.levels))
        levels = [np.concatenate([sketch.levels[i] for sketch in (self, other) if i < len(sketch.levels)] or [np.empty(0)]) for i in range(height)]
        return Quantiles(tuple(levels))._compressed()

    @property
    def rows(self) -> int:
        return sum(len(values) << level for level, values in enumerate(self.levels))

    def at(self, shares: list[float]) -> list[float]:
        """The values below which these shares of the rows lie."""
        values = np.concatenate(self.levels)
        order = np.argsort(values, kind="stable")
        weights = np.concatenate([np.full(len(level), 1 << i) for i, level in enumerate(self.levels)])[order]
        ranks = np.cumsum(weights) / weights.sum()
        return [float(values[order][min(int(np.searchsorted(ranks, share)), len(values) - 1)]) for share in shares]

    def rank(self, value: float) -> float:
        """The share of the rows at or below a value."""
        return sum((int(np.count_nonzero(level <= value)) << i) for i, level in enumerate(self.levels)) / self.rows

    def _compressed(self) -> "Quantiles":
        """Halve what is over its capacity, from the bottom up: one of two neighbours goes a level higher."""
        levels, rows = [np.sort(level) for level in self.levels], self.rows
        level = 0
        while level < len(levels):
            if len(levels[level]) > _capacity(level, len(levels)):
                if level + 1 == len(levels):
                    levels.append(np.empty(0))
                values = levels[level]
                even = len(values) // 2 * 2
                side = int(mix(np.array([rows * 64 + level], np.uint64))[0] & np.uint64(1))
                levels[level] = values[even:]
                levels[level + 1] = np.sort(np.concatenate([levels[level + 1], values[side:even:2]]))
            level += 1
        return Quantiles(tuple(levels))


def _capacity(level: int, height: int) -> int:
    return max(8, int(QUANTILE_K * (2 / 3) ** (height - 1 - level)))


@dataclass(frozen=True)
class Distinct:
    """The DISTINCT_K smallest hashes (Bar-Yossef and others 2002): exact up to that many values, an estimate above. Merging is exact."""

    hashes: Hashes

    @classmethod
    def of(cls, hashes: Hashes) -> "Distinct":
        if len(hashes) > 8 * DISTINCT_K:
            # Of many different values only the smallest hashes are looked at: the more often each comes, the more of them. Of few, each once.
            for often in (2, 16):
                found = np.unique(hashes[hashes < np.uint64(min(2**64 - 1, 2**64 // len(hashes) * often * DISTINCT_K))])
                if len(found) >= DISTINCT_K:
                    return cls(found[:DISTINCT_K])
            hashes = pl.Series(hashes).unique().to_numpy()
        return cls(np.unique(hashes)[:DISTINCT_K])

    def merge(self, other: "Distinct") -> "Distinct":
        return Distinct(np.union1d(self.hashes, other.hashes)[:DISTINCT_K])

    @property
    def count(self) -> int:
        if len(self.hashes) < DISTINCT_K:
            return len(self.hashes)
        return round((DISTINCT_K - 1) / (float(self.hashes[-1]) / 2.0**64))

    def dump(self) -> str:
        return base64.b64encode(self.hashes.astype("<u8").tobytes()).decode()

    @classmethod
    def load(cls, text: str) -> "Distinct":
        return cls(np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64))


@dataclass(frozen=True)
class Top:
    """Frequent values with their counts (Misra and Gries 1982; merged as in Agarwal and others 2012)."""

    counts: dict[str, int]
    error: int = 0

    @classmethod
    def of(cls, values: pl.Series, counts: pl.Series) -> "Top":
        """Of different values and their counts."""
        most = counts.arg_sort(descending=True).head(4 * TOP_K)
        least = counts[most[-1]] if len(most) < len(counts) else 0
        some = counts.ge(least).arg_true() if least else most  # ties with the last one too: which of them stay must not be chance
        return cls(dict(zip(values.gather(some).to_list(), counts.gather(some).to_list(), strict=True)))._compressed()

    def merge(self, other: "Top") -> "Top":
        counts = dict(self.counts)
        for value, count in other.counts.items():
            counts[value] = counts.get(value, 0) + count
        return Top(counts, self.error + other.error)._compressed()

    def _compressed(self) -> "Top":
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        less = ordered[TOP_K][1] if len(ordered) > TOP_K else 0
        return Top({value: count - less for value, count in ordered if count > less}, self.error + less)
