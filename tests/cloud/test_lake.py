"""The lake on localcloud: who may read which rows, packs by the real function, and the commands as a person types them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import ClientError

from tests.cloud.conftest import Deployment
from tests.parts import UNTIMED, Row, write_part
from tests.samples import spec
from tidemill import keys
from tidemill.cli.flights import month_csv
from tidemill.dataset import SPLITS, Candidate, Dataset, assemble
from tidemill.layout import Layout
from tidemill.load import load_dataset

pytestmark = [pytest.mark.cloud]

MODEL = "boats"
PARTS = 250


@pytest.fixture(scope="module")
def rows(stage: Deployment, tmp_path_factory) -> tuple[Dataset, Path]:
    """A dataset of many small parts with a split by key, in the lake and here; no run made it."""
    model, root = spec(UNTIMED), tmp_path_factory.mktemp("lake")
    held = ([Row(f"b{part}-{at}", 1, at % 2 == 0, 100 * part + at) for at in range(24)] for part in range(PARTS))
    dataset = assemble(tuple(Candidate(write_part(root, f"p{at:03d}", some, model), "2024-05-01") for at, some in enumerate(held)), model)
    s3, lake = stage.client("s3"), stage.outputs["LakeBucket"]
    for path in sorted(root.rglob("*.parquet")):
        s3.put_object(Bucket=lake, Key=f"{MODEL}/{path.relative_to(root)}", Body=path.read_bytes())
    s3.put_object(Bucket=lake, Key=keys.dataset_manifest(MODEL, dataset.id), Body=dataset.model_dump_json().encode())
    return dataset, root


@pytest.fixture(scope="module")
def packed(stage: Deployment, rows) -> Layout:
    """The same after the stage's pack function."""
    function = next(f["FunctionName"] for f in stage.client("lambda").list_functions()["Functions"] if "-PackFunction" in f["FunctionName"])
    payload = json.dumps({"model": MODEL, "epoch": 1, "dataset": rows[0].id})
    answers = [stage.client("lambda").invoke(FunctionName=function, Payload=payload) for _ in range(2)]
    first, again = (json.loads(answer["Payload"].read()) for answer in answers)
    assert first["packs"] == first["new"] > 3, first
    assert again == first | {"new": 0}
    return Layout.model_validate_json(stage.lake(keys.dataset_layout(MODEL, rows[0].id)))


def as_role(stage: Deployment, name: str) -> Any:
    """S3 with the credentials a job with this role gets."""
    arn = next(role["Arn"] for role in stage.client("iam").list_roles()["Roles"] if f"-{name}Role" in role["RoleName"])
    return stage.cloud.clients.acting(stage.cloud.keys.issue(arn, "test"))("s3")


def readable(s3: Any, stage: Deployment, key: str) -> bool:
    try:
        s3.get_object(Bucket=stage.outputs["LakeBucket"], Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


@pytest.mark.parametrize(("role", "sides"), [("Train", {"train", "validation"}), ("Evaluate", {"test"})])
def test_a_role_reads_the_rows_of_its_own_side_only(stage, rows, packed, role, sides):
    s3 = as_role(stage, role)
    for split in SPLITS:
        part, file = rows[0].files(split)[0]
        pack = next(path for path in packed.paths(split) if path.startswith("packs/"))
        allowed = {readable(s3, stage, key) for key in (keys.part_file(MODEL, part, file.name), f"{MODEL}/{pack}")}
        assert allowed == {split in sides}, split


def test_packs_of_the_real_function_hold_the_same_rows(stage, rows, packed, tmp_path):
    dataset, root = rows
    for split in SPLITS:
        channel = json.loads(stage.lake(keys.channel_manifest(MODEL, dataset.id, split)))
        assert channel[1:] == list(packed.paths(split))
        assert len(channel) - 1 < len(dataset.files(split)) / 2
        for path in channel[1:]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(stage.lake(f"{MODEL}/{path}"))
        assert load_dataset(tmp_path, dataset, split, layout=packed).equals(load_dataset(root, dataset, split))


@pytest.fixture
def command(stage: Deployment, typed) -> Any:
    """A command line with the account's key, on flights that were learned from at least once."""
    if not any(run.dataset for run in stage.ledger.runs("flights")):
        assert stage.learn("flights/data/2013-01.csv", month_csv(1))["status"] == "SUCCEEDED"
    return typed


def test_the_commands_find_the_stage_and_tell_its_record(stage, command, tmp_path):
    newest = next(run for run in reversed(stage.ledger.runs("flights")) if run.dataset)
    assert newest.dataset[:12] in command("data", "list", "flights")
    assert newest.dataset in command("data", "show", "flights")
    assert f"dataset {newest.dataset}" in command("data", "lineage", "flights", newest.dataset)
    assert "2013-01.csv" in command("rejects", "flights")
    told = command("data", "checkout", "flights", "--to", str(tmp_path / "flights"))
    counts = [f"{len(pl.read_parquet(tmp_path / 'flights' / f'{split}.parquet')):,} rows" for split in SPLITS]
    assert all(count in told for count in counts)


def test_an_exclusion_is_on_record_under_the_name_of_who_made_it(stage, command):
    assert "out of all later datasets" in command("data", "exclude", "flights", "2013-01.csv", "--reason", "a test")
    assert [each.key for each in stage.ledger.exclusions("flights")] == ["flights/data/2013-01.csv"]
    assert stage.ledger.decisions("flights")[-1].actor.startswith("arn:aws:")
    command("data", "include", "flights", "2013-01.csv")
    assert stage.ledger.exclusions("flights") == []
