"""train, evaluate and the scorer on an /opt/ml tree: every task, the author's own code, and data that is hard to learn from."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tidemill.answer import answers
from tidemill.cli.flights import month_csv
from tidemill.errors import DatasetRefused, ModelCodeFailed
from tidemill.gate import decide
from tidemill.model import package
from tidemill.model.features import features_of
from training import paths

ROOT = Path(__file__).resolve().parents[2]
HEADER = "id,day,label,size,kind,extra"
LABELS = {"binary": "boolean", "multiclass": "category", "regression": "float"}


def spec_of(task: str, more: str = "", split: str = "time") -> str:
    return f"""
name = "ships"
task = "{task}"
owners = ["harbour@example.com"]
[data]
split = {{ by = "{split}", train = 0.6, validation = 0.2, test = 0.2 }}
[columns]
id = {{ role = "key", type = "string" }}
day = {{ role = "time", type = "datetime" }}
label = {{ role = "label", type = "{LABELS[task]}" }}
size = {{ type = "float" }}
kind = {{ type = "category", nullable = true }}
extra = {{ type = "float", nullable = true }}
{more}
"""


def rows_of(task: str, days: int = 20, per_day: int = 40, seed: int = 0, extra: str = "") -> str:
    rng = np.random.default_rng(seed)
    lines = [HEADER]
    for day in range(1, days + 1):
        for at in range(per_day):
            size, kind = rng.normal(), rng.choice(["sail", "motor", "rowing"])
            signal = size + (kind == "motor") + rng.normal(0, 0.5)
            label = {
                "binary": str(signal > 0.3).lower(),
                "multiclass": ["a", "b", "c"][int(np.clip(signal + 1, 0, 2))],
                "regression": f"{signal:.4f}",
            }
            lines.append(f"s{day}-{at},2024-05-{day:02d}T00:00:00,{label[task]},{size:.4f},{kind},{extra}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("split", ["time", "key"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_task_is_learned_judged_and_answered_as_it_was_judged(tree, task, split):
    made = tree(spec_of(task, split=split), rows_of(task))
    card = made.train()
    assert card.classes == (("a", "b", "c") if task == "multiclass" else ())
    found = made.evaluate()
    best = {"binary": ("roc_auc", 0.85, 1), "multiclass": ("accuracy", 0.6, 1), "regression": ("r2", 0.7, 1)}[task]
    assert best[1] < found.challenger[best[0]].value <= best[2]
    assert found.rows == made.dataset.rows("test") == sum(v for v in found.labels.values()) if task != "regression" else True
    assert (found.resampled.by, found.period != "") == ("day", True)
    assert (found.champion, found.unreadable) == (None, None)
    assert 10 <= len(found.golden) <= 20
    scorer = package.load(made.root / "model")
    asked = pl.DataFrame(
        [each.instance for each in found.golden],
        schema=dict.fromkeys(made.spec.features) | {"size": pl.Float64, "kind": pl.String, "extra": pl.Float64},
    )
    again = answers(scorer.scores(features_of(asked, made.spec)).tolist(), task, card.threshold, card.classes)
    assert again == [each.answer for each in found.golden]


def test_training_twice_gives_the_same_predictions(tree):
    first = tree(spec_of("binary"), rows_of("binary"), root="one")
    first.train()
    frame = pl.DataFrame({"size": [0.1, -2.0], "kind": ["sail", None], "extra": [None, 1.0]})
    before = package.load(first.root / "model").scores(features_of(frame, first.spec))
    second = tree(spec_of("binary"), rows_of("binary"), root="two")
    second.train()
    assert np.array_equal(before, package.load(second.root / "model").scores(features_of(frame, second.spec)))


def test_a_champion_is_judged_on_the_same_rows(tree):
    old = tree(spec_of("multiclass"), rows_of("multiclass", days=10), root="old")
    old.train()
    new = tree(spec_of("multiclass"), rows_of("multiclass"), root="new")
    new.train()
    new.keep("champion", old.root / "model")
    found = new.evaluate("ships/1")
    gain = found.champion.scores["log_loss"].value - found.challenger["log_loss"].value
    assert found.champion.gain.value == pytest.approx(gain)
    assert found.champion.gain.low < found.champion.gain.value < found.champion.gain.high


def test_a_champion_that_does_not_know_a_class_still_answers_for_the_others(tree):
    old = tree(spec_of("multiclass"), rows_of("multiclass").replace(",c,", ",b,"), root="old")
    old.train()
    new = tree(spec_of("multiclass"), rows_of("multiclass"), root="new")
    new.train()
    new.keep("champion", old.root / "model")
    found = new.evaluate("ships/1")
    assert found.champion.scores["accuracy"].value < found.challenger["accuracy"].value
    assert found.champion.gain.low > 0


def test_a_champion_of_another_schema_or_task_is_told_and_not_compared(tree):
    old = tree(
        spec_of("binary").replace("size =", "length =").replace("kind =", "sort ="), rows_of("binary").replace("size,kind", "length,sort"), root="old"
    )
    old.train()
    new = tree(spec_of("binary"), rows_of("binary"), root="new")
    new.train()
    new.keep("champion", old.root / "model")
    found = new.evaluate("ships/1")
    assert found.champion is None
    assert "length" in found.unreadable
    third = tree(spec_of("regression"), rows_of("regression"), root="third")
    third.train()
    third.keep("champion", old.root / "model")
    assert third.evaluate("ships/1").unreadable == "its task is binary, the challenger's regression"


def test_slices_of_columns_and_their_pairs_are_judged_beside_the_champion(tree):
    columns = spec_of("binary").replace("extra = { type", "extra = { type").replace('"float", nullable', '"category", nullable')
    gate = "[gate]\nslices = ['kind', 'extra']\nslice_min_rows = 20"
    old = tree(columns + gate, rows_of("binary", days=10, extra="x"), root="old")
    old.train()
    new = tree(columns + gate, rows_of("binary", extra="x"), root="new")
    new.train()
    new.keep("champion", old.root / "model")
    found = new.evaluate("ships/1").slices
    assert {str(each) for each in found} == {
        f"kind = {kind}{more}" for kind in ("sail", "motor", "rowing") for more in ("", " and extra = x")
    }  # extra = x alone is the whole holdout
    assert sum(each.rows for each in found if len(each.by) == 1) == 160
    assert all(0 <= each.p <= 1 and each.gain.low <= each.gain.value <= each.gain.high for each in found)


def test_one_class_is_refused_and_says_where(tree):
    made = tree(spec_of("binary"), rows_of("binary").replace(",false,", ",true,"))
    with pytest.raises(DatasetRefused, match="the 480 labelled train rows have one class only"):
        made.train()


def test_features_that_say_nothing_are_told_and_do_no_harm(tree):
    many = (
        "\n".join([HEADER, *(f"x{i},2024-05-{1 + i % 20:02d}T00:00:00,{('true', 'false')[i % 2]},{i % 3},k{i},{i % 2 or ''}" for i in range(6000))])
        + "\n"
    )
    made = tree(spec_of("binary"), many)
    away = "feature extra alone tells the label (AUC 1.000 on validation rows): is it known before the label is?"
    assert made.train().warnings == ("feature kind has 3,600 categories: the rarest share one", away)
    empty = tree(spec_of("binary"), rows_of("binary"), root="empty")
    assert empty.train().warnings == ("feature extra has no value in any of the 480 training rows",)
    assert empty.evaluate().warnings == (
        "feature extra has no value in any of the 480 training rows",
        "the holdout has 4 days only: intervals are wide",
    )
    constant = tree(spec_of("binary"), rows_of("binary", extra="7"), root="constant")
    assert constant.train().warnings == ("feature extra has one value only in the training rows",)
    constant.evaluate()


def test_all_features_missing_is_refused(tree):
    rows = [HEADER, *(f"s{at},2024-05-{1 + at % 20:02d}T00:00:00,{str(at % 3 == 0).lower()},,,".replace(",,,", ",0,,") for at in range(200))]
    made = tree(spec_of("binary").replace('"float" }', '"float", nullable = true }'), "\n".join(rows).replace(",0,,", ",,,") + "\n")
    with pytest.raises(DatasetRefused, match="no feature has a value in any of the"):
        made.train()


def test_a_class_that_training_never_saw_counts_as_wrong(tree):
    rows = rows_of("multiclass").splitlines()
    late = [line.replace(",a,", ",new,") if line.split(",")[1] >= "2024-05-15" else line for line in rows]
    made = tree(spec_of("multiclass"), "\n".join(late) + "\n")
    assert made.train().classes == ("a", "b", "c")
    assert made.evaluate().labels["other"] > 0


@pytest.mark.parametrize(("task", "method"), [("binary", "sigmoid"), ("binary", "isotonic"), ("multiclass", "sigmoid")])
def test_calibrated_probabilities_are_nearer_to_what_happens(tree, task, method):
    """Balanced weights bend the probabilities of a rare class; calibration bends them back."""
    rare = {"binary": ",true,", "multiclass": ",c,"}[task]
    text = "\n".join([HEADER, *(line for at, line in enumerate(rows_of(task).splitlines()[1:]) if rare not in line or at % 9 == 0)]) + "\n"
    gaps = []
    for root, more in (("bent", ""), ("straight", f"\ncalibrate = '{method}'")):
        made = tree(spec_of(task, f"[train]\nbalance = true{more}"), text, root=root)
        made.train()
        frame = pl.concat(pl.read_parquet(path) for path in sorted((made.root / "processing/input/test").rglob("*.parquet")))
        scores = package.load(made.root / "model").scores(features_of(frame, made.spec)).reshape(len(frame), -1)[:, -1]
        gaps.append(abs(scores.mean() - frame["label"].cast(pl.String).eq(rare.strip(",")).mean()))
    assert gaps[1] < gaps[0]


def test_weights_are_learned_with(tree):
    """Rows of no weight are as good as not there."""
    spec_text = spec_of("binary").replace('extra = { type = "float", nullable = true }', 'extra = { role = "weight", type = "float", min = 0 }')
    good = rows_of("binary", extra="1").splitlines()
    lies = [line.replace("s", "lie", 1).replace("true", "?").replace("false", "true").replace("?", "false")[:-1] + "0" for line in good[1:]]
    made = tree(spec_text, "\n".join([*good, *lies]) + "\n")
    made.train()
    frame = pl.DataFrame({"size": [2.5, -2.5], "kind": ["motor", "sail"]})
    scores = package.load(made.root / "model").scores(features_of(frame, made.spec))
    assert scores[0] > 0.9
    assert scores[1] < 0.1


CODE = """
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def features(frame):
    return pd.DataFrame({"size": frame["size"], "squared": frame["size"] ** 2, "motor": (frame["kind"] == "motor").astype(float)})


