"""Make a part of an upload: its files, its rejects, its profile, and the record that is written last."""

import hashlib
import io
import json
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from tidemill.dataset import PartFile, PartRecord
from tidemill.erasure import RULE, Suppressed
from tidemill.errors import UploadRefused
from tidemill.prepare import VERSION
from tidemill.prepare.block import REPEATED, BlockPreparer, PreparedBlock, without_repeats
from tidemill.prepare.freshness import refuse_stale
from tidemill.prepare.pieces import Written
from tidemill.prepare.profile import Profile
from tidemill.prepare.readers import open_upload
from tidemill.prepare.reject_file import RejectFile
from tidemill.prepare.rows import RowFiles
from tidemill.prepare.source import Source
from tidemill.prepare.suppress import NOBODY
from tidemill.prepare.table import Block, Lines
from tidemill.spec import ModelSpec

MAX_BYTES = 64 * 1024**3
"""The most that an upload may hold once unpacked, unless the caller says less: a bound on the work that a small file can make."""
BLOCK_BYTES = 4 * 1024 * 1024
WORKERS = 2
AHEAD = 2
"""Blocks that are under way while the one before is written."""


@dataclass(frozen=True)
class PreparedPart:
    """A part ready to be written: files in the work folder, Parquet rows by name, and the record to commit them with."""

    record: PartRecord
    files: dict[str, Path]
    rejects: Path
    profile: Path


def part_id(content_sha256: str, spec: ModelSpec, suppressed: str = "") -> str:
    """The id a file of this content has under this spec: 32 hex digits. `suppressed`: the list that kept rows of it out, if it did."""
    kept_out = f"|{suppressed}" if suppressed else ""
    return hashlib.sha256(f"{content_sha256}|{spec.prepare_hash}|{VERSION}{kept_out}".encode()).hexdigest()[:32]


def prepare_upload(
    stream: BinaryIO, name: str, spec: ModelSpec, work: Path, *,
    received_at: str | None = None, max_bytes: int = MAX_BYTES, block_bytes: int = BLOCK_BYTES, suppressed: Suppressed = NOBODY,
) -> PreparedPart:  # fmt: skip
    """Read, check, split and profile one upload, block by block; `work` is an empty folder, where the files are left.

    `received_at` (ISO 8601) is what a rule of freshness counts from; rows of `suppressed` keys are kept out. Raises UploadRefused when the file as a whole cannot be
    used: unreadable, too few rows, too many rejects, too old.
    """
    return _Preparation(Source(stream, name, work, max_bytes), spec, work, received_at, max_bytes, block_bytes, suppressed).run()


class _Preparation:
    """One upload on its way to a part."""

    def __init__(
        self, source: Source, spec: ModelSpec, work: Path, received_at: str | None, max_bytes: int, block_bytes: int, suppressed: Suppressed
    ) -> None:
        self._suppressed = suppressed
        self._source, self._spec, self._work, self._received = source, spec, work, received_at
        self._file = open_upload(source, spec, block_bytes=block_bytes, max_bytes=max_bytes)
        self._records = self._rejected = 0
        self._profile = Profile()
        self._rows, self._rejects = RowFiles(spec, work), RejectFile(work)

    def run(self) -> PreparedPart:
        blocks = self._file.blocks(self._source.chunks())
        first = next(blocks, None)
        prepare = BlockPreparer(self._file.layout, self._spec, self._suppressed)
        held: PreparedBlock | None = None
        for prepared in _ordered(lambda block: without_repeats(prepare(block), self._spec), chain([first] if first else [], blocks)):
            if held is not None:  # a row sent twice is sent again soon after: most such rows never reach a file
                self._take(without_repeats(held, self._spec, prepared))
            held = prepared
        if held is not None:
            self._take(held)
        repeats = self._rows.repeats()
        by_rule = self._rejects.by_rule + Counter({(self._spec.key, REPEATED): len(repeats.lines)})
        counts = Counts(self._records, self._rejected + len(repeats.lines), rules_told(by_rule), by_rule[self._spec.key, RULE])
        refuse_part(self._spec, counts, self._profile, self._received)
        with ThreadPoolExecutor(1) as beside:
            writing = beside.submit(self._rows.write, repeats)
            rejects = self._rejects.write(self._repeated(prepare, repeats.lines))
            files = writing.result()
        profile = self._work / "profile.json"
        profile.write_text(json.dumps(self._profile.dump(), indent=1), encoding="utf-8")
        record = part_record(self._spec, self._source.sha256, files, counts, self._file.layout.ignored, self._suppressed)
        return PreparedPart(record, {name: file.path for name, file in files.items()}, rejects.path, profile)

    def _take(self, block: PreparedBlock) -> None:
        self._records += block.records
        self._rejected += block.rejected
        self._profile = self._profile.merge(block.profile)
        self._rejects.add(block.rejects)
        if len(block.rows):
            self._rows.add(block.rows)

    def _repeated(self, prepare: BlockPreparer, lines: Lines) -> Iterator[pl.DataFrame]:
        """The rejects of rows that a later row replaces: read once more, for the rows as they came."""
        if not len(lines):
            return
        for block in self._file.blocks(self._source.chunks()):
            start, end = np.searchsorted(lines, [block.line, block.line + block.lines])
            if end > start:
                yield prepare.repeated(block, lines[start:end])
            if end == len(lines):
                return


