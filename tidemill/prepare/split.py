"""Deal rows into the files of a part: by salted hash of the key, or by UTC day."""

import hashlib

import polars as pl

from tidemill.spec import ModelSpec, Split

KEY_HASH = "_key_hash"


def key_hashes(keys: pl.Series, salt: str) -> pl.Series:
    """64-bit hashes of keys (BLAKE2b, 8 bytes, salted): the same for ever, on every machine and in every version."""
    seed = hashlib.blake2b(salt.encode(), digest_size=8).digest()
    hashes = [int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=8, key=seed).digest()) for key in keys]
    return pl.Series(KEY_HASH, hashes, dtype=pl.UInt64)


def file_names(rows: pl.DataFrame, spec: ModelSpec) -> pl.Series:
    """For each row the file of the part it belongs to: `train`, `validation`, `test`, or `YYYY-MM-DD`."""
    if spec.data.split.by == "time":
        return rows[spec.time].dt.strftime("%Y-%m-%d")  # type: ignore[index]  # a split by time has a time column
    return _sides(rows[KEY_HASH], spec.data.split)


def _sides(hashes: pl.Series, split: Split) -> pl.Series:
    share = hashes.cast(pl.Float64) / 2.0**64
    side = pl.when(share < split.train).then(pl.lit("train"))
    return pl.select(side.when(share < split.train + split.validation).then(pl.lit("validation")).otherwise(pl.lit("test"))).to_series()
