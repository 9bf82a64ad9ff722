"""Metrics against scikit-learn; the gate against what it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tests.samples import evaluation, spec
from tidemill.errors import DatasetRefused
from tidemill.evaluate import metrics
from tidemill.evaluate.compare import check_labels
from tidemill.evaluate.record import Interval
from tidemill.gate import decide

GATE = spec().gate


@given(st.integers(0, 10_000), st.integers(4, 300), st.integers(1, 20))
@settings(max_examples=80, deadline=None)
def test_metrics_equal_scikit_learns(seed, n, levels):
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, n)].astype(np.int8)
    scores = rng.integers(0, levels + 1, n + 2) / levels  # with ties
    assert metrics.roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.brier(labels, scores) == pytest.approx(sk.brier_score_loss(labels, scores), abs=1e-12)
    assert metrics.log_loss(labels, np.clip(scores, 0.01, 0.99)) == pytest.approx(sk.log_loss(labels, np.clip(scores, 0.01, 0.99)), abs=1e-12)


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(1)
    labels, scores, times = rng.integers(0, 2, 50).astype(np.int8), rng.random(50), rng.integers(0, 4, 50)
    repeated = sk.roc_auc_score(np.repeat(labels, times), np.repeat(scores, times))
    assert metrics.roc_auc(labels, scores, times.astype(float)) == pytest.approx(repeated, abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Two normals one standard deviation apart have AUC Φ(1/√2) = 0.7602 (Hanley and McNeil 1982)."""
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 300).astype(np.int8)
        found = metrics.auc_interval(labels, rng.normal(labels, 1.0), 0.9, seed)
        covered += found.low <= 0.7602 <= found.high
    assert 47 <= covered <= 60


def test_a_model_does_not_differ_from_itself():
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(0, 2, 200).astype(np.int8), rng.random(200)
    assert metrics.auc_difference(labels, scores, scores, 0.95, 3) == Interval(value=0, low=0, high=0)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1]])
def test_a_holdout_of_one_class_is_refused(labels):
    with pytest.raises(DatasetRefused, match="one class only"):
        check_labels(np.array(labels, dtype=np.int8))


def test_the_first_model_needs_only_the_floor():
    assert decide(evaluation(0.61), GATE).outcome == "promote"
    refused = decide(evaluation(0.52), GATE)
    assert refused.outcome == "reject"
    assert refused.reasons == ("AUC 0.52 [0.50, 0.54] is below the floor 0.58",)


def test_the_floor_is_a_floor_for_the_estimate_itself():
    assert decide(evaluation(0.58), GATE).outcome == "promote"
    assert decide(evaluation(0.5799), GATE).outcome == "reject"


def test_refuses_challenger_worse_than_champion():
    decision = decide(evaluation(0.60, 0.80, (-0.20, -0.22, -0.18)), GATE)
    assert decision.outcome == "reject"
    assert "worse than champion boats/6 by 0.200 on the same 2,498 rows" in decision.reasons[0]


def test_refuses_a_challenger_that_cannot_be_told_from_a_worse_one():
    decision = decide(evaluation(0.66, 0.66, (0.0, -0.05, 0.05)), GATE)
    assert decision.outcome == "reject"
    assert "not shown to be as good" in decision.reasons[0]


def test_an_equal_model_within_the_margin_is_promoted():
    assert decide(evaluation(0.66, 0.66, (0.0, -0.001, 0.001)), GATE).outcome == "promote"


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_never_promotes_below_the_floor_or_below_the_champion(auc, value, below, above):
    decision = decide(evaluation(auc, 0.7, (value, value - below, value + above)), GATE)
    if auc < 0.58 or value - below < -GATE.margin:
        assert decision.outcome == "reject"
    assert decision.reasons
