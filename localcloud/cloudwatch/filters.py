"""Filter patterns of CloudWatch Logs, which metric filters use: terms in text, and conditions on the fields of JSON.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from localcloud.cloudwatch.metrics import in_range

TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\w+))(?=\s|$)')
JSON_TOKEN = re.compile(r'\s*(\$[^\s=!<>()&|]*|"(?:[^"\\]|\\.)*"|&&|\|\||[=!<>]=|[=<>()]|[^\s"=!<>()&|]+)')
STEP = re.compile(r"""\.?\[['"]([^'"]+)['"]\]|\[(\d+)\]|\.([\w-]+)""")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
ORDERS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}
ABSENT = object()


class FilterError(Exception):
    """A pattern that AWS refuses; the message names what is wrong."""


class UnknownFilter(FilterError):
    """A kind of pattern that AWS takes and localcloud does not know."""


@dataclass(frozen=True)
class Match:
    """A log event that a pattern matched. Only events matched by a JSON pattern have fields."""

    event: Any = None

    def value(self, selector: str) -> str | float | bool | None:
        """What `$.a.b[0]` points to, for metric values and dimensions; None for what is absent, null, an object or an array."""
        found = select(self.event, path(selector))
        return found if isinstance(found, str | int | float) else None


Matcher = Callable[[str], Match | None]
Condition = Callable[[Any], bool]
Path = tuple[str | int, ...]


def compile_filter(pattern: str) -> Matcher:
    """A function from a log line to its match, or None. FilterError for a pattern that is wrong or of an unknown kind."""
    text = pattern.strip()
    if text.startswith("["):
        raise UnknownFilter(f"localcloud does not know space-delimited filter patterns: {text}")
    if text.startswith("%"):
        raise UnknownFilter(f"localcloud does not know filter patterns with regular expressions: {text}")
    return _json_matcher(text) if text.startswith("{") else _term_matcher(text)


def metric_value(match: Match, text: str) -> float | None:
    """The number that a metric filter's metricValue, "1" or "$.latency", gives for a match; None if the field holds no number."""
    if NUMBER.fullmatch(text):
        return float(text)
    value = match.value(text)
    return float(value) if _is_number(value) else None


def path(selector: str) -> Path:
    """The steps of a property selector. FilterError for one that is not understood, wildcards among them."""
    steps: list[str | int] = []
    at = 1
    while selector.startswith("$") and at < len(selector):
        found = STEP.match(selector, at)
        if not found:
            break
        steps.append(int(found[2]) if found[2] else found[1] or found[3])
        at = found.end()
    if not steps or at != len(selector):
        raise UnknownFilter(f"localcloud does not understand the property selector {selector}")
    return tuple(steps)


def select(event: Any, steps: Path) -> Any:
    """The value at a path, ABSENT if it leads nowhere."""
    for step in steps:
        if isinstance(step, int):
            event = event[step] if isinstance(event, list) and step < len(event) else ABSENT
        else:
            event = event.get(step, ABSENT) if isinstance(event, dict) else ABSENT
    return event


def _term_matcher(text: str) -> Matcher:
    """All plain terms, no excluded one, and one of the optional ones if there are no others: AWS ignores them beside others.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html#matching-terms-unstructured-log-events
    """
    terms = _terms(text)
    wanted, excluded, optional = (tuple(term for mark, term in terms if mark == one) for one in ("", "-", "?"))

    def match(line: str) -> Match | None:
        if wanted or excluded or not optional:
            found = all(term in line for term in wanted) and not any(term in line for term in excluded)
        else:
            found = any(term in line for term in optional)
        return Match() if found else None

    return match


def _terms(text: str) -> list[tuple[str, str]]:
    """Pairs of mark and term. The phrase " " matches everything, as AWS documents, so that it is no term."""
    terms, at = [], 0
    while at < len(text):
        found = TERM.match(text, at)
        if not found:
            raise FilterError(f"put what is not alphanumeric into double quotes: {text[at:].strip()}")
        terms.append((found[1], _unquoted(found[2]) if found[2] is not None else found[3]))
        at = found.end()
    return [(mark, term) for mark, term in terms if term.strip()]


def _json_matcher(text: str) -> Matcher:
    condition = _Conditions(text).parsed()

    def match(line: str) -> Match | None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return Match(event) if isinstance(event, dict) and condition(event) else None

    return match


