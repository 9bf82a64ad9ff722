"""CSV: cut into blocks of whole records while it is read, each block parsed on its own."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.errors import UploadRefused
from tidemill.prepare.columns import ignored_columns, match_columns
from tidemill.prepare.filled import Filled
from tidemill.prepare.records import MAX_RECORD_BYTES, NEWLINE, RETURN, Dialect, Positions, exact_records, last_end, quote_positions
from tidemill.prepare.table import Block, Lines, Table, line_feeds, only, rejects
from tidemill.spec import ModelSpec

Bytes = NDArray[np.uint8]
HEADER_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvLayout:
    """How a file's records become columns: what the header says, with the spec's dialect and encoding."""

    dialect: Dialect
    encoding: str
    width: int
    at: dict[str, int]
    names: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def parse(self, block: Block) -> Table:
        """Rows of text, with the records that have another number of fields as rejects.

        Raises UploadRefused for bytes that are no text of the encoding, and for quotes that make no sense.
        """
        data = _checked_text(block, self.encoding)
        quotes = quote_positions(data, self.dialect)
        parsed = self._fast(data, block.line, quotes) if quotes is not None else None
        return parsed or self._exact(data, block.line)

    def rows_at(self, block: Block, lines: Lines) -> Table:
        """The rows that begin on these lines: most of the block is not parsed again."""
        data = _checked_text(block, self.encoding)
        if (quotes := quote_positions(data, self.dialect)) is None:
            return only(self.parse(block), lines)
        found = _scan(data, block.line, quotes)
        at = np.isin(found.lines, lines)
        starts, ends = found.starts[at], found.ends[at]
        return Table(self._columns(self._read(_only(found, at)), len(quotes) > 0), found.lines[at], _Texts(data, starts, ends), rejects([]))

    def _fast(self, data: bytes, line: int, quotes: Positions) -> Table | None:
        """By polars and numpy; None where polars sees other records than we do."""
        found = _scan(data, line, quotes)
        starts, ends, lines = found.starts, found.ends, found.lines
        fields = self._field_counts(found)
        blank = (ends == starts) | ((ends == starts + 1) & (found.text[starts] == RETURN))
        good = (fields == self.width) & ~blank
        frame = self._read(data if good.all() else _only(found, good))
        if frame.height != np.count_nonzero(good):
            return None
        ragged = np.flatnonzero((fields != self.width) & ~blank)
        unread = self._ragged(lines[ragged], fields[ragged], _Texts(data, starts, ends)(ragged.tolist()))
        return Table(self._columns(frame, len(quotes) > 0), lines[good], _Texts(data, starts[good], ends[good]), unread)

    def _field_counts(self, found: "_Scan") -> Positions:
        """Fields of each record. Most often all have as many as the header, which shows without counting."""
        delimiter, starts, ends = found.text == ord(self.dialect.delimiter), found.starts, found.ends
        delimiters = np.flatnonzero(delimiter if found.inside is None else delimiter & ~found.inside)
        gaps = self.width - 1
        if gaps and len(delimiters) == gaps * len(ends) and (delimiters[::gaps] >= starts).all() and (delimiters[gaps - 1 :: gaps] < ends).all():
            return np.full(len(ends), self.width)
        return np.searchsorted(delimiters, ends) - np.searchsorted(delimiters, starts) + 1

    def _read(self, data: bytes) -> pl.DataFrame:
        names = [_field(index) for index in range(self.width)]
        frame = pl.read_csv(
            io.BytesIO(data), has_header=False, separator=self.dialect.delimiter, quote_char=self.dialect.quote or None,
            schema=dict.fromkeys(names, pl.String), columns=[names[index] for index in sorted(self.at.values())], raise_if_empty=False, glob=False,
        )  # fmt: skip
        return frame.rechunk()  # or every expression over it aligns its chunks anew

    def _columns(self, frame: pl.DataFrame, quoted: bool) -> pl.DataFrame:
        """The spec's columns in its order; an empty field is a missing value, quoted or not."""
        columns = []
        for name in self.names:
            if name not in self.at:
                columns.append(pl.Series(name, [None], pl.String).new_from_index(0, len(frame)))
                continue
            field = frame[_field(self.at[name])].alias(name)
            if quoted and (empty := field == "").any():
                field = field.set(empty, None)
            columns.append(field)
        return pl.DataFrame(columns)

    def _exact(self, data: bytes, line: int) -> Table:
        """Record by record, for text whose quotes are not regular."""
        records = [record for record in exact_records(data, self.dialect, line) if data[record.start : record.end].rstrip(b"\r\n")]
        newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE)
        starts, ends = (np.array([getattr(r, name) for r in records], np.int64) for name in ("start", "end"))
        lines = line + np.searchsorted(newlines, starts)
        fields = np.array([len(r.fields) for r in records], np.int64)
        good, ragged = np.flatnonzero(fields == self.width), np.flatnonzero(fields != self.width)
        texts = _Texts(data, starts, ends - 1)
        unread = self._ragged(lines[ragged], fields[ragged], texts(ragged.tolist()))
        rows = [records[i].fields for i in good]
        columns = {name: [row[self.at[name]].decode() or None for row in rows] if name in self.at else [None] * len(rows) for name in self.names}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(self.names, pl.String))
        return Table(frame, lines[good], _Texts(data, starts[good], ends[good] - 1), unread)

    def _ragged(self, lines: Lines, fields: Positions, texts: list[str]) -> pl.DataFrame:
        rule = f"{self.width} fields"
        return rejects([(line, "", rule, f"{count}", text) for line, count, text in zip(lines.tolist(), fields.tolist(), texts, strict=True)])


