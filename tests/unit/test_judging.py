"""What an evaluation tells beside the metrics: calibration, confusion, fairness, explanations, shift, and which rows may judge whom."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tests.samples import SPEC, by_key, spec
from tidemill.dataset import Candidate, Dataset, DatasetPart, assemble
from tidemill.evaluate.calibration import OTHER, calibration, confusion
from tidemill.evaluate.fairness import judge_fairness
from tidemill.evaluate.record import Learned
from tidemill.evaluate.resample import plan
from tidemill.evaluate.slices import Model
from tidemill.heldout import beside
from tidemill.load import PART
from tidemill.model import estimators, study
from tidemill.model import explain as explaining
from tidemill.model.baseline import KEYS, Baseline, psi, shifts, smallest
from tidemill.model.explain import explain, importance
from tidemill.model.features import Rows
from tidemill.model.package import Scorer, TrainedModel
from tidemill.prepare.part import prepare
from tidemill.prepare.profile import profile
from tidemill.prepare.split import KEY_HASH, key_hashes
from tidemill.spec import ModelSpec


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=200))
def test_calibration_bins_hold_every_row_and_the_error_is_their_mean_distance(rows):
    scores, labels = np.array([s / 20 for s, _ in rows]), np.array([int(t) for _, t in rows])
    found = calibration(labels, scores, "binary")
    assert sum(each.rows for each in found.bins) == len(rows)
    assert sum(each.rows * each.predicted for each in found.bins) == pytest.approx(scores.sum())
    assert sum(each.rows * each.actual for each in found.bins) == pytest.approx(labels.sum())
    assert found.error == pytest.approx(sum(each.rows * abs(each.predicted - each.actual) for each in found.bins) / len(rows))
    assert 0 <= found.error <= 1


def test_scores_that_are_too_sure_of_themselves_are_badly_calibrated():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, 20_000)
    labels = (rng.uniform(size=20_000) < truth).astype(int)
    assert calibration(labels, truth, "binary").error < 0.02
    assert calibration(labels, (truth > 0.5).astype(float), "binary").error == pytest.approx(0.25, abs=0.02)  # E|1[p>½] - p|


def test_a_multiclass_model_is_calibrated_by_its_likeliest_class_and_a_regression_by_its_values():
    sure = np.array([[0.8, 0.2, 0.0]] * 10)
    found = calibration(np.array([0] * 8 + [1] * 2), sure, "multiclass")
    assert (found.bins[0].predicted, found.bins[0].actual) == (pytest.approx(0.8), pytest.approx(0.8))
    assert calibration(np.arange(10.0), np.arange(10.0) + 2, "regression").error == pytest.approx(2)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_confusion_equals_scikit_learns(rows):
    labels, called = np.array([a for a, _ in rows]), np.array([b for _, b in rows])
    found = confusion(labels, np.eye(3)[called], "multiclass", 0.5, ("a", "b", "c"))
    assert np.array_equal(found.counts, confusion_matrix(labels, called, labels=[0, 1, 2]))


def test_confusion_of_two_classes_goes_by_the_threshold_and_unknown_classes_have_a_row_of_their_own():
    assert confusion(np.array([0, 1, 1]), np.array([0.3, 0.3, 0.2]), "binary", 0.25, ()).counts == ((0, 1), (1, 1))
    found = confusion(np.array([-1, 0]), np.array([[0.1, 0.9], [0.6, 0.4]]), "multiclass", 0.5, ("a", "b"))
    assert (found.classes, found.counts) == (("a", "b", OTHER), ((1, 0, 0), (0, 0, 0), (0, 1, 0)))
    assert confusion(np.array([1.0]), np.array([1.0]), "regression", 0.5, ()) is None


def groups(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores that favour group b, and the groups."""
    rng = np.random.default_rng(seed)
    of = np.where(rng.uniform(size=n) < 0.6, "a", "b").astype(object)
    labels = rng.integers(0, 2, n)
    return labels, np.clip(0.3 + 0.3 * labels + 0.2 * (of == "b") + rng.normal(0, 0.1, n), 0, 1), of


def fairness_of(labels, scores, of, task="binary", min_rows=50):
    return judge_fairness({"sex": of}, labels, Model(scores, 0.5), task, plan(labels, task, None), 0.95, min_rows)