def build(spec):
    return make_pipeline(StandardScaler(), LogisticRegression(random_state=spec.train.seed))
"""


def test_the_authors_features_and_estimator_travel_with_the_model(tree):
    made = tree(spec_of("binary", "[train]\nestimator = 'model.py:build'"), rows_of("binary"), code=CODE)
    assert made.train().estimator == "model.py:build"
    found = made.evaluate()
    assert found.challenger["roc_auc"].value > 0.85
    default = tree(spec_of("binary"), rows_of("binary"), root="default", code=CODE)
    default.train()
    assert default.evaluate().challenger["roc_auc"].value > 0.85


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_there", "model.py: importing it: ModuleNotFoundError: No module named 'nothing_there'\n  model.py:1 in <module>"),
        ("def other(spec): pass", "model.py has no function 'build'"),
        ("def build(spec):\n    return 1 / 0", "model.py: build(spec): ZeroDivisionError: division by zero\n  model.py:2 in build: return 1 / 0"),
        ("def build(spec):\n    return 7", "build(spec) gave a int, which has no fit and no predict_proba: task binary needs both"),
        (
            "class Own:\n    def fit(self, x, y):\n        raise KeyError('deep')\n    def predict_proba(self, x): ...\ndef build(spec):\n    return Own()",
            "model.py: fit: KeyError: 'deep'\n  model.py:3 in fit: raise KeyError('deep')",
        ),
        (
            "import numpy\nclass Own:\n    def fit(self, x, y): ...\n    def predict_proba(self, x): return numpy.ones(3)\n"
            "def build(spec):\n    return Own()",
            "the estimator 'model.py:build' gave scores of shape (3,) for 160 rows, expected shape (160, 2)",
        ),
        ("def features(frame):\n    return frame[:5]\ndef build(spec): ...", "model.py: features(frame) gave 5 rows for a frame of 480 rows"),
        (
            "def features(frame):\n    return frame['nope']\ndef build(spec): ...",
            "model.py: features(frame): KeyError: 'nope'\n  model.py:2 in features",
        ),
    ],
)
def test_what_goes_wrong_in_the_authors_code_is_told_with_their_own_lines(tree, code, told):
    made = tree(spec_of("binary", "[train]\nestimator = 'model.py:build'"), rows_of("binary"), code=code)
    with pytest.raises(ModelCodeFailed) as error:
        made.train()
    assert told in str(error.value)


def test_a_failure_reaches_where_sagemaker_reads_it(tree):
    made = tree(spec_of("binary", "[train]\nestimator = 'model.py:build'"), rows_of("binary"), code="def build(spec):\n    return 1 / 0")
    assert paths.command(made.train) == 1
    assert (made.root / "output/failure").read_text().startswith("ModelCodeFailed: model.py: build(spec): ZeroDivisionError")


@pytest.mark.long
def test_a_month_of_shuffled_labels_is_refused_and_says_why(tree):
    """The challenger learned from the poison and the champion did not; neither can foresee what is noise."""
    text = (ROOT / "models/flights/model.toml").read_text()
    months = [month_csv(month).decode() for month in (1, 2, 3)]
    before = tree(text, *months, root="before")
    before.train()
    registered = before.evaluate()
    april = pl.read_csv(month_csv(4), infer_schema=False)
    poisoned = april.with_columns(april["late"].shuffle(seed=4)).write_csv()
    after = tree(text, *months, poisoned, root="after")
    after.train()
    after.keep("champion", before.root / "model")
    decision = decide(after.evaluate("flights/1"), after.spec.gate, registered.challenger["roc_auc"])
    assert decision.outcome == "reject"
    assert "is below the floor 0.58" in decision.reasons[0]
    assert "champion flights/1 itself went from AUC 0.6" in decision.reasons[-1]
    assert "labels of the new rows are wrong" in decision.reasons[-1]


LIGHTGBM = """
from lightgbm import LGBMClassifier, LGBMRegressor

def features(frame):
    return frame.assign(kind=frame["kind"].astype("category"))

def build(spec, num_leaves=31):
    kind = LGBMRegressor if spec.task == "regression" else LGBMClassifier
    return kind(num_leaves=num_leaves, n_estimators=60, random_state=spec.train.seed, n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True)
"""


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_lightgbm_is_an_estimator_like_any_other(tree, task):
    more = '[train]\nestimator = "model.py:build"\nsettings = { num_leaves = 7 }'
    hashes = []
    for name in ("one", "two"):
        made = tree(spec_of(task, more), rows_of(task), root=f"{name}-{task}", code=LIGHTGBM)
        assert made.train().settings == {"num_leaves": 7}
        found = made.evaluate()
        hashes.append(found.model_sha256)
        best = {"binary": ("roc_auc", 0.85), "multiclass": ("accuracy", 0.6), "regression": ("r2", 0.7)}[task]
        assert found.challenger[best[0]].value > best[1]
        assert next(each.feature for each in found.importance) == "size"
    assert hashes[0] == hashes[1]
