"""Parquet files with one schema become one file, their row groups copied byte for byte.

polars writes a whole file at a time; a part's file grows by row groups, and most of them need never be decoded again. Only
the footer is new. Its format: Thrift's compact protocol (github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
of the structures in parquet.thrift (github.com/apache/parquet-format).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MAGIC = b"PAR1"
COPIED = 1024 * 1024
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
NUM_ROWS, ROW_GROUPS = 3, 4
"""Fields of FileMetaData."""
COLUMNS, GROUP_OFFSET, ORDINAL = 1, 5, 7
"""Fields of RowGroup."""
CHUNK_OFFSET, META_DATA, OFFSET_INDEX, COLUMN_INDEX = 2, 3, 4, 6
"""Fields of ColumnChunk; the page indexes have an offset and, in the field after it, a length."""
PLACES = (9, 10, 11, 14)
"""Fields of ColumnMetaData that are places in the file: data, index and dictionary pages, bloom filter."""


class Field(NamedTuple):
    id: int
    type: int
    value: Any


def stitch(pieces: Sequence[Path], target: Path) -> tuple[int, str]:
    """Write the row groups of `pieces`, in order, to `target`; its size in bytes and its sha256."""
    with target.open("wb") as file:
        out = _Hashed(file)
        out.write(MAGIC)
        footer: list[Field] = []
        groups: list[Any] = []
        for piece in pieces:
            piece_footer, body_end = _footer(piece)
            shift = out.at - len(MAGIC)
            _copy(piece, len(MAGIC), body_end, out)
            groups += [_moved(group, shift, len(groups) + index) for index, group in enumerate(_get(piece_footer, ROW_GROUPS)[1])]
            footer = footer or piece_footer
        rows = sum(_get(group, 3) for group in groups)
        footer = _put(_put(footer, NUM_ROWS, rows), ROW_GROUPS, (STRUCT, groups))
        data = bytearray()
        _write_struct(data, footer)
        out.write(bytes(data) + len(data).to_bytes(4, "little") + MAGIC)
    return out.at, out.sha256.hexdigest()


class _Hashed:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self.at, self.sha256 = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.at += len(data)


def _copy(piece: Path, start: int, end: int, out: _Hashed) -> None:
    with piece.open("rb") as file:
        file.seek(start)
        for at in range(start, end, COPIED):
            out.write(file.read(min(COPIED, end - at)))


def _footer(piece: Path) -> tuple[list[Field], int]:
    """The FileMetaData of a file, and where what comes before it ends."""
    with piece.open("rb") as file:
        end = file.seek(-8, 2)
        size = int.from_bytes(file.read(4), "little")
        file.seek(end - size)
        data = file.read(size)
    return _Reader(data).struct(), end - size


def _get(struct: list[Field], id: int) -> Any:  # noqa: A002  # Thrift's word
    return next(field.value for field in struct if field.id == id)


def _put(struct: list[Field], id: int, value: Any) -> list[Field]:  # noqa: A002
    return [field._replace(value=value) if field.id == id else field for field in struct]


def _moved(group: list[Field], shift: int, ordinal: int) -> list[Field]:
    """The row group as it is described when it lies `shift` bytes further on. Its page indexes move along."""
    kind, chunks = _get(group, COLUMNS)
    moved = _put(_put(group, COLUMNS, (kind, [_moved_chunk(chunk, shift) for chunk in chunks])), ORDINAL, ordinal)
    return [field._replace(value=field.value + shift) if field.id == GROUP_OFFSET else field for field in moved]


def _moved_chunk(chunk: list[Field], shift: int) -> list[Field]:
    def moved(field: Field) -> Field:
        if field.id == META_DATA:
            return field._replace(value=[f._replace(value=f.value + shift) if f.id in PLACES else f for f in field.value])
        # file_offset is deprecated and 0 in new files
        if field.id in (OFFSET_INDEX, COLUMN_INDEX) or (field.id == CHUNK_OFFSET and field.value):
            return field._replace(value=field.value + shift)
        return field

    return [moved(field) for field in chunk]


class _Reader:
    """Thrift's compact protocol: structs as lists of fields, so that what is not known to us is kept."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> list[Field]:
        fields, last = [], 0
        while header := self._byte():
            kind, delta = header & 15, header >> 4
            last = last + delta if delta else self._zigzag()
            fields.append(Field(last, kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind in (BYTE, TRUE, FALSE):
            return self._byte()
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            return self._list()
        if kind in (BINARY, DOUBLE):
            return self._bytes(self._varint() if kind == BINARY else 8)
        raise ValueError(f"type {kind} in a Parquet footer")

    def _list(self) -> tuple[int, list[Any]]:
        header = self._byte()
        size = self._varint() if header >> 4 == 15 else header >> 4
        return header & 15, [self._value(header & 15) for _ in range(size)]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _write_struct(out: bytearray, fields: list[Field]) -> None:
    last = 0
    for id_, kind, value in fields:
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE  # noqa: PLW2901  # a boolean field's value is its type
        if 0 < id_ - last < 16:
            out.append((id_ - last) << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _zigzagged(id_))
        last = id_
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, value)
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (I16, I32, I64):
        _write_varint(out, _zigzagged(value))
    elif kind in (BYTE, TRUE, FALSE):
        out.append(value)
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        _write_list(out, *value)
    else:
        if kind == BINARY:
            _write_varint(out, len(value))
        out += value


def _write_list(out: bytearray, kind: int, values: list[Any]) -> None:
    if len(values) < 15:
        out.append(len(values) << 4 | kind)
    else:
        out.append(0xF0 | kind)
        _write_varint(out, len(values))
    for value in values:
        _write_value(out, kind, value)


def _zigzagged(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
