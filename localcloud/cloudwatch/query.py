"""MetricDataQueries: metrics and expressions over them, as GetMetricData and alarms use them."""

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.cloudwatch.expression import evaluate
from localcloud.cloudwatch.grammar import ExpressionError, names
from localcloud.cloudwatch.metrics import MetricKey, MetricStore, UnknownStatistic
from localcloud.errors import NotSupported, ServiceError

QUERY = {"Expression", "Id", "Label", "MetricStat", "Period", "ReturnData"}
STAT = {"Metric", "Period", "Stat", "Unit"}
SHORT_PERIODS = (1, 5, 10, 20, 30)
Series = dict[float, float]


def check_known(given: Mapping[str, Any], known: set[str], what: str) -> None:
    """Refuse by name what would otherwise be ignored."""
    if unknown := {name for name, value in given.items() if value not in (None, [], False)} - known:
        raise NotSupported(f"{', '.join(sorted(unknown))} of {what}")


def check_period(period_s: int, code: str) -> None:
    """Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html"""
    if period_s not in SHORT_PERIODS and (period_s < 1 or period_s % 60):
        raise ServiceError(code, f"Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {period_s}.")


def key_of(metric: Mapping[str, Any]) -> MetricKey:
    """The metric that an API structure with Namespace, MetricName and Dimensions names."""
    dimensions = tuple((d["Name"], d["Value"]) for d in metric.get("Dimensions") or [])
    return MetricKey(metric["Namespace"], metric["MetricName"], dimensions)


def results(store: MetricStore, queries: Sequence[Mapping[str, Any]], start: float, end: float) -> dict[str, Series]:
    """Id → period start → value for every query. Raises ValidationError for what cannot be computed."""
    done: dict[str, Series] = {}
    period = period_of(queries)
    first = start // period * period
    grid = [first + i * period for i in range(int((end - first + period - 1) // period))]
    try:
        for query in ordered(queries):
            if "MetricStat" in query:
                stat = query["MetricStat"]
                done[query["Id"]] = store.series(key_of(stat["Metric"]), stat["Stat"], int(stat["Period"]), start, end, stat.get("Unit"))
            else:
                done[query["Id"]] = evaluate(query["Expression"], done, grid)
    except (ExpressionError, UnknownStatistic) as error:
        raise ServiceError("ValidationError", str(error)) from error
    return done


def ordered(queries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Queries so that each comes after those its expression reads. Raises ValidationError for a missing id or a circle."""
    for query in queries:
        _check(query)
    known = {query["Id"]: query for query in queries}
    order: list[Mapping[str, Any]] = []
    open_ids: set[str] = set()

    def visit(name: str) -> None:
        if name not in known or name in open_ids:
            raise ServiceError("ValidationError", f"Error in expression: no metric or expression has the id '{name}', or it refers to itself")
        if known[name] in order:
            return
        open_ids.add(name)
        for other in sorted(names(known[name]["Expression"])) if "Expression" in known[name] else ():
            visit(other)
        open_ids.discard(name)
        order.append(known[name])

    try:
        for name in known:
            visit(name)
    except ExpressionError as error:
        raise ServiceError("ValidationError", f"Error in expression: {error}") from error
    return order


def period_of(queries: Sequence[Mapping[str, Any]]) -> int:
    """The period that expressions are evaluated in: the longest of what is queried."""
    periods = [int(q["MetricStat"]["Period"]) if "MetricStat" in q else int(q.get("Period") or 0) for q in queries]
    return max([*periods, 0]) or 60


def _check(query: Mapping[str, Any]) -> None:
    check_known(query, QUERY, "a metric query")
    if bool(query.get("MetricStat")) == bool(query.get("Expression")):
        raise ServiceError("ValidationError", f"The query {query['Id']} needs either MetricStat or Expression.")
    if "MetricStat" in query:
        check_known(query["MetricStat"], STAT, "MetricStat")
        check_period(int(query["MetricStat"]["Period"]), "ValidationError")
