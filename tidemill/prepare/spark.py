"""One large upload becomes a part on Spark: the same block function over byte ranges, repeated keys settled by a shuffle.

The driver plans the ranges, hashes the file meanwhile, and puts the pieces that the workers made together: bytes are copied,
few of them are decoded again. A packed file, Parquet and JSON Lines are read by one process, as a small upload is.
"""

import hashlib
import io
import json
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]  # it has no stubs
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # Spark's own name for it
from pyspark.sql.window import Window

from tidemill.erasure import RULE, Suppressed
from tidemill.errors import UploadRefused
from tidemill.prepare.block import REPEATED, BlockPreparer, without_repeats
from tidemill.prepare.csv_reader import CsvFile, CsvLayout
from tidemill.prepare.filled import Filled
from tidemill.prepare.part import BLOCK_BYTES, MAX_BYTES, Counts, PreparedPart, part_record, prepare_upload, refuse_part, rules_told
from tidemill.prepare.pieces import ROWS, Piece, encode, finish
from tidemill.prepare.profile import Profile, load_profile
from tidemill.prepare.ranges import READ_BYTES, Case, Range, Survey, chain, chunks, guesses, survey
from tidemill.prepare.records import Dialect
from tidemill.prepare.reject_file import RejectFile
from tidemill.prepare.repeats import ENTRY
from tidemill.prepare.rules import LINE
from tidemill.prepare.split import KEY_HASH, file_names
from tidemill.prepare.suppress import NOBODY
from tidemill.prepare.table import Block
from tidemill.spec import ModelSpec

RANGE_BYTES = 64 * 1024 * 1024
AHEAD = 4
"""Reads that are under way while the driver hashes."""
MADE = "range int, kind string, name string, rows long, payload binary"
KEYS = "hash long, line long, range int, piece int, row int"
TOLD = "range int, payload binary"
Batches = Iterator[pa.RecordBatch]
Function = Callable[[Any], Any]
Ship = Callable[[Function], Function]
"""How a function comes to the workers."""
log = logging.getLogger(__name__)


