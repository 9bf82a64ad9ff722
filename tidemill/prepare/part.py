"""Make a part of an upload: files, rejects, profile, and the record that is written last."""

import hashlib
import io
import json
from dataclasses import dataclass

import polars as pl

from tidemill.dataset import PartFile, PartRecord
from tidemill.errors import UploadRefused
from tidemill.prepare import VERSION
from tidemill.prepare.profile import profile
from tidemill.prepare.read import read_upload
from tidemill.prepare.rules import Checked, check
from tidemill.prepare.split import file_names, key_hashes
from tidemill.spec import ModelSpec


@dataclass(frozen=True)
class PreparedPart:
    """A part ready to be written: `files` by name below the part's prefix, and the record to commit it with."""

    record: PartRecord
    files: dict[str, bytes]


def part_id(content_sha256: str, spec: ModelSpec) -> str:
    """The id a file of this content has under this spec: 32 hex digits."""
    return hashlib.sha256(f"{content_sha256}|{spec.prepare_hash}|{VERSION}".encode()).hexdigest()[:32]


def prepare(data: bytes, name: str, spec: ModelSpec) -> PreparedPart:
    """Read, check, split and profile one upload.

    Raises UploadRefused when the file as a whole cannot be used: unreadable, too few rows, too many rejects.
    """
    table = read_upload(data, name, spec)
    checked = check(table, spec)
    _refuse_bad_files(table.rows, checked, spec)
    content = hashlib.sha256(data).hexdigest()
    rows = checked.rows.with_columns(key_hashes(checked.rows[spec.key], spec.salt))
    split_files, described = _split_files(rows, spec)
    profiles = {column: p.model_dump(mode="json", exclude_none=True) for column, p in profile(checked.rows, spec).items()}
    record = PartRecord(
        id=part_id(content, spec),
        model=spec.name,
        content_sha256=content,
        prepare_hash=spec.prepare_hash,
        version=VERSION,
        rows=table.rows,
        kept=len(rows),
        labelled=len(rows) - rows[spec.label].null_count(),
        rejected=checked.rejected,
        rejects_by_rule=_by_rule(checked.rejects),
        ignored_columns=table.ignored,
        files=described,
    )
    files = split_files | {"rejects.parquet": _parquet(checked.rejects), "profile.json": json.dumps(profiles, indent=1).encode()}
    return PreparedPart(record, files)


def _refuse_bad_files(rows: int, checked: Checked, spec: ModelSpec) -> None:
    share = checked.rejected / rows
    if share > spec.data.reject_share_max:
        worst = ", ".join(f"{rule} ({count:,})" for rule, count in list(_by_rule(checked.rejects).items())[:5])
        raise UploadRefused(
            f"{checked.rejected:,} of {rows:,} rows break a rule ({share:.1%}, at most {spec.data.reject_share_max:.1%} may): {worst}"
        )
    if len(checked.rows) < spec.data.min_rows:
        raise UploadRefused(f"{len(checked.rows):,} usable rows, data.min_rows asks for {spec.data.min_rows:,}")


def _by_rule(rejects: pl.DataFrame) -> dict[str, int]:
    counts = rejects.group_by("column", "rule").len().sort(["len", "column", "rule"], descending=[True, False, False])
    return {f"{column}: {rule}".removeprefix(": "): count for column, rule, count in counts.iter_rows()}


def _split_files(rows: pl.DataFrame, spec: ModelSpec) -> tuple[dict[str, bytes], tuple[PartFile, ...]]:
    files: dict[str, bytes] = {}
    described = []
    for (name,), group in sorted(rows.with_columns(file_names(rows, spec).alias("_file")).partition_by("_file", as_dict=True).items()):
        data = _parquet(group.drop("_file"))
        files[f"{name}.parquet"] = data
        described.append(PartFile(name=str(name), rows=len(group), size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return files, tuple(described)


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()
