"""MetricDataQueries: metrics and expressions over them, as GetMetricData and alarms use them."""

from collections.abc import Mapping, Sequence
from typing import Any

from localcloud.cloudwatch.expression import ExpressionError, evaluate, names
from localcloud.cloudwatch.metrics import MetricKey, MetricStore, UnknownStatistic
from localcloud.errors import ServiceError

Series = dict[float, float]


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
                done[query["Id"]] = store.series(key_of(stat["Metric"]), stat["Stat"], int(stat["Period"]), start, end)
            else:
                done[query["Id"]] = evaluate(query["Expression"], done, grid)
    except (ExpressionError, UnknownStatistic) as error:
        raise ServiceError("ValidationError", str(error)) from error
    return done


def ordered(queries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Queries so that each comes after those its expression reads. Raises ValidationError for a missing id or a circle."""
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
