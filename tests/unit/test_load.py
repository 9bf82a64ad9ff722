"""Which rows a dataset holds, against a plain model of the rules: window, exclusions, newest wins, labels; with and without packs."""

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parts import UNTIMED, Row, window, write_part
from tests.samples import SPEC, by_key, spec
from tidemill import keys, layout
from tidemill.dataset import SPLITS, Candidate, Dataset, assemble
from tidemill.errors import DatasetRefused
from tidemill.layout import packed, packs, stretches, unpacked
from tidemill.load import Share, join_files, load_dataset, read_manifest
from tidemill.spec import ModelSpec

BASES = {"time": SPEC, "key": by_key(), "untimed": UNTIMED}
WINDOWS = st.one_of(st.just("all"), st.integers(1, 12).map(lambda n: f"{n}d"), st.integers(1, 5).map(lambda n: f"{n} uploads"))


@dataclass(frozen=True)
class Uploaded:
    """An upload's rows, the day of May it came, and whether it is excluded."""

    rows: list[Row]
    came: int
    excluded: bool


@st.composite
def uploads(draw) -> list[Uploaded]:
    crew = iter(range(10_000))
    out = []
    for _ in range(draw(st.integers(1, 6))):
        held = draw(st.dictionaries(st.integers(0, 40), st.tuples(st.integers(1, 14), st.sampled_from((True, False, None))), min_size=8, max_size=24))
        rows = [Row(f"b{key}", day, sank, next(crew)) for key, (day, sank) in held.items()]
        out.append(Uploaded(rows, draw(st.integers(1, 20)), draw(st.integers(0, 5)) == 0))
    return sorted(out, key=lambda upload: upload.came)


def expected(uploaded: list[Uploaded], model: ModelSpec, dataset: Dataset) -> dict[str, list[int]]:
    """The `crew` of each side's rows, in order: the rules as one would say them."""
    usable = [upload for upload in uploaded if not upload.excluded]
    asked, timed = model.data.window, model.time is not None
    if asked.endswith("uploads"):
        usable = usable[-int(asked.split()[0]) :]
    rows = [row for upload in usable for row in sorted(upload.rows, key=lambda row: row.file(model))]
    if asked.endswith("d") and timed:
        oldest = max(row.day for row in rows) - int(asked[:-1]) + 1
        rows = [row for row in rows if row.day >= oldest]
    elif asked.endswith("d"):
        oldest = max(upload.came for upload in usable) - int(asked[:-1]) + 1
        usable = [upload for upload in usable if upload.came >= oldest]
        rows = [row for upload in usable for row in sorted(upload.rows, key=lambda row: row.file(model))]
    return {split: _side([row for row in rows if _on(row, split, model, dataset)]) for split in SPLITS}


def _on(row: Row, split: str, model: ModelSpec, dataset: Dataset) -> bool:
    if dataset.split.cuts is None:
        return row.file(model) == split
    first, last = getattr(dataset.split.cuts, split)
    return first <= row.date <= last


def _side(rows: list[Row]) -> list[int]:
    newest = {row.key: row.crew for row in rows}
    return [row.crew for row in rows if newest[row.key] == row.crew and row.sank is not None]


def written(root: Path, uploaded: list[Uploaded], model: ModelSpec) -> Dataset:
    candidates = tuple(
        Candidate(write_part(root, f"p{at}", upload.rows, model), f"2024-05-{upload.came:02d}", upload.excluded) for at, upload in enumerate(uploaded)
    )
    return assemble(candidates, model)


def write_packs(root: Path, dataset: Dataset) -> None:
    for pack in packs(dataset):
        path = root / keys.pack_path(pack.split, pack.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(join_files((root / keys.rows_path(part, file.name)).read_bytes() for part, file in pack.files))


@settings(max_examples=40, deadline=None)
@given(uploads(), WINDOWS, st.sampled_from(sorted(BASES)))
def test_a_split_holds_exactly_the_rows_that_the_rules_say(uploaded, asked, base):
    model = window(asked, BASES[base])
    with tempfile.TemporaryDirectory() as folder:
        try:
            dataset = written(Path(folder), uploaded, model)
        except DatasetRefused:
            return
        wanted = expected(uploaded, model, dataset)
        assert {split: load_dataset(Path(folder), dataset, split)["crew"].to_list() for split in SPLITS} == wanted


@settings(max_examples=20, deadline=None)
@given(uploads(), WINDOWS, st.sampled_from(sorted(BASES)), st.integers(2, 4))
def test_packs_change_no_row_and_no_order(uploaded, asked, base, mean):
    model = window(asked, BASES[base])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "PACK_ABOVE", 1)
        patch.setattr(layout, "PACK_MEAN", mean)
        try:
            dataset = written(Path(folder), uploaded, model)
        except DatasetRefused:
            return
        write_packs(Path(folder), dataset)
        for split in SPLITS:
            plain = load_dataset(Path(folder), dataset, split)
            assert load_dataset(Path(folder), dataset, split, layout=packed(dataset)).equals(plain)


