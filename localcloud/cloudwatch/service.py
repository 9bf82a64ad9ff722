"""The CloudWatch API: metric data, dashboards, and the alarms of localcloud.cloudwatch.alarms."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT
from localcloud.clock import Clock
from localcloud.cloudwatch.alarms import Alarms
from localcloud.cloudwatch.metrics import MetricKey, MetricStore, UnknownStatistic, check_statistic
from localcloud.cloudwatch.query import check_known, check_period, key_of, results
from localcloud.errors import ServiceError
from localcloud.front import Service

DATA = {"EndTime", "MetricDataQueries", "ScanBy", "StartTime"}
STATISTICS = {"Dimensions", "EndTime", "ExtendedStatistics", "MetricName", "Namespace", "Period", "StartTime", "Statistics", "Unit"}
DATUM = {"Counts", "Dimensions", "MetricName", "StatisticValues", "StorageResolution", "Timestamp", "Unit", "Value", "Values"}
MAX_DATAPOINTS = 1440


class CloudWatch:
    """Metrics and dashboards of the account."""

    def __init__(self, store: MetricStore, alarms: Alarms, clock: Clock) -> None:
        self._store = store
        self._alarms = alarms
        self._clock = clock
        self._dashboards: dict[str, dict[str, Any]] = {}

    def service(self) -> Service:
        operations = {
            "DeleteDashboards": self.delete_dashboards,
            "GetDashboard": lambda p: self._dashboard(p["DashboardName"]),
            "GetMetricData": self.get_data,
            "GetMetricStatistics": self.get_statistics,
            "ListDashboards": self.list_dashboards,
            "ListMetrics": self.list_metrics,
            "PutDashboard": self.put_dashboard,
            "PutMetricData": self.put_data,
        }
        return Service("cloudwatch", operations | self._alarms.operations())

    def put_data(self, p: dict[str, Any]) -> None:
        check_known(p, {"MetricData", "Namespace"}, "PutMetricData")
        for number, datum in enumerate(p.get("MetricData") or [], 1):
            _check_datum(datum, f"MetricData.member.{number}")
        for datum in p.get("MetricData") or []:
            at = _seconds(datum["Timestamp"]) if datum.get("Timestamp") else self._clock.now()
            step = 1 if datum.get("StorageResolution") == 1 else 60
            try:
                self._put(key_of(datum | {"Namespace": p["Namespace"]}), at // step * step, datum, datum.get("Unit") or "None")
            except ValueError as error:
                raise ServiceError("InvalidParameterValue", f"MetricData of {datum['MetricName']}: {error}") from error

    def get_data(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, DATA, "GetMetricData")
        start, end = _seconds(p["StartTime"]), _seconds(p["EndTime"])
        _check_span(start, end)
        found = results(self._store, p["MetricDataQueries"], start, end)
        newest_first = p.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        wanted = [query for query in p["MetricDataQueries"] if query.get("ReturnData", True)]
        return {"MetricDataResults": [_result(query, found[query["Id"]], newest_first) for query in wanted], "Messages": []}

    def get_statistics(self, p: dict[str, Any]) -> dict[str, Any]:
        """A datapoint for each period and unit."""
        check_known(p, STATISTICS, "GetMetricStatistics")
        if not p.get("Statistics") and not p.get("ExtendedStatistics"):
            raise ServiceError("InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics.")
        _check_datapoints(_seconds(p["StartTime"]), _seconds(p["EndTime"]), int(p["Period"]))
        try:
            for name in (*(p.get("Statistics") or []), *(p.get("ExtendedStatistics") or [])):
                check_statistic(name)
        except UnknownStatistic as error:
            raise ServiceError("InvalidParameterValue", str(error)) from error
        units = [p["Unit"]] if p.get("Unit") else self._store.units(key_of(p))
        found = [point for unit in units for point in self._points(p, unit)]
        return {"Label": p["MetricName"], "Datapoints": found}

    def list_metrics(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, {"Dimensions", "MetricName", "Namespace"}, "ListMetrics")
        wanted = [(d["Name"], d.get("Value")) for d in p.get("Dimensions") or []]
        return {"Metrics": list(_metrics(self._store.keys(p.get("Namespace"), p.get("MetricName"), wanted)))}

    def put_dashboard(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, {"DashboardBody", "DashboardName", "Tags"}, "PutDashboard")  # tags have no effect here, as with alarms
        name, body = p["DashboardName"], p["DashboardBody"]
        if not re.fullmatch(r"[\w-]+", name, re.ASCII):
            allowed = "It can only contain alphanumerics, dash (-) and underscore (_).\n"
            raise ServiceError("InvalidParameterValue", f"The value for field DashboardName contains invalid characters. {allowed}")
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise ServiceError("InvalidParameterInput", "The field DashboardBody must be a valid JSON object")
        self._dashboards[name] = {
            "DashboardName": name, "DashboardArn": f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}", "DashboardBody": body,
            "LastModified": _moment(self._clock.now()), "Size": len(body.encode()),
        }  # fmt: skip
        return {"DashboardValidationMessages": []}

    def list_dashboards(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, {"DashboardNamePrefix"}, "ListDashboards")
        return {"DashboardEntries": [one for name, one in sorted(self._dashboards.items()) if name.startswith(p.get("DashboardNamePrefix") or "")]}

    def delete_dashboards(self, p: dict[str, Any]) -> None:
        for name in p["DashboardNames"]:
            self._dashboard(name)
        for name in p["DashboardNames"]:
            del self._dashboards[name]

    def _points(self, p: dict[str, Any], unit: str) -> list[dict[str, Any]]:
        key, start, end, period = key_of(p), _seconds(p["StartTime"]), _seconds(p["EndTime"]), int(p["Period"])
        points: dict[float, dict[str, Any]] = {}
        for name in p.get("Statistics") or []:
            for at, value in self._store.series(key, name, period, start, end, unit).items():
                points.setdefault(at, {})[name] = value
        for name in p.get("ExtendedStatistics") or []:
            for at, value in self._store.series(key, name, period, start, end, unit).items():
                points.setdefault(at, {}).setdefault("ExtendedStatistics", {})[name] = value
        return [{"Timestamp": _moment(at), "Unit": unit} | values for at, values in points.items()]

    def _put(self, key: MetricKey, at: float, datum: dict[str, Any], unit: str) -> None:
        if summed := datum.get("StatisticValues"):
            self._store.put_statistics(key, at, summed["SampleCount"], summed["Sum"], summed["Minimum"], summed["Maximum"], unit)
            return
        values = datum.get("Values") or [datum["Value"]]
        self._store.put(key, at, values, datum.get("Counts") or [1.0] * len(values), unit)

    def _dashboard(self, name: str) -> dict[str, Any]:
        if name not in self._dashboards:
            raise ServiceError("ResourceNotFound", f"Dashboard {name} does not exist")
        return self._dashboards[name]


def _check_datum(datum: dict[str, Any], name: str) -> None:
    """The messages are as recorded in github.com/localstack/localstack tests/aws/services/cloudwatch/test_cloudwatch.snapshot.json"""
    check_known(datum, DATUM, "a metric datum")
    given = [member for member in ("Value", "Values", "StatisticValues") if datum.get(member) is not None]
    if len(given) > 1:
        both = f"The parameters {name}.{given[0]} and {name}.{given[1]}"
        raise ServiceError("InvalidParameterCombination", f"{both} are mutually exclusive and you have specified both.")
    if not given:
        raise ServiceError("InvalidParameterCombination", f"One of {name}.Value, {name}.Values and {name}.StatisticValues must be specified.")
    if datum.get("Counts") and len(datum["Counts"]) != len(datum.get("Values") or [0]):
        raise ServiceError("InvalidParameterValue", f"The parameters {name}.Values and {name}.Counts must be of the same size.")


def _check_span(start: float, end: float) -> None:
    if start >= end:
        raise ServiceError("InvalidParameterValue", "The parameter StartTime must be less than the parameter EndTime.")


def _check_datapoints(start: float, end: float, period_s: int) -> None:
    _check_span(start, end)
    check_period(period_s, "InvalidParameterValue")
    if (number := int((end - start) // period_s)) > MAX_DATAPOINTS:
        raise ServiceError(
            "InvalidParameterCombination",
            f"You have requested up to {number} datapoints, which exceeds the limit of {MAX_DATAPOINTS}. You may reduce the datapoints requested "
            "by increasing Period, or decreasing the time range.",
        )


def _metrics(keys: list[MetricKey]) -> Iterator[dict[str, Any]]:
    for key in keys:
        yield {"Namespace": key.namespace, "MetricName": key.name, "Dimensions": [{"Name": n, "Value": v} for n, v in key.dimensions]}


def _result(query: dict[str, Any], series: dict[float, float], newest_first: bool) -> dict[str, Any]:
    times = sorted(series, reverse=newest_first)
    label = query.get("Label") or (query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"])
    return {
        "Id": query["Id"], "Label": label, "Timestamps": [_moment(at) for at in times], "Values": [series[at] for at in times], "StatusCode": "Complete",
    }  # fmt: skip


def _seconds(value: Any) -> float:
    return float(value.timestamp()) if isinstance(value, datetime) else float(value)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
