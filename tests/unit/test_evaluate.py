"""Metrics against scikit-learn, intervals against what they claim, the gate against what it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tests.samples import evaluation, scores, spec
from tidemill.errors import DatasetRefused
from tidemill.evaluate.compare import Judge, check_labels, label_facts
from tidemill.evaluate.metrics import CLIP, Outcomes, statistics
from tidemill.evaluate.record import Comparison, Evaluation, Fairness, Group, Interval, Resampled, Scores
from tidemill.evaluate.resample import MANY_DAYS, estimate, interval, plan
from tidemill.gate import decide
from tidemill.metric import KINDS, metrics_of
from tidemill.model.threshold import threshold_of
from tidemill.records import Waiver
from tidemill.spec import Costs, FairnessLimits, GateSpec
from tidemill.steps.register import keeps_to

GATE = spec().gate
TASKS = ("binary", "multiclass", "regression")


def drawn(task: str, seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions with ties, every class there."""
    rng = np.random.default_rng(seed)
    if task == "binary":
        return np.r_[0, 1, rng.integers(0, 2, n)], rng.integers(0, 8, n + 2) / 7
    if task == "multiclass":
        p = rng.integers(1, 6, (n + 3, 3)).astype(float)
        return np.r_[0, 1, 2, rng.integers(0, 3, n)], p / p.sum(axis=1, keepdims=True)
    return np.r_[0.0, 1.0, rng.normal(1e6, 3, n)], np.r_[0.0, 1.0, rng.normal(1e6, 3, n)]


def scikit_learns(task: str, labels: np.ndarray, found: np.ndarray, threshold: float, w: np.ndarray) -> dict[str, float]:
    if task == "binary":
        p = np.clip(found, CLIP, 1 - CLIP)
        return {
            "roc_auc": sk.roc_auc_score(labels, found, sample_weight=w),
            "average_precision": sk.average_precision_score(labels, found, sample_weight=w),
            "log_loss": sk.log_loss(labels, p, sample_weight=w),
            "brier": sk.brier_score_loss(labels, found, sample_weight=w),
            "accuracy": sk.accuracy_score(labels, found >= threshold, sample_weight=w),
        }
    if task == "multiclass":
        called = found.argmax(axis=1)
        return {
            "log_loss": sk.log_loss(labels, found, sample_weight=w),
            "accuracy": sk.accuracy_score(labels, called, sample_weight=w),
            "f1_macro": sk.f1_score(labels, called, average="macro", sample_weight=w),
        }
    return {
        "rmse": sk.root_mean_squared_error(labels, found, sample_weight=w),
        "mae": sk.mean_absolute_error(labels, found, sample_weight=w),
        "r2": sk.r2_score(labels, found, sample_weight=w),
    }


@pytest.mark.parametrize("task", TASKS)
@given(seed=st.integers(0, 10_000), n=st.integers(4, 200), clusters=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_metrics_equal_scikit_learns_with_rows_weighted_by_their_cluster(task, seed, n, clusters):
    labels, found = drawn(task, seed, n)
    of = np.arange(len(labels)) % min(clusters, len(labels))
    weights = np.random.default_rng(seed).integers(1, 5, of.max() + 1).astype(float)
    made = statistics(Outcomes(task=task, labels=labels, clusters=of, threshold=0.4), found)
    assert tuple(made) == metrics_of(task)
    expected = scikit_learns(task, labels, found, 0.4, weights[of])
    for metric, statistic in made.items():
        assert statistic(weights[None])[0] == pytest.approx(expected[metric], rel=1e-6, abs=1e-9), metric


def test_a_class_that_no_model_knows_is_never_right():
    labels, found = np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    made = statistics(Outcomes(task="multiclass", labels=labels, clusters=np.arange(3)), found)
    assert made["accuracy"](np.ones((1, 3)))[0] == pytest.approx(2 / 3)
    assert made["log_loss"](np.array([[0.0, 0.0, 1.0]]))[0] == pytest.approx(-np.log(CLIP))


def bounds(metric, labels, found, days=None, task="binary"):
    """Of one metric, at 0.9."""
    by = plan(labels, task, days)
    made = estimate({metric: statistics(Outcomes(task=task, labels=labels, clusters=by.clusters), found)[metric]}, by)
    return interval(made.values[metric], made.draws[metric], by, 0.9)


@pytest.mark.long
def test_bounds_of_single_rows_cover_the_truth_about_as_often_as_they_say():
    """Two normals one standard deviation apart have AUC Φ(1/√2) = 0.7602 (Hanley and McNeil 1982)."""
    below = above = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 300)
        found = bounds("roc_auc", labels, rng.normal(labels, 1.0))
        below, above = below + (found.low <= 0.7602), above + (found.high >= 0.7602)
    assert min(below, above) >= 66  # 72 of 80 expected, and 66 is the 2.5 % quantile


