"""The Embedded Metric Format: metrics inside the JSON lines that functions log.

The log pipeline hands every line to `extract` and puts the data into the metric store.
Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.cloudwatch.metrics import MetricKey, in_range

MAX_METRICS, MAX_VALUES, MAX_DIMENSIONS, MAX_DIMENSION_LENGTH, MAX_NAME_LENGTH = 100, 100, 30, 1024, 1024
STANDARD_RESOLUTION_S = 60


class EmfError(Exception):
    """A line that announces metrics and breaks the specification: AWS takes none of it and counts it in EMFValidationErrors."""


@dataclass(frozen=True)
class Datum:
    """What one line says of one metric; `at` in seconds since the epoch, rounded down to the metric's resolution."""

    key: MetricKey
    at: float
    values: tuple[float, ...]
    unit: str


def extract(message: str, received: float) -> list[Datum]:
    """The metrics in one log event; none if it is no JSON object or announces none. `received` stands in for a missing Timestamp.

    EmfError names the member that breaks the specification.
    """
    root = _document(message)
    metadata = root.get("_aws")
    if not isinstance(metadata, dict) or "CloudWatchMetrics" not in metadata:
        return []
    at = _number(metadata.get("Timestamp", received * 1000), "Timestamp") / 1000
    return [datum for directive in _list(metadata, "CloudWatchMetrics") for datum in _directive(root, directive, at)]


def _document(message: str) -> dict[str, Any]:
    """The JSON object of a log event, also after what Lambda puts before it: a time, a request id and a level, each with a tab."""
    before, brace, after = message.partition("{")
    if '"_aws"' not in after or (before.strip() and not before.endswith("\t")):
        return {}
    try:
        document = json.loads(brace + after)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _directive(root: Mapping[str, Any], directive: Any, at: float) -> Iterator[Datum]:
    if not isinstance(directive, dict):
        raise EmfError("CloudWatchMetrics holds something that is no object")
    namespace = _name(directive, "Namespace")
    dimension_sets = [_dimensions(root, one) for one in _list(directive, "Dimensions")]
    definitions = _list(directive, "Metrics")
    if not dimension_sets or len(definitions) > MAX_METRICS:
        raise EmfError(f"{namespace} must have a dimension set, which may be empty, and at most {MAX_METRICS} metrics")
    for definition in definitions:
        yield from _data(root, definition, namespace, dimension_sets, at)


def _data(root: Mapping[str, Any], definition: Any, namespace: str, dimension_sets: list[tuple[tuple[str, str], ...]], at: float) -> Iterator[Datum]:
    """One metric in each of the dimension sets. AWS keeps a metric of standard resolution, which is the default, by the minute."""
    if not isinstance(definition, dict):
        raise EmfError(f"Metrics of {namespace} holds something that is no object")
    name = _name(definition, "Name")
    values, unit = _values(root, name), definition.get("Unit", "None")
    if not isinstance(unit, str):
        raise EmfError(f"Unit of {name} is no string")
    step = 1 if definition.get("StorageResolution", STANDARD_RESOLUTION_S) == 1 else STANDARD_RESOLUTION_S
    for dimensions in dimension_sets:
        yield Datum(MetricKey(namespace, name, dimensions), math.floor(at / step) * float(step), values, unit)


def _values(root: Mapping[str, Any], name: str) -> tuple[float, ...]:
    target = root.get(name)
    numbers = target if isinstance(target, list) else [target]
    if len(numbers) > MAX_VALUES:
        raise EmfError(f"{name} has {len(numbers)} values, more than {MAX_VALUES}")
    return tuple(_number(number, name) for number in numbers)


def _dimensions(root: Mapping[str, Any], names: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(names, list) or len(names) > MAX_DIMENSIONS:
        raise EmfError(f"a dimension set is a list of at most {MAX_DIMENSIONS} names")
    return tuple((_text(name, "a dimension's name"), _text(root.get(name), f"the dimension {name}")) for name in names)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_DIMENSION_LENGTH:
        raise EmfError(f"{what} is no string of at most {MAX_DIMENSION_LENGTH} characters")
    return value


def _name(holder: Mapping[str, Any], member: str) -> str:
    value = holder.get(member)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_LENGTH:
        raise EmfError(f"{member} is no string of 1 to {MAX_NAME_LENGTH} characters")
    return value


def _list(holder: Mapping[str, Any], member: str) -> list[Any]:
    value = holder.get(member)
    if not isinstance(value, list):
        raise EmfError(f"{member} is no list")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not in_range(value):
        raise EmfError(f"{what} is no number")
    return float(value)
