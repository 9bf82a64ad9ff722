"""The files of a part: pieces stitched together, repeated keys taken out, the same bytes again and again."""

import gzip
import hashlib
import io
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from backports import zstd

from tests.samples import HEADER, SPEC, by_key, rows, spec
from tidemill.errors import UploadRefused
from tidemill.prepare import pieces
from tidemill.prepare import rows as row_files
from tidemill.prepare.part import prepare, prepare_upload
from tidemill.prepare.pieces import Piece, encode, finish
from tidemill.prepare.repeats import ENTRY, KeyShelves, _earlier
from tidemill.prepare.stitch import stitch

FRAME = pl.DataFrame(
    {
        "s": ["a", None, "é" * 40] * 700,
        "i": range(2100),
        "f": [0.5, None, -1e300] * 700,
        "b": [True, False, None] * 700,
        "u": pl.Series(range(2100), dtype=pl.UInt64),
        "t": pl.Series(range(2100)).cast(pl.Datetime("us", "UTC")),
    }
)


def cut(frame: pl.DataFrame, folder: Path, *ends: int) -> list[Path]:
    paths = []
    for number, (start, end) in enumerate(zip([0, *ends], [*ends, len(frame)], strict=True)):
        paths.append(folder / f"p{number}")
        encode(frame[start:end], paths[-1])
    return paths


def test_a_stitched_file_reads_the_same_in_three_libraries(tmp_path):
    target = tmp_path / "whole.parquet"
    size, sha256 = stitch(cut(FRAME, tmp_path, 10, 1000, 1001), target)
    assert (size, sha256) == (target.stat().st_size, hashlib.sha256(target.read_bytes()).hexdigest())
    assert pl.read_parquet(target).equals(FRAME)
    assert pq.ParquetFile(target).metadata.num_row_groups == 4
    assert pl.DataFrame(pq.read_table(target)).equals(FRAME)
    assert duckdb.execute("select count(*), sum(i), max(f), count(s) from read_parquet(?)", [str(target)]).fetchone() == (
        2100,
        2100 * 2099 // 2,
        0.5,
        1400,
    )
    assert pl.scan_parquet(target).filter(pl.col("i") == 1500).collect().height == 1  # statistics and page indexes are where they say


def test_many_row_groups(tmp_path):
    stitch(cut(FRAME, tmp_path, *range(10, 2100, 10)), tmp_path / "whole.parquet")
    assert pl.read_parquet(tmp_path / "whole.parquet").equals(FRAME)


def test_rows_are_taken_out_and_small_pieces_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "ROWS", 400)
    made = [Piece(n, path, 0) for n, path in enumerate(cut(FRAME, tmp_path, 400, 800, 810, 820, 1220))]
    made = [piece._replace(rows=pl.read_parquet(piece.path).height) for piece in made]
    untouched = made[0].path.read_bytes()
    written = finish(made, {1: np.array([0, 399]), 3: np.arange(10)}, tmp_path / "whole.parquet")
    gone = {400, 799, *range(810, 820)}
    assert pl.read_parquet(written.path)["i"].to_list() == [i for i in range(2100) if i not in gone]
    assert written.rows == 2100 - len(gone)
    assert untouched[4:2000] in written.path.read_bytes()  # copied, not encoded again


def test_no_row_left_is_no_file_or_an_empty_one(tmp_path):
    (path,) = cut(FRAME[:3], tmp_path)
    assert finish([Piece(0, path, 3)], {0: np.arange(3)}, tmp_path / "a.parquet").rows == 0
    assert pl.read_parquet(finish([], {}, tmp_path / "b.parquet", FRAME[:0]).path).schema == FRAME.schema


