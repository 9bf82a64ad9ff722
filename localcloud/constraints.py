"""The limits that AWS's own models put on parameters: patterns, lengths, ranges, allowed values.

moto and boto3 check types and required members only; a job name that AWS refuses would pass here unseen.
"""

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from botocore.model import Shape

from localcloud.errors import NotSupported, ServiceError
from localcloud.shapes import input_shape

PROPERTY = re.compile(r"\\p\{(\w+)\}")
POSIX = {"ASCII": r"\x00-\x7f", "Alnum": "a-zA-Z0-9", "Print": r"\x20-\x7e"}
TRAILING_SIZE = re.compile(r"\$\{\d+,\d+\}$")
"""An end with a repetition, in two of SageMaker's patterns; the length is checked by itself."""
SHOWN = None
"""In a specification of `accept`: taken, shown, and without effect."""
CODES = {"lambda": "ValidationException", "cloudformation": "ValidationError", "sts": "ValidationError", "codebuild": "InvalidInputException"}


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


def accept(operation: str, p: dict[str, Any], specification: dict[str, Any]) -> None:
    """Raises NotSupported naming every member and value that is not understood.

    A specification is None for anything, a set for the values that are understood, a dict for the members of a structure, or a
    list of one specification for a list. Members marked with SHOWN have no effect here: Describe shows them.
    """
    if faults := list(_foreign(p, specification, "")):
        raise NotSupported(f"{', '.join(faults)} of {operation}")


def _foreign(value: Any, specification: Any, path: str) -> Iterator[str]:
    """What is switched off (False, an empty list) asks for nothing."""
    if specification is None or value in (None, False, [], {}):
        return
    if isinstance(specification, set):
        if value not in specification:
            yield f"{path}={value}"
    elif isinstance(specification, list):
        for item in value:
            yield from _foreign(item, specification[0], path)
    else:
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if name in specification:
                yield from _foreign(item, specification[name], where)
            elif item not in (None, False, [], {}):
                yield where


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
    """None for a pattern that python's re cannot read; Java's character properties (\\p{…}) are spelled out for it."""
    spelled = TRAILING_SIZE.sub("", pattern).replace("\\z", "\\Z")
    try:
        return re.compile(PROPERTY.sub(lambda match: _spelled(match, spelled), spelled))
    except re.error:
        return None


def _spelled(match: "re.Match[str]", pattern: str) -> str:
    """The characters of a property, as they stand inside brackets."""
    before = pattern[: match.start()]
    inside = before.count("[") > before.count("]")
    characters = POSIX.get(match[1]) or _categories().get(match[1], match[0])
    return characters if inside else f"[{characters}]"


@cache
def _categories() -> dict[str, str]:
    """Ranges of all characters by the first letter of their Unicode category: L, M, N, P, S, Z and C."""
    ranges: dict[str, list[str]] = defaultdict(list)
    for name, codes in groupby(range(sys.maxunicode + 1), lambda code: unicodedata.category(chr(code))[0]):
        first, *rest = codes
        ranges[name].append(f"\\U{first:08x}-\\U{(rest or [first])[-1]:08x}")
    return {name: "".join(found) for name, found in ranges.items()}