class Upload(Protocol):
    """A file that the driver and the workers read, each by itself: it is pickled, and opened where it is used."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    def read(self, start: int, end: int) -> bytes: ...
    def open(self) -> Any: ...


def direct(function: Function) -> Function:
    """To workers that can import what the driver does."""

    def run(data: Any) -> Any:
        return function(data)

    return run


def prepare_large(
    spark: SparkSession, upload: Upload, spec: ModelSpec, work: Path, *, received_at: str | None = None, max_bytes: int = MAX_BYTES,
    block_bytes: int = BLOCK_BYTES, suppressed: Suppressed = NOBODY, range_bytes: int = RANGE_BYTES, ship: Ship = direct,
) -> PreparedPart:  # fmt: skip
    """`prepare_upload` on Spark: equal rows, rejects and part id; a profile equal in counts, min and max, within its errors elsewhere.

    Raises UploadRefused as that does. `work` is an empty folder on the driver, which needs room for the finished part twice.
    """
    if not upload.name.endswith(".csv") or spec.data.format != "csv":
        log.info("%s: only plain CSV can be cut into ranges (a packed stream cannot be split), one process reads it", upload.name)
        with upload.open() as stream:
            return prepare_upload(
                stream, upload.name, spec, work, received_at=received_at, max_bytes=max_bytes, block_bytes=block_bytes, suppressed=suppressed
            )
    if upload.size > max_bytes:
        raise UploadRefused(f"the file holds more than {max_bytes:,} bytes; split it into smaller files")
    return _Large(spark, upload, spec, work, ship, block_bytes, suppressed).run(range_bytes, received_at)


class _Large:
    """One plain CSV file on its way to a part."""

    def __init__(
        self, spark: SparkSession, upload: Upload, spec: ModelSpec, work: Path, ship: Ship, block_bytes: int, suppressed: Suppressed
    ) -> None:
        self._suppressed = suppressed
        self._spark, self._upload, self._spec, self._work, self._ship, self._block_bytes = spark, upload, spec, work, ship, block_bytes
        self._rejects, self._profile = RejectFile(work), Profile()
        self._records = self._rejected = 0
        self._pieces: dict[str, list[Piece]] = defaultdict(list)
        self._numbers: dict[tuple[int, int], int] = {}

    def run(self, range_bytes: int, received_at: str | None) -> PreparedPart:
        with ThreadPoolExecutor(1) as pool:
            sha256 = pool.submit(_sha256, self._upload)
            file = CsvFile(self._spec, self._block_bytes)
            first = next(file.blocks(chunks(self._upload.read, 0, self._upload.size)), None)
            if first is None:
                refuse_part(self._spec, Counts(0, 0, {}), self._profile, received_at)
            ranges = self._ranges(first, range_bytes) if first else []
            log.info("%s: %s bytes in %s ranges", self._upload.name, self._upload.size, len(ranges))
            worker = RangeWorker(self._upload, tuple(ranges), file.layout, self._spec, self._block_bytes, self._suppressed)
            made = self._on_ranges(worker.prepare, len(ranges), MADE).persist(StorageLevel.DISK_ONLY)
            earlier = self._earlier(made).persist(StorageLevel.DISK_ONLY)
            try:
                return self._part(made, earlier, worker, received_at, sha256)
            finally:
                earlier.unpersist()
                made.unpersist()

    def _ranges(self, first: Block, range_bytes: int) -> list[Range]:
        csv = self._spec.data.csv
        surveyor = Surveyor(self._upload, tuple(guesses(first.offset, self._upload.size, range_bytes)), Dialect(csv.delimiter, csv.quote))
        told = self._on_ranges(surveyor, len(surveyor.guesses), TOLD).collect()
        found = {row.range: load_survey(bytes(row.payload)) for row in told}
        return chain([found[number] for number in sorted(found)], first.offset, first.line, self._upload.size)

    def _on_ranges(self, task: Function, count: int, schema: str) -> DataFrame:
        """One task a range, in their order."""
        return self._spark.range(0, count, 1, count).mapInArrow(self._ship(task), schema)

    def _earlier(self, made: DataFrame) -> DataFrame:
        """The rows that a later row of the same key replaces."""
        keys = made.where("kind = 'keys'").select("range", "payload").mapInArrow(self._ship(explode_keys), KEYS)
        newest = F.max("line").over(Window.partitionBy("hash"))
        return keys.withColumn("newest", newest).where("line < newest").select("line", "range", "piece", "row")

    def _part(self, made: DataFrame, earlier: DataFrame, worker: "RangeWorker", received_at: str | None, sha256: Future[str]) -> PreparedPart:
        replaced = earlier.toArrow()
        for row in made.where("kind <> 'keys'").toLocalIterator():
            self._take(row.range, row.kind, row.name, row.rows, bytes(row.payload))
        by_rule = self._rejects.by_rule + Counter({(self._spec.key, REPEATED): len(replaced)})
        counts = Counts(self._records, self._rejected + len(replaced), rules_told(by_rule), by_rule[self._spec.key, RULE])
        refuse_part(self._spec, counts, self._profile, received_at)
        told = earlier.groupBy("range").applyInArrow(self._ship(worker.repeated), TOLD)
        told = told.repartition(1).sortWithinPartitions("range")  # orderBy would make all of it twice, for a sample
        rejects = self._rejects.write(pl.read_parquet(io.BytesIO(row.payload)) for row in (told.toLocalIterator() if len(replaced) else ()))
        without = self._without(replaced)
        files = {name: finish(pieces, without, self._work / f"{name}.parquet") for name, pieces in sorted(self._pieces.items())}
        files = {name: file for name, file in files.items() if file.rows}
        profile = self._work / "profile.json"
        profile.write_text(json.dumps(self._profile.dump(), indent=1), encoding="utf-8")
        record = part_record(self._spec, sha256.result(), files, counts, worker.layout.ignored, self._suppressed)
        return PreparedPart(record, {name: file.path for name, file in files.items()}, rejects.path, profile)

    def _take(self, number: int, kind: str, name: str, rows: int, payload: bytes) -> None:
        """What a worker made of a range, in the order of the file."""
        if kind == "refused":
            raise UploadRefused(payload.decode())
        if kind == "facts":
            facts = json.loads(payload)
            self._records += facts["records"]
            self._rejected += facts["rejected"]
            self._profile = self._profile.merge(load_profile(facts["profile"]))
        elif kind == "rejects":
            self._rejects.add(pl.read_parquet(io.BytesIO(payload)))
        else:
            in_range = int(name.partition("/")[0])
            piece = Piece(len(self._numbers), self._work / f"piece-{len(self._numbers)}", rows)
            piece.path.write_bytes(payload)
            self._numbers[number, in_range] = piece.number
            self._pieces[name.partition("/")[2]].append(piece)

    def _without(self, replaced: pa.Table) -> dict[int, NDArray[np.int64]]:
        """For each piece the rows that are replaced."""
        rows = pl.DataFrame(pl.from_arrow(replaced))
        groups = rows.partition_by("range", "piece", as_dict=True)
        return {self._numbers[number, piece]: group["row"].cast(pl.Int64).to_numpy() for (number, piece), group in groups.items()}


@dataclass(frozen=True)
class Surveyor:
    """A worker's task: survey the range of a number."""

    upload: Upload
    guesses: tuple[tuple[int, int], ...]
    dialect: Dialect

    def __call__(self, batches: Batches) -> Batches:
        for number in _numbers(batches):
            one = survey(self.upload.read, self.guesses[number], self.guesses[0][0], self.upload.size, self.dialect)
            yield _told(number, json.dumps(asdict(one)).encode())


def load_survey(stored: bytes) -> Survey:
    read = json.loads(stored)
    cases = {
        name: Case(tuple(case["first"]) if case["first"] else None, case["open"], case["dead"]) for name, case in read.items() if name != "newlines"
    }
    return Survey(read["newlines"], **cases)


