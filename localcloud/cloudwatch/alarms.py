"""Alarms: kept, evaluated every minute of localcloud's clock, and heard: their actions are delivered.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.cloudwatch import notices
from localcloud.cloudwatch.evaluation import AlarmRule, RuleError, evaluation_range, judge
from localcloud.cloudwatch.metrics import MetricStore, UnknownStatistic, check_statistic
from localcloud.cloudwatch.query import check_known, check_period, ordered, period_of, results
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.iam.authorizer import Authorizer

log = logging.getLogger("localcloud")

EVERY_S = 60.0
KNOWN = {
    "ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName", "ComparisonOperator", "DatapointsToAlarm", "Dimensions", "EvaluationPeriods",
    "ExtendedStatistic", "InsufficientDataActions", "MetricName", "Metrics", "Namespace", "OKActions", "Period", "Statistic", "Tags", "Threshold",
    "TreatMissingData", "Unit",
}  # fmt: skip
DESCRIBE = {"AlarmNamePrefix", "AlarmNames", "AlarmTypes", "StateValue"}
HISTORY = {"AlarmName", "AlarmTypes", "EndDate", "HistoryItemType", "ScanBy", "StartDate"}
LONGEST_S, LONGEST_OF_HOURS_S = 86_400, 604_800
"""How far back an alarm may look, and one whose period is an hour or more.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
"""
DAWN, DUSK = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ACTIONS = {"OK": "OKActions", "ALARM": "AlarmActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}


@dataclass
class Alarm:
    """An alarm as DescribeAlarms shows it, what it watches, and what became of it."""

    described: dict[str, Any]
    rule: AlarmRule
    queries: list[dict[str, Any]]
    watched: str
    history: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> str:
        return str(self.described["StateValue"])


class Alarms:
    """All metric alarms of the account."""

    def __init__(self, store: MetricStore, clients: Clients, bus: EventBus, authorizer: Authorizer, clock: Clock) -> None:
        self._store = store
        self._clients = clients
        self._bus = bus
        self._authorizer = authorizer
        self._clock = clock
        self._alarms: dict[str, Alarm] = {}
        clock.at((clock.now() // EVERY_S + 1) * EVERY_S, self.evaluate, EVERY_S)

    def operations(self) -> dict[str, Handler]:
        return {
            "DeleteAlarms": self.delete,
            "DescribeAlarmHistory": self.history,
            "DescribeAlarms": self.describe,
            "DisableAlarmActions": lambda p: self._switch(p, False),
            "EnableAlarmActions": lambda p: self._switch(p, True),
            "ListTagsForResource": self.list_tags,
            "PutMetricAlarm": self.put,
            "SetAlarmState": self.set_state,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }

    def put(self, p: dict[str, Any]) -> None:
        check_known(p, KNOWN, "a metric alarm")
        name, now = p["AlarmName"], self._moment()
        queries = p.get("Metrics") or [_single(p)]
        rule = _rule(p, queries)
        for action in [action for kind in ACTIONS.values() for action in p.get(kind) or []]:
            if not action.startswith("arn:aws:sns:"):
                raise NotSupported(f"the alarm action {action}")
        old = self._alarms.get(name)
        described = {"ActionsEnabled": True, "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [], "Dimensions": []} | {
            key: value for key, value in p.items() if key != "Tags" and value is not None
        }
        described |= {"AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}", "AlarmConfigurationUpdatedTimestamp": now}
        kept = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp", "StateTransitionedTimestamp")
        fresh = {
            "StateValue": "INSUFFICIENT_DATA", "StateReason": "Unchecked: Initial alarm creation", "StateUpdatedTimestamp": now,
            "StateTransitionedTimestamp": now,
        }  # fmt: skip
        described |= {key: old.described[key] for key in kept if key in old.described} if old else fresh
        # "If you are using this operation to update an existing alarm, any tags you specify in this parameter are ignored" (API_PutMetricAlarm).
        tags = old.tags if old else {tag["Key"]: tag["Value"] for tag in p.get("Tags") or []}
        self._alarms[name] = Alarm(described, rule, queries, _watched(queries), old.history if old else [], tags)

    def describe(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, DESCRIBE, "DescribeAlarms")
        names, prefix, state = p.get("AlarmNames"), p.get("AlarmNamePrefix") or "", p.get("StateValue")
        found = [a.described for name, a in sorted(self._alarms.items()) if (names is None or name in names) and name.startswith(prefix)]
        wanted = (
            [alarm for alarm in found if state in (None, alarm["StateValue"])] if "MetricAlarm" in (p.get("AlarmTypes") or ["MetricAlarm"]) else []
        )
        return {"MetricAlarms": wanted, "CompositeAlarms": []}

    def delete(self, p: dict[str, Any]) -> None:
        """ "If you specify any incorrect alarm names, the alarms you specify with correct names are still deleted" (API_DeleteAlarms)."""
        for name in p["AlarmNames"]:
            self._alarms.pop(name, None)

    def history(self, p: dict[str, Any]) -> dict[str, Any]:
        check_known(p, HISTORY, "DescribeAlarmHistory")
        if "MetricAlarm" not in (p.get("AlarmTypes") or ["MetricAlarm"]):
            return {"AlarmHistoryItems": []}
        kind, start, end = p.get("HistoryItemType"), p.get("StartDate") or DAWN, p.get("EndDate") or DUSK
        found = [item for name, alarm in self._alarms.items() if p.get("AlarmName") in (None, name) for item in alarm.history]
        wanted = [item for item in found if kind in (None, item["HistoryItemType"]) and start <= item["Timestamp"] <= end]
        return {"AlarmHistoryItems": wanted if p.get("ScanBy") == "TimestampAscending" else wanted[::-1]}

    def list_tags(self, p: dict[str, Any]) -> dict[str, Any]:
        alarm = self._alarms.get(_alarm_name(p["ResourceARN"]))
        return {"Tags": [{"Key": key, "Value": value} for key, value in alarm.tags.items()] if alarm else []}

    def tag(self, p: dict[str, Any]) -> None:
        self._alarm(_alarm_name(p["ResourceARN"])).tags |= {tag["Key"]: tag["Value"] for tag in p["Tags"]}

    def untag(self, p: dict[str, Any]) -> None:
        for key in p["TagKeys"]:
            self._alarm(_alarm_name(p["ResourceARN"])).tags.pop(key, None)

    def set_state(self, p: dict[str, Any]) -> None:
        self._enter(self._alarm(p["AlarmName"]), p["StateValue"], p["StateReason"], p.get("StateReasonData"))

    def evaluate(self) -> None:
        """Judge every alarm by the data of its last complete periods."""
        now = self._clock.now()
        for alarm in list(self._alarms.values()):
            looked_at = evaluation_range(alarm.rule, now)
            try:
                points = results(self._store, alarm.queries, looked_at[-1], looked_at[0] + alarm.rule.period_s)[alarm.watched]
            except ServiceError as error:
                log.warning("alarm %s: %s", alarm.described["AlarmName"], error)
                continue
            verdict = judge(alarm.rule, points, now, alarm.state)
            if verdict.state != alarm.state:
                self._enter(alarm, verdict.state, verdict.reason, notices.reason_data(alarm.described, verdict, now))

    def _enter(self, alarm: Alarm, state: str, reason: str, data: str | None) -> None:
        """Put an alarm into a state; tell EventBridge and its actions when it is another one."""
        before, now = dict(alarm.described), self._moment()
        alarm.described.pop("StateReasonData", None)
        alarm.described |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": now} | ({"StateReasonData": data} if data else {})
        if before["StateValue"] == state:
            return
        alarm.described["StateTransitionedTimestamp"] = now
        told = notices.history_data(before, alarm.described)
        self._remember(alarm, "StateUpdate", f"Alarm updated from {before['StateValue']} to {state}", told)
        detail = notices.event_detail(before, alarm.described, alarm.queries)
        self._bus.emit("aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm.described["AlarmArn"]])
        if alarm.described["ActionsEnabled"]:
            for topic in alarm.described[ACTIONS[state]]:
                self._tell(alarm, topic, before["StateValue"])

    def _tell(self, alarm: Alarm, topic: str, before: str) -> None:
        """What goes wrong stands in the history, and nowhere else.

        Source: repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
        """
        message = json.dumps(notices.message(alarm.described, before), separators=(",", ":"))
        error = self._publish(alarm, topic, message)
        data = {"actionState": "Failed" if error else "Succeeded", "notificationResource": topic, "publishedMessage": message, "error": error}
        summary = f'Failed to execute action {topic}. Received error: "{error}"' if error else f"Successfully executed action {topic}"
        self._remember(alarm, "Action", summary, json.dumps(data, separators=(",", ":")))

    def _publish(self, alarm: Alarm, topic: str, message: str) -> str | None:
        """What kept SNS from taking the message; None if nothing did."""
        decision = self._authorizer.service("cloudwatch.amazonaws.com", "sns:Publish", topic, alarm.described["AlarmArn"])
        if not decision.allowed:
            return f"CloudWatch Alarms is not authorized to perform: SNS:Publish on resource:{topic} {decision.reason}"
        try:
            self._clients("sns").publish(TopicArn=topic, Subject=notices.subject(alarm.described), Message=message)
        except (ClientError, BotoCoreError) as error:
            return str(error)
        return None

    def _remember(self, alarm: Alarm, kind: str, summary: str, data: str) -> None:
        item = {"AlarmName": alarm.described["AlarmName"], "AlarmType": "MetricAlarm", "Timestamp": self._moment()}
        alarm.history.append(item | {"HistoryItemType": kind, "HistorySummary": summary, "HistoryData": data})

    def _switch(self, p: dict[str, Any], on: bool) -> None:
        for name in p["AlarmNames"]:
            self._alarm(name).described["ActionsEnabled"] = on

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _alarm(self, name: str) -> Alarm:
        if name not in self._alarms:
            raise ServiceError("ResourceNotFound", f"Alarm {name} does not exist")
        return self._alarms[name]


def _rule(p: dict[str, Any], queries: list[dict[str, Any]]) -> AlarmRule:
    """Raises ValidationError for what PutMetricAlarm refuses."""
    periods = int(p["EvaluationPeriods"])
    ordered(queries)
    _check_span(int(p.get("Period") or period_of(queries)), periods)
    try:
        for query in ordered(queries):
            if "MetricStat" in query:
                check_statistic(query["MetricStat"]["Stat"])
        results(MetricStore(), queries, 0.0, float(period_of(queries)))
        return AlarmRule(
            p["ComparisonOperator"], float(p["Threshold"]), periods, int(p.get("DatapointsToAlarm") or periods), p.get("TreatMissingData") or "missing",
            int(p.get("Period") or period_of(queries)), bool(p.get("DatapointsToAlarm")),
        )  # fmt: skip
    except (RuleError, UnknownStatistic) as error:
        raise ServiceError("ValidationError", str(error)) from error


def _check_span(period_s: int, periods: int) -> None:
    check_period(period_s, "ValidationError")
    if period_s < EVERY_S:
        raise NotSupported(f"alarms with a period under a minute: {period_s} seconds")
    longest = LONGEST_OF_HOURS_S if period_s >= 3600 else LONGEST_S
    if period_s * periods > longest:
        raise ServiceError("ValidationError", f"Metrics cannot be checked across more than {longest // 86_400} days (EvaluationPeriods * Period).")


def _single(p: dict[str, Any]) -> dict[str, Any]:
    """An alarm on one metric as the query it stands for."""
    metric: dict[str, Any] = {"Namespace": p.get("Namespace"), "MetricName": p.get("MetricName"), "Dimensions": p.get("Dimensions") or []}
    statistic = p.get("Statistic") or p.get("ExtendedStatistic")
    if None in (metric["Namespace"], metric["MetricName"], statistic, p.get("Period")):
        raise ServiceError("ValidationError", "An alarm needs either Metrics, or Namespace, MetricName, Period and a statistic")
    unit = {"Unit": p["Unit"]} if p.get("Unit") else {}
    return {"Id": "m1", "MetricStat": {"Metric": metric, "Period": p["Period"], "Stat": statistic} | unit, "ReturnData": True}


def _alarm_name(arn: str) -> str:
    return arn.partition(":alarm:")[2]


def _watched(queries: list[dict[str, Any]]) -> str:
    returned = [str(query["Id"]) for query in queries if query.get("ReturnData", True)]
    if len(returned) != 1:
        raise ServiceError("ValidationError", "Exactly one element of the metrics list should return data.")
    return returned[0]
