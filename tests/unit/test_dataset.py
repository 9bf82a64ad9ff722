"""A dataset names rows and copies none; each side of a split is whole days or hashed keys."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import HEADER, by_key, rows, spec
from tidemill.dataset import SPLITS, DatasetPart, PartFile, assemble, channel_manifest, describe
from tidemill.errors import DatasetRefused
from tidemill.load import load_dataset
from tidemill.prepare.part import prepare


def part(name: str, days: list[str]) -> DatasetPart:
    return DatasetPart(id=name, files=tuple(PartFile(name=day, rows=10, size_bytes=1, sha256="") for day in days))


def january(last: int = 31) -> list[str]:
    return [f"2013-01-{day:02d}" for day in range(1, last + 1)]


def test_a_month_is_cut_by_whole_days():
    from pathlib import Path

    from tidemill.spec import load_spec

    flights = load_spec(Path(__file__).resolve().parents[2] / "models/flights/model.toml")
    dataset = assemble((part("p1", january()),), flights)
    assert dataset.cuts.train == ("2013-01-01", "2013-01-25")
    assert dataset.cuts.test == ("2013-01-29", "2013-01-31")
    assert describe(dataset, "train") == "1–25 January 2013"


@given(st.sets(st.integers(1, 28), min_size=5, max_size=28))
def test_every_day_lies_on_exactly_one_side_and_time_runs_forward(days):
    dataset = assemble((part("p", [f"2024-02-{day:02d}" for day in days]),), spec())
    sides = [[file.name for _, file in dataset.files(split)] for split in SPLITS]
    assert sorted(name for side in sides for name in side) == sorted(f"2024-02-{day:02d}" for day in days)
    assert max(sides[0]) < min(sides[1]) <= max(sides[1]) < min(sides[2])


@pytest.mark.parametrize("days", [[], ["2024-05-01"], ["2024-05-01", "2024-05-02"]])
def test_too_few_days_are_refused_with_the_count(days):
    parts = (part("p", days),) if days else ()
    with pytest.raises(DatasetRefused, match=r"day|nothing to learn from"):
        assemble(parts, spec())


def test_the_id_covers_parts_and_cuts():
    one = assemble((part("a", january(10)),), spec())
    assert one.id == assemble((part("a", january(10)),), spec()).id
    assert one.id != assemble((part("b", january(10)),), spec()).id
    assert one.id != assemble((part("a", january(11)),), spec()).id


def test_the_trainers_channel_lists_no_file_of_the_holdout():
    dataset = assemble((part("a", january(10)),), spec())
    train, test = (channel_manifest("s3://lake", dataset, split) for split in ("train", "test"))
    assert train[0] == {"prefix": "s3://lake/boats/parts/"}
    assert not set(map(json.dumps, train[1:])) & set(map(json.dumps, test[1:]))
    assert len(train) - 1 + len(test) - 1 < 10


def written(root, *uploads: str, text: str | None = None):
    model = spec(text) if text else spec()
    parts = []
    for upload in uploads:
        prepared = prepare(upload.encode(), "a.csv", model)
        for name, data in prepared.files.items():
            path = root / prepared.record.id / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        parts.append(DatasetPart(id=prepared.record.id, files=prepared.record.files))
    return assemble(tuple(parts), model)


def test_where_a_key_comes_again_the_newest_part_wins(tmp_path):
    first = rows()
    second = f"{HEADER}\nb1-0,2024-05-01T00:00:00,true,sail,north,99,1,\n"
    loaded = load_dataset(tmp_path, written(tmp_path, first, second), "train")
    assert loaded.filter(pl.col("id") == "b1-0")["length_m"].to_list() == [99.0]
    assert loaded["id"].is_unique().all()


def test_unlabelled_rows_are_not_learned_from(tmp_path):
    dataset = written(tmp_path, rows().replace(",true,", ",,"))
    assert load_dataset(tmp_path, dataset, "train")["sank"].to_list().count(True) == 0


def test_a_split_by_key_keeps_every_key_on_its_side(tmp_path):
    dataset = written(tmp_path, rows(20, 9), rows(28, 9), text=by_key())
    sides = [set(load_dataset(tmp_path, dataset, split)["id"]) for split in SPLITS]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert len(sides[0]) > len(sides[2]) > 0