class _Conditions:
    """A parser of `{ ... }`; && binds more tightly than ||."""

    def __init__(self, text: str) -> None:
        if not text.endswith("}"):
            raise FilterError(f"a JSON filter pattern ends with }}: {text}")
        self._text = text
        self._tokens = self._split(text[1:-1].rstrip())
        self._at = 0

    def parsed(self) -> Condition:
        try:
            condition = self._any()
        except RecursionError as error:
            raise FilterError(f"nested too deeply: {self._text}") from error
        if self._at < len(self._tokens):
            raise self._unexpected(self._tokens[self._at])
        return condition

    def _split(self, text: str) -> list[str]:
        tokens, at = [], 0
        while at < len(text):
            found = JSON_TOKEN.match(text, at)
            if not found:
                raise FilterError(f"unexpected {text[at:].strip()[0]} in the filter pattern {self._text}")
            tokens.append(found[1])
            at = found.end()
        return tokens

    def _any(self) -> Condition:
        either = [self._all()]
        while self._take("||"):
            either.append(self._all())
        return either[0] if len(either) == 1 else lambda event: any(condition(event) for condition in either)

    def _all(self) -> Condition:
        both = [self._one()]
        while self._take("&&"):
            both.append(self._one())
        return both[0] if len(both) == 1 else lambda event: all(condition(event) for condition in both)

    def _one(self) -> Condition:
        if self._take("("):
            inner = self._any()
            if not self._take(")"):
                raise self._unexpected(self._next())
            return inner
        selector = self._next()
        if not selector.startswith("$"):
            raise self._unexpected(selector)
        return self._test(path(selector))

    def _test(self, steps: Path) -> Condition:
        sign = self._next()
        match sign:
            case "IS":
                return _is(steps, self._constant())
            case "NOT":  # AWS knows no EXISTS without it: portable patterns say = *
                return self._not_exists(steps)
            case "=" | "!=":
                return _equals(steps, self._literal(), negated=sign == "!=")
            case "<" | "<=" | ">" | ">=":
                return _ordered(steps, ORDERS[sign], self._number())
        raise self._unexpected(sign)

    def _not_exists(self, steps: Path) -> Condition:
        if not self._take("EXISTS"):
            raise self._unexpected(self._next())
        return lambda event: select(event, steps) is ABSENT

    def _constant(self) -> bool | None:
        if (word := self._next()) not in CONSTANTS:
            raise self._unexpected(word)
        return CONSTANTS[word]

    def _literal(self) -> str:
        literal = self._next()
        if literal.startswith("%"):
            raise UnknownFilter(f"localcloud does not know filter patterns with regular expressions: {self._text}")
        if not literal or literal in ("(", ")", "&&", "||") or literal in ORDERS:
            raise self._unexpected(literal)
        return literal

    def _number(self) -> float:
        if not NUMBER.fullmatch(word := self._next()):
            raise self._unexpected(word)
        return float(word)

    def _take(self, wanted: str) -> bool:
        taken = self._tokens[self._at : self._at + 1] == [wanted]
        self._at += taken
        return taken

    def _next(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        return token

    def _unexpected(self, token: str) -> FilterError:
        return FilterError(f"unexpected {token or 'end'} in the filter pattern {self._text}")


def _is(steps: Path, constant: bool | None) -> Condition:
    return lambda event: select(event, steps) is constant


def _equals(steps: Path, literal: str, *, negated: bool) -> Condition:
    """= and !=, by number where both sides are numbers, else by text with * as a wild card.

    "If a property selector points to an array or object, the filter pattern won't match". AWS does not say what != does with an
    absent field: here it does not match either.
    """
    pattern = _wildcard(_unquoted(literal[1:-1]) if literal.startswith('"') else literal)
    number = float(literal) if NUMBER.fullmatch(literal) else None

    def test(event: Any) -> bool:
        value = select(event, steps)
        if not isinstance(value, str | int | float):
            return False
        if number is not None and _is_number(value):
            return (value == number) is not negated
        return bool(pattern.fullmatch(value if isinstance(value, str) else json.dumps(value))) is not negated

    return test


def _ordered(steps: Path, order: Callable[[float, float], bool], bound: float) -> Condition:
    def test(event: Any) -> bool:
        value = select(event, steps)
        return _is_number(value) and order(value, bound)

    return test


def _wildcard(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and in_range(value)
