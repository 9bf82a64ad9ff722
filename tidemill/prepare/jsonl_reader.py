"""JSON Lines: one object a line. Values become text and keep the rules that a CSV field keeps."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from tidemill.errors import UploadRefused
from tidemill.prepare.filled import Filled
from tidemill.prepare.records import MAX_RECORD_BYTES
from tidemill.prepare.table import Block, Lines, Table, line_feeds, only, rejects, texts_of
from tidemill.spec import ModelSpec

MAX_NAMES = 1000
TEXTS = {None: None, True: "true", False: "false"}


class JsonlFile:
    """A JSON Lines upload, which is its own layout: every line names its columns."""

    def __init__(self, spec: ModelSpec, block_bytes: int) -> None:
        self._spec, self._block_bytes = spec, block_bytes
        self._names = {header: name for name, column in spec.columns.items() for header in (name, *column.aliases)}
        self._new: set[str] = set()

    @property
    def layout(self) -> "JsonlFile":
        return self

    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that the spec does not name, as far as the file was read."""
        return tuple(sorted(self._new))

    def blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]:
        """Raises UploadRefused for an empty file, and for a line that does not end."""
        stream = Filled(chunks)
        rest = Block(b"", 1)
        while True:
            data = stream.take(max(self._block_bytes - len(rest.data), self._block_bytes // 8, 1), rest.data)
            if rest.offset == 0 and not data:
                raise UploadRefused("the file is empty (0 bytes)")
            if stream.ended:
                data += b"\n" * (data[-1:] not in (b"\n", b""))
            if end := data.rfind(b"\n") + 1:
                yield Block(data[:end], rest.line, rest.offset)
            rest = Block(data[end:], rest.line + line_feeds(data, end), rest.offset + end)
            if len(rest.data) > MAX_RECORD_BYTES:
                raise UploadRefused(f"line {rest.line}: longer than {MAX_RECORD_BYTES:,} bytes: not JSON Lines")
            if stream.ended:
                return

    def parse(self, block: Block) -> Table:
        rows: list[dict[str, str | None]] = []
        lines: list[int] = []
        texts: list[str] = []
        unread: list[tuple[int, str, str, str | None, str | None]] = []
        for number, raw in enumerate(self._lines(block), block.line):
            if not (text := raw.strip(" \t\r\ufeff")):
                continue
            row = self._row(text, number)
            if isinstance(row, dict):
                rows.append(row)
                lines.append(number)
                texts.append(text)
            else:
                unread.append((number, *row, text))
        columns = {name: [row.get(name) for row in rows] for name in self._spec.columns}
        frame = pl.DataFrame(columns, schema=dict.fromkeys(self._spec.columns, pl.String))
        return Table(frame, np.array(lines, np.int64), texts_of(texts), rejects(unread))

    def rows_at(self, block: Block, lines: Lines) -> Table:
        return only(self.parse(block), lines)

    def _lines(self, block: Block) -> list[str]:
        try:
            return block.data.decode().split("\n")
        except UnicodeDecodeError as error:
            place = block.offset + error.start
            raise UploadRefused(f"not JSON Lines in UTF-8: byte {place:,} is 0x{block.data[error.start]:02x}") from error

    def _row(self, text: str, line: int) -> "dict[str, str | None] | tuple[str, str, str | None]":
        """Column → text, or the (column, rule, value) that the line breaks."""
        try:
            parsed = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_once)
            if "\\u" in text:
                json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            return "", "JSON object", None
        if not isinstance(parsed, dict):
            return "", "JSON object", None
        row: dict[str, str | None] = {}
        for header, value in parsed.items():
            name = self._names.get(header)
            if name is None:
                self._note_new(header, line)
            elif isinstance(value, dict | list):
                return name, "one value", json.dumps(value)[:200]
            elif name in row:
                return name, "one value", "under two of its names"
            else:
                row[name] = (value if isinstance(value, str) else TEXTS[value]) or None
        return row

    def _note_new(self, header: str, line: int) -> None:
        if self._spec.data.drift.new == "refuse":
            raise UploadRefused(f'line {line}: new column {header[:100]}; data.drift.new is "refuse"')
        if len(self._new) < MAX_NAMES:
            self._new.add(header[:100])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice")
    return found
