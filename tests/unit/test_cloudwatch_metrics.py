"""Statistics of the metric store, and metric math."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.cloudwatch.expression import evaluate
from localcloud.cloudwatch.grammar import ExpressionError, names
from localcloud.cloudwatch.metrics import MetricKey, MetricStore, UnknownStatistic

KEY = MetricKey("Shop", "Latency", (("Stage", "test"), ("Service", "cart")))
DAY_S = 24 * 3600

values = st.floats(0, 1e6)
samples = st.lists(values, min_size=1, max_size=40)


def store_of(numbers, at=0.0):
    store = MetricStore()
    for number in numbers:
        store.put(KEY, at, [number], [1])
    return store


def statistic(store, name, period_s=60):
    return store.series(KEY, name, period_s, 0, period_s).get(0.0)


# The five plain statistics


@pytest.mark.parametrize(("name", "expected"), [("SampleCount", 4.0), ("Sum", 23.0), ("Average", 5.75), ("Minimum", 2.0), ("Maximum", 10.0)])
def test_values_count_as_often_as_they_were_seen(name, expected):
    store = MetricStore()
    store.put(KEY, 3.5, [2.0, 10.0], [1, 1])
    store.put(KEY, 59.9, [5.5], [2])
    assert statistic(store, name) == expected


# docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/publishingMetrics.html#publishingDataPoints
@pytest.mark.parametrize(("name", "expected"), [("SampleCount", 3.0), ("Sum", 11.0), ("Average", 11 / 3), ("Minimum", 2.0), ("Maximum", 5.0)])
def test_page_view_counts_of_three_seconds_are_one_minute(name, expected):
    store = MetricStore()
    for second, value in enumerate([2, 4, 5]):
        store.put(KEY, 1476964800 + second, [value], [1])
    assert store.series(KEY, name, 60, 1476964800, 1476964860) == {1476964800.0: pytest.approx(expected)}


@given(st.lists(st.tuples(st.integers(0, 599), st.floats(-1e6, 1e6)), max_size=60), st.sampled_from([1, 10, 60, 300]))
def test_sums_of_periods_add_up_to_the_sum_of_all_that_was_put(points, period_s):
    store = MetricStore()
    for second, value in points:
        store.put(KEY, second + 0.25, [value], [1])
    sums = store.series(KEY, "Sum", period_s, 0, 600)
    assert set(sums) == {float(second // period_s * period_s) for second, _ in points}
    assert math.fsum(sums.values()) == pytest.approx(math.fsum(value for _, value in points), abs=1e-3)
    assert sum(store.series(KEY, "SampleCount", period_s, 0, 600).values()) == len(points)


@given(samples)
def test_an_average_lies_between_minimum_and_maximum(numbers):
    store = store_of(numbers)
    low, mean, high = (statistic(store, name) for name in ("Minimum", "Average", "Maximum"))
    assert (low, high) == (min(numbers), max(numbers))
    assert low * (1 - 1e-9) <= mean <= high * (1 + 1e-9)


# Percentiles


@given(samples, st.sampled_from([25, 50, 75, 100]))
def test_percentiles_are_numpys_inverted_cdf(numbers, percent):
    """Percentages that are exact in binary; numpy rounds the others, as the next test does not."""
    assert statistic(store_of(numbers), f"p{percent}") == np.percentile(numbers, percent, method="inverted_cdf")


@given(samples, st.decimals(0, 100, places=2))
def test_a_percentile_is_the_smallest_value_that_enough_samples_do_not_exceed(numbers, percent):
    rank = max(math.ceil(Fraction(percent) * len(numbers) / 100), 1)
    assert statistic(store_of(numbers), f"p{percent}") == sorted(numbers)[rank - 1]


# "p99 is the maximum value of the remaining 99%":
# docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html#Percentile-versus-Trimmed-Mean
@pytest.mark.parametrize(("name", "expected"), [("p99", 99.0), ("p7", 7.0), ("p99.5", 100.0), ("p100", 100.0), ("p0", 1.0), ("p95.0123456789", 96.0)])
def test_percentiles_of_one_to_a_hundred(name, expected):
    assert statistic(store_of(range(1, 101)), name) == expected


def test_percentiles_weigh_values_by_their_counts():
    store = MetricStore()
    store.put(KEY, 0, [1.0, 100.0], [98.5, 1.5])
    assert (statistic(store, "p98"), statistic(store, "p99")) == (1.0, 100.0)


# docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html#Percentiles-trimmedmean-requirements
@pytest.mark.parametrize(
    ("sample_count", "total", "minimum", "maximum", "p90"),
    [(1, 7, 7, 7, 7.0), (4, 12, 3, 3, 3.0), (4, 20, 3, 9, None), (4, 13, 3, 3, None)],
)
def test_statistic_sets_have_percentiles_only_if_all_their_samples_are_equal(sample_count, total, minimum, maximum, p90):
    store = MetricStore()
    store.put_statistics(KEY, 0, sample_count, total, minimum, maximum)
    assert statistic(store, "p90") == p90
    assert [statistic(store, name) for name in ("SampleCount", "Sum", "Minimum", "Maximum")] == [sample_count, total, minimum, maximum]


def test_raw_values_and_statistic_sets_add_up_but_have_no_percentile():
    store = store_of([1.0, 50.0])
    store.put_statistics(KEY, 30, 3, 30, 5, 20, "Count")
    assert statistic(store, "p50") is None
    assert [statistic(store, name) for name in ("SampleCount", "Sum", "Average", "Minimum", "Maximum")] == [5, 81, 16.2, 1, 50]


def test_negative_values_have_no_percentile():
    assert statistic(store_of([-1.0, 5.0]), "p50") is None


@pytest.mark.parametrize("name", ["tm99", "IQM", "p101", "p", "average", "TM(10%:90%)", "p50.12345678901"])
def test_other_statistics_are_refused_by_name_even_without_data(name):
    with pytest.raises(UnknownStatistic, match=name.replace("(", r"\(").replace(")", r"\)")):
        MetricStore().series(KEY, name, 60, 0, 60)


# The store


def test_a_period_belongs_to_the_range_by_its_start_and_the_range_begins_at_a_period():
    store = MetricStore()
    for second in (59, 60, 119, 120, 180):
        store.put(KEY, second, [1.0], [1])
    assert store.series(KEY, "Sum", 60, 90, 180) == {60.0: 2.0, 120.0: 1.0}


def test_points_fifteen_days_older_than_the_newest_are_forgotten_in_any_order_of_arrival():
    store = MetricStore()
    for day in (20, 4, 5, 21):
        store.put(KEY, day * DAY_S, [float(day)], [1])
    assert store.series(KEY, "Sum", DAY_S, 0, 30 * DAY_S) == {20.0 * DAY_S: 20.0, 21.0 * DAY_S: 21.0}


def test_metrics_are_found_by_any_of_their_dimensions():
    store = MetricStore()
    other = MetricKey("Shop", "Errors", (("Stage", "prod"),))
    for key in (KEY, other):
        store.put(key, 0, [1], [1], "Count")
    assert store.keys("Shop", dimensions=[("Stage", None)]) == [KEY, other]
    assert store.keys(dimensions=[("Stage", "prod")]) == [other]
    assert store.keys(name="Latency") == [KEY]
    assert store.keys("Office") == store.keys(dimensions=[("Region", None)]) == []
    assert store.unit(KEY) == "Count"


def test_the_order_of_dimensions_makes_no_other_metric():
    assert MetricKey("Shop", "Latency", (("Service", "cart"), ("Stage", "test"))) == KEY


@pytest.mark.parametrize(("numbers", "counts"), [([1.0], [1, 2]), ([math.nan], [1]), ([math.inf], [1]), ([2.0**361], [1])])
def test_what_put_metric_data_refuses_is_refused(numbers, counts):
    with pytest.raises(ValueError, match=r"argument|2\^360"):
        MetricStore().put(KEY, 0, numbers, counts)


def test_a_value_seen_no_time_is_no_data():
    store = MetricStore()
    store.put(KEY, 0, [5.0], [0])
    assert store.series(KEY, "Maximum", 60, 0, 60) == {}


# Metric math: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html

PERIODS = [0.0, 60.0, 120.0, 180.0, 240.0]


def points(*numbers):
    """One number a period, None where there is no point."""
    return {at: float(number) for at, number in zip(PERIODS, numbers, strict=False) if number is not None}


def test_names_are_the_ids_and_nothing_else():
    assert names("IF(m1 > 5 AND errors_2 < SUM([m3, m1]), FILL(m4, REPEAT), 100)") == {"m1", "errors_2", "m3", "m4"}


# .../using-metric-math.html#metric-math-syntax-operators
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(metric1 < metric2)", [0, 0, 1, 0]),
        ("(metric1 >= 30)", [1, 0, 0, 0]),
        ("(metric1 > 15 AND metric2 > 15)", [1, 0, 0, 0]),
        ("metric1 > 15 && metric2 > 15", [1, 0, 0, 0]),
        ("metric1 > 15 || metric2 > 15", [1, 1, 1, 0]),
        ("metric1 > 15 OR metric2 > 15", [1, 1, 1, 0]),
        ("metric1 >= 0 OR metric1 > 50 AND metric1 > 50", [1, 1, 1, 1]),
    ],
)
def test_comparisons_of_the_documented_table(expression, expected):
    series = {"metric1": points(30, 20, 0, 0), "metric2": points(20, None, 20, None)}
    assert evaluate(expression, series, PERIODS) == points(*expected)


# .../using-metric-math.html#using-IF-expressions
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("IF(metric1, metric2, metric3)", [30, 0, 20, None, None]),
        ("IF(metric1, 5, metric3)", [5, 5, 20, None, None]),
        ("IF(metric1, metric2, 5)", [30, 0, 5, 5, None]),
        ("IF(metric1, metric2)", [30, 0, None, None, None]),
        ("IF(metric1, 10, 2)", [10, 10, 2, 2, None]),
        ("IF(0 == 1, metric2, metric3)", [0, 0, 20, None, 20]),
        ("IF(1 > 0, metric2, metric3)", [30, None, 0, 0, 30]),
        ("IF(1 < 0, metric2)", []),
        ("IF(metric2 < 20, metric2)", [None, None, 0, 0, None]),
    ],
)
def test_if_of_the_documented_tables(expression, expected):
    series = {"metric1": points(1, 1, 0, 0, None), "metric2": points(30, None, 0, 0, 30), "metric3": points(0, 0, 20, None, 20)}
    assert evaluate(expression, series, PERIODS) == points(*expected)


# .../using-metric-math.html#metric-math-syntax-arithmetic and #metric-math-syntax-functions-list
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("5 * m1", [5, 10, 15, None]),
        ("m1 - m2", [-3, 2, 4, None]),
        ("m2 / m1", [4, 0, -1 / 3, None]),
        ("100 * (m1 / m2)", [25, None, -300, None]),
        ("-m1", [-1, -2, -3, None]),
        ("-5*m1", [-5, -10, -15, None]),
        ("2 ^ m1 ^ 2", [2, 16, 512, None]),
        ("-m1 ^ 2", [-1, -4, -9, None]),
        ("m2 ^ 0.5", [2, None, None, None]),
        ("1 + m1 * 2 == 5", [0, 1, 0, None]),
        ("m1 - MIN(m1)", [0, 1, 2, None]),
        ("MAX(m1) / m1", [3, 1.5, 1, None]),
        ("m1 - AVG(m1)", [-1, 0, 1, None]),
        ("m1 / SUM(m1)", [1 / 6, 2 / 6, 3 / 6, None]),
        ("SUM([m1, m2])", [5, 2, 2, None]),
        ("SUM([m1, m2]) / AVG(m1)", [2.5, 1, 1, None]),
        ("AVG([m1, m2])", [2.5, 1, 1, None]),
        ("MIN([m1, m2])", [1, 2, -1, None]),
        ("MAX([m1, m2])", [4, 2, 3, None]),
        ("SUM(100/[m1, m2])", [125, 50, 100 / 3 - 100, None]),
        ("SUM(-[m1, m2])", [-5, -2, -2, None]),
        ("MIN(ABS([m1, m2]))", [1, 2, 1, None]),
        ("ABS(m2)", [4, None, 1, None]),
        ("CEIL(m1 / 2)", [1, 1, 2, None]),
        ("FLOOR(m1 / 2)", [0, 1, 1, None]),
        ("DIFF(m2)", [None, None, -5, None]),
        ("RATE(m2)", [None, None, -5 / 120, None]),
        ("FILL(m2, 0)", [4, 0, -1, 0]),
        ("FILL(m2, m1)", [4, 2, -1, None]),
        ("FILL(m1, MIN(m1))", [1, 2, 3, 1]),
        ("FILL(m2, REPEAT)", [4, 4, -1, -1]),
        ("FILL(m2, LINEAR)", [4, 1.5, -1, None]),
        ("SUM(FILL([m1, m2], 10))", [5, 12, 2, 20]),
        ("m1 / none", []),
        ("m1 * MAX(none)", []),
        ("1e3 * m1 + .5", [1000.5, 2000.5, 3000.5, None]),
    ],
)
def test_metric_math(expression, expected):
    series = {"m1": points(1, 2, 3, None), "m2": points(4, None, -1, None), "none": {}}
    assert evaluate(expression, series, PERIODS[:4]) == pytest.approx(points(*expected))


def test_repeat_has_nothing_to_repeat_before_the_first_point():
    assert evaluate("FILL(m1, REPEAT)", {"m1": points(None, 7)}, PERIODS[:3]) == points(None, 7, 7)


def test_points_outside_the_periods_asked_for_are_ignored():
    assert evaluate("m1 + SUM(m1)", {"m1": {**points(1, 2), -60.0: 50.0}}, PERIODS[:2]) == points(4, 5)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("METRICS()", "METRICS"),
        ('SUM(METRICS("errors"))', "METRICS"),
        ("ANOMALY_DETECTION_BAND(m1, 2)", "ANOMALY_DETECTION_BAND"),
        ("sum(m1)", "sum"),
        ("MAX([m1, 5])", "not numbers"),
        ("SUM(5)", "not a number"),
        ("ABS(5)", "not a number"),
        ("SUM(m1)", "gives a number"),
        ("1 / 0", "gives a number"),
        ("[m1, m2]", "gives an array"),
        ("[m1, m2] > 5", "array"),
        ("[m1] + [m2]", "two arrays"),
        ("FILL(m1, [m2])", "FILL"),
        ("FILL(m1)", "FILL takes 2 arguments, not 1"),
        ("IF(m1)", "IF takes 2 or 3 arguments"),
        ("IF([m1, m2], 1, 0)", "array"),
        ("REPEAT", "REPEAT"),
        ("m3", "m3"),
        ("M1 + m2", "M1"),
        ("m1 +", "end"),
        ("(m1", "the end"),
        ("[m1, ", "end"),
        ("m1 m2", "m2"),
        ("m1 & m2", "&"),
        ("", "end"),
        ("(" * 20_000 + "m1" + ")" * 20_000, "deep"),
        ("m1" + "+m1" * 60_000, "deep"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_part_at_fault(expression, words):
    with pytest.raises(ExpressionError, match=words):
        evaluate(expression, {"m1": points(1), "m2": points(2)}, PERIODS)


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=5, max_size=5), st.lists(st.none() | st.floats(-1e6, 1e6), min_size=5, max_size=5))
def test_adding_is_summing(left, right):
    series = {"m1": points(*left), "m2": points(*right)}
    assert evaluate("m1 + m2", series, PERIODS) == pytest.approx(evaluate("SUM([m1, m2])", series, PERIODS))
