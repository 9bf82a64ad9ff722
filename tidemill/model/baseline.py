"""The rows a model learned from in a few numbers, kept with it: what a holdout, and later the rows it predicts, are set beside."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from tidemill.evaluate.record import Shift
from tidemill.prepare.profile import ColumnProfile, Profile, load_profile, profile
from tidemill.prepare.split import KEY_HASH, Hashes
from tidemill.spec import ModelSpec

FILE = "baseline.json"
KEYS = 4096

SHARES = [step / 10 for step in range(1, 10)]
LEAST = 1e-4
"""The least share of a bin in a PSI: an empty one would make it infinite."""
NOTABLE = 0.2
"""From here on a population has shifted, by the rule of thumb that came with the index (Siddiqi 2006)."""


@dataclass(frozen=True)
class Baseline:
    """profile: of the rows learned from; keys: the KEYS smallest hashes of their keys, sorted."""

    profile: Profile
    keys: Hashes

    @classmethod
    def of(cls, rows: pl.DataFrame, spec: ModelSpec) -> "Baseline":
        """Of rows with their KEY_HASH, in the columns that `rows` has."""
        known = {name: column for name, column in spec.columns.items() if name in rows.columns}
        return cls(profile(rows, spec.model_copy(update={"columns": known})), smallest(rows[KEY_HASH].to_numpy()))

    def merge(self, other: "Baseline") -> "Baseline":
        """Of the rows of both, no key in common."""
        return Baseline(self.profile.merge(other.profile), smallest(np.concatenate([self.keys, other.keys])))

    def sampled(self, hashes: Hashes) -> Hashes:
        """Those of another set of keys that would be in `keys` if they were learned from: hashes choose the same keys everywhere."""
        return hashes if len(self.keys) < KEYS else hashes[hashes <= self.keys[-1]]

    def overlap(self, sampled: Hashes) -> float:
        """The share of them that was learned from; an estimate where there are more than KEYS keys."""
        return float(np.isin(sampled, self.keys).mean()) if len(sampled) else 0.0

    def save(self, path: Path) -> None:
        keys = base64.b64encode(self.keys.astype("<u8").tobytes()).decode()
        path.write_text(json.dumps({"profile": self.profile.dump(), "keys": keys}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Baseline":
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(load_profile(stored["profile"]), np.frombuffer(base64.b64decode(stored["keys"]), "<u8").astype(np.uint64))


def smallest(hashes: Hashes) -> Hashes:
    return np.sort(np.partition(hashes, KEYS)[:KEYS]) if len(hashes) > KEYS else np.sort(hashes)


def shifts(before: Profile, after: Profile) -> tuple[Shift, ...]:
    """Every column of both profiles, the most shifted first: population stability index over the deciles of `before`, or its frequent values."""
    found = [_shift(name, column, after.columns[name]) for name, column in before.columns.items() if name in after.columns]
    return tuple(sorted((each for each in found if each is not None), key=lambda each: (-each.psi, each.column)))


def _shift(name: str, before: ColumnProfile, after: ColumnProfile) -> Shift | None:
    pair = _by_values(before, after) if before.quantiles is None else _by_deciles(before, after)
    if pair is None or not before.count or not after.count:
        return None
    missing = (before.missing / before.count, after.missing / after.count)
    return Shift(column=name, psi=psi(*(_with_missing(shares, share) for shares, share in zip(pair, missing, strict=True))), missing=missing)


def psi(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Population stability index of shares by bin: Σ (a - b) · ln(a / b)."""
    bins = before.keys() | after.keys()
    b, a = (np.maximum([shares.get(name, 0.0) for name in sorted(bins)], LEAST) for shares in (before, after))
    return float(((a - b) * np.log(a / b)).sum())


def _by_deciles(before: ColumnProfile, after: ColumnProfile) -> tuple[dict[str, float], dict[str, float]] | None:
    if before.quantiles is None or after.quantiles is None or not before.quantiles.rows or not after.quantiles.rows:
        return None
    edges = sorted(set(before.quantiles.at(SHARES)))
    told = []
    for sketch in (before.quantiles, after.quantiles):
        below = [0.0, *(sketch.rank(edge) for edge in edges), 1.0]
        told.append({f"bin {at}": high - low for at, (low, high) in enumerate(pairwise(below))})
    return told[0], told[1]


def _by_values(before: ColumnProfile, after: ColumnProfile) -> tuple[dict[str, float], dict[str, float]] | None:
    if before.type == "boolean" and before.mean is not None and after.mean is not None:
        return {"true": before.mean, "false": 1 - before.mean}, {"true": after.mean, "false": 1 - after.mean}
    if before.top is None or after.top is None:
        return None
    told = []
    for column in (before, after):
        present = max(1, column.count - column.missing)
        counts = {value: column.top.counts.get(value, 0) / present for value in before.top.counts} if column.top else {}
        told.append(counts | {"any other value": max(0.0, 1 - sum(counts.values()))})
    return told[0], told[1]


def _with_missing(shares: Mapping[str, float], missing: float) -> dict[str, float]:
    return {name: share * (1 - missing) for name, share in shares.items()} | {"missing": missing}
