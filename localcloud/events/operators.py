"""The operators of EventBridge event patterns: what stands in a field's array becomes a test on a leaf of an event.

Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

import ipaddress
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Test = Callable[[object], bool]

LOWER_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {">": operator.gt, ">=": operator.ge}
UPPER_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"=": operator.eq, **LOWER_BOUNDS, **UPPER_BOUNDS}


class PatternError(Exception):
    """The pattern is not valid: says where in it, and what is known there. AWS answers InvalidEventPatternException."""


def refuse(path: str, reason: str) -> NoReturn:
    """`reason` in AWS's sentence; it says nothing of where, which localcloud adds."""
    raise PatternError(f"Event pattern is not valid. Reason: {path}: {reason}" if path else f"Event pattern is not valid. Reason: {reason}")


def tests_of(values: list[object], where: str) -> list[Test]:
    """The tests of a field, of which a leaf must pass one."""
    if not values:
        refuse(where, "empty arrays are not allowed")
    return [_test(value, where) for value in values]


def _test(value: object, where: str) -> Test:
    if isinstance(value, list):
        refuse(where, "a match value is a string, a number, true, false, null or an operator's object, not an array")
    if not isinstance(value, dict):
        return _equals(value)
    name, operand = _only_item(value, where)
    if name not in OPERATORS:
        refuse(where, f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    return OPERATORS[name](operand, f"{where}: {name}")


def _only_item(value: dict[str, object], where: str) -> tuple[str, object]:
    if len(value) != 1:
        refuse(where, f"needs exactly one operator in an object, found {', '.join(value) or 'none'}")
    return next(iter(value.items()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equals(wanted: object) -> Test:
    """Same JSON type and value. 300 and 300.0 are equal: event-ruler compares numbers by value, though older docs deny it."""
    if _is_number(wanted):
        return lambda value: _is_number(value) and value == wanted
    return lambda value: type(value) is type(wanted) and value == wanted


def _text(operand: object, where: str) -> str:
    if not isinstance(operand, str):
        refuse(where, f"needs a string, found {json.dumps(operand)}")
    return operand


def _on_text(holds: Callable[[str], bool]) -> Test:
    return lambda value: isinstance(value, str) and holds(value)


def _equals_ignore_case(operand: object, where: str) -> Test:
    folded = _text(operand, where).lower()
    return _on_text(lambda value: value.lower() == folded)


def _prefix(operand: object, where: str) -> Test:
    start, fold = _affix(operand, where)
    return _on_text(lambda value: fold(value).startswith(start))


def _suffix(operand: object, where: str) -> Test:
    end, fold = _affix(operand, where)
    return _on_text(lambda value: fold(value).endswith(end))


def _affix(operand: object, where: str) -> tuple[str, Callable[[str], str]]:
    """The text of a prefix or suffix, and what to do to a value before comparing."""
    if not isinstance(operand, dict):
        return _text(operand, where), str
    name, inner = _only_item(operand, where)
    if name != "equals-ignore-case":
        refuse(where, f"unknown operator {name!r}; known: equals-ignore-case")
    return _text(inner, f"{where}: {name}").lower(), str.lower


def _wildcard(operand: object, where: str) -> Test:
    segments = _segments(_text(operand, where), where)
    return _on_text(lambda value: _fits(segments, value))


def _segments(text: str, where: str) -> list[str]:
    r"""The literal texts between wildcards; `\*` and `\\` are literal.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-wildcard-matching"""
    segments = [""]
    for piece in re.findall(r"\\[*\\]|[*]|[^*\\]+|\\", text):
        if piece == "\\":
            refuse(where, f"a backslash escapes only * or a backslash, in {text!r}")
        elif piece == "*":
            segments.append("")
        else:
            segments[-1] += piece.removeprefix("\\")
    if "" in segments[1:-1]:
        refuse(where, f"consecutive wildcards in {text!r}")
    return segments


def _fits(segments: list[str], value: str) -> bool:
    """Leftmost fit of each segment: no backtracking, so no pattern is slow."""
    first, *rest = segments
    if not rest:
        return value == first
    *middle, last = rest
    if not value.startswith(first):
        return False
    position = len(first)
    for segment in middle:
        found = value.find(segment, position)
        if found < 0:
            return False
        position = found + len(segment)
    return value.endswith(last) and len(value) - len(last) >= position


def _anything_but(operand: object, where: str) -> Test:
    """Any value, null included, that is none of these; a missing field does not match."""
    unwanted = _nested_unwanted(operand, where) if isinstance(operand, dict) else _plain_unwanted(operand, where)
    return lambda value: not any(test(value) for test in unwanted)


def _plain_unwanted(operand: object, where: str) -> list[Test]:
    values = operand if isinstance(operand, list) else [operand]
    if not values or not (all(isinstance(value, str) for value in values) or all(_is_number(value) for value in values)):
        refuse(where, f"needs a string, a number, or an array of only strings or only numbers, found {json.dumps(operand)}")
    return [_equals(value) for value in values]


def _nested_unwanted(operand: dict[str, object], where: str) -> list[Test]:
    name, inner = _only_item(operand, where)
    if name not in NESTED_IN_ANYTHING_BUT:
        refuse(where, f"unknown operator {name!r}; known: {', '.join(NESTED_IN_ANYTHING_BUT)}")
    where = f"{where}: {name}"
    texts = [_text(value, where) for value in (inner if isinstance(inner, list) else [inner])]
    if not texts or (name in ("prefix", "suffix") and "" in texts):
        refuse(where, "must not be empty")
    return [NESTED_IN_ANYTHING_BUT[name](text, where) for text in texts]


def _numeric(operand: object, where: str) -> Test:
    """`[comparison, number]`, or a range `[">", low, "<=", high]`."""
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        refuse(where, f'needs [comparison, number] or a range like [">", 0, "<=", 5], found {json.dumps(operand)}')
    if len(operand) == 2:
        return _comparison(operand[0], operand[1], COMPARISONS, where)
    above = _comparison(operand[0], operand[1], LOWER_BOUNDS, where)
    below = _comparison(operand[2], operand[3], UPPER_BOUNDS, where)
    if operand[1] >= operand[3]:
        refuse(where, f"bottom must be less than top, found {operand[1]} and {operand[3]}")
    return lambda value: above(value) and below(value)


def _comparison(sign: object, bound: object, known: Mapping[str, Callable[[Any, Any], bool]], where: str) -> Test:
    if not isinstance(sign, str) or sign not in known:
        refuse(where, f"unknown comparison {json.dumps(sign)}; known: {', '.join(known)}")
    if not _is_number(bound):
        refuse(where, f"value of {sign} must be a number, found {json.dumps(bound)}")
    compare = known[sign]
    return lambda value: _is_number(value) and compare(value, bound)


def _cidr(operand: object, where: str) -> Test:
    """IPv4 or IPv6 block. AWS takes a mask in bits, and none that covers a single address."""
    text = _text(operand, where)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        refuse(where, str(error))
    if not re.fullmatch(r"[^/]+/\d+", text) or network.num_addresses == 1:
        refuse(where, f"needs an address, a slash and fewer than {network.max_prefixlen} mask bits, found {text!r}")

    def holds(value: str) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _on_text(holds)


def _exists(operand: object, where: str) -> Test:
    """Leaves only: a field that is an object, or an empty array, does not exist.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-exists-matching"""
    if not isinstance(operand, bool):
        refuse(where, f"needs true or false, found {json.dumps(operand)}")
    return _present if operand else absent


def _present(_: object) -> bool:
    return True


def absent(_: object) -> bool:
    """Holds for no leaf: who matches an event looks for this test by identity when there is none."""
    return False


OPERATORS: dict[str, Callable[[object, str], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
    "exists": _exists,
}
NESTED_IN_ANYTHING_BUT = {name: OPERATORS[name] for name in ("prefix", "suffix", "equals-ignore-case", "wildcard")}
RESERVED = frozenset([*OPERATORS, *COMPARISONS])
