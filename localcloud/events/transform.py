"""What a target receives of an event: Input, InputPath, InputTransformer, or the event itself.

Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html; what that page leaves open is as recorded
against AWS in github.com/localstack/localstack tests/aws/services/events/test_events_inputs.snapshot.json
"""

import json
import re
from typing import Any

PLACEHOLDER = re.compile(r"<([\w.\-]+)>")
STEP = re.compile(r"\.([\w\-]+)|\[(\d+)\]|\['([^']+)'\]")
PATH = re.compile(rf"\$(?:{STEP.pattern})*")
PREDEFINED = {
    "aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time", "aws.events.event", "aws.events.event.json",
}  # fmt: skip


def target_input(target: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    """The text delivered to a target."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return _compact(value_at(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transform(target["InputTransformer"], event, rule_arn)
    return _compact(event)


def undefined(transformer: dict[str, Any]) -> list[str]:
    """The placeholders of a template that nothing defines."""
    defined = PREDEFINED | set(transformer.get("InputPathsMap") or {})
    return [name for name in PLACEHOLDER.findall(transformer["InputTemplate"]) if name not in defined]


def value_at(event: dict[str, Any], path: str, missing: Any = None) -> Any:
    """The value at a JSONPath of the kind `PATH` describes; `missing` where it leads nowhere."""
    value: Any = event
    for name, index, quoted in STEP.findall(path.removeprefix("$")):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else missing
        else:
            value = value.get(name or quoted, missing) if isinstance(value, dict) else missing
    return value


def _transform(transformer: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    """A variable whose path leads nowhere is the empty string, quoted where it stands for a value."""
    values = {name: value_at(event, path, "") for name, path in (transformer.get("InputPathsMap") or {}).items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.event": {"detailType" if name == "detail-type" else name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    template = str(transformer["InputTemplate"])
    out, at = [], 0
    for match in PLACEHOLDER.finditer(template):
        value = values[match[1]]
        out += [template[at : match.start()], _inside(value) if _inside_string(template[: match.start()]) else _compact(value)]
        at = match.end()
    return "".join([*out, template[at:]])


def _inside(value: Any) -> str:
    """A value inside a string of the template: strings are escaped, objects and arrays lose their quotation marks."""
    return json.dumps(value)[1:-1] if isinstance(value, str) else _compact(value).replace('"', "")


def _inside_string(before: str) -> bool:
    return len(re.findall(r'(?<!\\)"', before)) % 2 == 1


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
