"""The grammar of CloudWatch metric math: an expression's text becomes a tree.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(r"""\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_]\w*)|("[^"]*"|'[^']*')|(&&|\|\||[=!<>]=|[-+*/^<>(),\[\]]))""")
BINDING = {"OR": 1, "AND": 2, "==": 3, "!=": 3, "<=": 3, ">=": 3, "<": 3, ">": 3, "+": 4, "-": 4, "*": 5, "/": 5, "^": 7}
UNARY = 6
SPELLINGS = {"&&": "AND", "||": "OR"}
KEYWORDS = ("REPEAT", "LINEAR")
FUNCTIONS = {"FILL": (2, 2), "IF": (2, 3), **dict.fromkeys(("SUM", "AVG", "MIN", "MAX", "ABS", "CEIL", "FLOOR", "DIFF", "RATE"), (1, 1))}
"""How many arguments each function takes."""


class ExpressionError(Exception):
    """An expression that CloudWatch refuses, or that localcloud does not evaluate; the message names the part."""


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Id:
    name: str


@dataclass(frozen=True)
class Keyword:
    name: str


@dataclass(frozen=True)
class Array:
    items: tuple["Node", ...]


@dataclass(frozen=True)
class Call:
    """A function, or an operator with its operands."""

    name: str
    arguments: tuple["Node", ...]


Node = Number | Id | Keyword | Array | Call


def names(expression: str) -> set[str]:
    """The ids that the expression reads."""
    found, waiting = set[str](), [parse(expression)]
    while waiting:
        match waiting.pop():
            case Id(name):
                found.add(name)
            case Array(children) | Call(_, children):
                waiting.extend(children)
    return found


def parse(expression: str) -> Node:
    """The tree of an expression; operators are calls of two arguments. ExpressionError names what does not belong."""
    parser = _Parser(_tokens(expression))
    node = parser.expression(0)
    if parser.peek():
        raise ExpressionError(f"unexpected {parser.peek()} in {expression}")
    return node


def _tokens(expression: str) -> list[str]:
    tokens, at = [], 0
    while at < len(expression.rstrip()):
        found = TOKEN.match(expression, at)
        if not found:
            raise ExpressionError(f"unexpected {expression[at:].strip()[0]} in {expression}")
        tokens.append(SPELLINGS.get(found[0].strip(), found[0].strip()))
        at = found.end()
    return tokens


class _Parser:
    """Precedence climbing. AWS documents no precedence: this is the one of mathematics, ^ first and to the right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def expression(self, floor: int) -> Node:
        left = self._operand()
        while (binding := BINDING.get(self.peek(), -1)) >= floor:
            sign = self._next()
            left = Call(sign, (left, self.expression(binding if sign == "^" else binding + 1)))
        return left

    def _operand(self) -> Node:
        word = self._next()
        if word == "-":
            return Call("negative", (self.expression(UNARY),))
        if word == "(":
            inner = self.expression(0)
            self._expect(")")
            return inner
        if word == "[":
            return Array(self._list("]"))
        if word[:1].isdigit() or word[:1] == ".":
            return Number(float(word))
        return self._word(word)

    def _word(self, token: str) -> Node:
        if self.peek() == "(":
            if token not in FUNCTIONS:
                raise ExpressionError(f"localcloud does not know the metric math function {token}")
            self._next()
            return Call(token, self._list(")"))
        if token in KEYWORDS:
            return Keyword(token)
        if not token[:1].islower():
            raise ExpressionError(f"unexpected {token or 'end'}: an id starts with a lower-case letter")
        return Id(token)

    def _list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while self.peek() != closing:
            if items:
                self._expect(",")
            items.append(self.expression(0))
        self._next()
        return tuple(items)

    def _next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if (token := self._next()) != wanted:
            raise ExpressionError(f"expected {wanted} and found {token or 'the end'}")
