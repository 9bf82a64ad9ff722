"""`tidemill data forget` as a person types it, on a stage that has learned from the key."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.cloud.conftest import Deployment, until
from tidemill import keys
from tidemill.cli.flights import month_csv
from tidemill.cli.main import app

pytestmark = [pytest.mark.cloud]

UPLOAD = "flights/data/2013-01.csv"


def holds(stage: Deployment, key: str, bucket: str) -> list[str]:
    """Objects of a bucket, in any version, in which the key can be read; Parquet is looked into."""
    s3, found = stage.client("s3"), []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=stage.outputs[bucket], Prefix="flights/"):
        for version in page.get("Versions", []):
            data = s3.get_object(Bucket=stage.outputs[bucket], Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
            if version["Key"].endswith(".parquet"):
                frame = pl.read_parquet(data)
                data = frame.select(name for name, kind in frame.schema.items() if kind == pl.String).write_json().encode()
            if key.encode() in data:
                found.append(version["Key"])
    return found


def test_a_key_is_erased_from_every_version_of_every_object(stage, monkeypatch, tmp_path):
    if not any(upload.key == UPLOAD and upload.part for upload in stage.ledger.uploads("flights")):
        stage.learn(UPLOAD, month_csv(1))
    until(lambda: stage.ledger.lease("flights").owner is None and not stage.ledger.open_uploads("flights"))
    victim = month_csv(1).splitlines()[500].partition(b",")[0].decode()
    assert holds(stage, victim, "LandingBucket")
    assert holds(stage, victim, "LakeBucket")
    for name, value in stage.cloud.clients.account_environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "keys.txt").write_text(f"{victim}\n")
    arguments = ["data", "forget", "flights", "--keys-from", str(tmp_path / "keys.txt"), "--stage", "local", "--yes", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    erasure = json.loads(done.output)
    assert (erasure["done"], sum(part["rows"] for part in erasure["parts"])) == (True, 1)
    assert victim not in done.output
    assert holds(stage, victim, "LandingBucket") == holds(stage, victim, "LakeBucket") == []
    assert set(erasure["datasets"]) == {mark.dataset for mark in stage.ledger.unreproducible("flights")}
    upload = next(each for each in stage.ledger.uploads("flights") if each.key == UPLOAD)
    record = json.loads(stage.lake(keys.part_record("flights", upload.part)))
    assert record["redacted_from"] == erasure["parts"][0]["id"]
    assert stage.ledger.decisions("flights")[-1].kind == "erasure"
