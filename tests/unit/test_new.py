"""`tidemill new`: a model.toml that works for the file it was made of, and says what it cannot guess."""

from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from tests.opt_ml import Tree
from tidemill.cli.main import app
from tidemill.spec import ModelSpec, load_spec


class Folder:
    """Where a person types `tidemill new`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def new(self, data: str | bytes, *more: str, label: str = "label", name: str = "things", fails: bool = False) -> str:
        source = self.root / "things.csv"
        source.write_bytes(data if isinstance(data, bytes) else data.encode())
        arguments = ["new", name, "--from", str(source), "--label", label, "--models", str(self.root / "models"), *more]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == (1 if fails else 0), done.output
        return done.output

    def spec(self, name: str = "things") -> ModelSpec:
        return load_spec(self.root / "models" / name / "model.toml")


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("load", "task", "metric", "at_least"),
    [(load_breast_cancer, "binary", "roc_auc", 0.95), (load_wine, "multiclass", "accuracy", 0.85), (load_diabetes, "regression", "r2", 0.2)],
)
def test_scikit_learns_examples_are_learned_from_what_was_written_alone(folder, monkeypatch, load, task, metric, at_least):
    data = load(as_frame=True).frame.to_csv(index_label="sample")
    assert "0 rejected" in folder.new(data, label="target")
    spec = folder.spec()
    assert (spec.task, spec.key, spec.label, spec.data.split.by) == (task, "sample", "target", "key")
    made = Tree(folder.root / "ml", monkeypatch, (folder.root / "models/things/model.toml").read_text(), data)
    with threadpool_limits(1):
        made.train()
        assert made.evaluate().challenger[metric].value > at_least


ROWS = "\n".join(
    f"o-{i},2024-0{1 + i % 6}-{1 + i % 28:02d} 10:00,{i % 3},{i / 7:.3f},{'north' if i % 2 else ''},{i % 4 == 0},text {i}" for i in range(400)
)
HEADER = "Order No.,placed at,stops,Größe (m),depot,gift,note"


def test_types_ranges_categories_key_and_time_are_guessed(folder):
    told = folder.new(f"{HEADER}\n{ROWS}\n", label="gift")
    spec = folder.spec()
    assert (spec.task, spec.key, spec.time, spec.label) == ("binary", "Order_No", "placed_at", "gift")
    kinds = {name: (column.type, column.role, column.nullable) for name, column in spec.columns.items()}
    assert kinds == {
        "Order_No": ("string", "key", False), "placed_at": ("datetime", "time", False), "stops": ("integer", "feature", False),
        "Groe_m": ("float", "feature", False), "depot": ("category", "feature", True), "gift": ("boolean", "label", False),
        "note": ("string", "ignore", True),
    } | {next(name for name in kinds if name.startswith("Gr")): ("float", "feature", False)}  # fmt: skip
    size = next(column for name, column in spec.columns.items() if name.startswith("Gr"))
    assert size.aliases == ("Größe (m)",)
    assert (size.min, size.max >= 100) == (0, True)
    assert spec.columns["depot"].allowed == ("north",)
    assert spec.data.split.by == "time"
    assert "tried on the file: 400 of 400 rows kept, 0 rejected" in told


def test_semicolons_decimal_commas_and_latin_1_are_seen(folder):
    data = "id;straße;preis;label\n" + "".join(f"{i};Bäcker {i % 3};{i},5;{i % 2}\n" for i in range(300))
    folder.new(data.encode("latin-1"))
    spec = folder.spec()
    assert (spec.data.csv.delimiter, spec.data.csv.decimal, spec.data.csv.encoding) == (";", ",", "latin-1")
    assert spec.columns["preis"].type == "float"


def test_words_for_missing_are_told(folder):
    data = "id,size,label\n" + "".join(f"{i},{'n/a' if i % 50 == 0 else i / 3:},{i % 2}\n" for i in range(300))
    told = folder.new(data)
    assert 'warning: column size would be numbers but for 6 fields such as "n/a": only an empty field is a missing value' in told


def test_a_label_tells_the_task_and_can_be_overruled(folder):
    data = "id,size,grade\n" + "".join(f"{i},{i},{i % 5}\n" for i in range(300))
    folder.new(data, label="grade", name="grades")
    assert folder.spec("grades").task == "multiclass"
    folder.new(data, "--task", "regression", label="grade", name="numbers")
    assert (folder.spec("numbers").task, folder.spec("numbers").gate.margin) == ("regression", 0.03)


@pytest.mark.parametrize(
    ("data", "more", "told"),
    [
        ("a,label\n1,0\n1,1\n", (), "no column is a key: each row needs an id of its own"),
        ("id,label\n1,0\n2,1\n", ("--key", "nope"), "--key nope: no such column; the file has id, label"),
        ("id,size\n1,0\n2,1\n", (), "--label label: no such column"),
        ("id,label\n", (), "a header without rows"),
        ("just text\n", (), "not a CSV file with a header"),
        ("id,size,label\n" + "".join(f"{i},{i},word {i}\n" for i in range(300)), (), "too many to be classes"),
        ("id,size,label\n" + "".join(f"{i},{i},\n" for i in range(30)), (), "column label is the label and has no value"),
        ("id,size,label\n1,2,1\n2,3,0\n", ("--task", "guess"), "--task guess: allowed are binary, multiclass, regression"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(folder, data, more, told):
    assert told in folder.new(data, *more, fails=True)
    assert not (folder.root / "models").exists()


def test_a_model_that_is_there_is_left_alone(folder):
    data = "id,size,label\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(300))
    folder.new(data)
    before = (folder.root / "models/things/model.toml").read_bytes()
    assert "is there already" in folder.new(data, fails=True)
    assert (folder.root / "models/things/model.toml").read_bytes() == before
