"""Large uploads on real local Spark: the part that the small path makes, whatever the file holds and wherever it is cut."""

import csv
import io
import json
import os
import random
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
from pyspark.sql import SparkSession

from benchmarks.large import LocalFile, environment, local_spark
from localcloud.cloudformation.assembly import deploy
from tests.cloud.conftest import Deployment, synth
from tests.samples import SPEC, spec
from tidemill import keys
from tidemill.cli.flights import month_csv
from tidemill.errors import UploadRefused
from tidemill.prepare.part import PreparedPart, prepare, prepare_upload
from tidemill.prepare.profile import SHARES, load_profile
from tidemill.prepare.sketch import QUANTILE_ERROR
from tidemill.prepare.spark import prepare_large
from tidemill.spec import ModelSpec, parse_spec

ROOT = Path(__file__).resolve().parents[2]
LENIENT = SPEC.replace("reject_share_max = 0.5", "reject_share_max = 1")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with patch.dict(os.environ, environment()), local_spark(2, tmp_path_factory.mktemp("spark")) as session:
        yield session


def dirty(rows: int) -> bytes:
    """Odd quotes, line feeds and delimiters in quotes, ragged rows, broken values, keys that come again near and far."""
    chance, out = random.Random(5), io.StringIO()  # noqa: S311  # test data
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["id", "day", "sank", "kind", "port", "length_m", "crew", "note"])
    for number in range(rows):
        key = f"k{number if chance.random() < 0.9 else chance.randrange(number + 1)}"
        note = chance.choice(["", 'he said "no"', "two\nlines, and\n\nmore", "a,b", "é", "\r\n"])
        fields = [key, f"2024-05-{1 + number % 9:02d}", chance.choice(["true", "false", ""]), chance.choice(["sail", "motor", "raft"]),
                  chance.choice(["north", ""]), f"{chance.uniform(1, 399):.2f}" if chance.random() < 0.9 else "long", str(number % 50), note]  # fmt: skip
        write.writerow(fields[: 5 if number % 97 == 0 else 8])
        if number % 41 == 0:
            out.write(f'k{number},2024-05-03,true,sail,north,5" pipe,3,o"dd\n')
    return out.getvalue().encode()


