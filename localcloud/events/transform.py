"""What a target receives of an event: Input, InputPath, InputTransformer, or the event itself.

Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

import json
import re
from typing import Any

PLACEHOLDER = re.compile(r"<([\w.\-]+)>")
STEP = re.compile(r"\.([\w\-]+)|\[(\d+)\]|\['([^']+)'\]")


def target_input(target: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    """The text delivered to a target."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(value_at(event, target["InputPath"]))
    if "InputTransformer" in target:
        return _transform(target["InputTransformer"], event, rule_arn)
    return json.dumps(event)


def value_at(event: dict[str, Any], path: str) -> Any:
    """The value at a JSONPath of the simple kind EventBridge allows; None where it leads nowhere."""
    value: Any = event
    for name, index, quoted in STEP.findall(path.removeprefix("$")):
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name or quoted) if isinstance(value, dict) else None
    return value


def _transform(transformer: dict[str, Any], event: dict[str, Any], rule_arn: str) -> str:
    values = {name: value_at(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    template = str(transformer["InputTemplate"])
    out, at = [], 0
    for match in PLACEHOLDER.finditer(template):
        out.append(template[at : match.start()])
        at = match.end()
        if match[1] not in values:
            out.append(match[0])
        elif _inside_string(template[: match.start()]):
            value = values[match[1]]
            out.append(json.dumps(value if isinstance(value, str) else json.dumps(value))[1:-1])
        else:
            out.append(json.dumps(values[match[1]]))
    return "".join([*out, template[at:]])


def _inside_string(before: str) -> bool:
    return len(re.findall(r'(?<!\\)"', before)) % 2 == 1