def test_rates_by_group_are_what_counting_gives():
    labels, scores, of = groups(2000)
    (found,) = fairness_of(labels, scores, of)
    table = pd.DataFrame({"of": of, "yes": scores >= 0.5, "true": labels == 1})
    assert (found.column, found.reference, [group.value for group in found.groups]) == ("sex", "a", ["a", "b"])
    a, b = found.groups
    for group in (a, b):
        rows = table[table["of"] == group.value]
        assert group.rows == len(rows)
        assert group.rates["selection_rate"].value == pytest.approx(rows["yes"].mean())
        assert group.rates["true_positive_rate"].value == pytest.approx(rows[rows["true"]]["yes"].mean())
        assert group.rates["false_positive_rate"].value == pytest.approx(rows[~rows["true"]]["yes"].mean())
    assert (a.gaps, a.ratio) == ({}, None)
    assert b.gaps["selection_rate"].value == pytest.approx(b.rates["selection_rate"].value - a.rates["selection_rate"].value)
    assert b.ratio.value == pytest.approx(b.rates["selection_rate"].value / a.rates["selection_rate"].value)
    assert b.gaps["selection_rate"].low > 0.1  # it is favoured, and so many rows show it


def test_small_groups_and_single_ones_are_not_judged():
    labels, scores, of = groups(400)
    of[:10] = "c"
    assert [group.value for group in fairness_of(labels, scores, of)[0].groups] == ["a", "b"]
    assert fairness_of(labels, scores, np.full(400, "a", object)) == ()
    assert fairness_of(labels, scores, of, min_rows=399) == ()


def test_a_rate_without_rows_to_go_by_is_left_out_and_nobody_selected_has_no_ratio():
    labels, scores, of = groups(1000)
    labels[of == "b"] = 0
    b = fairness_of(labels, scores, of)[0].groups[1]
    assert "true_positive_rate" not in b.rates
    nobody = fairness_of(labels, np.zeros(1000), of)[0].groups[1]
    assert (nobody.ratio, nobody.rates["selection_rate"].value) == (None, 0)


def test_a_rate_of_a_few_rows_or_of_one_day_is_not_told():
    labels, scores, of = groups(1000)
    labels[of == "b"] = 0
    labels[np.flatnonzero(of == "b")[:5]] = 1
    assert "true_positive_rate" not in fairness_of(labels, scores, of)[0].groups[1].rates
    days = np.where(of == "b", 0, np.arange(1000) % 6)
    labels = np.arange(1000) % 2
    (found,) = judge_fairness({"sex": of}, labels, Model(scores, 0.5), "binary", plan(labels, "binary", days), 0.95, 50)
    assert found.groups[1].rates == {}


def test_other_tasks_have_rates_of_their_own():
    labels, scores, of = groups(600)
    by_class = fairness_of(labels, np.column_stack([1 - scores, scores]), of, "multiclass")[0]
    assert list(by_class.groups[1].rates) == ["accuracy"]
    by_value = fairness_of(labels.astype(float), scores, of, "regression")[0]
    assert by_value.groups[1].gaps["mean_prediction"].value == pytest.approx(0.2, abs=0.05)


class Formula:
    """An estimator that is a formula of the frame."""

    def __init__(self, formula) -> None:
        self.formula = formula

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.formula(frame), float)


def scorer(formula) -> Scorer:
    text = SPEC.replace('task = "binary"', 'task = "regression"').replace("floor = { roc_auc = 0.58 }", "").replace("margin = 0.002", "")
    made = spec(text.replace('sank = { role = "label", type = "boolean", nullable = true }', 'sank = { role = "label", type = "float" }'))
    card = TrainedModel(spec=made, run="1", dataset="d", estimator="default", train_rows=1, train_period="", versions={})
    return Scorer(card, Formula(formula))


def frame(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "kind": rng.choice(np.array(["sail", "motor"], object), n), "port": rng.choice(np.array(["north", None], object), n),
        "length_m": rng.normal(20, 5, n), "crew": rng.integers(0, 9, n).astype(float),
    })  # fmt: skip


def test_shapley_values_of_a_sum_are_the_distances_of_its_terms_from_their_means():
    model = scorer(lambda f: 2 * f["length_m"] - f["crew"] + 5 * (f["kind"] == "sail"))
    background, row = frame(60), frame(1, seed=9)
    (found,) = explain(model, row, background)
    told = {each.feature: each.effect for each in found.reasons}
    assert sum(told.values()) == pytest.approx(found.score - found.base)
    assert found.score == pytest.approx(model.scores(row)[0])
    assert told["length_m"] == pytest.approx(2 * (row["length_m"][0] - background["length_m"].mean()), abs=3)
    assert told.get("port", 0) == pytest.approx(0)
    assert {each.feature: each.value for each in found.reasons}["length_m"] == f"{row['length_m'][0]:g}"