def both(spark: SparkSession, path: Path, model: ModelSpec, tmp_path: Path, range_bytes: int) -> tuple[PreparedPart, PreparedPart]:
    works = [tmp_path / "small", tmp_path / "large"]
    for work in works:
        work.mkdir()
    with path.open("rb") as stream:
        small = prepare_upload(stream, path.name, model, works[0])
    return small, prepare_large(spark, LocalFile(path), model, works[1], range_bytes=range_bytes, block_bytes=range_bytes // 3)


def assert_equal(small: PreparedPart, large: PreparedPart) -> None:
    sized = {"files": {"__all__": {"size_bytes", "sha256"}}}
    assert large.record.model_dump(exclude=sized) == small.record.model_dump(exclude=sized)
    assert large.files.keys() == small.files.keys()
    for name, path in small.files.items():
        assert pl.read_parquet(large.files[name]).equals(pl.read_parquet(path)), name
    ours, theirs = pl.read_parquet(large.rejects), pl.read_parquet(small.rejects)
    assert ours.sort(ours.columns).equals(theirs.sort(theirs.columns))
    assert ours["line"].is_sorted()


def assert_profiles_agree(small: PreparedPart, large: PreparedPart) -> None:
    one, other = (load_profile(json.loads(part.profile.read_text())).columns for part in (small, large))
    assert one.keys() == other.keys()
    for name, column in one.items():
        same = other[name]
        assert (same.count, same.missing, same.min, same.max, same.distinct.count) == (
            column.count, column.missing, column.min, column.max, column.distinct.count,
        )  # fmt: skip
        assert same.mean == pytest.approx(column.mean)
        assert same.std == pytest.approx(column.std)


def assert_quantiles_are_true(part: PreparedPart) -> None:
    """Of a file without repeated keys: each quantile's rank among the rows is right within the stated error."""
    rows = pl.concat(pl.read_parquet(path) for path in part.files.values())
    found = {name: column.quantiles for name, column in load_profile(json.loads(part.profile.read_text())).columns.items() if column.quantiles}
    assert len(found) > 5
    for name, quantiles in found.items():
        values = rows[name].drop_nulls()
        assert quantiles.rows == len(values)
        for share, value in zip(SHARES, quantiles.at(list(SHARES)), strict=True):
            assert (values < value).mean() - QUANTILE_ERROR <= share <= (values <= value).mean() + QUANTILE_ERROR, (name, share)


@pytest.mark.parametrize("by", ["time", "key"])
def test_a_dirty_file_gives_the_same_part_on_spark(spark, tmp_path, by):
    path = tmp_path / "dirty.csv"
    path.write_bytes(dirty(4000))
    small, large = both(spark, path, spec(LENIENT.replace('by = "time"', f'by = "{by}"')), tmp_path, 60_000)
    assert small.record.rejected > 1000
    assert any("later row" in rule for rule in small.record.rejects_by_rule)
    assert_equal(small, large)
    assert_profiles_agree(small, large)


def test_a_month_of_flights_gives_the_same_part_on_spark(spark, tmp_path):
    model = parse_spec((ROOT / "models/flights/model.toml").read_text(), "models/flights/model.toml")
    path = tmp_path / "flights-01.csv"
    path.write_bytes(month_csv(1))
    small, large = both(spark, path, model, tmp_path, 400_000)
    assert small.record.rows > 10_000
    assert_equal(small, large)
    assert_profiles_agree(small, large)
    assert_quantiles_are_true(large)


@pytest.mark.parametrize(
    "tail",
    [b'k1,2024-05-01,true,sail,north,5,3,"open"x\n', b"k1,2024-05-01,true,sail,north,5,3,\0\n", b"k1,2024-05-01,true,sail,north,5,3,\xff\n"],
)
def test_a_file_that_is_no_csv_is_refused_with_the_same_words(spark, tmp_path, tail):
    path = tmp_path / "broken.csv"
    path.write_bytes(dirty(500) + tail + dirty(5).partition(b"\n")[2])
    with pytest.raises(UploadRefused) as small:
        both(spark, path, spec(LENIENT), tmp_path, 8_000)
    (tmp_path / "again").mkdir()
    with pytest.raises(UploadRefused) as large:
        prepare_large(spark, LocalFile(path), spec(LENIENT), tmp_path / "again", range_bytes=8_000)
    assert str(large.value) == str(small.value)


@pytest.mark.parametrize("data", [b"", b"id,day,sank,kind,port,length_m,crew,note\n", b"id,day\n1,2\n"])
def test_a_file_without_rows_or_columns_is_refused_with_the_same_words(spark, tmp_path, data):
    path = tmp_path / "none.csv"
    path.write_bytes(data)
    with pytest.raises(UploadRefused) as small, path.open("rb") as stream:
        prepare_upload(stream, path.name, spec(LENIENT), tmp_path)
    with pytest.raises(UploadRefused) as large:
        prepare_large(spark, LocalFile(path), spec(LENIENT), tmp_path, range_bytes=8_000)
    assert str(large.value) == str(small.value)


@pytest.mark.long
@pytest.mark.cloud
def test_a_large_upload_goes_through_glue_to_a_dataset(cloud, tmp_path):
    outputs = deploy(synth(tmp_path / "cdk", large_bytes="100000"), cloud.clients)
    stage = Deployment(cloud, {key: value for stack in outputs.values() for key, value in stack.items()})
    run = stage.learn("flights/data/2013-01.csv", month_csv(1))
    assert run["status"] == "SUCCEEDED", run
    model = parse_spec((ROOT / "models/flights/model.toml").read_text(), "models/flights/model.toml")
    small = prepare(month_csv(1), "2013-01.csv", model)
    upload = stage.ledger.uploads("flights")[0]
    assert (upload.state, upload.part) == ("prepared", small.record.id)
    for name, data in small.files.items():
        assert pl.read_parquet(io.BytesIO(stage.lake(keys.part_file("flights", upload.part, name)))).equals(pl.read_parquet(io.BytesIO(data)))
    ended = json.loads(stage.lake(keys.large_result("flights", "0001", upload.id)))
    assert ended == {"part": small.record.id, "reason": None}
    job = next(iter(stage.client("glue").list_jobs()["JobNames"]))
    assert [run["JobRunState"] for run in stage.client("glue").get_job_runs(JobName=job)["JobRuns"]] == ["SUCCEEDED"]
    assert [str(record) for record in cloud.recorder.denied()] == []
