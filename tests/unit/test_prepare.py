"""prepare: every row is kept, or rejected with a reason; every file is prepared, or refused with a reason."""

import gzip
import io
import string

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import HEADER, SPEC, by_key, rows, spec
from tidemill.errors import UploadRefused
from tidemill.prepare.block import BlockPreparer, PreparedBlock
from tidemill.prepare.csv_reader import CsvFile
from tidemill.prepare.part import prepare
from tidemill.prepare.split import KEY_HASH, key_hashes

LENIENT = SPEC.replace("reject_share_max = 0.5", "reject_share_max = 1")
GOOD = "b1,2024-05-01T00:00:00,true,sail,north,10.5,3,hello"


def checked(*lines: str) -> PreparedBlock:
    """One block of rows."""
    file = CsvFile(spec(), 1_000_000)
    (block,) = file.blocks(iter(["\n".join([HEADER, *lines]).encode()]))
    return BlockPreparer(file.layout, spec())(block)


def rejects(*lines: str):
    return [(r["line"], r["column"], r["rule"], r["value"]) for r in checked(*lines).rejects.to_dicts()]


def test_good_rows_are_typed():
    row = checked(GOOD).rows.to_dicts()[0]
    assert row["length_m"] == 10.5
    assert row["crew"] == 3
    assert row["sank"] is True
    assert row["day"].isoformat() == "2024-05-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("line", "column", "rule", "value"),
    [
        ("b2,2024-05-01,true,sail,north,-5,3,", "length_m", "min 1", "-5"),
        ("b2,2024-05-01,true,sail,north,500,3,", "length_m", "max 400", "500"),
        ("b2,2024-05-01,true,sail,north,long,3,", "length_m", "type float", "long"),
        ("b2,2024-05-01,true,sail,north,inf,3,", "length_m", "type float", "inf"),
        ("b2,2024-05-01,true,sail,north,,3,", "length_m", "required", None),
        ("b2,2024-05-01,true,raft,north,5,3,", "kind", "allowed", "raft"),
        ("b2,2024-05-01,true,sail,north,5,1.5,", "crew", "type integer", "1.5"),
        ("b2,2024-05-01,maybe,sail,north,5,3,", "sank", "type boolean", "maybe"),
        ("b2,yesterday,true,sail,north,5,3,", "day", "type datetime", "yesterday"),
        ("b2,2024-05-01,true,sail,north,5,3", "", "8 fields", "7"),
        ("n/a,2024-05-01,true,sail,north,n/a,3,", "length_m", "type float", "n/a"),
    ],
)
def test_a_broken_rule_rejects_the_row_and_says_where(line, column, rule, value):
    assert rejects(GOOD, line) == [(3, column, rule, value)]
    assert checked(GOOD, line).rejects["row"].to_list() == [line]
    assert checked(GOOD, line).rows.height == 1


def test_a_row_with_two_faults_is_one_lost_row_with_two_reasons():
    result = checked(GOOD, "b2,2024-05-01,true,raft,north,-5,3,")
    assert result.rejected == 1
    assert set(result.rejects["column"]) == {"kind", "length_m"}


def test_other_missing_keeps_the_row_without_the_value():
    assert checked("b2,2024-05-01,true,sail,moon,5,3,").rows["port"].to_list() == [None]


def test_an_unlabelled_row_is_kept():
    result = checked("b2,2024-05-01,,sail,north,5,3,")
    assert result.rejected == 0
    assert result.rows["sank"].to_list() == [None]


def test_of_rows_with_one_key_the_last_good_one_is_kept():
    part = prepare("\n".join([HEADER, GOOD, GOOD.replace("10.5", "20.5"), GOOD.replace("10.5", "-1")]).encode(), "a.csv", spec(LENIENT))
    assert pl.read_parquet(io.BytesIO(part.files["2024-05-01"]))["length_m"].to_list() == [20.5]
    told = pl.read_parquet(io.BytesIO(part.rejects)).select("line", "column", "rule", "value", "row").rows()
    assert told == [(2, "id", "unique key, a later row has it", "b1", GOOD), (4, "length_m", "min 1", "-1", GOOD.replace("10.5", "-1"))]
    assert (part.record.rows, part.record.kept, part.record.rejected) == (3, 1, 2)


def test_quoted_newlines_keep_line_numbers_and_the_row_as_it_came():
    bad = 'b2,2024-05-01,true,sail,north,-5,3,"two\nlines"'
    result = checked(GOOD, bad, GOOD.replace("b1", "b3"), "b4,2024-05-01,true,sail,north,-6,3,")
    assert result.rejects["line"].to_list() == [3, 6]
    assert result.rejects["row"].to_list()[0] == bad


