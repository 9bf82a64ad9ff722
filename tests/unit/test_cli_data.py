"""The commands as a person types them, on a stage in memory."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.samples import SPEC, folder, rows
from tests.unit.test_steps_assemble import dataset_of, learned
from tests.world import World
from tidemill import keys
from tidemill.cli import main
from tidemill.cli.stage import Stage
from tidemill.dataset import SPLITS
from tidemill.errors import RecordMissing
from tidemill.records import Unreproducible

ROOT = Path(__file__).resolve().parents[2]
BAD = ",2024-05-01T00:00:00,true,oars,north,12,1,secret note\n"


@pytest.fixture
def stage(world, monkeypatch) -> World:
    """Three runs: a first upload, a second, and one with rejects."""
    monkeypatch.setattr(Stage, "of", classmethod(lambda cls, name: cls(name, world.ledger, world.lake)))
    monkeypatch.setattr("tidemill.adapters.deployment.caller", lambda: "arn:aws:iam::123456789012:user/anna")
    learned(world, 1, rows(11))
    learned(world, 2, rows(12))
    learned(world, 3, rows(13) + "x1" + BAD + "x2" + BAD)
    return world


def run(*arguments: str) -> str:
    done = CliRunner().invoke(main.app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def fails(*arguments: str) -> str:
    done = CliRunner().invoke(main.app, list(arguments))
    assert (done.exit_code, "Traceback" in done.output) == (1, False)
    assert isinstance(done.exception, SystemExit)
    return done.output


def test_list_names_every_dataset_newest_first(stage):
    told = run("data", "list", "boats")
    assert [line.split()[0] for line in told.splitlines()[1:]] == ["0003", "0002", "0001"]
    assert dataset_of(stage, 3).id[:12] in told
    assert max(map(len, told.splitlines())) <= 100
    machine = json.loads(run("data", "list", "boats", "--json"))
    assert [each["run"] for each in machine["datasets"]] == ["0003", "0002", "0001"]
    assert machine["datasets"][0]["rows"] == {split: dataset_of(stage, 3).rows(split) for split in SPLITS}


def test_list_of_a_model_without_a_run_says_so(stage):
    assert "no run has made a dataset yet" in run("data", "list", "ships")


@pytest.mark.parametrize("reference", ["latest", "3", "0003", "run 3", "id", "start"])
def test_show_takes_a_dataset_by_run_and_by_id(stage, reference):
    dataset = dataset_of(stage, 3)
    told = run("data", "show", "boats", {"id": dataset.id, "start": dataset.id[:8]}.get(reference, reference))
    assert dataset.id in told
    assert "boats/data/2.csv" in told
    assert json.loads(run("data", "show", "boats", "--json"))["id"] == dataset.id


def test_show_of_an_unknown_dataset_is_one_clear_line(stage):
    assert fails("data", "show", "boats", "nope").startswith("error: boats: no dataset 'nope': give its id, a run's number, or latest")


def test_a_dataset_that_an_erasure_took_rows_from_says_so(stage, tmp_path):
    erased = dataset_of(stage, 2).id
    stage.ledger.mark_unreproducible(Unreproducible(model="boats", dataset=erased, erasure="e" * 32, time="2024-06-01T00:00:00Z"))
    told = f"no longer reproducible: erasure {'e' * 12} took rows out of it on 2024-06-01"
    assert f"dataset {erased[:12]} is {told}" in run("data", "list", "boats")
    assert told in run("data", "show", "boats", "2")
    assert told not in run("data", "show", "boats", "3")
    assert [each["erased_by"] for each in json.loads(run("data", "list", "boats", "--json"))["datasets"]] == [None, "e" * 32, None]
    assert json.loads(run("data", "show", "boats", "2", "--json"))["erased_by"] == "e" * 32
    assert told in fails("data", "checkout", "boats", "2", "--to", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_diff_names_parts_with_their_uploads(stage):
    told = run("data", "diff", "boats", "1", "2")
    assert "added: 1 part" in told
    assert "boats/data/2.csv" in told
    assert "removed: 0 parts" in told
    machine = json.loads(run("data", "diff", "boats", "2", "1", "--json"))
    assert [part["upload"] for part in machine["removed"]] == ["boats/data/2.csv"]


@pytest.mark.parametrize("kind", ["key", "part", "dataset"])
def test_lineage_goes_from_any_of_them_to_the_others(stage, kind):
    upload = stage.ledger.uploads("boats")[1]
    what = {"key": "2.csv", "part": upload.part[:10], "dataset": "2"}[kind]
    machine = json.loads(run("data", "lineage", "boats", what, "--json"))
    assert "boats/data/2.csv" in [each["key"] for each in machine["uploads"]]
    assert upload.part in machine["parts"]
    assert [each["run"] for each in machine["runs"]] == (["0002"] if kind == "dataset" else ["0003", "0002"])
    told = run("data", "lineage", "boats", what)
    assert dataset_of(stage, 2).id in told
    assert "run 0002" in told


def test_lineage_of_what_nobody_knows_says_what_it_takes(stage):
    assert "'nope' is no upload's key and no part's id; nor a dataset" in fails("data", "lineage", "boats", "nope")


def test_lineage_names_packages_and_the_champion(world, monkeypatch):
    monkeypatch.setattr(Stage, "of", classmethod(lambda cls, name: cls(name, world.ledger, world.lake)))
    world.registered()
    assert "boats/1" in run("data", "lineage", "boats", "1.csv")


def test_checkout_writes_the_rows_that_training_sees(stage, tmp_path):
    told = run("data", "checkout", "boats", "2", "--to", str(tmp_path / "out"))
    dataset = dataset_of(stage, 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "test.parquet", "train.parquet", "validation.parquet"]
    frames = {split: pl.read_parquet(tmp_path / "out" / f"{split}.parquet") for split in SPLITS}
    assert all(f"{len(frame):,} rows" in told for frame in frames.values())
    assert frames["train"].columns == list(dataset.columns)
    assert sum(map(len, frames.values())) == 12 * 4


def test_checkout_refuses_a_corrupted_file_and_names_it(stage, tmp_path):
    part = dataset_of(stage, 2).parts[0]
    key = keys.part_file("boats", part.id, part.files[0].name)
    data = bytearray(stage.lake.get(key))
    data[20] ^= 1
    stage.lake.put(key, bytes(data))
    told = fails("data", "checkout", "boats", "2", "--to", str(tmp_path / "out"))
    assert f"s3://lake/{key}: sha256" in told
    assert list((tmp_path / "out").iterdir()) == []


def test_checkout_leaves_a_folder_that_is_in_use_alone(stage, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert "not an empty folder" in fails("data", "checkout", "boats", "--to", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_exclude_and_include_say_what_they_did(stage):
    assert "boats/data/2.csv: out of all later datasets" in run("data", "exclude", "boats", "2.csv", "--reason", "sensor [wet]")
    assert "was excluded already" in run("data", "exclude", "boats", "2.csv")
    told = run("data", "list", "boats")
    assert "sensor [wet]" in told
    assert stage.ledger.decisions("boats")[-1].actor.endswith("user/anna")
    assert "in later datasets again" in run("data", "include", "boats", "boats/data/2.csv")
    assert fails("data", "include", "boats", "2.csv").startswith("error: boats: no excluded upload '2.csv'")


def test_rejects_by_upload_and_by_rule(stage):
    told = run("rejects", "boats")
    assert re.search(r"boats/data/3\.csv +54 +2 +3\.70% +kind: allowed", told)
    assert json.loads(run("rejects", "boats", "--json"))[0]["rejects_by_rule"] == {"kind: allowed": 2}


def test_rejects_of_an_upload_are_its_rows(stage):
    told = run("rejects", "boats", "3.csv")
    assert told.count("oars") == 4  # as value and in the row
    assert "secret note" in told
    assert len(json.loads(run("rejects", "boats", "3.csv", "--json", "--limit", "1"))["rejects"]) == 1


def test_values_of_sensitive_columns_are_masked(world, monkeypatch):
    monkeypatch.setattr(Stage, "of", classmethod(lambda cls, name: cls(name, world.ledger, world.lake)))
    secret = SPEC.replace('kind = { type = "category",', 'kind = { type = "category", sensitive = true,')
    world.models.folders["s3://assets/boats.zip"] = folder(secret)
    learned(world, 1, rows(13) + "x1" + BAD + "x2" + BAD.replace("oars", "sail").replace(",12,", ",-1,"))
    told = run("rejects", "boats", "1.csv") + run("rejects", "boats", "1.csv", "--json")
    assert "oars" not in told
    assert "secret note" not in told
    assert "kind" in told
    assert "-1" in told


def test_a_refused_upload_shows_its_reason(stage):
    learned_nothing = stage.upload("boats/data/empty.csv", "", at_ms=1_717_243_200_000 + 600_000)
    assert learned_nothing.outcome == "pending"
    stage.claim(4)
    stage.prepare(4)
    assert "refused: the file is empty" in " ".join(run("rejects", "boats").split())
    assert "refused: the file is empty" in " ".join(run("rejects", "boats", "empty.csv").split())


def test_keys_of_others_cannot_steer_the_terminal(stage):
    stage.upload("boats/data/\x1b[31mred[/].csv", rows(14), at_ms=1_717_243_200_000 + 600_000)
    assert "\x1b[31mred" not in run("data", "lineage", "boats", "\x1b[31mred[/].csv")


def test_check_names_the_line_of_a_pattern_that_is_none(tmp_path):
    (tmp_path / "boats").mkdir()
    text = SPEC.replace(
        'note = { role = "ignore", type = "string", nullable = true }', 'code = { type = "category", nullable = true, pattern = "(" }'
    )
    (tmp_path / "boats" / "model.toml").write_text(text)
    line = 1 + text[: text.index("code =")].count("\n")
    assert f"model.toml:{line}: columns.code.pattern: '('" in fails("check", str(tmp_path))


def test_check_tells_every_error_of_every_spec(tmp_path):
    for name, text in (("boats", SPEC), ("ships", "name = 3\n"), ("rafts", "= nonsense")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.toml").write_text(text)
    told = fails("check", str(tmp_path))
    assert "boats/model.toml: ok" in told
    assert "rafts/model.toml: not valid TOML" in told
    assert "ships/model.toml" in told
    assert "owners" in told
    assert run("check", str(tmp_path / "boats")).count("ok") == 1
    assert "no model.toml here" in fails("check", str(tmp_path / "nowhere"))


def test_an_error_of_a_deployment_is_one_clear_line(monkeypatch):
    def missing(cls, name):
        raise RecordMissing(f"no stage '{name}'")

    monkeypatch.setattr(Stage, "of", classmethod(missing))
    assert fails("data", "list", "boats", "--stage", "prod") == "error: no stage 'prod'\n"


def commands(typer_app, prefix: str = "tidemill") -> list[str]:
    """Every command as one types it."""
    own = [f"{prefix} {(each.name or each.callback.__name__).replace('_', '-')}" for each in typer_app.registered_commands]
    return own + [name for group in typer_app.registered_groups for name in commands(group.typer_instance, f"{prefix} {group.name}")]


def test_every_command_is_documented():
    documents = "\n".join(path.read_text() for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    mine = [name for name in commands(main.app) if name.startswith(("tidemill data ", "tidemill rejects", "tidemill check"))]
    assert len(mine) >= 9
    assert [name for name in commands(main.app) if name not in documents] == []
    page = (ROOT / "docs" / "data.md").read_text()
    assert [name for name in mine if name not in page and "forget" not in name] == []
