"""The CloudWatch API: metric data, dashboards, and the alarms of localcloud.cloudwatch.alarms."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT
from localcloud.clock import Clock
from localcloud.cloudwatch.alarms import Alarms
from localcloud.cloudwatch.metrics import MetricKey, MetricStore, UnknownStatistic
from localcloud.cloudwatch.query import key_of, results
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Service

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


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
            "ListDashboards": lambda p: {"DashboardEntries": list(self._dashboards.values())},
            "ListMetrics": self.list_metrics,
            "PutDashboard": self.put_dashboard,
            "PutMetricData": self.put_data,
        }
        return Service("cloudwatch", operations | self._alarms.operations())

    def put_data(self, p: dict[str, Any]) -> None:
        if p.get("EntityMetricData"):
            raise NotSupported("EntityMetricData of PutMetricData")
        for datum in p.get("MetricData", []):
            key = key_of(datum | {"Namespace": p["Namespace"]})
            at, unit = _seconds(datum["Timestamp"]) if datum.get("Timestamp") else self._clock.now(), datum.get("Unit") or "None"
            try:
                self._put(key, at, datum, unit)
            except ValueError as error:
                raise ServiceError("InvalidParameterValue", f"MetricData of {datum['MetricName']}: {error}") from error

    def get_data(self, p: dict[str, Any]) -> dict[str, Any]:
        start, end = _seconds(p["StartTime"]), _seconds(p["EndTime"])
        found = results(self._store, p["MetricDataQueries"], start, end)
        newest_first = p.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        return {
            "MetricDataResults": [
                _result(query, found[query["Id"]], newest_first) for query in p["MetricDataQueries"] if query.get("ReturnData", True)
            ]
        }

    def get_statistics(self, p: dict[str, Any]) -> dict[str, Any]:
        key, start, end = key_of(p), _seconds(p["StartTime"]), _seconds(p["EndTime"])
        points: dict[float, dict[str, Any]] = {}
        try:
            for name in p.get("Statistics") or []:
                for at, value in self._store.series(key, name, int(p["Period"]), start, end).items():
                    points.setdefault(at, {})[name] = value
            for name in p.get("ExtendedStatistics") or []:
                for at, value in self._store.series(key, name, int(p["Period"]), start, end).items():
                    points.setdefault(at, {}).setdefault("ExtendedStatistics", {})[name] = value
        except UnknownStatistic as error:
            raise ServiceError("InvalidParameterValue", str(error)) from error
        unit = self._store.unit(key)
        return {"Label": p["MetricName"], "Datapoints": [{"Timestamp": _moment(at), "Unit": unit} | values for at, values in points.items()]}

    def list_metrics(self, p: dict[str, Any]) -> dict[str, Any]:
        wanted = [(d["Name"], d.get("Value")) for d in p.get("Dimensions") or []]
        return {"Metrics": list(_metrics(self._store.keys(p.get("Namespace"), p.get("MetricName"), wanted)))}

    def put_dashboard(self, p: dict[str, Any]) -> dict[str, Any]:
        try:
            json.loads(p["DashboardBody"])
        except ValueError as error:
            raise ServiceError("InvalidParameterInput", f"The field DashboardBody must be a valid JSON object: {error}") from error
        arn = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{p['DashboardName']}"
        self._dashboards[p["DashboardName"]] = {
            "DashboardName": p["DashboardName"], "DashboardArn": arn, "DashboardBody": p["DashboardBody"], "LastModified": datetime.now(UTC),
        }  # fmt: skip
        return {"DashboardValidationMessages": []}

    def delete_dashboards(self, p: dict[str, Any]) -> None:
        for name in p["DashboardNames"]:
            self._dashboard(name)
        for name in p["DashboardNames"]:
            del self._dashboards[name]

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
