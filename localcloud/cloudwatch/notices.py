"""What an alarm says: the SNS message, its subject, and the EventBridge event, member by member as CloudWatch writes them.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html; the SNS message as recorded in
github.com/aws/aws-lambda-go events/testdata/cloudwatch-alarm-sns-payload-*.json
"""

import json
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT
from localcloud.cloudwatch.evaluation import Verdict

REGION_NAME = "US East (N. Virginia)"


def subject(alarm: dict[str, Any]) -> str:
    return f'{alarm["StateValue"]}: "{alarm["AlarmName"]}" in {REGION_NAME}'[:100]


def message(alarm: dict[str, Any], before: str) -> dict[str, Any]:
    return {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": ACCOUNT,
        "AlarmConfigurationUpdatedTimestamp": stamp(alarm["AlarmConfigurationUpdatedTimestamp"]),
        "NewStateValue": alarm["StateValue"],
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": stamp(alarm["StateUpdatedTimestamp"]),
        "Region": REGION_NAME,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": before,
        "OKActions": alarm["OKActions"],
        "AlarmActions": alarm["AlarmActions"],
        "InsufficientDataActions": alarm["InsufficientDataActions"],
        "ActionExecutedAfterMuteWindow": False,
        "Trigger": _trigger(alarm),
    }


def event_detail(before: dict[str, Any], now: dict[str, Any], queries: list[dict[str, Any]]) -> dict[str, Any]:
    metrics = [_configured(query) for query in queries]
    return {
        "alarmName": now["AlarmName"],
        "state": _state(now),
        "previousState": _state(before),
        "configuration": ({"description": now["AlarmDescription"]} if now.get("AlarmDescription") else {}) | {"metrics": metrics},
    }


def reason_data(alarm: dict[str, Any], verdict: Verdict, now: float) -> str:
    """The JSON text that stands beside a reason; points oldest first."""
    points = sorted(verdict.points)
    data: dict[str, Any] = {"version": "1.0", "queryDate": stamp(datetime.fromtimestamp(now, UTC))}
    if points:
        data["startDate"] = stamp(datetime.fromtimestamp(points[0][0], UTC))
    data |= {name[0].lower() + name[1:]: alarm[name] for name in ("Unit", "Statistic", "ExtendedStatistic", "Period") if name in alarm}
    return json.dumps(data | {"recentDatapoints": [value for _, value in points], "threshold": alarm["Threshold"]}, separators=(",", ":"))


def history_data(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What DescribeAlarmHistory tells of a change of state."""
    states = {"oldState": _told(before), "newState": _told(now)}
    return json.dumps({"version": "1.0"} | states, separators=(",", ":"))


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def _trigger(alarm: dict[str, Any]) -> dict[str, Any]:
    judged = {
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        **({"DatapointsToAlarm": alarm["DatapointsToAlarm"]} if "DatapointsToAlarm" in alarm else {}),
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "EvaluateLowSampleCountPercentile": "",
    }
    if "Metrics" in alarm:
        return {"Period": 60} | judged | {"Metrics": [_lower_dimensions(query) for query in alarm["Metrics"]]}
    kind = {"StatisticType": "Statistic", "Statistic": alarm["Statistic"].upper()} if "Statistic" in alarm else {}
    kind = kind or {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm["ExtendedStatistic"]}
    named = {"MetricName": alarm["MetricName"], "Namespace": alarm["Namespace"]} | kind
    return named | {"Unit": alarm.get("Unit"), "Dimensions": _dimensions(alarm["Dimensions"]), "Period": alarm["Period"]} | judged


def _lower_dimensions(query: dict[str, Any]) -> dict[str, Any]:
    if "MetricStat" not in query:
        return query
    metric = query["MetricStat"]["Metric"]
    return query | {"MetricStat": query["MetricStat"] | {"Metric": metric | {"Dimensions": _dimensions(metric.get("Dimensions", []))}}}


def _dimensions(dimensions: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"value": d["Value"], "name": d["Name"]} for d in dimensions]


def _state(alarm: dict[str, Any]) -> dict[str, Any]:
    data = {"reasonData": alarm["StateReasonData"]} if "StateReasonData" in alarm else {}
    return {"reason": alarm["StateReason"]} | data | {"timestamp": stamp(alarm["StateUpdatedTimestamp"]), "value": alarm["StateValue"]}


def _told(alarm: dict[str, Any]) -> dict[str, Any]:
    data = {"stateReasonData": json.loads(alarm["StateReasonData"])} if "StateReasonData" in alarm else {}
    return {"stateValue": alarm["StateValue"], "stateReason": alarm["StateReason"]} | data


def _configured(query: dict[str, Any]) -> dict[str, Any]:
    if "MetricStat" not in query:
        return {
            "expression": query["Expression"],
            "id": query["Id"],
            "label": query.get("Label", query["Id"]),
            "returnData": query.get("ReturnData", True),
        }
    stat = query["MetricStat"]
    metric = {"dimensions": {d["Name"]: d["Value"] for d in stat["Metric"].get("Dimensions", [])}, "name": stat["Metric"]["MetricName"]}
    metric["namespace"] = stat["Metric"]["Namespace"]
    return {
        "id": query["Id"],
        "metricStat": {"metric": metric, "period": stat["Period"], "stat": stat["Stat"]},
        "returnData": query.get("ReturnData", True),
    }