def test_repeats_are_found_across_shelves_and_pieces(tmp_path):
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**64, 500, np.uint64)[rng.integers(0, 500, 3000)]
    lines = np.arange(2, 3002)
    shelves = KeyShelves(tmp_path)
    for number, at in enumerate(np.array_split(np.arange(3000), 7)):
        shelves.add(number, hashes[at], lines[at])
    found = shelves.repeats()
    last = dict(zip(hashes.tolist(), lines.tolist(), strict=True))
    assert found.lines.tolist() == [line for key, line in zip(hashes.tolist(), lines.tolist(), strict=True) if last[key] != line]
    assert sum(map(len, found.rows.values())) == len(found.lines)


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 20 rows, so that a small file has many."""
    monkeypatch.setattr(row_files, "ROWS", 20)
    monkeypatch.setattr(row_files, "GATHERED", 45)
    monkeypatch.setattr(pieces, "ROWS", 20)


def everything(folder: Path, data: bytes, text: str, block_bytes: int) -> dict[str, bytes]:
    folder.mkdir()
    part = prepare_upload(io.BytesIO(data), "a.csv", spec(text), folder, block_bytes=block_bytes)
    return {name: path.read_bytes() for name, path in part.files.items()} | {
        "rejects": part.rejects.read_bytes(),
        "record": part.record.model_dump_json().encode(),
    }


@pytest.mark.parametrize("text", [SPEC, by_key()])
def test_the_same_upload_gives_the_same_bytes_and_other_blocks_the_same_rows(tmp_path, small_pieces, text):
    lines = rows(3, 90).splitlines()
    data = "\n".join([*lines, *lines[5:60:9], "broken,2024-05-01,true,raft,north,5,3,", *lines[100:104]]).encode()
    first = everything(tmp_path / "a", data, text, 300)
    assert everything(tmp_path / "b", data, text, 300) == first
    other = everything(tmp_path / "c", data, text, 10_000)
    assert other["rejects"] == first["rejects"]
    for name in first.keys() - {"record"}:
        assert pl.read_parquet(other[name]).equals(pl.read_parquet(first[name]))
    if text == SPEC:
        assert len(pl.read_parquet(first["2024-05-01"])) == 90


def test_a_stream_that_cannot_be_read_twice_is_copied_on_the_way(tmp_path):
    class Once(io.RawIOBase):
        def __init__(self) -> None:
            self._data = io.BytesIO((rows() + rows().splitlines()[1] + "\n").encode())

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            return self._data.readinto(buffer)

    part = prepare_upload(io.BufferedReader(Once()), "a.csv", spec(), tmp_path, block_bytes=200)
    assert pl.read_parquet(part.rejects)["row"].to_list() == [rows().splitlines()[1]]


def test_every_packing_gives_the_same_rows():
    plain = rows(20).encode()
    half = len(plain) // 2
    frames = zstd.compress(plain[:half]) + zstd.compress(plain[half:])
    files = {"a.csv": plain, "a.csv.gz": gzip.compress(plain), "a.csv.zst": zstd.compress(plain), "b.csv.zst": frames}
    shas = {tuple(file.sha256 for file in prepare(data, name, spec()).record.files) for name, data in files.items()}
    assert len(shas) == 1


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_a_bomb_is_stopped_after_the_bytes_that_are_allowed(tmp_path, name):
    data = (rows() + "b,2024-05-01,true,sail,north,5,3,\n" * 600_000).encode()
    packed = gzip.compress(data) if name.endswith("gz") else zstd.compress(data)
    with pytest.raises(UploadRefused, match="more than 1,000,000 bytes unpacked"):
        prepare_upload(io.BytesIO(packed), name, spec(), tmp_path, max_bytes=1_000_000)


CHANGES = [
    ('drift = { new = "refuse" }', HEADER + ",extra", "new column extra"),
    ('drift = { reordered = "refuse" }', ",".join(reversed(HEADER.split(","))), "another order"),
    ('drift = { missing = "null" }', HEADER.removesuffix(",note"), None),
    ('drift = { missing = "null" }', HEADER.replace("kind", "sort"), "missing column kind"),
    ('csv = { delimiter = ";" }', HEADER.replace(",", ";"), None),
    ("", HEADER.replace("crew", "Crew Size"), None),
    ("", HEADER + ",Crew Size", "which are names of one column"),
]


@pytest.mark.parametrize(("setting", "header", "told"), CHANGES)
def test_drift_is_met_as_the_spec_says(setting, header, told):
    model = spec(SPEC.replace("min_rows = 1", f"min_rows = 1\n{setting}").replace("crew = {", 'crew = { aliases = ["Crew Size"],'))
    delimiter = ";" if ";" in header else ","
    by_name = {"id": "b1", "day": "2024-05-01", "sank": "1", "kind": "sail", "port": "north", "length_m": "5", "crew": "3", "Crew Size": "3"}
    data = header + "\n" + delimiter.join(by_name.get(name, "") for name in header.split(delimiter)) + "\n"
    if told:
        with pytest.raises(UploadRefused, match=told):
            prepare(data.encode(), "a.csv", model)
    else:
        assert pl.read_parquet(prepare(data.encode(), "a.csv", model).files["2024-05-01"])["crew"].to_list() == [3]


def test_latin_1_and_decimal_commas():
    model = spec(SPEC.replace("min_rows = 1", 'min_rows = 1\ncsv = { delimiter = ";", encoding = "latin-1", decimal = "," }'))
    data = (
        (HEADER + "\nk1,2024-05-01,1,sail,north,5~5,3,näh\nk2,2024-05-01,1,sail,north,5.5,3,").replace(",", ";").replace("~", ",").encode("latin-1")
    )
    part = prepare(data, "a.csv", model)
    kept = pl.read_parquet(part.files["2024-05-01"])
    assert kept.select("id", "length_m", "note").rows() == [("k1", 5.5, "näh")]
    assert pl.read_parquet(part.rejects)["value"].to_list() == ["5.5"]


@pytest.mark.parametrize(("received", "stale"), [("2024-05-12T00:00:00.000Z", False), ("2024-06-30T00:00:00.000Z", True)])
def test_a_file_without_a_new_enough_row_is_refused(tmp_path, received, stale):
    model = spec(SPEC.replace("min_rows = 1", 'min_rows = 1\nfreshness = "30d"'))
    if stale:
        with pytest.raises(UploadRefused, match=r"newest row is of 2024-05-10T03:00:00\+00:00, 50 days before"):
            prepare_upload(io.BytesIO(rows().encode()), "a.csv", model, tmp_path, received_at=received)
    else:
        assert prepare_upload(io.BytesIO(rows().encode()), "a.csv", model, tmp_path, received_at=received).record.kept == 40


def test_a_check_across_columns_rejects_the_row_without_telling_a_value():
    rule = '[[rules]]\nname = "roomy"\ncheck = "crew * 2 <= length_m or kind = \'motor\'"\n[gate]'
    data = "\n".join(
        [
            HEADER,
            *(f"k{i},2024-05-01,1,{kind},north,10,{crew}," for i, (kind, crew) in enumerate([("sail", 5), ("sail", 6), ("motor", 6), ("sail", "")])),
        ]
    )
    part = prepare(data.encode(), "a.csv", spec(SPEC.replace("[gate]", rule)))
    assert pl.read_parquet(part.rejects).rows() == [(3, "", "roomy", None, "k1,2024-05-01,1,sail,north,10,6,")]


def test_a_shelf_without_a_key_that_comes_again_is_let_go():
    """64 shelves of a large upload, each kept alive by an empty view of it, would be all of its keys in memory."""
    shelf = np.zeros(1000, ENTRY)
    shelf["hash"] = np.arange(1000)
    assert (len(_earlier(shelf)), _earlier(shelf).base) == (0, None)
