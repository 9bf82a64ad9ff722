"""The right to erasure: which rows and records belong to erased keys, and what an erasure took away.

A key is kept out by a one-way digest of its 64-bit hash. The hash itself would not do: it can be turned back into a short key.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tidemill.errors import ErasureRefused
from tidemill.records import Suppression
from tidemill.spec import ModelSpec

RULE = "suppressed key"
"""The rule under which a row of an erased key is rejected when it comes again."""
TAG = 1 << 16


class ErasedPart(BaseModel):
    """A part that held erased keys: in how many rows and rejected records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    rows: int
    rejects: int


class Erasure(BaseModel):
    """What one erasure takes away. It names no key: `id` is a hash of their digests, `keys` how many they are.

    landing: versions of uploads (key, version id); unsearched: objects of landing that could not be looked into; datasets,
    packages: what was made of the parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    model: str
    time: str
    actor: str
    keys: int
    parts: tuple[ErasedPart, ...] = ()
    landing: tuple[tuple[str, str], ...] = ()
    unsearched: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    done: bool = False

    def with_found(self, **found: Iterable[Any]) -> "Erasure":
        """This with what else was found; what was known already stays as it is."""
        parts = {part.id: part for part in (*found.pop("parts", ()), *self.parts)}
        merged = {name: tuple(sorted({*getattr(self, name), *items})) for name, items in found.items()}
        return self.model_copy(update=merged | {"parts": tuple(parts[part] for part in sorted(parts)), "done": False})


def typed_keys(keys: Iterable[str], spec: ModelSpec) -> pl.Series:
    """Keys as the type of the key column. Raises ErasureRefused for what can be no key of the model; it does not repeat it."""
    texts = list(dict.fromkeys(keys))
    if not texts or not all(texts):
        raise ErasureRefused("no key to erase: give at least one, none of them empty")
    if spec.columns[spec.key].type == "string":
        return pl.Series(texts, dtype=pl.String)
    try:
        return pl.Series(list(dict.fromkeys(int(text) for text in texts)), dtype=pl.Int64)
    except (ValueError, OverflowError) as error:
        raise ErasureRefused(f"the key column {spec.key} of {spec.name} holds integers, and a key given here is none") from error


def suppression(key_hash: int, spec: ModelSpec, erasure: str, time: str) -> Suppression:
    return Suppression(model=spec.name, digest=_digest(key_hash, spec.salt), tag=key_hash % TAG, erasure=erasure, time=time)


def erasure_id(key_hashes: Iterable[int], spec: ModelSpec) -> str:
    """The same keys make the same erasure: running it again goes on with it."""
    return _fingerprint(_digest(key_hash, spec.salt) for key_hash in key_hashes)


class Suppressed:
    """The keys of a model that must not come back, ready to be looked for in columns of hashes."""

    def __init__(self, suppressions: Iterable[Suppression], salt: str) -> None:
        self._salt = salt
        self._digests = {suppression.digest: suppression.tag for suppression in suppressions}
        self._tags = sorted(set(self._digests.values()))

    def __bool__(self) -> bool:
        return bool(self._digests)

    @property
    def id(self) -> str:
        """Changes with every key that is added: part of the id of what is made without them."""
        return _fingerprint(self._digests)

    def mask(self, key_hashes: pl.Series) -> pl.Series:
        """True where the hash is of a suppressed key. Only candidates by tag cost a digest."""
        candidates = key_hashes.filter((key_hashes % TAG).is_in(self._tags)).unique().to_list()
        found = [key_hash for key_hash in candidates if _digest(key_hash, self._salt) in self._digests]
        return key_hashes.is_in(pl.Series(found, dtype=pl.UInt64).implode())


class Mentions:
    """The keys themselves, to be found in texts where there are no hashes: rejected records, files as they came."""

    def __init__(self, keys: Iterable[str]) -> None:
        written = {form for key in keys for form in _written(key)}
        self._forms = sorted(written)
        self._pattern = re.compile("|".join(rf"(?<!\w){re.escape(form)}(?!\w)" for form in sorted(written, key=len, reverse=True)))

    def in_text(self, text: str) -> bool:
        return bool(self.mask(pl.Series([text]))[0])

    def mask(self, *columns: pl.Series) -> pl.Series:
        """True where a key stands as a word in one of the columns of text."""
        found = pl.Series([False]).new_from_index(0, len(columns[0]))
        for column in columns:
            texts = column.fill_null("")
            maybe = texts.str.contains_any(self._forms)  # all keys in one pass; the pattern tries one after the other
            found = found | pl.Series(
                [hit and self._pattern.search(text) is not None for hit, text in zip(maybe, texts, strict=True)], dtype=pl.Boolean
            )
        return found


def _written(key: str) -> set[str]:
    """As it stands in text, in a quoted CSV field, and in JSON with and without escapes."""
    return {key, key.replace('"', '""'), json.dumps(key)[1:-1], json.dumps(key, ensure_ascii=False)[1:-1]}


def redacted_id(part: str, suppressed: Suppressed) -> str:
    """The id of a part's copy without the suppressed keys."""
    return hashlib.sha256(f"{part}|redacted|{suppressed.id}".encode()).hexdigest()[:32]


def _digest(key_hash: int, salt: str) -> str:
    return hashlib.blake2b(key_hash.to_bytes(8, "little"), digest_size=16, key=hashlib.sha256(salt.encode()).digest()).hexdigest()


def _fingerprint(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:32]
