"""Deal rows into the files of a part: by salted hash of the key, or by UTC day."""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.spec import ModelSpec

KEY_HASH = "_key_hash"
Hashes = NDArray[np.uint64]
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def key_hashes(keys: pl.Series, salt: str) -> pl.Series:
    """64-bit hashes of keys: the same for ever, on every machine and in every version. An integer key counts as its decimal text.

    The UTF-8 bytes in little-endian words of 8, the last one padded with zeros, w1..wn of a key of `size` bytes:
    h = mix(seed ^ size), then h = mix(h ^ w) for each word. `seed` is BLAKE2b of the salt (8 bytes, big-endian), `mix` the
    finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection, so that keys of up to 8 bytes never collide with each
    other at one length. It deals rows and finds repeated keys; it hides nothing.
    """
    return pl.Series(KEY_HASH, text_hashes(keys.cast(pl.String), salt_seed(salt)))


def salt_seed(salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest())


def text_hashes(texts: pl.Series, seed: int) -> Hashes:
    """One hash a text; there must be no nulls."""
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    joined = str(texts.str.join("").item()).encode() + b"\0" * 8 if len(texts) else b"\0" * 8
    words = np.ndarray((len(joined) - 7,), "<u8", joined, strides=(1,))
    starts = np.cumsum(sizes) - sizes
    hashes = mix(np.uint64(seed) ^ sizes.astype(np.uint64))
    rest = np.arange(len(sizes))
    for at in range(0, int(sizes.max(initial=0)), 8):
        rest = rest[sizes[rest] > at]
        left = np.minimum(sizes[rest] - at, 8).astype(np.uint64)
        word = words[starts[rest] + at] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(8) * (np.uint64(8) - left)))
        hashes[rest] = mix(hashes[rest] ^ word)
    return hashes


def mix(x: Hashes) -> Hashes:
    """Of an array, not of a number: it is worked on in place."""
    x = x ^ (x >> np.uint64(30))
    x *= _M1
    x ^= x >> np.uint64(27)
    x *= _M2
    x ^= x >> np.uint64(31)
    return x


def file_names(rows: pl.DataFrame, spec: ModelSpec) -> pl.Series:
    """For each row the file of the part it belongs to: `train`, `validation`, `test`, or `YYYY-MM-DD`."""
    if spec.data.split.by == "time":
        return rows[spec.time].dt.strftime("%Y-%m-%d")  # type: ignore[index]  # a split by time has a time column
    return sides(rows[KEY_HASH], spec.data.split.train, spec.data.split.validation)


def sides(hashes: pl.Series, train: float, validation: float) -> pl.Series:
    """train, validation or test for each KEY_HASH, given the shares of the first two."""
    share = hashes.cast(pl.Float64) / 2.0**64
    side = pl.when(share < train).then(pl.lit("train"))
    return pl.select(side.when(share < train + validation).then(pl.lit("validation")).otherwise(pl.lit("test"))).to_series()
