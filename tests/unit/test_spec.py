"""A spec error names file, key, value and what is allowed."""

from pathlib import Path

import pytest

from tests.samples import SPEC, spec
from tidemill.errors import SpecError
from tidemill.spec import load_spec, parse_spec

ROOT = Path(__file__).resolve().parents[2]


def test_the_flights_spec_is_valid():
    flights = load_spec(ROOT / "models" / "flights" / "model.toml")
    assert flights.key == "flight_id"
    assert flights.label == "late"
    assert "dep_delay" not in flights.columns


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("margin = 0.002", "margin = -1"), "gate.margin: -1"),
        (("quiet_s = 60", "quiet_s = 901"), "data.quiet_s: 901"),
        (("quiet_s = 60", "quiet_z = 60"), "data.quiet_z: unknown key"),
        (("min = 1, max = 400", "min = 9, max = 4"), "min 9 is above max 4"),
        (("train = 0.6", "train = 0.7"), "train + validation + test is 1.1"),
        (('role = "key"', 'role = "ignore"'), 'exactly one needs role = "key", found 0'),
        (('sank = { role = "label", type = "boolean"', 'sank = { role = "label", type = "float"'), "task binary needs a label of type boolean"),
        (('kind = { type = "category"', 'kind = { type = "string"'), "a feature cannot have type string"),
        (('day = { role = "time"', 'day = { role = "ignore"'), 'needs a column with role = "time"'),
        (('task = "binary"', 'task = "clusters"'), "task: 'clusters'"),
        (('task = "binary"', 'task = "regression"'), "task regression needs a label of type float or integer"),
        (('task = "binary"', 'task = "multiclass"'), "task multiclass needs a label of type category"),
        (("floor = { roc_auc = 0.58 }", "floor = { rmse = 3 }"), "gate.floor.rmse: rmse does not judge task binary; known are roc_auc"),
        (("[gate]", "[train]\ncalibrate = 'no'\n[gate]"), "train.calibrate: 'no'"),
        (("[gate]", "[train]\nestimator = 'model.py'\n[gate]"), "train.estimator: 'model.py'"),
        (
            ("[gate]", "[train]\ncosts = { false_alarm = 1 }\n[gate]"),
            "train.costs.false_alarm: unknown key; known are false_positive, false_negative",
        ),
        (
            ('length_m = { type = "float", min = 1', 'length_m = { role = "weight", type = "float"'),
            "the weight column needs type integer or float, and min = 0 or more",
        ),
        (("[gate]", "[gate]\nslices = ['crew']"), "gate.slices: 'crew' is no category or boolean column"),
        (("[gate]", "[gate]\nslices = ['nothing']"), "gate.slices: 'nothing' is no category"),
        (("[gate]", "[gate"), "not valid TOML"),
    ],
)
def test_a_fault_is_named_by_file_key_and_value(change, told):
    with pytest.raises(SpecError) as error:
        parse_spec(SPEC.replace(*change), "models/boats/model.toml")
    assert "models/boats/model.toml" in str(error.value)
    assert told in str(error.value)


def test_every_fault_is_reported_at_once():
    broken = SPEC.replace("margin = 0.002", "margin = -1").replace("quiet_s = 60", "quiet_s = -5")
    with pytest.raises(SpecError) as error:
        parse_spec(broken, "model.toml")
    assert len(str(error.value).splitlines()) == 2


def test_the_folder_must_have_the_models_name(tmp_path):
    (tmp_path / "ships").mkdir()
    path = tmp_path / "ships" / "model.toml"
    path.write_text(SPEC)
    with pytest.raises(SpecError, match="must be the folder's name, 'ships'"):
        load_spec(path)


def test_layout_does_not_change_the_hash_but_meaning_does():
    assert spec().hash == spec(SPEC.replace("quiet_s = 60", "quiet_s   =   60.0")).hash
    assert spec().hash != spec(SPEC.replace("quiet_s = 60", "quiet_s = 61")).hash


def test_parts_survive_what_does_not_concern_rows():
    """A new gate or another share of days must not prepare every file again; another rule must."""
    same = SPEC.replace("margin = 0.002", "margin = 0.01").replace("train = 0.6, validation = 0.2", "train = 0.5, validation = 0.3")
    assert spec().prepare_hash == spec(same).prepare_hash
    assert spec().prepare_hash != spec(SPEC.replace("max = 400", "max = 500")).prepare_hash