def test_shapley_values_are_near_the_exact_ones_where_features_act_together():
    model = scorer(lambda f: f["length_m"] * f["crew"] * (1 + (f["kind"] == "sail")))
    background, row = frame(1, seed=3), frame(1, seed=9)
    names = list(background.columns)

    def value(own: tuple[str, ...]) -> float:
        return float(model.scores(background.assign(**{name: row[name].to_numpy() for name in own}))[0])

    def exact(name: str) -> float:  # Shapley 1953
        others = [other for other in names if other != name]

        def weight(size):
            return factorial(size) * factorial(len(names) - size - 1) / factorial(len(names))

        return sum(weight(len(some)) * (value((*some, name)) - value(some)) for size in range(len(names)) for some in combinations(others, size))

    (found,) = explain(model, row, background)
    for each in found.reasons:
        assert each.effect == pytest.approx(exact(each.feature), abs=0.1 * abs(found.score - found.base))


def test_rows_of_many_features_are_explained_a_few_orders_at_a_time(monkeypatch):
    model, background, row = scorer(lambda f: 2 * f["length_m"] - f["crew"]), frame(60), frame(1, seed=9)
    (whole,) = explain(model, row, background)
    monkeypatch.setattr(explaining, "CELLS", 4 * 4 * 2 * 40)
    (parts,) = explain(model, row, background)
    assert parts.base == pytest.approx(whole.base)
    assert [each.effect for each in parts.reasons] == pytest.approx([each.effect for each in whole.reasons])


def test_values_of_sensitive_columns_are_not_told():
    model = scorer(lambda f: f["crew"])
    columns = model.card.spec.columns
    hidden = model.card.spec.model_copy(update={"columns": columns | {"crew": columns["crew"].model_copy(update={"sensitive": True})}})
    (found,) = explain(Scorer(model.card.model_copy(update={"spec": hidden}), Formula(lambda f: f["crew"])), frame(1, 9), frame(20))
    assert next(each for each in found.reasons if each.feature == "crew").value is None


def test_the_feature_that_the_label_is_made_of_matters_and_one_that_is_not_used_does_not():
    model, rows = scorer(lambda f: f["length_m"]), frame(500)
    found = {each.feature: each for each in importance(model, rows, rows["length_m"].to_numpy())}
    assert next(iter(found)) == "length_m"
    assert found["length_m"].loss == pytest.approx(5 * np.sqrt(2), rel=0.1)  # rmse of two independent draws of one normal
    assert found["crew"].loss == found["port"].loss == 0