@dataclass(frozen=True)
class _Scan:
    """Where records lie in a text. `inside`: which bytes are between quotes; None where there are no quotes."""

    text: Bytes
    inside: NDArray[np.bool_] | None
    starts: Positions
    ends: Positions
    lines: Lines


def _scan(data: bytes, line: int, quotes: Positions) -> _Scan:
    text = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(text == NEWLINE)
    inside = _inside(len(text), quotes) if len(quotes) else None
    real = np.ones(len(newlines), bool) if inside is None else ~inside[newlines]
    ends = newlines[real]
    starts = np.concatenate([[0], ends[:-1] + 1])
    lines = line + np.concatenate([[0], np.flatnonzero(real)[:-1] + 1])
    return _Scan(text, inside, starts, ends, lines)


def _inside(size: int, quotes: Positions) -> NDArray[np.bool_]:
    """For each byte whether a field is open there: between an opening quote and its closing one."""
    lengths = np.diff(quotes, prepend=0, append=size)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _only(found: _Scan, records: NDArray[np.bool_]) -> bytes:
    """The text of these records alone."""
    return found.text[np.repeat(records, found.ends + 1 - found.starts)].tobytes()


def _field(index: int) -> str:
    return f"column_{index + 1}"


class _Texts:
    """Records as they came, by their index."""

    def __init__(self, data: bytes, starts: Positions, ends: Positions) -> None:
        self._data, self._starts, self._ends = data, starts, ends

    def __call__(self, indices: Sequence[int]) -> list[str]:
        return [self._data[self._starts[i] : self._ends[i]].decode().rstrip("\r\n") for i in indices]


def _checked_text(block: Block, encoding: str) -> bytes:
    """The block as UTF-8."""
    data = block.data
    if (nul := data.find(b"\0")) >= 0:
        raise UploadRefused(f"not a CSV file: byte {block.offset + nul:,} is NUL")
    if data.isascii():
        return data
    if encoding == "latin-1":
        return data.decode("latin-1").encode()
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise UploadRefused(f"not a CSV file in UTF-8: byte {block.offset + error.start:,} is 0x{data[error.start]:02x}") from error
    return data


class CsvFile:
    """A CSV upload: `layout` is known once the first block was asked for."""

    layout: CsvLayout

    def __init__(self, spec: ModelSpec, block_bytes: int) -> None:
        options = spec.data.csv
        self._spec, self._block_bytes, self._encoding = spec, block_bytes, options.encoding
        self._dialect = Dialect(options.delimiter, options.quote)

    def blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        """Blocks of whole records, about `block_bytes` each; where they are cut depends on the content alone.

        Raises UploadRefused when there is no header, or no end of a record for too long.
        """
        stream = Filled(chunks)
        head = stream.take(max(self._block_bytes, len(BOM) + 1))
        offset = len(BOM) if head.startswith(BOM) else 0
        rest = Block(head[offset:], 1, offset)
        if not rest.data:
            raise UploadRefused("the file is empty (0 bytes)")
        yield from self.records(self._header(rest, stream), stream)

    def records(self, rest: Block, stream: "Filled") -> Iterator[Block]:
        """The blocks of a stream without a header; `rest` is what was read of it before, and says where it lies."""
        while True:
            data = stream.take(max(self._block_bytes - len(rest.data), self._block_bytes // 8, 1), rest.data)
            if final := stream.ended:
                data += b"\n" * (data[-1:] != b"\n" and bool(data))
            end = last_end(data, self._dialect, rest.line)
            if end:
                yield Block(data[:end], rest.line, rest.offset)
            rest = Block(data[end:], rest.line + line_feeds(data, end), rest.offset + end)
            self._refuse_endless(rest, final)
            if final:
                return

    def _header(self, block: Block, stream: "Filled") -> Block:
        """Read the header into `layout`; what follows it is left."""
        data = block.data
        while (first := next(exact_records(data[:HEADER_BYTES] + b"\n" * stream.ended, self._dialect, 1), None)) is None:
            if len(data) > HEADER_BYTES or stream.ended:
                raise UploadRefused(f"line 1: not CSV: the header does not end within {min(HEADER_BYTES, len(data)):,} bytes")
            data += stream.take(self._block_bytes)
        end = min(first.end, len(data))
        _checked_text(Block(data[:end], 1, block.offset), self._encoding)
        header = [name.decode(self._encoding) for name in first.fields]
        at = match_columns(header, self._spec, "line 1")
        ignored = tuple(ignored_columns(header, at))
        self.layout = CsvLayout(self._dialect, self._encoding, len(header), at, tuple(self._spec.columns), ignored)
        return Block(data[end:], 1 + line_feeds(data, end), block.offset + end)

    def _refuse_endless(self, rest: Block, final: bool) -> None:
        if len(rest.data) > MAX_RECORD_BYTES or (final and rest.data):
            raise UploadRefused(
                f"line {rest.line}: not CSV: a quoted field that begins here is not closed, or its row is too long ({len(rest.data):,} bytes)"
            )