@pytest.mark.parametrize(
    ("data", "name", "told"),
    [
        (b"", "a.csv", "empty"),
        ((HEADER + "\n").encode(), "a.csv", "header without rows"),
        (b"id,day\nb1,2024-05-01\n", "a.csv", "missing columns sank, kind, port, length_m, crew, note"),
        (b"\x50\x4b\x03\x04\xff\xfe", "a.csv", "byte 4 is 0xff"),
        (b"%PDF-1.7\n", "a.csv", "missing columns"),
        (b"id\x00", "a.csv", "byte 2 is NUL"),
        (rows().encode(), "a.xlsx", "must end in .csv, .csv.gz or .csv.zst"),
        (gzip.compress(rows().encode())[:-20], "a.csv.gz", "cut short"),
        (b"not gzip", "a.csv.gz", "not a gzip file"),
        ((HEADER + ",id\n" + GOOD + ",x\n").encode(), "a.csv", "the header names id more than once"),
        ((HEADER + "\n" + GOOD.replace("hello", '"unclosed')).encode(), "a.csv", "line 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(data, name, told):
    with pytest.raises(UploadRefused) as error:
        prepare(data, name, spec())
    assert told in str(error.value)


def test_too_many_rejects_refuse_the_whole_file_and_name_the_rules():
    bad = "\n".join(f"c{i},2024-05-01,true,raft,north,5,3," for i in range(9))
    with pytest.raises(UploadRefused, match=r"9 of 10 rows break a rule \(90\.0%, at most 50\.0% may\): kind: allowed \(9\)"):
        prepare(f"{HEADER}\n{GOOD}\n{bad}\n".encode(), "a.csv", spec())


def test_gzip_bom_crlf_and_another_column_order_give_the_same_rows():
    plain = prepare(rows().encode(), "a.csv", spec())
    other = pl.read_csv(rows().encode(), infer_schema=False).select(reversed(HEADER.split(","))).write_csv().replace("\n", "\r\n")
    shuffled = prepare(gzip.compress(b"\xef\xbb\xbf" + other.encode()), "a.csv.gz", spec())
    assert [f.sha256 for f in plain.record.files] == [f.sha256 for f in shuffled.record.files]


def test_a_gzip_file_of_several_members_is_read_to_its_end():
    whole = rows().encode()
    members = gzip.compress(whole[:500]) + gzip.compress(whole[500:])
    assert prepare(members, "a.csv.gz", spec()).record.kept == 40
    with pytest.raises(UploadRefused, match="broken after"):
        prepare(gzip.compress(whole) + b"trailing", "a.csv.gz", spec())


def test_a_split_by_time_has_one_file_a_day_and_by_key_one_a_side():
    assert [f.name for f in prepare(rows(3).encode(), "a.csv", spec()).record.files] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert [f.name for f in prepare(rows(20, 10).encode(), "a.csv", spec(by_key())).record.files] == ["test", "train", "validation"]


def test_a_key_never_changes_its_side():
    """Frozen values: were they to change, rows of old holdouts would be trained on."""
    hashes = key_hashes(pl.Series(["a", "b", "20130101-UA-1545-EWR"]), "boats").to_list()
    assert hashes == [1748560109073316944, 4268490771109674949, 4015774468804362225]


def test_the_same_upload_gives_the_same_part():
    first, second = (prepare(rows().encode(), name, spec()) for name in ("a.csv", "b.csv"))
    assert first == second
    assert prepare((rows() + "\n").encode(), "a.csv", spec()).record.id != first.record.id


def test_counts_add_up_and_the_profile_tells_them():
    part = prepare((rows() + "bad,2024-05-01,true,raft,north,5,3,\n").encode(), "a.csv", spec())
    assert (part.record.rows, part.record.kept, part.record.rejected) == (41, 40, 1)
    assert part.record.rejects_by_rule == {"kind: allowed": 1}
    assert sum(file.rows for file in part.record.files) == 40
    assert pl.read_parquet(io.BytesIO(part.rejects)).height == 1
    assert KEY_HASH in pl.read_parquet(io.BytesIO(part.files["2024-05-01"])).columns


def reference(fields: list[str]) -> str | None:
    """The first broken column of a record, in the slowest and plainest way."""
    _, _, sank, kind, _, length, crew, _ = fields
    if sank and sank.lower() not in ("true", "false", "0", "1"):
        return "sank"
    if kind not in ("sail", "motor"):
        return "kind"
    try:
        metres = float(length)
    except ValueError:
        return "length_m"
    if not 1 <= metres <= 400:
        return "length_m"
    if crew and not (crew.isdigit() or (crew.startswith("-") and crew[1:].isdigit())):
        return "crew"
    return "crew" if crew.startswith("-") and int(crew) < 0 else None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["true", "false", "1", "", "x"]),
            st.sampled_from(["sail", "motor", "raft", ""]),
            st.one_of(st.floats(-10, 500).map(lambda f: f"{f:.3f}"), st.text(string.ascii_letters, max_size=3)),
            st.one_of(st.integers(-5, 50).map(str), st.just(""), st.text(string.ascii_letters, max_size=3)),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=150, deadline=None)
def test_keeps_and_rejects_what_a_plain_reading_does(values):
    records = [[f"k{i}", "2024-05-01T00:00:00", sank, kind, "north", length, crew, ""] for i, (sank, kind, length, crew) in enumerate(values)]
    result = checked(*(",".join(record) for record in records))
    first = result.rejects.group_by("line", maintain_order=True).first()
    expected = {i + 2: column for i, record in enumerate(records) if (column := reference(record)) is not None}
    assert dict(zip(first["line"], first["column"], strict=True)) == expected
    assert result.rows.height == len(records) - len(expected)


def test_a_spec_change_is_seen_in_the_part():
    stricter = spec(SPEC.replace("max = 400", "max = 12"))
    assert prepare(rows().encode(), "a.csv", stricter).record.kept < 40
