"""Metric data in memory: what PutMetricData keeps and what statistics read back.

The alarms, GetMetricData and the log pipeline all read and write here; nothing in it knows the API or the time.
Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

import math
import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock

RETENTION_S = 15 * 24 * 3600
LARGEST = 2.0**360  # docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,10})?)")


class UnknownStatistic(Exception):
    """A statistic that localcloud does not compute."""

    def __init__(self, statistic: str) -> None:
        super().__init__(f"localcloud does not compute the statistic {statistic}: it has SampleCount, Sum, Average, Minimum, Maximum and pNN")


@dataclass(frozen=True)
class MetricKey:
    """What tells one metric from another; the order in which dimensions are named does not."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", tuple(sorted(self.dimensions)))


@dataclass
class Bucket:
    """All that arrived for one metric in one second, or in one period: raw values with their counts, and what came summed up."""

    counts: dict[float, float] = field(default_factory=dict)
    summed_count: float = 0.0
    summed_total: float = 0.0
    summed_minimum: float = math.inf
    summed_maximum: float = -math.inf

    def add(self, value: float, count: float) -> None:
        self.counts[value] = self.counts.get(value, 0.0) + count

    def add_summed(self, count: float, total: float, minimum: float, maximum: float) -> None:
        self.summed_count += count
        self.summed_total += total
        self.summed_minimum = min(self.summed_minimum, minimum)
        self.summed_maximum = max(self.summed_maximum, maximum)

    def absorb(self, other: "Bucket") -> None:
        for value, count in other.counts.items():
            self.add(value, count)
        self.add_summed(other.summed_count, other.summed_total, other.summed_minimum, other.summed_maximum)

    def statistic(self, name: str) -> float | None:
        """None where AWS has no value for this data: a percentile of sums, or of negative numbers."""
        match name:
            case "SampleCount":
                return math.fsum(self.counts.values()) + self.summed_count
            case "Sum":
                return math.fsum(value * count for value, count in self.counts.items()) + self.summed_total
            case "Average":
                return _quotient(self.statistic("Sum"), self.statistic("SampleCount"))
            case "Minimum":
                return min(*self.counts, self.summed_minimum, math.inf)
            case "Maximum":
                return max(*self.counts, self.summed_maximum, -math.inf)
        return self._percentile(check_statistic(name))

    def _percentile(self, percent: Fraction) -> float | None:
        """The nearest rank: the smallest value that at least `percent` of the samples do not exceed.

        AWS publishes no formula. Its page calls p99 "the maximum value of the remaining 99%", which is a value that was
        observed, and the counts of PutMetricData may be fractions, for which interpolation between neighbours means nothing.
        """
        if self.summed_count or any(value < 0 for value in self.counts):
            return None
        wanted = percent * sum(map(Fraction, self.counts.values())) / 100
        seen = Fraction(0)
        for value, count in sorted(self.counts.items()):
            seen += Fraction(count)
            if seen >= wanted:
                return value
        return None