@pytest.mark.long
@pytest.mark.parametrize("count", [6, 40])
def test_rows_that_err_together_by_day_need_days_to_be_drawn(count):
    """Errors that a day shares: bounds of days cover the truth as they say, bounds of rows do not."""
    covered = {"day": 0, "row": 0}
    for seed in range(80):
        rng = np.random.default_rng(seed)
        days = np.repeat(np.arange(count), 30)
        errors = rng.normal(0, 1, count)[days] + rng.normal(0, 0.5, len(days))
        truth = np.sqrt(2 / np.pi) * np.sqrt(1.25)  # E|N(0, 1.25)|
        for by, given_days in (("day", days), ("row", None)):
            found = bounds("mae", np.linspace(0, 1, len(days)), np.linspace(0, 1, len(days)) + errors, given_days, "regression")
            covered[by] += found.low <= truth <= found.high
    assert covered["day"] >= 56  # both bounds hold in 64 of 80
    assert covered["row"] < 45


def test_how_rows_are_resampled_depends_on_their_days():
    labels = np.array([0, 1] * 60)
    assert plan(labels, "binary", None).resampled.by == "row"
    few, many = (plan(labels, "binary", np.arange(120) // (120 // days)) for days in (5, 40))
    assert (few.resampled.by, few.resampled.units, few.resampled.method) == ("day", 5, "jackknife-t")
    assert few.warnings == ("the holdout has 5 days only: intervals are wide",)
    assert (many.resampled.units, many.resampled.method, many.warnings) == (40, "percentile", ())
    assert MANY_DAYS == 30
    one = plan(labels, "binary", np.zeros(120, int))
    assert (one.resampled.by, "lies on one day" in one.warnings[0]) == ("row", True)
    lone = plan(np.array([0] * 110 + [1] * 10), "binary", np.arange(120) // 10)
    assert (lone.resampled.by, "has all rows of a class on one day" in lone.warnings[0]) == ("row", True)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_does_not_differ_from_itself(task):
    labels, found = drawn(task, 3, 100)
    judge = Judge(labels, task, plan(labels, task, None), 0.95)
    mine = judge.estimates(found)
    assert judge.compare(mine, judge.estimates(found), "boats/1", metrics_of(task)[0]).gain == Interval(value=0, low=0, high=0)


@pytest.mark.parametrize("task", TASKS)
def test_a_gain_is_positive_for_the_better_model_whichever_way_the_metric_goes(task):
    labels, _ = drawn(task, 4, 300)
    sharp, dull = {
        "binary": lambda: (labels * 0.6 + 0.2, labels * 0.02 + 0.49),
        "multiclass": lambda: (np.eye(3)[labels] * 0.7 + 0.1, np.full((len(labels), 3), 1 / 3)),
        "regression": lambda: (labels + 0.1, labels + np.random.default_rng(0).normal(0, 2, len(labels))),
    }[task]()
    judge = Judge(labels, task, plan(labels, task, None), 0.95)
    for metric in metrics_of(task):
        gain = judge.compare(judge.estimates(sharp), judge.estimates(dull), "boats/1", metric).gain
        assert gain.low - 1e-9 <= gain.value <= gain.high + 1e-9, metric
        assert gain.value >= 0, metric


def test_bounds_stay_within_what_a_metric_can_be():
    labels, days = np.array([0, 1] * 20), np.arange(40) // 10
    judge = Judge(labels, "binary", plan(labels, "binary", days), 0.95)
    for metric, each in judge.scores(judge.estimates(labels * 0.9 + np.linspace(0, 0.05, 40))).metrics.items():
        assert KINDS[metric].least <= each.low <= each.value <= each.high <= KINDS[metric].most


@pytest.mark.parametrize(("labels", "task"), [([0, 0, 0], "binary"), ([1, 1], "multiclass"), ([2.5, 2.5], "regression"), ([], "regression")])
def test_a_holdout_that_cannot_tell_a_model_from_a_guess_is_refused(labels, task):
    with pytest.raises(DatasetRefused, match=r"no metric can tell|no labelled row"):
        check_labels(np.array(labels), task)


def test_facts_of_labels_are_for_people():
    assert label_facts(np.array([0, 1, 1]), "binary", ()) == {"true": 2, "false": 1}
    assert label_facts(np.array([0, 1, -1]), "multiclass", ("a", "b")) == {"a": 1, "b": 1, "other": 1}
    assert label_facts(np.array([1.0, 3.0]), "regression", ()) == {"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 9))
def test_the_threshold_costs_least_of_all(rows, false_positive, false_negative):
    found, labels = np.array([score / 6 for score, _ in rows]), np.array([int(true) for _, true in rows])

    def cost(threshold: float) -> float:
        called = found >= threshold
        return false_positive * (called & (labels == 0)).sum() + false_negative * (~called & (labels == 1)).sum()

    chosen = threshold_of(found, labels, 0.3, Costs(false_positive=false_positive, false_negative=false_negative))
    if chosen == 1.0 and (found == 1).any():  # nothing may be called true, and a score of 1 is
        chosen = 1.1
    assert cost(chosen) == min(cost(t / 12) for t in range(14))
    assert threshold_of(found, labels, 0.3, None) == 0.3


def test_the_first_model_needs_only_the_floor():
    assert decide(evaluation(0.61), GATE).outcome == "promote"
    refused = decide(evaluation(0.52), GATE)
    assert refused.outcome == "reject"
    assert refused.reasons == ("AUC 0.52 [0.50, 0.54] is below the floor 0.58",)


def test_the_floor_is_a_floor_for_the_estimate_itself():
    assert decide(evaluation(0.58), GATE).outcome == "promote"
    assert decide(evaluation(0.5799), GATE).outcome == "reject"


def test_the_floor_of_a_loss_is_a_limit_above():
    gate = GATE.model_copy(update={"floor": {"log_loss": 0.4}})
    found = evaluation(0.7, challenger=Scores(metrics={"roc_auc": scores(0.7)["roc_auc"], "log_loss": Interval(value=0.5, low=0.45, high=0.55)}))
    assert decide(found, gate).reasons == ("log loss 0.50 [0.45, 0.55] is above the limit 0.4",)
    assert decide(found, gate.model_copy(update={"floor": {"log_loss": 0.5}})).outcome == "promote"


def test_a_metric_that_is_undefined_meets_no_floor():
    decision = decide(evaluation(0.7), GATE.model_copy(update={"floor": {"brier": 0.9}}))
    assert (decision.outcome, decision.reasons) == ("reject", ("Brier score is undefined on these 2,498 rows, the floor asks for 0.9",))


def test_refuses_challenger_worse_than_champion():
    decision = decide(evaluation(0.60, 0.80, (-0.20, -0.22, -0.18)), GATE)
    assert decision.outcome == "reject"
    assert "worse than champion boats/6 by 0.20 on the same 2,498 rows" in decision.reasons[0]


def test_holds_a_challenger_that_cannot_be_told_from_a_worse_one():
    decision = decide(evaluation(0.66, 0.66, (0.0, -0.05, 0.05)), GATE)
    assert decision.outcome == "hold"
    assert "not shown to be as good as champion boats/6 within 0.002" in decision.reasons[0]


def test_holds_on_too_few_rows():
    decision = decide(evaluation(0.66), GATE.model_copy(update={"min_rows": 5000}))
    assert (decision.outcome, decision.reasons) == ("hold", ("2,498 rows held out, gate.min_rows asks for 5,000",))


def test_holds_when_the_champion_cannot_score_the_rows():
    decision = decide(evaluation(0.66, unreadable="ColumnNotFoundError: port"), GATE)
    assert decision.outcome == "hold"
    assert decision.reasons == ("the champion cannot score these rows, so that nothing was compared: ColumnNotFoundError: port",)


def test_a_person_can_waive_a_comparison_that_is_impossible_and_no_other():
    waiver = Waiver(model="boats", package="boats/6", fault="f", reason="the port column is gone for good", actor="anna", time="t")
    impossible = evaluation(0.66, unreadable="ColumnNotFoundError: port", set_beside=("boats/6",))
    assert "tidemill waive boats 6 lets later ones be judged" in decide(impossible, GATE).reasons[0]
    decision = decide(impossible, GATE, waiver=waiver)
    assert decision.outcome == "promote"
    assert decision.reasons[-1] == ("not compared with champion boats/6: ColumnNotFoundError: port; waived by anna: the port column is gone for good")
    assert decide(impossible.model_copy(update={"challenger": scores(0.5)}), GATE, waiver=waiver).outcome == "reject"  # the floor stands
    for gain in ((-0.2, -0.25, -0.15), (0.0, -0.05, 0.05)):  # the champion can score them: the waiver changes nothing
        comparable = evaluation(0.66, 0.66, gain)
        assert decide(comparable, GATE, waiver=waiver) == decide(comparable, GATE)
        best = evaluation(0.66, 0.66, gain).champion
        beside_best = impossible.model_copy(update={"best": best})
        assert decide(beside_best, GATE, waiver=waiver).outcome != "promote"


def test_an_equal_model_is_promoted_whatever_the_margin():
    assert decide(evaluation(0.66, 0.66, (0.0, 0.0, 0.0)), GATE.model_copy(update={"margin": 0.0})).outcome == "promote"
    assert decide(evaluation(0.66, 0.66, (0.0, -0.001, 0.001)), GATE).outcome == "promote"


def test_a_champion_that_fell_with_its_challenger_says_that_the_rows_may_be_wrong():
    fallen = evaluation(0.52, 0.51, (0.01, -0.01, 0.03))
    told = decide(fallen, GATE, Interval(value=0.66, low=0.64, high=0.68)).reasons
    assert told[-1].startswith("champion boats/6 itself went from AUC 0.66 [0.64, 0.68] to 0.51 [0.49, 0.53]: the world has changed, or labels")
    assert len(decide(fallen, GATE, Interval(value=0.53, low=0.51, high=0.55)).reasons) == 1


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 5000), st.booleans())
def test_never_promotes_below_the_floor_below_the_champion_or_uncompared(auc, value, below, above, min_rows, unreadable):
    found = evaluation(auc, 0.7, (value, value - below, value + above))
    if unreadable:
        found = found.model_copy(update={"champion": None, "unreadable": "no"})
    decision = decide(found, GATE.model_copy(update={"min_rows": min_rows}))
    worse = not unreadable and value - below < -GATE.margin
    if auc < 0.58 or worse or unreadable or min_rows > found.rows:
        assert decision.outcome != "promote"
    if not unreadable and value + above < -GATE.margin:
        assert decision.outcome == "reject"
    assert decision.reasons


def fair(gap: tuple[float, float, float], ratio: tuple[float, float, float] = (1, 1, 1)) -> Fairness:
    def of(three):
        return Interval(value=three[0], low=three[1], high=three[2])

    reference = Group(value="a", rows=900, rates={"selection_rate": of((0.5, 0.4, 0.6))})
    other = Group(value="b", rows=500, rates={"selection_rate": of((0.4, 0.3, 0.5))}, gaps={"selection_rate": of(gap)}, ratio=of(ratio))
    return Fairness(column="sex", reference="a", groups=(reference, other))


def limited(**limits: float) -> GateSpec:
    return GATE.model_copy(update={"fairness": FairnessLimits(**limits)})


def test_a_group_beyond_a_limit_is_rejected_when_it_is_shown_and_held_when_it_is_not():
    gate = limited(demographic_parity_max=0.1)
    shown = decide(evaluation(0.7, fairness=(fair((-0.2, -0.25, -0.15)),)), gate)
    assert shown.outcome == "reject"
    assert shown.reasons == ("selection rate differs where sex = b beside a: -0.2 [-0.25, -0.15], at most 0.1 may be",)
    not_shown = decide(evaluation(0.7, fairness=(fair((-0.2, -0.4, 0.05)),)), gate)
    assert not_shown.outcome == "hold"
    assert not_shown.reasons[0].endswith("; so few rows do not show it for sure")
    assert decide(evaluation(0.7, fairness=(fair((-0.05, -0.3, 0.2)),)), gate).outcome == "promote"


def test_the_four_fifths_rule_holds_both_ways():
    gate = limited(disparate_impact_min=0.8)
    for ratio, outcome in (((0.7, 0.65, 0.75), "reject"), ((0.7, 0.6, 0.9), "hold"), ((0.9, 0.5, 1.4), "promote"), ((1.4, 1.3, 1.5), "reject")):
        assert decide(evaluation(0.7, fairness=(fair((0, 0, 0), ratio),)), gate).outcome == outcome


def test_a_group_that_cannot_be_judged_or_a_reference_that_is_never_selected_holds_the_model():
    without = fair((0, 0, 0)).model_copy(update={"groups": (fair((0, 0, 0)).groups[0], Group(value="b", rows=40, rates={}))})
    for limits, told in (
        ({"equal_opportunity_max": 0.1}, "true positive rate cannot be judged"),
        ({"disparate_impact_min": 0.8}, "nobody is selected there"),
    ):
        decision = decide(evaluation(0.7, fairness=(without,)), limited(**limits))
        assert (decision.outcome, told in decision.reasons[0]) == ("hold", True)


def test_an_interval_without_width_shows_nothing():
    assert decide(evaluation(0.7, fairness=(fair((-1, -1, -1)),)), limited(demographic_parity_max=0.1)).outcome == "hold"


def test_a_handful_of_single_rows_promotes_nobody():
    few = {"rows": 29, "resampled": Resampled(by="row", units=29, method="percentile")}
    held = decide(evaluation(0.9, **few), GATE)
    assert (held.outcome, held.reasons) == ("hold", ("29 rows held out: below 30 single rows bounds say nothing",))
    by_day = {"rows": 29, "resampled": Resampled(by="day", units=5, method="jackknife-t")}
    assert decide(evaluation(0.9, **by_day), GATE).outcome == "promote"


def test_limits_of_fairness_that_cannot_be_judged_hold_the_model():
    decision = decide(evaluation(0.7), limited(equal_opportunity_max=0.1))
    assert (decision.outcome, decision.reasons) == (
        "hold", ("gate.fairness cannot be judged: no sensitive column has two groups of gate.slice_min_rows = 200 rows",),
    )  # fmt: skip


def test_a_model_beyond_its_budget_is_rejected():
    gate = GATE.model_copy(update={"size_mb_max": 5.0, "latency_ms_max": 20.0})
    assert decide(evaluation(0.7, size_bytes=4_000_000, latency_ms=10), gate).outcome == "promote"
    found = decide(evaluation(0.7, size_bytes=6_100_000, latency_ms=30), gate)
    assert found.reasons == ("6.1 MB of model.tar.gz, at most 5 may be", "30 ms for one row, at most 20 may be")
    assert decide(evaluation(0.7), gate).reasons[0].startswith("an unknown number of MB")


def beside_best(gain: tuple[float, float, float], best: tuple[float, float, float]) -> Evaluation:
    found = evaluation(0.7, 0.7, gain)
    value, low, high = best
    return found.model_copy(update={"best": Comparison(champion="boats/2", scores=scores(0.72), gain=Interval(value=value, low=low, high=high))})


def test_a_challenger_as_good_as_the_champion_but_not_as_the_best_there_was_is_not_promoted():
    equal = (0.0, -0.001, 0.001)
    assert decide(beside_best(equal, equal), GATE).outcome == "promote"
    held = decide(beside_best(equal, (-0.003, -0.02, 0.01)), GATE)
    assert (held.outcome, "not shown to be as good as the best champion there was, boats/2 within 0.002" in held.reasons[0]) == ("hold", True)
    assert decide(beside_best(equal, (-0.02, -0.03, -0.01)), GATE).outcome == "reject"


@given(st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=60), st.floats(0.001, 0.05))
def test_quality_cannot_go_down_a_margin_at_a_time(steps, margin):
    """Each challenger differs from the champion by a step that is known exactly; nothing promoted is a margin below the best before it."""
    gate = GATE.model_copy(update={"margin": margin, "floor": {}})

    def exactly(name, gain):
        return Comparison(champion=name, scores=scores(0.7), gain=Interval(value=gain, low=gain, high=gain))

    quality, champion, kept_to, best = {"boats/0": 0.0}, "boats/0", None, 0.0
    for number, step in enumerate(steps, 1):
        name, mine = f"boats/{number}", quality[champion] + step
        found = evaluation(0.7).model_copy(update={
            "champion": exactly(champion, mine - quality[champion]),
            "best": exactly(kept_to, mine - quality[kept_to]) if kept_to else None,
        })  # fmt: skip
        if decide(found, gate).outcome == "promote":
            quality[name], champion, kept_to = mine, name, keeps_to(found)
            best = max(best, mine)
            assert mine > best - margin or mine == best


def test_how_often_the_rows_judged_before_is_told_and_decides_nothing():
    told = decide(evaluation(0.7), GATE, looks=2)
    assert (told.outcome, told.reasons[-1]) == (
        "promote", "these held-out rows judged 2 models before: the more often, the more their figures flatter",
    )  # fmt: skip
