"""The EventBridge API: rules with patterns or schedules, their targets, and PutEvents. The default bus only."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock, Timer
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import ACTIONS, EventBus
from localcloud.events.operators import PatternError
from localcloud.events.pattern import compile_pattern
from localcloud.events.schedule import ScheduleError, next_after
from localcloud.events.transform import PATH, undefined
from localcloud.front import Service

DEFAULT_BUS = "default"
TARGET_FIELDS = {"Arn", "DeadLetterConfig", "Id", "Input", "InputPath", "InputTransformer", "RetryPolicy", "RoleArn"}
INPUTS = ("Input", "InputPath", "InputTransformer")
EVENT_MEMBERS = ("id", "account", "source", "time", "region", "resources", "detail-type")
"""What TestEventPattern asks of an event: docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html"""
MAX_TARGETS, MAX_BYTES = 5, 1024 * 1024


@dataclass
class Rule:
    """A rule; `described` is what DescribeRule shows."""

    arn: str
    described: dict[str, Any]
    pattern: Callable[[dict[str, Any]], bool] | None
    created: float
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    timer: Timer | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def matches(self, event: dict[str, Any]) -> bool:
        return self.described["State"] == "ENABLED" and self.pattern is not None and self.pattern(event)


class Rules:
    """All rules of the default bus."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._rules: dict[str, Rule] = {}

    def service(self) -> Service:
        return Service(
            "events",
            {
                "DeleteRule": self.delete,
                "DescribeEventBus": self.describe_bus,
                "DescribeRule": lambda p: self._rule(p["Name"], p).described,
                "DisableRule": lambda p: self._switch(p, "DISABLED"),
                "EnableRule": lambda p: self._switch(p, "ENABLED"),
                "ListRules": self.list,
                "ListTagsForResource": lambda p: {"Tags": [{"Key": k, "Value": v} for k, v in self._tagged(p).tags.items()]},
                "ListTargetsByRule": lambda p: _page("Targets", list(self._rule(p["Rule"], p).targets.values()), p),
                "PutEvents": self.put_events,
                "PutRule": self.put,
                "PutTargets": self.put_targets,
                "RemoveTargets": self.remove_targets,
                "TagResource": self.tag,
                "TestEventPattern": self.test_pattern,
                "UntagResource": self.untag,
            },
        )

    def put(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["Name"]
        _on_default(p)
        if p.get("RoleArn"):
            raise NotSupported("RoleArn of a rule: give the role to its targets")
        if p.get("State") not in (None, "ENABLED", "DISABLED"):
            raise NotSupported(f"the rule state {p['State']}")
        if not p.get("EventPattern") and not p.get("ScheduleExpression"):
            raise ServiceError("ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.")
        arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"
        kept = {key: p[key] for key in ("Description", "EventPattern", "ScheduleExpression") if p.get(key)}
        described = {"Name": name, "Arn": arn, "EventBusName": DEFAULT_BUS, "State": p.get("State") or "ENABLED"} | kept
        old = self._rules.get(name)
        rule = Rule(arn, described, _pattern(p.get("EventPattern")), old.created if old else self._clock.now())
        if old is not None:
            rule.targets, rule.tags = old.targets, old.tags
            self._stop(old)
        rule.tags |= {tag["Key"]: tag["Value"] for tag in p.get("Tags") or []}
        self._plan(rule)
        self._rules[name] = self._bus.rules[name] = rule
        return {"RuleArn": arn}

    def delete(self, p: dict[str, Any]) -> None:
        _on_default(p)
        rule = self._rules.get(p["Name"])
        if rule is None:
            return
        if rule.targets:
            raise ServiceError("ValidationException", "Rule can't be deleted since it has targets.")
        self._stop(rule)
        del self._rules[p["Name"]], self._bus.rules[p["Name"]]

    def list(self, p: dict[str, Any]) -> dict[str, Any]:
        _on_default(p)
        found = [rule.described for name, rule in sorted(self._rules.items()) if name.startswith(p.get("NamePrefix") or "")]
        return _page("Rules", found, p)

    def describe_bus(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("Name", DEFAULT_BUS).rpartition("/")[2] != DEFAULT_BUS:
            raise ServiceError("ResourceNotFoundException", f"Event bus {p['Name']} does not exist.")
        return {"Name": DEFAULT_BUS, "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"}

    def put_targets(self, p: dict[str, Any]) -> dict[str, Any]:
        rule = self._rule(p["Rule"], p)
        for target in p["Targets"]:
            _check_target(target)
        wanted = rule.targets | {target["Id"]: target for target in p["Targets"]}
        if len(wanted) > MAX_TARGETS:
            raise ServiceError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
        rule.targets = wanted
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def remove_targets(self, p: dict[str, Any]) -> dict[str, Any]:
        rule = self._rule(p["Rule"], p)
        rule.targets = {name: target for name, target in rule.targets.items() if name not in p["Ids"]}
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def put_events(self, p: dict[str, Any]) -> dict[str, Any]:
        entries = p["Entries"]
        if p.get("EndpointId") or any(entry.get("TraceHeader") for entry in entries):
            raise NotSupported("EndpointId and TraceHeader of PutEvents")
        if sum(_size(entry) for entry in entries) > MAX_BYTES:
            raise ServiceError("ValidationException", "Total size of the entries in the request is over the limit.")
        results = [self._put_event(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def test_pattern(self, p: dict[str, Any]) -> dict[str, Any]:
        matches = _pattern(p["EventPattern"])
        try:
            event = json.loads(p["Event"])
        except ValueError:
            event = None
        if not isinstance(event, dict) or any(member not in event for member in EVENT_MEMBERS):
            raise ServiceError("ValidationException", "Parameter Event is not valid.")
        return {"Result": matches is not None and matches(event)}

    def tag(self, p: dict[str, Any]) -> None:
        self._tagged(p).tags |= {tag["Key"]: tag["Value"] for tag in p["Tags"]}

    def untag(self, p: dict[str, Any]) -> None:
        rule = self._tagged(p)
        rule.tags = {key: value for key, value in rule.tags.items() if key not in p["TagKeys"]}

    def _put_event(self, entry: dict[str, Any]) -> dict[str, Any]:
        _on_default(entry)
        for name in ("Source", "DetailType", "Detail"):
            if not entry.get(name):
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {name} is not valid. Reason: {name} is a required argument."}
        if entry["Source"].startswith("aws."):
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        time = entry["Time"].timestamp() if isinstance(entry.get("Time"), datetime) else None
        return {"EventId": self._bus.put(entry["Source"], entry["DetailType"], detail, entry.get("Resources") or [], time)}

    def _plan(self, rule: Rule) -> None:
        """Set the timer for the next moment of a schedule."""
        expression = rule.described.get("ScheduleExpression")
        if not expression:
            return
        created = datetime.fromtimestamp(rule.created, UTC)
        try:
            moment = next_after(expression, datetime.fromtimestamp(self._clock.now(), UTC), created)
        except ScheduleError as error:
            raise ServiceError("ValidationException", f"Parameter ScheduleExpression is not valid. {error}") from error
        if moment is not None and rule.described["State"] == "ENABLED":
            rule.timer = self._clock.at(moment.timestamp(), lambda: self._fire(rule))

    def _fire(self, rule: Rule) -> None:
        moment = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "version": "0", "id": str(uuid.uuid4()), "detail-type": "Scheduled Event", "source": "aws.events",
            "account": ACCOUNT, "time": moment, "region": REGION, "resources": [rule.arn], "detail": {},
        }  # fmt: skip
        self._bus.send(rule, event)
        self._plan(rule)

    def _stop(self, rule: Rule) -> None:
        if rule.timer is not None:
            rule.timer.cancel()

    def _switch(self, p: dict[str, Any], state: str) -> None:
        rule = self._rule(p["Name"], p)
        rule.described["State"] = state
        self._stop(rule)
        self._plan(rule)

    def _rule(self, name: str, p: dict[str, Any]) -> Rule:
        _on_default(p)
        if name not in self._rules:
            raise ServiceError("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.")
        return self._rules[name]

    def _tagged(self, p: dict[str, Any]) -> Rule:
        return self._rule(p["ResourceARN"].rpartition("/")[2], {})


def _pattern(text: str | None) -> Callable[[dict[str, Any]], bool] | None:
    if not text:
        return None
    try:
        return compile_pattern(text)
    except PatternError as error:
        raise ServiceError("InvalidEventPatternException", str(error)) from error


def _on_default(p: dict[str, Any]) -> None:
    if (p.get("EventBusName") or DEFAULT_BUS).rpartition("/")[2] != DEFAULT_BUS:
        raise NotSupported(f"event buses other than the default: {p['EventBusName']}")


def _check_target(target: dict[str, Any]) -> None:
    service = target["Arn"].split(":")[2] if target["Arn"].count(":") >= 5 else ""
    if service not in (*ACTIONS, "states"):
        raise NotSupported(f"the EventBridge target {target['Arn']}")
    if unknown := set(target) - TARGET_FIELDS:
        raise NotSupported(f"{', '.join(sorted(unknown))} of an EventBridge target")
    if service == "states" and not target.get("RoleArn"):
        raise ServiceError("ValidationException", f"RoleArn is required for target {target['Arn']}.")
    if service in ("sqs", "sns") and target["Arn"].endswith(".fifo"):
        raise NotSupported(f"FIFO queues and topics as EventBridge targets: {target['Arn']}")
    _check_input(target)


def _check_input(target: dict[str, Any]) -> None:
    """The messages are as recorded in github.com/localstack/localstack tests/aws/services/events/test_events_inputs.snapshot.json"""
    if sum(name in target for name in INPUTS) > 1:
        raise ServiceError("ValidationException", f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}.")
    transformer = target.get("InputTransformer") or {}
    if transformer and (names := undefined(transformer)):
        raise ServiceError("ValidationException", f"InputTemplate for target {target['Id']} contains invalid placeholder {names[0]}.")
    for path in [*(transformer.get("InputPathsMap") or {}).values(), target.get("InputPath", "$")]:
        if not PATH.fullmatch(path):
            raise NotSupported(f"the JSON path {path} of an EventBridge target")


def _page(name: str, items: list[dict[str, Any]], p: dict[str, Any]) -> dict[str, Any]:
    """Limit items from where NextToken says on."""
    first = int(p.get("NextToken") or 0)
    end = first + (p.get("Limit") or len(items))
    return {name: items[first:end]} | ({"NextToken": str(end)} if end < len(items) else {})


def _size(entry: dict[str, Any]) -> int:
    """Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html"""
    texts = [entry.get("Source", ""), entry.get("DetailType", ""), entry.get("Detail", ""), *(entry.get("Resources") or [])]
    return (14 if entry.get("Time") else 0) + sum(len(text.encode()) for text in texts)