@dataclass(frozen=True)
class RangeWorker:
    """What a worker does with a range: `prepare`, and later tell `repeated` rows as they came."""

    upload: Upload
    ranges: tuple[Range, ...]
    layout: CsvLayout
    spec: ModelSpec
    block_bytes: int
    suppressed: Suppressed

    def prepare(self, batches: Batches) -> Batches:
        for number in _numbers(batches):
            try:
                yield from self._prepared(number)
            except UploadRefused as error:
                yield _made(number, "refused", "", 0, str(error).encode())

    def repeated(self, earlier: pa.Table) -> pa.Table:
        """The rejects of the rows of one range that a later row replaces, by line: its bytes are read once more."""
        number = earlier["range"][0].as_py()
        lines = np.sort(earlier["line"].to_numpy())
        prepare, found = BlockPreparer(self.layout, self.spec), []
        for block in self._blocks(number):
            start, end = np.searchsorted(lines, [block.line, block.line + block.lines])
            if end > start:
                found.append(prepare.repeated(block, lines[start:end]))
        return pa.Table.from_batches([_told(number, _parquet(pl.concat(found)))])

    def _blocks(self, number: int) -> Iterator[Block]:
        one = self.ranges[number]
        stream = Filled(chunks(self.upload.read, one.start, one.end))
        return CsvFile(self.spec, self.block_bytes).records(Block(b"", one.line, one.start), stream)

    def _prepared(self, number: int) -> Batches:
        prepare, rows, rejects = BlockPreparer(self.layout, self.spec, self.suppressed), [], []
        records = rejected = 0
        profile = Profile()
        for block in self._blocks(number):
            made = without_repeats(prepare(block), self.spec)
            rows.append(made.rows)
            rejects.append(made.rejects)
            records, rejected, profile = records + made.records, rejected + made.rejected, profile.merge(made.profile)
        facts = {"records": records, "rejected": rejected, "profile": profile.dump()}
        yield _made(number, "facts", "", 0, json.dumps(facts).encode())
        if rejects and len(told := pl.concat(rejects)):
            yield _made(number, "rejects", "", len(told), _parquet(told))
        if rows:
            yield from self._pieces(number, pl.concat(rows))

    def _pieces(self, number: int, rows: pl.DataFrame) -> Batches:
        files = rows.with_columns(file_names(rows, self.spec).alias("_file")).partition_by("_file", as_dict=True)
        made = 0
        for (name,), group in sorted(files.items()):
            for piece in group.drop("_file").iter_slices(ROWS):
                entries = np.empty(len(piece), ENTRY)
                entries["hash"], entries["line"], entries["piece"], entries["row"] = piece[KEY_HASH], piece[LINE], made, np.arange(len(piece))
                yield _made(number, "rows", f"{made}/{name}", len(piece), _parquet(piece.drop(LINE)))
                yield _made(number, "keys", "", len(piece), entries.tobytes())
                made += 1


def explode_keys(batches: Batches) -> Batches:
    """Entries of keys as rows that Spark can shuffle."""
    for batch in batches:
        for number, payload in zip(batch["range"].to_pylist(), batch["payload"].to_pylist(), strict=True):
            entries = np.frombuffer(payload, ENTRY)
            columns = [entries["hash"].view(np.int64), entries["line"], np.full(len(entries), number), entries["piece"], entries["row"]]
            kinds = (pa.int64(), pa.int64(), pa.int32(), pa.int32(), pa.int32())
            arrays = [
                pa.array(np.ascontiguousarray(column).astype(kind.to_pandas_dtype()), kind) for column, kind in zip(columns, kinds, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, ["hash", "line", "range", "piece", "row"])


def _numbers(batches: Batches) -> Iterator[int]:
    return (number for batch in batches for number in batch["id"].to_pylist())


def _told(number: int, payload: bytes) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([number], pa.int32()), pa.array([payload], pa.binary())], ["range", "payload"])


def _made(number: int, kind: str, name: str, rows: int, payload: bytes) -> pa.RecordBatch:
    types = (pa.int32(), pa.string(), pa.string(), pa.int64(), pa.binary())
    arrays = [pa.array([value], type_) for value, type_ in zip((number, kind, name, rows, payload), types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, ["range", "kind", "name", "rows", "payload"])


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    encode(frame, out)
    return out.getvalue()


def _sha256(upload: Upload) -> str:
    """Of the whole file, front to back: this alone cannot be done in ranges, the id of a part is of its content."""
    seen = hashlib.sha256()
    places: deque[tuple[int, int]] = deque((at, min(at + READ_BYTES, upload.size)) for at in range(0, upload.size, READ_BYTES))
    with ThreadPoolExecutor(AHEAD) as pool:
        under_way: deque[Future[bytes]] = deque()
        while places or under_way:
            while places and len(under_way) < AHEAD:
                under_way.append(pool.submit(upload.read, *places.popleft()))
            seen.update(under_way.popleft().result())
    return seen.hexdigest()
