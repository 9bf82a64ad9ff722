"""Read an upload into columns of text, keeping each record's line number and its text as it came."""

import csv
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill.errors import UploadRefused
from tidemill.spec import ModelSpec

if TYPE_CHECKING:
    import _csv

MAX_BYTES = 96 * 1024 * 1024
"""The most that one upload may hold once unpacked: what the prepare function's memory carries."""


@dataclass(frozen=True)
class RaggedRow:
    """A record with another number of fields than the header."""

    line: int
    fields: int
    text: str


@dataclass(frozen=True)
class Table:
    """The records of a file as text: `columns[name][i]`, `lines[i]` (1-based, of the record's first line), `texts[i]`."""

    columns: dict[str, list[str]]
    lines: list[int]
    texts: list[str]
    ragged: list[RaggedRow] = field(default_factory=list)
    ignored: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.lines) + len(self.ragged)


def read_upload(data: bytes, name: str, spec: ModelSpec) -> Table:
    """The records of the upload `name`; its ending tells the compression (.csv or .csv.gz).

    Raises UploadRefused when no row of it can be used, with the byte or the line where that shows.
    """
    if name.endswith(".gz"):
        data, name = _gunzip(data), name.removesuffix(".gz")
    if not name.endswith(".csv"):
        raise UploadRefused(f"the name must end in .csv or .csv.gz, this one is '{name}'")
    if not data:
        raise UploadRefused("the file is empty (0 bytes)")
    if len(data) > MAX_BYTES:
        raise UploadRefused(f"the file holds {len(data):,} bytes, at most {MAX_BYTES:,} are read; split it into smaller files")
    return _read_csv(_decode(data), spec)


def _gunzip(data: bytes) -> bytes:
    """Every member of a gzip file, at most a byte more than may be read."""
    out = b""
    while data and len(out) <= MAX_BYTES:
        unpack = zlib.decompressobj(wbits=31)
        try:
            out += unpack.decompress(data, MAX_BYTES + 1 - len(out))
        except zlib.error as error:
            raise UploadRefused(f"not a gzip file, or broken after {len(out):,} bytes: {error}") from error
        if len(out) <= MAX_BYTES and not unpack.eof:
            raise UploadRefused(f"the gzip stream is cut short after {len(out):,} bytes; upload the file again")
        data = unpack.unused_data.lstrip(b"\0")
    return out


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UploadRefused(f"not a CSV file in UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}") from error
    if (nul := text.find("\0")) >= 0:
        raise UploadRefused(f"not a CSV file: character {nul:,} is NUL")
    return text


class _Lines(Iterator[str]):
    """Lines for csv.reader that remember the text of the record being read."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")  # splits at \n, \r\n and \r only, and keeps them
        self._seen: list[str] = []

    def __next__(self) -> str:
        line = next(self._lines)
        self._seen.append(line)
        return line

    def take(self) -> str:
        text = "".join(self._seen).rstrip("\r\n")
        self._seen.clear()
        return text


def _read_csv(text: str, spec: ModelSpec) -> Table:
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
        lines.take()
        _check_header(header, spec)
        return _read_records(reader, lines, header, spec)
    except csv.Error as error:
        raise UploadRefused(f"line {reader.line_num}: not CSV: {error}") from error


def _check_header(header: list[str], spec: ModelSpec) -> None:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UploadRefused(f"line 1: the header names {', '.join(twice)} more than once")
    if missing := [name for name in spec.columns if name not in header]:
        found = ", ".join(header)[:200] or "nothing"
        raise UploadRefused(f"line 1: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; the header has {found}")


def _read_records(reader: "_csv.Reader", lines: _Lines, header: list[str], spec: ModelSpec) -> Table:
    records: list[list[str]] = []
    numbers: list[int] = []
    texts: list[str] = []
    ragged: list[RaggedRow] = []
    start = reader.line_num + 1
    for record in reader:
        text = lines.take()
        if len(record) == len(header):
            records.append(record)
            numbers.append(start)
            texts.append(text)
        elif record:
            ragged.append(RaggedRow(start, len(record), text))
        start = reader.line_num + 1
    if not records and not ragged:
        raise UploadRefused("a header without rows: there is nothing to learn from")
    by_name = dict(zip(header, zip(*records, strict=True), strict=True)) if records else dict.fromkeys(header, ())
    columns = {name: list(by_name[name]) for name in spec.columns}
    return Table(columns, numbers, texts, ragged, tuple(name for name in header if name not in spec.columns))
