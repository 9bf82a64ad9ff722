"""Byte ranges of a large CSV file, cut exactly where the one reader from front to back sees records start.

Guess, survey, chain. Right after a line feed there are two cases only: a record starts there, or a quoted field goes on. So
a guessed place is moved behind the next line feed, each range is surveyed for both cases by itself, and one pass over the
surveys tells which of the two was true.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tidemill.errors import UploadRefused
from tidemill.prepare.records import MAX_RECORD_BYTES, Dialect, exact_records, last_end
from tidemill.prepare.table import line_feeds

READ_BYTES = 8 * 1024 * 1024
LOOK_BYTES = 64 * 1024
Read = Callable[[int, int], bytes]
"""The bytes of the file from a place up to another one."""


@dataclass(frozen=True)
class Range:
    """Whole records from byte `start` up to byte `end`; `line` is the number of the first line."""

    start: int
    end: int
    line: int


@dataclass(frozen=True)
class Case:
    """What a range is when it begins outside of quotes, or inside.

    first: where its first record starts, with the line feeds before it in the range; None when none does. `open`: it ends
    inside of quotes. `dead`: this cannot be so, or the file is no CSV.
    """

    first: tuple[int, int] | None = None
    open: bool = False
    dead: bool = False


DEAD = Case(dead=True)


@dataclass(frozen=True)
class Survey:
    newlines: int
    outside: Case
    inside: Case


def guesses(start: int, size: int, step: int) -> list[tuple[int, int]]:
    """The first record starts at `start`; ranges of `step` bytes, the last one up to twice as long."""
    places = [start, *range(start + step, size - step, step)]
    return list(zip(places, [*places[1:], size], strict=True))


def survey(read: Read, guess: tuple[int, int], start: int, size: int, dialect: Dialect) -> Survey:
    """The range between the first line feeds at or after two guessed places."""
    begin = start if guess[0] == start else _behind_newline(read, guess[0], size)
    end = size if guess[1] == size else _behind_newline(read, guess[1], size)
    if begin is None or end is None:
        return Survey(0, DEAD, DEAD)
    if begin == end:
        return Survey(0, Case(), Case(open=True))
    newlines = sum(map(line_feeds, chunks(read, begin, end)))
    return Survey(newlines, _outside(read, begin, end, dialect), _inside(read, begin, end, dialect))


def chain(surveys: Sequence[Survey], start: int, line: int, size: int) -> list[Range]:
    """The true ranges. Where a survey says that the file is no CSV, the last range goes to its end: reading it tells why."""
    cuts, at, open_ = [(start, line)], line, False
    for one in surveys:
        case = one.inside if open_ else one.outside
        if case.dead:
            break
        if case.first is not None and case.first[0] > start:
            cuts.append((case.first[0], at + case.first[1]))
        at, open_ = at + one.newlines, case.open
    ends = [*(place for place, _ in cuts[1:]), size]
    return [Range(place, end, first) for (place, first), end in zip(cuts, ends, strict=True) if place < end]


def chunks(read: Read, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, READ_BYTES):
        yield read(at, min(at + READ_BYTES, end))


def _behind_newline(read: Read, place: int, size: int) -> int | None:
    """None where there is none for longer than a record may be."""
    limit = min(size, place + MAX_RECORD_BYTES)
    for at in range(place, limit, LOOK_BYTES):
        found = read(at, min(at + LOOK_BYTES, limit)).find(b"\n")
        if found >= 0:
            return at + found + 1
    return size if limit == size else None


def _outside(read: Read, begin: int, end: int, dialect: Dialect) -> Case:
    return _followed(chunks(read, begin, end), b"", dialect, (begin, 0))


def _inside(read: Read, begin: int, end: int, dialect: Dialect) -> Case:
    """As if a quote came before it; then its first record is what is left of an earlier one."""
    quote, stream = dialect.quote.encode(), chunks(read, begin, end)
    if not quote:
        return DEAD
    data = quote
    for chunk in stream:
        data += chunk
        try:
            first = next(exact_records(data, dialect, 1), None) if data.find(quote, 1) > 0 else None
        except UploadRefused:
            return DEAD
        if first is not None:
            at = begin + first.end - 1
            found = (at, line_feeds(data, first.end)) if at < end else None
            return _followed(stream, data[first.end :], dialect, found)
        if len(data) > MAX_RECORD_BYTES:
            return DEAD
    return Case(open=True)


def _followed(stream: Iterator[bytes], rest: bytes, dialect: Dialect, first: tuple[int, int] | None) -> Case:
    """From where a record starts to the end of the range, as the reader from front to back does it."""
    try:
        rest = rest[last_end(rest, dialect, 1) :]
        for chunk in stream:
            data = rest + chunk
            rest = data[last_end(data, dialect, 1) :]
            if len(rest) > MAX_RECORD_BYTES:
                return DEAD
    except UploadRefused:
        return DEAD
    return Case(first, open=bool(rest))
