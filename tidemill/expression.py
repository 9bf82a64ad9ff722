"""The checks across columns that a model.toml may state, such as `arrival >= departure`: a small language with no way out of it.

    check   := all ("or" all)*            all  := one ("and" one)*          one := "not" one | compared
    compared:= sum [op sum | "is" ["not"] "null"]                           op  := = == != < <= > >=
    sum     := product (("+" | "-") product)*        product := atom (("*" | "/") atom)*
    atom    := number | 'text' | true | false | column | "-" atom | "(" check ")"

Columns compare with values of their own kind; a text literal beside a datetime column is an ISO 8601 time. As in SQL, a check
that meets a missing value is neither true nor false, and a row breaks it only when it is false.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["number", "text", "boolean", "datetime"]
KINDS: dict[str, Kind] = {
    "integer": "number", "float": "number", "string": "text", "category": "text", "boolean": "boolean", "datetime": "datetime",
}  # fmt: skip
TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|'(?P<text>[^']*)'|(?P<word>[A-Za-z_]\w*)|(?P<sign>==|!=|<=|>=|[-=<>+*/()]))")
COMPARISONS = ("==", "=", "!=", "<", "<=", ">", ">=")
MAX_DEPTH = 40


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind


@dataclass(frozen=True)
class Value:
    value: float | str | bool | datetime
    kind: Kind


@dataclass(frozen=True)
class Call:
    """An operator on one or two operands; `is null` and `is not null` are operators too."""

    operator: str
    operands: tuple["Node", ...]
    kind: Kind


Node = Column | Value | Call
Operand = Callable[[], Node]


def parse_check(text: str, columns: Mapping[str, str]) -> Call:
    """The check as a tree. `columns`: name → type as in model.toml.

    Raises ValueError with the place and what was expected there.
    """
    parser = _Parser(text, columns)
    node = parser.either()
    parser.end()
    if not isinstance(node, Call) or node.kind != "boolean":
        raise ValueError(f'{text!r} is no check: it must be true or false, such as "a <= b"')
    return node


class _Parser:
    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self._text, self._columns, self._at, self._depth = text, columns, 0, 0

    def either(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"the check is nested more than {MAX_DEPTH} deep")
        node = self._logical("or", lambda: self._logical("and", self._one))
        self._depth -= 1
        return node

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._expected("an operator or the end")

    def _logical(self, word: str, operand: Operand) -> Node:
        node = operand()
        while self._accept(word):
            node = self._call(word, node, operand(), wants="boolean", gives="boolean")
        return node

    def _one(self) -> Node:
        if self._accept("not"):
            return self._call("not", self._one(), wants="boolean", gives="boolean")
        node = self._sum()
        if self._accept("is"):
            operator = "is not null" if self._accept("not") else "is null"
            if not self._accept("null"):
                raise self._expected("null")
            return Call(operator, (node,), "boolean")
        operator = self._accept(*COMPARISONS)
        return self._compared(operator.replace("==", "="), node, self._sum()) if operator else node

    def _compared(self, operator: str, left: Node, right: Node) -> Node:
        left, right = _as_time(left, right), _as_time(right, left)
        if left.kind != right.kind:
            raise self._wrong(f"{left.kind} does not compare with {right.kind}")
        if left.kind == "boolean" and operator not in ("=", "!="):
            raise self._wrong(f"true and false have no order: {operator}")
        return Call(operator, (left, right), "boolean")

    def _sum(self) -> Node:
        return self._arithmetic(("+", "-"), lambda: self._arithmetic(("*", "/"), self._atom))

    def _arithmetic(self, signs: tuple[str, ...], operand: Operand) -> Node:
        node = operand()
        while sign := self._accept(*signs):
            node = self._call(sign, node, operand(), wants="number", gives="number")
        return node

    def _atom(self) -> Node:
        match = TOKEN.match(self._text, self._at)
        if match is None:
            raise self._expected("a column, a number or a 'text'")
        if self._accept("("):
            node = self.either()
            if not self._accept(")"):
                raise self._expected(")")
            return node
        if self._accept("-"):
            return self._call("-", Value(0.0, "number"), self._atom(), wants="number", gives="number")
        self._at = match.end()
        return self._leaf(match)

    def _leaf(self, match: "re.Match[str]") -> Node:
        if match["number"] is not None:
            return Value(float(match["number"]), "number")
        if match["text"] is not None:
            return Value(match["text"], "text")
        if match["word"] in ("true", "false"):
            return Value(match["word"] == "true", "boolean")
        if (kind := self._columns.get(match["word"] or "")) is None:
            self._at = match.start()
            raise self._expected(f"one of the columns {', '.join(self._columns)}")
        return Column(match["word"], KINDS[kind])

    def _call(self, operator: str, *operands: Node, wants: Kind, gives: Kind) -> Node:
        for operand in operands:
            if operand.kind != wants:
                raise self._wrong(f"{operator} needs a {wants} on each side, not a {operand.kind}")
        return Call(operator, operands, gives)

    def _accept(self, *words: str) -> str:
        match = TOKEN.match(self._text, self._at)
        found = match and (match["word"] or match["sign"])
        if not match or found not in words:
            return ""
        self._at = match.end()
        return str(found)

    def _expected(self, what: str) -> ValueError:
        return self._wrong(f"expected {what}, found {self._text[self._at :].strip()[:30]!r}")

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{self._text!r}, at character {self._at + 1}: {what}")


def _as_time(node: Node, other: Node) -> Node:
    """A text literal beside a datetime is a time; without an offset it is UTC."""
    if not (isinstance(node, Value) and isinstance(node.value, str) and other.kind == "datetime"):
        return node
    try:
        time = datetime.fromisoformat(node.value)
    except ValueError as error:
        raise ValueError(f"'{node.value}' is no ISO 8601 time") from error
    return Value(time if time.tzinfo else time.replace(tzinfo=UTC), "datetime")
