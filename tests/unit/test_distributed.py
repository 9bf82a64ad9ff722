"""The default estimator on two instances: processes of their own that talk over the loopback network, each with its share of the rows."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from tests.unit.test_training import HEADER, rows_of, spec_of
from tidemill.errors import DatasetRefused, InstanceLost
from tidemill.load import Share, load_dataset
from tidemill.model import package
from tidemill.model.baseline import FILE as BASELINE
from tidemill.model.baseline import Baseline
from tidemill.model.features import features_of
from tidemill.prepare.split import key_hashes
from tidemill.spec import parse_spec
from training import cluster

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ["127.0.0.1", "127.0.0.2"]
TWO = "[train]\nscale = 'distributed'\ninstances = 2\n"


@dataclass
class Ended:
    """A host's process, as it ended."""

    code: int
    output: str
    failure: str


def train_on(made, name: str, alive: tuple[int, ...] = (0, 1)) -> tuple[Ended, ...]:
    """Run the container's command on each host, in a tree of its own that holds what SageMaker gives each: all the data."""
    running = []
    for at in alive:
        root = made.root if at == 0 else made.root.with_name(f"{made.root.name}-{HOSTS[at]}")
        if at:
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(made.root / "input", root / "input")
            if (made.root / "checkpoints").exists():
                shutil.copytree(made.root / "checkpoints", root / "checkpoints")
        (root / "input/config/resourceconfig.json").write_text(json.dumps({"hosts": HOSTS, "current_host": HOSTS[at]}))
        environment = os.environ | {"OPT_ML": str(root), "TRAINING_JOB_NAME": name, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "training.train"]
        running.append((root, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
    ended = []
    for root, process in running:
        output, _ = process.communicate(timeout=120)
        failure = root / "output/failure"
        ended.append(Ended(process.returncode, output, failure.read_text() if failure.exists() else ""))
    return tuple(ended)


def scored(made) -> tuple[pl.DataFrame, np.ndarray]:
    frame = load_dataset(made.root / "processing/input/test", made.dataset, "test")
    return frame, package.load(made.root / "model").scores(features_of(frame, made.spec))


@pytest.mark.parametrize("task", ["binary", *(pytest.param(task, marks=pytest.mark.long) for task in ("multiclass", "regression"))])
def test_two_instances_learn_one_model_from_the_rows_of_both(tree, tmp_path, task):
    made = tree(spec_of(task, TWO, split="key"), rows_of(task), rows_of(task, seed=1).replace("\ns", "\nt"))
    first, second = train_on(made, f"{tmp_path}")
    assert (first.code, second.code) == (0, 0), first.output + second.output
    assert not (made.root.with_name(f"ml-{HOSTS[1]}") / "model").exists()  # the leader alone writes
    card = package.load(made.root / "model").card
    train = load_dataset(made.root / "input/data/train", made.dataset, "train")
    assert card.train_rows == len(train)
    assert Baseline.load(made.root / "model" / BASELINE).profile.columns["size"].count == len(train)
    assert card.versions["xgboost"]
    frame, scores = scored(made)
    if task == "binary":
        assert roc_auc_score(frame["label"].to_numpy(), scores) > 0.85
    elif task == "multiclass":
        assert accuracy_score(frame["label"].to_list(), [card.classes[at] for at in scores.argmax(axis=1)]) > 0.6
    else:
        assert r2_score(frame["label"].to_numpy(), scores) > 0.7
    assert made.evaluate().rows == len(frame)


@pytest.mark.long
def test_it_is_the_same_model_each_time_and_as_good_as_one_instances(tree, tmp_path):
    found = []
    for root in ("one", "two"):
        made = tree(spec_of("binary", TWO, split="key"), rows_of("binary"), root=root)
        assert [each.code for each in train_on(made, f"{tmp_path}/{root}")] == [0, 0]
        found.append((made.root / "model" / package.PIPELINE).read_bytes())
        frame, scores = scored(made)
    assert found[0] == found[1]
    alone = tree(spec_of("binary", split="key"), rows_of("binary"), root="alone")
    alone.train()
    labels = frame["label"].to_numpy()
    assert roc_auc_score(labels, scores) == pytest.approx(roc_auc_score(labels, scored(alone)[1]), abs=0.03)


@pytest.mark.long
def test_what_only_one_instance_has_seen_is_known_to_both(tree, tmp_path):
    """300 categories of two rows or three; a feature that is nearly always missing; and the weights of a rare class."""
    rows = rows_of("binary").splitlines()
    rare = [line.rpartition(",")[0] + f",{at if at < 3 else ''}" for at, line in enumerate(rows[1:])]
    named = [",".join([*line.split(",")[:4], f"kind{at % 300}", line.split(",")[5]]) for at, line in enumerate(rare)]
    made = tree(spec_of("binary", TWO + "balance = true\ncalibrate = 'sigmoid'\n", split="key"), "\n".join([HEADER, *named]) + "\n")
    ended = train_on(made, f"{tmp_path}")
    assert [each.code for each in ended] == [0, 0], ended
    card = package.load(made.root / "model").card
    train = load_dataset(made.root / "input/data/train", made.dataset, "train")
    assert f"feature kind has {train['kind'].n_unique()} categories: the rarest share one" in card.warnings
    assert card.warnings[0].startswith(f"learned by 2 instances from {len(train)} rows")


@pytest.mark.long
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_class_that_the_first_instances_share_lacks_is_judged_all_the_same(tree, tmp_path, task):
    """The rows of one class that fall to the first instance are not there: nothing but the linear baseline could tell."""
    spec = parse_spec(spec_of(task, split="key"), "model.toml")
    rare = {"binary": "true", "multiclass": "c"}[task]
    lines = rows_of(task, per_day=60).splitlines()[1:]
    first = key_hashes(pl.Series([line.split(",")[0] for line in lines]), spec.salt).to_numpy() % 2 == 0
    kept = [line for line, mine in zip(lines, first, strict=True) if not (mine and line.split(",")[2] == rare)]
    more = TWO + "calibrate = 'sigmoid'\n"
    made = tree(spec_of(task, more, split="key"), "\n".join([HEADER, *kept]) + "\n")
    ended = train_on(made, f"{tmp_path}")
    assert [each.code for each in ended] == [0, 0], ended
    assert "validation:primary=" in ended[0].output
    assert made.evaluate().baseline.metrics


@pytest.mark.long
def test_what_cannot_be_learned_from_is_refused_by_all_with_one_reason(tree, tmp_path):
    made = tree(spec_of("binary", TWO, split="key"), rows_of("binary").replace(",false,", ",true,"))
    train = load_dataset(made.root / "input/data/train", made.dataset, "train")
    ended = train_on(made, f"{tmp_path}")
    assert [each.code for each in ended] == [1, 1]
    assert {each.failure for each in ended} == {f"DatasetRefused: the {len(train)} labelled train rows have one class only; upload rows of others"}


def _all_with_one(made) -> bool:
    """Validation rows of both classes, all of them in one share."""
    held = [load_dataset(made.root / "input/data/validation", made.dataset, "validation", share=Share(at, 2))["label"] for at in range(2)]
    return min(map(len, held)) == 0 and max(each.n_unique() for each in held) == 2


@pytest.mark.long
def test_an_instance_without_rows_is_told(tree, tmp_path):
    model = spec_of("binary", TWO, split="key").replace("0.6, validation = 0.2", "0.79, validation = 0.01")
    made, seeds = None, (f"k{number}x" for number in itertools.count())
    while made is None or not _all_with_one(made):  # keys fall as their hashes do: a few tries, always the same
        with contextlib.suppress(DatasetRefused):
            seed = next(seeds)
            made = tree(model, rows_of("binary", per_day=8).replace("\ns", f"\n{seed}"), root=seed)
    ended = train_on(made, f"{tmp_path}")
    assert [each.code for each in ended] == [1, 1]
    told = "DatasetRefused: train.instances: one of 2 instances got no row to learn from or to validate: upload more, or take fewer"
    assert {each.failure for each in ended} == {told}


@pytest.mark.long
def test_one_that_fails_leaves_no_other_waiting(tree, tmp_path):
    """SageMaker ends the others; they end by themselves too, and say that they were left alone."""
    code = "import os\ndef features(frame):\n    assert not os.environ['OPT_ML'].endswith('127.0.0.2'), 'mine alone'\n    return frame\n"
    made = tree(spec_of("binary", TWO, split="key"), rows_of("binary"), code=code)
    first, second = train_on(made, f"{tmp_path}")
    assert (first.code, second.code) == (1, 1)
    assert "features(frame): AssertionError: mine alone" in second.failure
    assert first.failure.startswith("EngineFailed: XGBoost: ")
    assert "where another instance failed first" in first.failure
    assert not (made.root / "model").exists()


def test_a_name_that_is_not_known_yet_is_asked_for_again_and_not_for_ever(monkeypatch):
    """As a cluster comes up, even an instance's own name may be unknown for a while."""
    now, known_at = [0.0], 3.0
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cluster.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def resolve() -> str:
        if now[0] < known_at:
            raise socket.gaierror("Name or service not known")
        return "10.0.0.1"

    assert cluster._patiently("algo-1", resolve) == "10.0.0.1"
    known_at = float("inf")
    with pytest.raises(InstanceLost, match="the first instance, algo-1, did not answer for 900 s: Name or service not known"):
        cluster._patiently("algo-1", resolve)


@pytest.mark.long
def test_an_interrupted_job_goes_on_from_the_trees_that_all_of_them_had(tree, tmp_path):
    def spec(trees: int) -> str:
        sampled = f"n_estimators = {trees}, learning_rate = 0.01, subsample = 0.5, colsample_bynode = 0.7"
        return spec_of("binary", TWO + f"spot = true\nsettings = {{ {sampled} }}\n", split="key")

    taken, whole = tree(spec(40), rows_of("binary"), root="taken"), tree(spec(50), rows_of("binary"), root="whole")
    assert [each.code for each in train_on(taken, f"{tmp_path}/1")] == [0, 0]
    (taken.root / "input/data/code/ships/model.toml").write_text(spec(50))  # a checkpoint each two trees, as for 40
    again = train_on(taken, f"{tmp_path}/2")
    assert "goes on from 40 trees" in again[0].output
    assert "goes on" not in again[1].output
    assert "validation:primary=" in again[0].output
    train_on(whole, f"{tmp_path}/3")
    assert np.array_equal(scored(taken)[1], scored(whole)[1])