@settings(max_examples=20, deadline=None)
@given(uploads(), WINDOWS, st.sampled_from(sorted(BASES)), st.integers(2, 4))
def test_shares_are_of_the_same_rows_each_in_one_of_them(uploaded, asked, base, of):
    model = window(asked, BASES[base])
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DatasetRefused):
        dataset = written(Path(folder), uploaded, model)
        for split in SPLITS:
            whole = load_dataset(Path(folder), dataset, split)
            shares = [load_dataset(Path(folder), dataset, split, share=Share(number, of)) for number in range(of)]
            assert sorted(crew for share in shares for crew in share["crew"]) == sorted(whole["crew"])
            dealt = [set(share[model.key]) for share in shares]
            assert sum(map(len, dealt)) == len(set().union(*dealt))


def days(count: int, start: int = 0) -> list[Row]:
    """A row a day, from May on (only the first 28 days of a month: dates are not the point)."""
    return [Row(f"k{start + at}", 1 + (start + at) % 28, True, start + at) for at in range(count)]


def many(root: Path, count: int, skip: int = 0) -> Dataset:
    """A dataset of many small parts, each with a file in every side."""
    model = spec(UNTIMED)
    return assemble(tuple(Candidate(write_part(root, f"p{at:03d}", days(40, 40 * at), model), "2024-05-01") for at in range(skip, count)), model)


def test_a_new_upload_and_a_moved_window_leave_the_other_packs_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PACK_MEAN", 8)
    before = {pack.id for pack in packs(many(tmp_path, 100))}
    after_upload = {pack.id for pack in packs(many(tmp_path, 101))}
    after_window = {pack.id for pack in packs(many(tmp_path, 100, skip=1))}
    assert len(before) > 20
    assert before <= after_upload
    assert len(before - after_window) <= len(SPLITS)


def test_few_files_are_not_packed_and_many_become_few(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PACK_MEAN", 16)
    assert packs(many(tmp_path, layout.PACK_ABOVE)) == ()
    dataset = many(tmp_path, 150)
    for split in SPLITS:
        assert len(packed(dataset).paths(split)) < len(unpacked(dataset).paths(split)) / 2
        assert [file for stretch in stretches(dataset, split) for file in stretch.files] == list(dataset.files(split))


def test_a_large_file_stays_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PACK_MEAN", 4)
    dataset = many(tmp_path, 80)
    _, large = dataset.files("train")[30]
    monkeypatch.setattr(layout, "LARGE_BYTES", large.size_bytes)
    assert all(file.size_bytes < large.size_bytes for pack in packs(dataset) for _, file in pack.files)


def test_a_pack_is_closed_when_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "PACK_MEAN", 1_000_000)
    monkeypatch.setattr(layout, "PACK_BYTES", 20_000)
    sizes = [sum(file.size_bytes for _, file in pack.files) for pack in packs(many(tmp_path, 80))]
    assert sizes
    assert max(sizes) < 2 * 20_000


def test_columns_are_those_of_the_spec_or_those_asked_for(tmp_path):
    dataset = written(tmp_path, [Uploaded(days(20), 1, False)], spec())
    assert load_dataset(tmp_path, dataset, "train").columns == list(spec().columns)
    assert load_dataset(tmp_path, dataset, "train", columns=("crew", "kind")).columns == ["crew", "kind"]


def test_more_files_than_a_batch_holds_come_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("tidemill.load.BATCH_FILES", 3)
    dataset = written(tmp_path, [Uploaded(days(28), 1, False)], spec())
    assert load_dataset(tmp_path, dataset, "train")["crew"].to_list() == list(range(17))


def test_a_folder_may_have_any_name(tmp_path):
    root = tmp_path / "a [1] *"
    assert len(load_dataset(root, written(root, [Uploaded(days(20), 1, False)], spec()), "train")) == 12


def test_the_dataset_channel_is_read_as_it_was_written(tmp_path):
    dataset = written(tmp_path, [Uploaded(days(20), 1, False)], spec())
    (tmp_path / "manifest.json").write_text(dataset.model_dump_json())
    (tmp_path / "layout.json").write_text(unpacked(dataset).model_dump_json())
    again, where = read_manifest(tmp_path)
    assert (again.id, where) == (dataset.id, unpacked(dataset))


def test_a_day_of_the_window_begins_at_midnight_utc(tmp_path):
    """Rows of the first day are in, rows of the day before are out, also inside one file."""
    rows = [Row(f"k{at}", 1 + at % 10, True, at) for at in range(200)]
    dataset = written(tmp_path, [Uploaded(rows, 1, False)], window("4d", by_key()))
    first = date(2024, 5, 10) - timedelta(days=3)
    seen = {day.date() for split in SPLITS for day in load_dataset(tmp_path, dataset, split)["day"]}
    assert seen == {first + timedelta(days=n) for n in range(4)}
