"""The limits that AWS's own models put on parameters: patterns, lengths, ranges, allowed values.

moto and boto3 check types and required members only; a job name that AWS refuses would pass here unseen.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from botocore.model import Shape

from localcloud.errors import NotSupported, ServiceError
from localcloud.shapes import input_shape

CODES = {"lambda": "ValidationException", "cloudformation": "ValidationError", "codebuild": "InvalidInputException"}


def check_constraints(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """Raises ValidationException in AWS's words, all faults in one message."""
    faults = list(_faults(input_shape(service, operation), parameters, ""))
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise ServiceError(CODES.get(service, "ValidationException"), count + "; ".join(faults))


def only(what: str, p: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse by name the members that localcloud does not act on. Raises NotSupported."""
    if others := sorted(set(p) - set(known)):
        raise NotSupported(f"{', '.join(others)} of {what}")


def _faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    match shape.type_name:
        case "structure" if isinstance(value, dict):
            for name, member in shape.members.items():
                yield from _faults(member, value.get(name), f"{path}.{name}" if path else name)
        case "list" if isinstance(value, list):
            yield from _size(shape, len(value), value, path)
            for i, item in enumerate(value):
                yield from _faults(shape.member, item, f"{path}.{i + 1}.member")
        case "map" if isinstance(value, dict):
            yield from _size(shape, len(value), value, path)
            for name, item in value.items():
                yield from _faults(shape.key, name, f"{path}.key")
                yield from _faults(shape.value, item, f"{path}.{name}.member")
        case "string" if isinstance(value, str):
            yield from _text(shape, value, path)
        case "integer" | "long" | "float" | "double" if isinstance(value, int | float):
            yield from _range(shape, value, path)


def _text(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _size(shape, len(value), value, path)
    allowed = getattr(shape, "enum", None) or shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield f"Value '{value}' at '{_lower(path)}' failed to satisfy constraint: Member must satisfy enum value set: [{', '.join(allowed)}]"
    pattern = shape.metadata.get("pattern")
    compiled = _compiled(pattern) if pattern else None
    if compiled is not None and not compiled.fullmatch(value):
        yield f"Value '{value}' at '{_lower(path)}' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"


def _size(shape: Shape, size: int, value: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    for wrong, words in (
        (low is not None and size < low, f"greater than or equal to {low}"),
        (high is not None and size > high, f"less than or equal to {high}"),
    ):
        if wrong:
            yield f"Value '{str(value)[:200]}' at '{_lower(path)}' failed to satisfy constraint: Member must have length {words}"


def _range(shape: Shape, value: float, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    for wrong, words in (
        (low is not None and value < low, f"greater than or equal to {low}"),
        (high is not None and value > high, f"less than or equal to {high}"),
    ):
        if wrong:
            yield f"Value '{value}' at '{_lower(path)}' failed to satisfy constraint: Member must have value {words}"


def _lower(path: str) -> str:
    return ".".join(part[:1].lower() + part[1:] for part in path.split("."))


@cache
def _compiled(pattern: str) -> "re.Pattern[str] | None":
    """None for a pattern of Java's that python's re does not know (\\p{…})."""
    try:
        return re.compile(pattern)
    except re.error:
        return None
