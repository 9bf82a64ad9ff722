"""Whatever a CSV file holds and wherever it is cut into blocks: the same rows and rejects as the slow reference."""

import io
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.reference import BadQuotes, reference
from tests.samples import SPEC, spec
from tidemill.errors import UploadRefused
from tidemill.prepare.part import PreparedPart, prepare_upload
from tidemill.spec import ModelSpec

WIDE = SPEC.replace("reject_share_max = 0.5", "reject_share_max = 1").replace(
    'id = { role = "key", type = "string" }', 'id = { role = "key", type = "string", min_length = 2, max_length = 9, pattern = "[a-z].*" }'
)
BY_KEY = WIDE.replace('by = "time"', 'by = "key"')
COLUMNS = list(spec(WIDE).columns)
TEXT = st.text(st.sampled_from("ab é\"',;.\n0-\r\t"), max_size=6)
VALUES = {
    "id": st.one_of(st.sampled_from(["k1", "k2", "k3", "é4", "K5", "k", "a longer key"]), TEXT),
    "day": st.sampled_from(
        ["2024-05-01", "2024-05-01T10:30:00", "2024-05-02 10:30:15.5", "2024-05-03T00:00:00+02:00", "2024-05-03T23:30Z", "May", ""]
    ),
    "sank": st.sampled_from(["true", "FALSE", "1", "0", "", "yes"]),
    "kind": st.sampled_from(["sail", "motor", "raft", ""]),
    "port": st.sampled_from(["north", "south", "west", ""]),
    "length_m": st.one_of(
        st.floats(-5, 500).map(str), st.sampled_from(["1e2", "+3", ".5", "5.", "inf", "nan", "1_0", " 7", "", "1e999", "٣", "0x1"])
    ),
    "crew": st.one_of(st.integers(-3, 2**64).map(str), st.sampled_from(["+4", "007", "1.0", "", "--1", " 1", "٣"])),
    "note": TEXT,
}
GOOD = {"id": "k7", "day": "2024-05-01", "sank": "true", "kind": "sail", "port": "north", "length_m": "10", "crew": "3", "note": ""}


@st.composite
def records(draw: st.DrawFn) -> str:
    """One record: mostly good with a few odd values, fields quoted where they must be or by chance, sometimes ragged."""
    fields = GOOD | {name: draw(VALUES[name]) for name in draw(st.sets(st.sampled_from(COLUMNS), max_size=3))}
    quoted = draw(st.sets(st.sampled_from(COLUMNS), max_size=2))
    texts = [quote(fields[name], always=name in quoted) for name in COLUMNS]
    if draw(st.integers(0, 9)) == 0:
        texts = texts[: draw(st.integers(1, 7))] if draw(st.booleans()) else [*texts, draw(st.sampled_from(["", "x"]))]
    return ",".join(texts)


def quote(text: str, *, always: bool) -> str:
    if always or any(c in text for c in '",\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


@st.composite
def files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.one_of(records(), st.just("")), min_size=1, max_size=25))
    ends = draw(st.lists(st.sampled_from(["\n", "\r\n"]), min_size=len(lines), max_size=len(lines)))
    text = ",".join(COLUMNS) + draw(st.sampled_from(["\n", "\r\n"])) + "".join(line + end for line, end in zip(lines, ends, strict=True))
    text = text if draw(st.booleans()) else text.rstrip("\r\n")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


def prepared(data: bytes, model: ModelSpec, block_bytes: int, work: Path) -> PreparedPart:
    return prepare_upload(io.BytesIO(data), "a.csv", model, work, block_bytes=block_bytes)


def assert_equals_reference(data: bytes, model: ModelSpec, block_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            expected = reference(data, model)
        except BadQuotes:
            with pytest.raises(UploadRefused, match="not CSV"):
                prepared(data, model, block_bytes, Path(folder))
            return
        if not expected.rows:
            with pytest.raises(UploadRefused, match=r"usable rows|without rows"):
                prepared(data, model, block_bytes, Path(folder))
            return
        part = prepared(data, model, block_bytes, Path(folder))
        assert pl.read_parquet(part.rejects).rows() == expected.rejects
        assert (part.record.rows, part.record.kept) == (expected.records, len(expected.rows))
        assert part.record.rejected == len({line for line, *_ in expected.rejects})
        found = {row[model.key]: row for path in part.files.values() for row in pl.read_parquet(path).iter_rows(named=True)}
        assert list(found) == [row[model.key] for row in sorted(expected.rows, key=lambda row: order(row, found, part))]
        for row in expected.rows:
            assert {name: found[row[model.key]][name] for name in model.columns} == {name: row[name] for name in model.columns}


def order(row: dict, found: dict, part: PreparedPart) -> tuple[int, int]:
    """Which file of the part a row lies in, then where it stood in the upload."""
    files = [set(pl.read_parquet(path)["id"]) for path in part.files.values()]
    return next(i for i, keys in enumerate(files) if row["id"] in keys), row["line"]


@given(files(), st.sampled_from([WIDE, BY_KEY]), st.integers(8, 700))
@settings(max_examples=50, deadline=None)
@example((",".join(COLUMNS) + '\nk1,2024-05-01,true,sail,north,5,3,5" pipe\nk2,2024-05-01,true,sail,north,5,3,"a""b"\n').encode(), WIDE, 100)
@example((",".join(COLUMNS) + '\nk1,2024-05-01,true,sail,north,5,3,"a"b\n').encode(), WIDE, 100)
@example((",".join(COLUMNS) + '\nk1,2024-05-01,true,sail,north,5,3,"a\n').encode(), WIDE, 100)
@example((",".join(COLUMNS) + "\n\n\r\nk1\nk1,2024-05-01,true,sail,north,5,3,\n").encode(), WIDE, 9)
def test_rows_and_rejects_are_the_references_whatever_the_blocks(data, text, block_bytes):
    assert_equals_reference(data, spec(text), block_bytes)


RAW = st.text(st.sampled_from('ab",\n'), max_size=40)


@given(RAW, st.integers(1, 30))
@example('a"\n""', 6)
@settings(max_examples=60, deadline=None)
def test_stray_quotes_are_read_as_the_csv_module_reads_them(raw, block_bytes):
    head = ",".join(COLUMNS) + "\n" + ",".join(GOOD.values()) + "\n"
    assert_equals_reference((head + raw).encode(), spec(WIDE), block_bytes)


@pytest.mark.long
@pytest.mark.timeout(1800)
@given(st.one_of(files(), RAW.map(lambda raw: (",".join(COLUMNS) + "\n" + ",".join(GOOD.values()) + "\n" + raw).encode())), st.integers(1, 700))
@settings(max_examples=1000, deadline=None)
def test_the_same_many_times(data, block_bytes):
    assert_equals_reference(data, spec(WIDE), block_bytes)
