"""Ranges of a large file are cut where the reader from front to back sees records start."""

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.errors import UploadRefused
from tidemill.prepare import ranges
from tidemill.prepare.ranges import Range, chain, guesses, survey
from tidemill.prepare.records import Dialect, exact_records

COMMA = Dialect()
PIECES = st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", "a", "bc", '"x, y"', '"one\ntwo"', '"he said ""no"""\n', "1,2\n", '"\n"', 'in"side', ";", "é"]
)
FIELDS = st.sampled_from(["", "1", "ab", '""', '"x"', '"a,b"', '"line\nbreak"', '"say ""hi"""', '"\r\n"', '"\n,\n"', 'o"dd', "'"])


def cut(data: bytes, step: int, dialect: Dialect = COMMA, start: int = 0, line: int = 1) -> list[Range]:
    def read(begin: int, end: int) -> bytes:
        return data[begin:end]

    found = [survey(read, guess, start, len(data), dialect) for guess in guesses(start, len(data), step)]
    return chain(found, start, line, len(data))


def starts(data: bytes, dialect: Dialect, line: int) -> tuple[dict[int, int], bool]:
    """Where each record starts, with its line; and whether the file is CSV to its end."""
    text, found, end = data + b"\n" * (not data.endswith(b"\n")), {}, 0
    try:
        for record in exact_records(text, dialect, line):
            found[record.start], end = line + text.count(b"\n", 0, record.start), record.end
    except UploadRefused:
        return found, False
    return found, end == len(text)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(FIELDS, min_size=1, max_size=4).map(",".join), min_size=1, max_size=40),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 60),
    st.integers(1, 40),
    st.booleans(),
)
def test_cuts_lie_where_records_start(rows, ending, step, read_bytes, closed):
    data = (ending.join(rows) + ending * closed).encode() or b"\n"
    known, whole = starts(data, COMMA, 1)
    assert whole
    with patch.object(ranges, "READ_BYTES", read_bytes):
        found = cut(data, step)
    assert all(known[one.start] == one.line for one in found)
    assert [one.end for one in found] == [*(one.start for one in found[1:]), len(data)]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(PIECES, min_size=1, max_size=80).map("".join),
    st.integers(1, 60),
    st.integers(1, 40),
    st.sampled_from([COMMA, Dialect(quote=""), Dialect(";", "'")]),
)
def test_cuts_of_any_text_lie_where_records_start_as_far_as_it_is_csv(text, step, read_bytes, dialect):
    data = text.encode()
    known, _ = starts(data, dialect, 7)
    with patch.object(ranges, "READ_BYTES", read_bytes):
        found = cut(data, step, dialect, line=7)
    # What is not CSV breaks the reading at the place of the last record that starts: no cut lies behind it.
    broken = max(known, default=0)
    assert all(known.get(one.start, 7 if one.start == 0 else None) == one.line for one in found if one.start <= broken or one.start == 0)
    assert [one.end for one in found] == [*(one.start for one in found[1:]), len(data)]
    assert found[0].start == 0


def test_many_ranges_are_found_in_a_file_whose_line_feeds_lie_in_quotes():
    data = b"".join(b'%d,"first\nsecond, ""third""\n",x\n' % number for number in range(500))
    found = cut(data, 200)
    assert len(found) > 50
    assert all(data[one.start : one.end].startswith(str(one.line // 3).encode() + b",") for one in found)


def test_a_file_that_is_no_csv_is_one_range_from_the_last_good_cut():
    good = b"1,2\n" * 100
    found = cut(good + b'3,"open"x\n' + good, 40)
    assert found[-1].end == 2 * len(good) + 10
    assert len(good) - 80 <= found[-1].start <= len(good)


@pytest.mark.parametrize("size", [1, 39, 40, 79, 80, 81])
def test_guesses_cover_the_file(size):
    found = guesses(0, size, 40)
    assert found[0][0] == 0
    assert found[-1][1] == size
    assert all(one[1] == other[0] for one, other in pairwise(found))


def test_the_survey_reads_no_more_than_a_record_behind_its_range():
    data, seen = b"1,2\n" * 1000, []

    def read(begin: int, end: int) -> bytes:
        seen.append((begin, min(end, len(data))))
        return data[begin:end]

    with patch.object(ranges, "LOOK_BYTES", 16):
        survey(read, (400, 800), 0, len(data), COMMA)
    assert min(begin for begin, _ in seen) == 400
    assert max(end for _, end in seen) <= 816
