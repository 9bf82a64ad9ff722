"""Where the records of a CSV text end: fast while its quotes are regular, exact when they are not.

A quote opens a field only at the field's start and a doubled one stands for itself (RFC 4180); elsewhere it is a
character like any other. Records end with a line feed, or a carriage return and a line feed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tidemill.errors import UploadRefused

Positions = NDArray[np.int64]
MAX_RECORD_BYTES = 16 * 1024 * 1024
NEWLINE, RETURN = 10, 13


@dataclass(frozen=True)
class Dialect:
    """Delimiter and quote, one ASCII character each; no quote means that fields are never quoted."""

    delimiter: str = ","
    quote: str = '"'

    @cached_property
    def field(self) -> re.Pattern[bytes]:
        """A field and what ends it. Group 1: quoted, group 2: plain, group 3: the end."""
        d, q = re.escape(self.delimiter).encode(), re.escape(self.quote).encode()
        if not q:
            return re.compile(b"()([^%b\n]*)(%b|\n)" % (d, d))
        return re.compile(b"(?:%b((?:[^%b]|%b%b)*+)%b|(?!%b)([^%b\n]*))(%b|\r?\n)" % (q, q, q, q, q, q, d, d))

    @cached_property
    def quoted(self) -> re.Pattern[bytes]:
        q = re.escape(self.quote).encode()
        return re.compile(b"%b(?:[^%b]|%b%b)*+%b" % (q, q, q, q, q))


@dataclass(frozen=True)
class Record:
    """A record read the exact way: where it lies, and its fields."""

    start: int
    end: int
    fields: list[bytes]


def last_end(data: bytes, dialect: Dialect, line: int) -> int:
    """The place after the last whole record of `data`, 0 when it holds none. `line` is the number of its first line."""
    if (quotes := quote_positions(data, dialect)) is None:
        end = 0
        for record in exact_records(data, dialect, line):
            end = record.end
        return end
    at = data.rfind(b"\n")
    while at >= 0 and (before := int(np.searchsorted(quotes, at))) % 2:
        at = data.rfind(b"\n", 0, int(quotes[before - 1]))  # inside a quoted field: look before it
    return at + 1


def quote_positions(data: bytes, dialect: Dialect) -> Positions | None:
    """Where the quotes are, or None when they are not regular: then only the exact way tells the records."""
    quote = dialect.quote.encode()
    if not quote or quote not in data:
        return np.empty(0, np.int64)
    text = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(text == quote[0])
    opening, closing = quotes[::2], quotes[1::2]
    before = text[opening - 1]  # of a quote at 0 this is the last byte, which the next line puts right
    opens = (before == ord(dialect.delimiter)) | (before == NEWLINE) | (opening == 0)
    opens[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = text[np.minimum(closing + 1, len(text) - 1)]
    closes = (after == ord(dialect.delimiter)) | (after == NEWLINE) | (closing == len(text) - 1)
    closes[: len(opening) - 1] |= opening[1:] == closing[: len(opening) - 1] + 1
    closes |= (after == RETURN) & (text[np.minimum(closing + 2, len(text) - 1)] == NEWLINE)
    return quotes if opens.all() and closes.all() else None


def exact_records(data: bytes, dialect: Dialect, line: int) -> Iterator[Record]:
    """The records of `data`, field by field; a last one that is not whole is left out.

    Raises UploadRefused where a quoted field goes on after its closing quote.
    """
    at, start, fields, pattern = 0, 0, [], dialect.field
    quote = dialect.quote.encode()
    while match := pattern.match(data, at):
        quoted, plain, end = match.groups()
        field = quoted.replace(quote * 2, quote) if quoted is not None and quote else plain
        if quoted is None and end == b"\n" and field.endswith(b"\r"):
            field = field[:-1]
        fields.append(field)
        at = match.end()
        if end != dialect.delimiter.encode():
            yield Record(start, at, fields)
            start, fields = at, []
    closed = dialect.quoted.match(data, at) if quote else None
    if closed and data[closed.end() :] not in (b"", b"\r"):
        raise UploadRefused(f"line {line + data.count(NEWLINE, 0, at)}: not CSV: a quoted field goes on after its closing quote")
