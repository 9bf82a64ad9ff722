"""Slices are judged as scipy would judge them, and the gate does not take one of many looks for news."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.samples import evaluation, scores, spec
from tidemill.evaluate.record import Interval, Slice
from tidemill.evaluate.slices import MISSING, Holdout, Model, judge_slices
from tidemill.gate import decide

GATE = spec().gate


def holdout(rows: int = 600, seed: int = 0) -> tuple[dict, Holdout, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = {"place": rng.choice(np.array(["north", "south", MISSING], object), rows), "own": rng.choice(np.array(["true", "false"], object), rows)}
    return columns, Holdout(rng.normal(0, 1, rows), None, "regression"), rng.normal(0, 0.5, rows)


def judged(columns, held, challenger, champion, min_rows=20, drop=0.0, metric="mae"):
    model = None if champion is None else Model(champion, 0.5)
    return judge_slices(columns, held, Model(challenger, 0.5), model, metric, 0.95, min_rows, drop)


def test_each_value_and_each_pair_with_rows_enough_is_judged_largest_first():
    columns, held, noise = holdout()
    found = judged(columns, held, held.labels + noise, held.labels + 2 * noise)
    assert {str(each) for each in found} == {
        *(f"place = {place}" for place in ("north", "south", MISSING)), *(f"own = {own}" for own in ("true", "false")),
        *(f"place = {place} and own = {own}" for place in ("north", "south", MISSING) for own in ("true", "false")),
    }  # fmt: skip
    assert [each.rows for each in found] == sorted((each.rows for each in found), reverse=True)
    assert len(judged(columns, held, held.labels, held.labels, min_rows=150)) == 5
    alone = judged(columns, held, held.labels + noise, None)
    assert all(each.champion is each.gain is each.p is None for each in alone)


def test_the_p_value_is_a_paired_tests():
    """Of absolute errors row by row; the bootstrap's standard error comes near the sample's."""
    columns, held, noise = holdout()
    other = np.random.default_rng(1).normal(0, 0.47, len(noise))
    for drop in (0.0, 0.05):
        for each in judged(columns, held, held.labels + noise, held.labels + other, drop=drop):
            rows = np.all([columns[name] == value for name, value in each.by.items()], axis=0)
            lost = np.abs(noise[rows]) - np.abs(other[rows])
            assert each.gain.value == pytest.approx(-lost.mean())
            assert each.p == pytest.approx(stats.ttest_1samp(lost, drop, alternative="greater").pvalue, abs=0.02)


def test_equal_models_are_no_news():
    columns, held, noise = holdout()
    assert {each.p for each in judged(columns, held, held.labels + noise, held.labels + noise)} == {1.0}


def test_a_slice_without_both_classes_is_left_out():
    columns = {"side": np.array(["left"] * 50 + ["right"] * 50, object)}
    held = Holdout(np.array([0] * 50 + [0, 1] * 25), None, "binary")
    found = judge_slices(columns, held, Model(np.linspace(0, 1, 100), 0.5), None, "roc_auc", 0.95, 20, 0.0)
    assert [str(each) for each in found] == ["side = right"]


def cut(*p: float) -> tuple[Slice, ...]:
    gain, (mine, theirs) = Interval(value=-0.1, low=-0.2, high=0), (scores(auc)["roc_auc"] for auc in (0.6, 0.7))
    return tuple(Slice(by={"place": str(at)}, rows=300, challenger=mine, champion=theirs, gain=gain, p=each) for at, each in enumerate(p))


def test_holms_correction_is_the_published_one():
    """p = 0.01, 0.04, 0.03, 0.005 at 0.05: the first and the last are rejected (Holm 1979, as in the article Holm–Bonferroni method)."""
    decision = decide(evaluation(0.7, 0.7, (0.0, 0.0, 0.0), slices=cut(0.01, 0.04, 0.03, 0.005)), GATE)
    assert decision.outcome == "reject"
    assert [reason.partition(":")[0] for reason in decision.reasons] == ["worse where place = 3", "worse where place = 0"]
    assert "(one of 4 slices, p = 0.005)" in decision.reasons[0]
    second = decide(evaluation(0.7, 0.7, (0.0, 0.0, 0.0), slices=cut(0.005, 0.02, 0.9)), GATE)  # Bonferroni's 0.0167 would let it pass
    assert len([reason for reason in second.reasons if reason.startswith("worse where")]) == 2


@given(st.lists(st.floats(0, 1), max_size=20))
def test_no_more_slices_are_refused_than_without_correction_and_none_when_all_are_likely(p):
    decision = decide(evaluation(0.7, 0.7, (0.0, 0.0, 0.0), slices=cut(*p)), GATE)
    refused = sum(reason.startswith("worse where") for reason in decision.reasons)
    assert refused <= sum(each <= 0.05 for each in p)
    assert (decision.outcome == "reject") == (bool(p) and min(p) <= 0.05 / len(p)) or abs(min(p, default=1) - 0.05 / max(1, len(p))) < 1e-9
