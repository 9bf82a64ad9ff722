"""A part without the erased keys: its rows, rejects, profile and record made anew; and whether anything of theirs is in a file."""

import gzip
import hashlib
import io
import json
import sys
import zlib
from collections import Counter
from dataclasses import dataclass

import polars as pl

from tidemill.dataset import PartFile, PartRecord
from tidemill.erasure import Mentions, Suppressed, redacted_id
from tidemill.prepare.profile import Profile, profile
from tidemill.prepare.rules import DTYPES
from tidemill.prepare.split import KEY_HASH
from tidemill.spec import ModelSpec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@dataclass(frozen=True)
class Wanted:
    """What is looked for: suppressed hashes (of all erased keys so far), and the keys of this erasure as values and as words."""

    spec: ModelSpec
    suppressed: Suppressed
    keys: pl.Series
    mentions: Mentions

    def in_rows(self, rows: pl.DataFrame) -> pl.Series:
        """By value too: a part of an older version may hash otherwise. One of an older spec may have another key."""
        hashed = self.suppressed.mask(rows[KEY_HASH])
        same_key = rows.schema.get(self.spec.key) == self.keys.dtype
        return hashed | rows[self.spec.key].is_in(self.keys.implode()) if same_key else hashed

    def columns_in(self, rows: pl.DataFrame) -> ModelSpec:
        """The spec with those of its columns that the rows hold as it says: the part may be of an older spec."""
        kinds = {name: pl.String() if column.role == "ignore" else DTYPES[column.type] for name, column in self.spec.columns.items()}
        held = {name: column for name, column in self.spec.columns.items() if rows.schema.get(name) == kinds[name]}
        return self.spec.model_copy(update={"columns": held})

    def in_rejects(self, rejects: pl.DataFrame) -> pl.Series:
        return self.mentions.mask(rejects["value"], rejects["row"])


@dataclass
class Redaction:
    """The redacted copy of one part, file by file; `record` is complete once every file was taken.

    `blind`: other keys, which are not known here, may stand in the part's rejects, so none of them is kept.
    """

    old: PartRecord
    wanted: Wanted
    blind: bool = False

    def __post_init__(self) -> None:
        self._files: list[PartFile] = []
        self._profile, self._labelled = Profile(), 0
        self._removed = 0
        self._rejects = pl.DataFrame()

    @property
    def id(self) -> str:
        return redacted_id(self.old.id, self.wanted.suppressed)

    def rows(self, name: str, data: bytes) -> bytes | None:
        """A file of rows without those of erased keys; None when none is left."""
        rows = pl.read_parquet(data)
        kept = rows.filter(~self.wanted.in_rows(rows))
        self._removed += len(rows) - len(kept)
        if kept.is_empty():
            return None
        content = _parquet(kept)
        self._profile = self._profile.merge(profile(kept, self.wanted.columns_in(kept)))
        label = self.wanted.spec.label
        self._labelled += kept[label].count() if label in kept.columns else 0
        self._files.append(PartFile(name=name, rows=len(kept), size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
        return content

    def rejects(self, data: bytes) -> bytes:
        """The rejected records without those in which an erased key stands."""
        rejects = pl.read_parquet(data)
        self._rejects = rejects.clear() if self.blind else rejects.filter(~self.wanted.in_rejects(rejects))
        self._removed += rejects["line"].n_unique() - self._rejects["line"].n_unique()
        return _parquet(self._rejects)

    def profile(self) -> bytes:
        """Of the rows that are left: that of the old part counted the erased ones."""
        return json.dumps(self._profile.dump(), indent=1).encode()

    def record(self) -> PartRecord:
        rules = Counter(f"{column}: {rule}".removeprefix(": ") for column, rule in self._rejects.select("column", "rule").iter_rows())
        changed = {
            "id": self.id, "redacted_from": self.old.id, "files": tuple(self._files), "rows": self.old.rows - self._removed,
            "kept": sum(file.rows for file in self._files), "labelled": self._labelled,
            "rejected": self._rejects["line"].n_unique(), "rejects_by_rule": dict(rules.most_common()),
        }  # fmt: skip
        return self.old.model_copy(update=changed)


def mentioned(name: str, data: bytes, wanted: Wanted) -> bool | None:
    """Whether a key stands in a file as it came; None when the file cannot be looked into."""
    if name.endswith(".parquet"):
        return _in_parquet(data, wanted)
    try:
        text = gzip.decompress(data) if name.endswith(".gz") else zstd.decompress(data) if name.endswith(".zst") else data
    except (OSError, EOFError, zlib.error, zstd.ZstdError):
        return None
    return any(wanted.mentions.in_text(text.decode(encoding, "replace")) for encoding in ("utf-8", "latin-1", "utf-16"))


def _in_parquet(data: bytes, wanted: Wanted) -> bool | None:
    try:
        rows = pl.read_parquet(io.BytesIO(data))
        texts = [rows[name].cast(pl.String) for name, kind in rows.schema.items() if not kind.is_nested()]
    except (pl.exceptions.PolarsError, OSError):
        return None
    return bool(texts) and bool(wanted.mentions.mask(*texts).any())


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()