class MetricStore:
    """Thread-safe. A metric forgets what is 15 days older than its newest point, as one-minute data does on AWS."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._metrics: dict[MetricKey, _Metric] = {}

    def put(self, key: MetricKey, at: float, values: Sequence[float], counts: Sequence[float], unit: str = "None") -> None:
        """Values with how often each was seen. ValueError if the lists differ in length or hold what PutMetricData refuses."""
        pairs = [(value, count) for value, count in zip(values, counts, strict=True) if count]
        _check_range((*values, *counts))
        if not pairs:
            return
        with self._lock:
            bucket = self._metric(key, unit).bucket(at, unit)
            for value, count in pairs:
                bucket.add(float(value), float(count))

    def put_statistics(  # the fields of StatisticValues
        self, key: MetricKey, at: float, sample_count: float, total: float, minimum: float, maximum: float, unit: str = "None"
    ) -> None:
        """A StatisticValues. One whose samples must all be equal is as good as raw values: AWS gives percentiles of it too.

        Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html#Percentiles-trimmedmean-requirements
        """
        _check_range((sample_count, total, minimum, maximum))
        with self._lock:
            bucket = self._metric(key, unit).bucket(at, unit)
            if minimum == maximum and math.isclose(total, minimum * sample_count):
                bucket.add(float(minimum), float(sample_count))
            else:
                bucket.add_summed(sample_count, total, minimum, maximum)

    def series(  # the fields of MetricStat, and the time
        self, key: MetricKey, statistic: str, period_s: int, start: float, end: float, unit: str | None = None
    ) -> dict[float, float]:
        """Period start -> value, for the periods with data that begin in [start, end). `start` is rounded down to a period.

        With a unit, of the data put with it; without, of all, whatever their units: nothing is converted.
        Periods begin at multiples of `period_s` since the epoch. UnknownStatistic even if there is no data.
        """
        check_statistic(statistic)
        with self._lock:
            periods = self._periods(key, period_s, math.floor(start / period_s) * period_s, end, unit)
        values = {begin: bucket.statistic(statistic) for begin, bucket in periods.items()}
        return {begin: value for begin, value in values.items() if value is not None}

    def unit(self, key: MetricKey) -> str:
        """The unit of the last point; "None" for a metric that has none."""
        with self._lock:
            return self._metrics[key].unit if key in self._metrics else "None"

    def units(self, key: MetricKey) -> list[str]:
        """All units that the metric has data in."""
        with self._lock:
            metric = self._metrics.get(key, _Metric())
            return sorted({unit for second in metric.buckets.values() for unit in second})

    def keys(self, namespace: str | None = None, name: str | None = None, dimensions: Iterable[tuple[str, str | None]] = ()) -> list[MetricKey]:
        """The metrics that have all the dimensions asked for, as ListMetrics filters; a value of None stands for any value."""
        wanted = list(dimensions)
        with self._lock:
            known = list(self._metrics)
        return [key for key in known if namespace in (None, key.namespace) and name in (None, key.name) and all(_has(key, pair) for pair in wanted)]

    def _metric(self, key: MetricKey, unit: str) -> "_Metric":
        metric = self._metrics.setdefault(key, _Metric())
        metric.unit = unit
        return metric

    def _periods(self, key: MetricKey, period_s: int, first: float, end: float, unit: str | None) -> dict[float, Bucket]:
        periods: dict[float, Bucket] = {}
        for second, buckets in self._metrics.get(key, _Metric()).since(first):
            begin = float(second // period_s * period_s)
            if begin >= end:
                break
            for bucket in (bucket for one, bucket in buckets.items() if unit in (None, one)):
                periods.setdefault(begin, Bucket()).absorb(bucket)
        return periods


@dataclass
class _Metric:
    """One metric's seconds, in order, so that old ones are dropped and ranges are found without looking at all of them."""

    unit: str = "None"
    seconds: list[int] = field(default_factory=list)
    buckets: dict[int, dict[str, Bucket]] = field(default_factory=dict)

    def bucket(self, at: float, unit: str) -> Bucket:
        """The bucket of that second and unit; one that nobody keeps if the second is too old."""
        second = math.floor(at)
        if second not in self.buckets:
            insort(self.seconds, second)
            self.buckets[second] = {}
        bucket = self.buckets[second].setdefault(unit, Bucket())
        self._forget()
        return bucket

    def since(self, first: float) -> Iterator[tuple[int, dict[str, Bucket]]]:
        for second in self.seconds[bisect_left(self.seconds, first) :]:
            yield second, self.buckets[second]

    def _forget(self) -> None:
        old = bisect_left(self.seconds, self.seconds[-1] - RETENTION_S)
        for second in self.seconds[:old]:
            del self.buckets[second]
        del self.seconds[:old]


def check_statistic(name: str) -> Fraction:
    """The percentage of pNN, 0 for the five plain statistics, UnknownStatistic for any other."""
    if name in ("SampleCount", "Sum", "Average", "Minimum", "Maximum"):
        return Fraction(0)
    found = PERCENTILE.fullmatch(name)
    if not found or Fraction(found[1]) > 100:
        raise UnknownStatistic(name)
    return Fraction(found[1])


def _quotient(total: float | None, count: float | None) -> float | None:
    return total / count if total is not None and count else None


def _has(key: MetricKey, wanted: tuple[str, str | None]) -> bool:
    return any(name == wanted[0] and wanted[1] in (None, value) for name, value in key.dimensions)


def _check_range(numbers: Iterable[float]) -> None:
    if strange := [number for number in numbers if not in_range(number)]:
        raise ValueError(f"CloudWatch keeps values from -2^360 to 2^360, not {strange[0]}")


def in_range(number: float) -> bool:
    """PutMetricData takes neither NaN nor infinity nor anything beyond 2^360."""
    return abs(number) <= LARGEST