@dataclass(frozen=True)
class Counts:
    """Rows read and rows lost, repeated keys among them, the commonest rule first; `kept_out`: rows of suppressed keys."""

    records: int
    rejected: int
    by_rule: dict[str, int]
    kept_out: int = 0


def refuse_part(spec: ModelSpec, counts: Counts, profile: Profile, received_at: str | None) -> None:
    """Raises UploadRefused when what was read is too little, too bad or too old to be a part."""
    data, records = spec.data, counts.records
    if not records:
        raise UploadRefused(f"{'a header' if data.format == 'csv' else 'a file'} without rows: there is nothing to learn from")
    broken = counts.rejected - counts.kept_out  # that a key was erased is no fault of the file
    share, usable = broken / records, records - counts.rejected
    if share > data.reject_share_max:
        worst = ", ".join(f"{rule} ({count:,})" for rule, count in list(counts.by_rule.items())[:5])
        raise UploadRefused(f"{broken:,} of {records:,} rows break a rule ({share:.1%}, at most {data.reject_share_max:.1%} may): {worst}")
    if usable < data.min_rows:
        raise UploadRefused(f"{usable:,} usable rows, data.min_rows asks for {data.min_rows:,}")
    if data.freshness is not None and received_at is not None:
        refuse_stale(profile, spec, received_at)


def part_record(
    spec: ModelSpec, content_sha256: str, files: dict[str, Written], counts: Counts, ignored: tuple[str, ...], suppressed: Suppressed
) -> PartRecord:
    label = pl.col(spec.label)
    return PartRecord(
        id=part_id(content_sha256, spec, suppressed.id if counts.kept_out else ""),
        model=spec.name,
        content_sha256=content_sha256,
        prepare_hash=spec.prepare_hash,
        version=VERSION,
        rows=counts.records,
        kept=sum(file.rows for file in files.values()),
        labelled=sum(pl.scan_parquet(file.path).select(label.count()).collect().item() for file in files.values()),
        rejected=counts.rejected,
        rejects_by_rule=counts.by_rule,
        ignored_columns=ignored,
        files=tuple(PartFile(name=name, rows=file.rows, size_bytes=file.size_bytes, sha256=file.sha256) for name, file in files.items()),
        days=_days([file.path for file in files.values()], spec),
    )


def _days(files: list[Path], spec: ModelSpec) -> tuple[str, str] | None:
    """First and last UTC day of the rows, where they have a time."""
    if spec.time is None or not files:
        return None
    time = pl.col(spec.time)
    first, last = pl.scan_parquet(files).select(first=time.min(), last=time.max()).collect().row(0)
    return f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"


def rules_told(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    """The commonest rule first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {f"{column}: {rule}".removeprefix(": "): count for (column, rule), count in ordered}


def _ordered(function: Callable[[Block], PreparedBlock], blocks: Iterable[Block]) -> Iterator[PreparedBlock]:
    """The results in the order of the blocks, WORKERS at a time; polars and numpy leave python's lock while they work."""
    with ThreadPoolExecutor(WORKERS) as pool:
        under_way: deque[Future[PreparedBlock]] = deque()
        for block in blocks:
            under_way.append(pool.submit(function, block))
            if len(under_way) > AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


@dataclass(frozen=True)
class SmallPart:
    """A part in memory."""

    record: PartRecord
    files: dict[str, bytes]
    rejects: bytes
    profile: bytes


def prepare(data: bytes, name: str, spec: ModelSpec) -> SmallPart:
    """`prepare_upload` for what fits in memory: notebooks, examples and tests."""
    with tempfile.TemporaryDirectory() as work:
        part = prepare_upload(io.BytesIO(data), name, spec, Path(work))
        files = {file: path.read_bytes() for file, path in part.files.items()}
        return SmallPart(part.record, files, part.rejects.read_bytes(), part.profile.read_bytes())