def keyed(n: int, start: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(start)
    frame = pl.DataFrame({
        "kind": rng.choice(["sail", "motor"], n), "port": ["north"] * n, "length_m": rng.normal(20, 5, n), "crew": rng.integers(0, 9, n),
        "sank": rng.integers(0, 2, n).astype(bool),
    })  # fmt: skip
    return frame.with_columns(key_hashes(pl.Series([str(start + i) for i in range(n)]), "boats"))


@pytest.mark.parametrize(("learned", "shared"), [(1000, 100), (60_000, 900), (60_000, 0)])
def test_keys_that_were_learned_from_are_found_in_the_holdout(tmp_path, learned, shared):
    Baseline.of(keyed(learned), spec()).save(tmp_path / "b.json")
    held = keyed(3000, start=learned - shared)
    baseline = Baseline.load(tmp_path / "b.json")
    found = baseline.overlap(baseline.sampled(held[KEY_HASH].to_numpy()))
    assert found == pytest.approx(shared / 3000, abs=0.0 if learned <= KEYS else 0.08)
    assert (found > 0) == (shared > 0)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_the_smallest_hashes_are_the_smallest(numbers):
    assert smallest(np.array(numbers, np.uint64)).tolist() == sorted(numbers)[:KEYS]


def test_a_shifted_column_is_found_and_the_others_are_not():
    before = keyed(20_000)
    after = keyed(5000, start=50_000).with_columns(pl.col("length_m") + 5, sank=pl.lit(value=True))
    known = spec().model_copy(update={"columns": {name: spec().columns[name] for name in before.columns if name != KEY_HASH}})
    found = {each.column: each.psi for each in shifts(profile(before, known), profile(after, known))}
    assert list(found)[:2] == ["sank", "length_m"]
    assert found["length_m"] > 0.5
    assert found["crew"] < 0.02
    assert found["kind"] < 0.01
    same = {each.column: each.psi for each in shifts(profile(before, known), profile(before, known))}
    assert max(same.values()) == pytest.approx(0, abs=1e-9)


def test_psi_is_the_published_sum():
    assert psi({"x": 0.2, "y": 0.8}, {"x": 0.3, "y": 0.7}) == pytest.approx(0.1 * np.log(1.5) + 0.1 * np.log(8 / 7))
    assert np.isfinite(psi({"x": 1.0}, {"y": 1.0}))


def learn(n: int, spec_: ModelSpec, leak: bool = False) -> Rows:
    rng = np.random.default_rng(n)
    rows = frame(n, seed=n)
    labels = (rows["length_m"] + rng.normal(0, 6, n) > 20).to_numpy().astype(np.int64)
    if leak:
        rows["kind"] = np.where(labels == 1, "sail", "motor").astype(object)
    return Rows(rows, labels)


def test_a_feature_that_gives_the_label_away_is_named_and_an_honest_one_is_not():
    assert list(study.given_away(learn(4000, spec()), learn(1000, spec()), spec())) == []
    (told,) = study.given_away(learn(4000, spec(), leak=True), learn(1000, spec(), leak=True), spec())
    assert told == "feature kind alone tells the label (AUC 1.000 on validation rows): is it known before the label is?"


def test_a_learning_curve_ends_with_the_model_of_all_rows():
    train, validation = learn(4000, spec()), learn(1000, spec())
    fitted = estimators.fit("default", spec(), train, validation)
    card = scorer(lambda f: f["crew"]).card.model_copy(update={"spec": spec(), "train_rows": 4000})
    points, why_not = study.learning_curve(fitted, card, train, validation, None)
    assert ([each.rows for each in points], why_not) == ([1000, 2000, 4000], None)
    shared = card.model_copy(update={"train_rows": 16_000})  # these are one instance's share of the rows that it learned from
    assert [each.rows for each in study.learning_curve(fitted, shared, train, validation, None)[0]] == [1000, 2000, 16_000]
    few = Rows(train.features[:300], train.labels[:300])
    assert study.learning_curve(fitted, card, few, validation, None) == ((), None)


@pytest.mark.parametrize(("values", "metric", "expected"), [
    ((0.70, 0.80), "roc_auc", True), ((0.800, 0.801), "roc_auc", False), ((0.5, 0.4), "log_loss", True), ((0.4, 0.41), "log_loss", False),
    ((0.9,), "roc_auc", None),
])  # fmt: skip
def test_a_model_is_still_learning_when_twice_the_rows_close_the_gap(values, metric, expected):
    assert study.still_learning(tuple(Learned(rows=1000 * 2**at, value=value) for at, value in enumerate(values)), metric) is expected


def dataset(days: range, text: str = SPEC) -> Dataset:
    header = "id,day,sank,kind,port,length_m,crew,note\n"
    lines = [f"b{d}-{i},2024-05-{d:02d}T00:00:00,{('true', 'false')[i % 2]},sail,north,10,1," for d in days for i in range(20)]
    part = prepare((header + "\n".join(lines) + "\n").encode(), "a.csv", spec(text))
    return assemble((Candidate(DatasetPart.of(part.record)),), spec(text))


def rows_of(days: range) -> pl.DataFrame:
    times = [f"2024-05-{d:02d}T00:00:00Z" for d in days for _ in range(20)]
    found = pl.DataFrame({"id": [f"b{d}-{i}" for d in days for i in range(20)], "day": times, PART: 0}, schema_overrides={PART: pl.Int32})
    return found.with_columns(pl.col("day").str.to_datetime(time_zone="UTC"))


def test_days_that_a_champion_learned_from_judge_nobody():
    champion = dataset(range(1, 11))  # learns from days 1 to 6, chooses by 7 and 8, is judged by 9 and 10
    found = beside(rows_of(range(1, 14)), dataset(range(1, 14)), champion)

    def of(mask):
        return sorted(set(np.repeat(np.arange(1, 14), 20)[mask].tolist()))

    assert (of(found.learned), of(found.established), of(found.newer)) == (list(range(1, 9)), [9, 10], [11, 12, 13])


def test_keys_that_a_champion_learned_from_judge_nobody_whatever_became_of_its_split():
    held = dataset(range(1, 11), by_key())
    salted = dataset(range(1, 11), by_key().replace("test = 0.2", 'test = 0.2, salt = "other"'))
    rows = rows_of(range(1, 11))
    for champion, salt in ((held, "boats"), (salted, "other")):
        found = beside(rows, held, champion)
        share = key_hashes(rows["id"], salt).to_numpy() / 2.0**64
        assert np.array_equal(found.learned, share < 0.8)
        assert not (found.learned & (found.established | found.newer)).any()


def test_where_it_cannot_be_told_every_row_counts_as_learned_from():
    held, rows = dataset(range(1, 11), by_key()), rows_of(range(1, 11))
    assert beside(rows, held, held.model_copy(update={"key": "other"})).learned.all()
    timeless = held.model_copy(update={"time": None})
    assert beside(rows, timeless, dataset(range(1, 11))).learned.all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.integers(0, 3))
def test_every_share_of_fairness_lies_between_nothing_and_all(n, seed):
    labels, scores, of = groups(n + 20, seed)
    for each in fairness_of(labels, scores, of, min_rows=5):
        for group in each.groups:
            assert all(0 <= i.low <= i.value <= i.high <= 1 for i in group.rates.values())
