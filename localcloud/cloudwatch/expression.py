"""CloudWatch metric math: expressions over the time series of an alarm or of GetMetricData.

The tree that the grammar makes is evaluated over numbers, time series and arrays of time series.
Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from localcloud.cloudwatch.grammar import FUNCTIONS, Array, Call, ExpressionError, Id, Keyword, Node, Number, parse

Series = dict[float, float]
Value = float | Series | list[Series]


def evaluate(expression: str, series: Mapping[str, Mapping[float, float]], periods: Sequence[float]) -> dict[float, float]:
    """The time series of an expression, at most one point for each of `periods` (their starts); points elsewhere are ignored.

    ExpressionError if the result is a number or an array: an alarm watches one time series.
    """
    grid = sorted(periods)
    known = {name: {at: points[at] for at in grid if at in points} for name, points in series.items()}
    try:
        result = _Evaluation(known, grid).value(parse(expression))
    except RecursionError as error:
        raise ExpressionError(f"nested too deeply: {expression}") from error
    if not isinstance(result, dict):
        kind = "an array of time series" if isinstance(result, list) else "a number"
        raise ExpressionError(f"{expression} gives {kind}, not a time series")
    return dict(sorted(result.items()))


class _Evaluation:
    """One evaluation: the series by id and the starts of the periods asked for."""

    def __init__(self, series: dict[str, Series], grid: list[float]) -> None:
        self._series = series
        self._grid = grid

    def value(self, node: Node) -> Value:
        match node:
            case Number(number):
                return number
            case Id(name):
                return self._known(name)
            case Array(items):
                return [one for item in items for one in _flat(self.value(item))]
            case Call("FILL", arguments):
                return self._fill(arguments)
            case Call(name, arguments):
                return _apply(name, [self.value(argument) for argument in arguments])
            case Keyword(name):
                raise ExpressionError(f"{name} stands only in FILL")

    def _known(self, name: str) -> Series:
        if name not in self._series:
            raise ExpressionError(f"nothing has the id {name}")
        return self._series[name]

    def _fill(self, arguments: tuple[Node, ...]) -> Value:
        """FILL(series, number | series | REPEAT | LINEAR), over the periods asked for."""
        _check_count("FILL", arguments, 2, 2)
        series, how = self.value(arguments[0]), arguments[1]
        filler = how.name if isinstance(how, Keyword) else self.value(how)
        if isinstance(filler, list):
            raise ExpressionError("FILL takes a number, a time series, REPEAT or LINEAR as its second argument")
        return _each("FILL", series, lambda points: _finite({at: _filler(filler, points, at) for at in self._grid} | points))


def _filler(how: float | Series | str, points: Series, at: float) -> float:
    """The value for one gap; NaN where there is none: before the first point, and for LINEAR after the last."""
    if isinstance(how, dict):
        return how.get(at, math.nan)
    if isinstance(how, float):
        return how
    before = max((known for known in points if known < at), default=None)
    after = min((known for known in points if known > at), default=None)
    if before is None or (how == "LINEAR" and after is None):
        return math.nan
    if how == "REPEAT" or after is None:
        return points[before]
    return points[before] + (points[after] - points[before]) * (at - before) / (after - before)


def _apply(name: str, values: list[Value]) -> Value:
    low, high = FUNCTIONS.get(name, (len(values), len(values)))
    _check_count(name, values, low, high)
    if name == "IF":
        return _choose(values[0], values[1], values[2] if len(values) > 2 else {})
    if name in REDUCERS:
        return _reduce(name, values[0])
    if name in MAPPERS:
        return _each(name, values[0], MAPPERS[name])
    return _operate(name, values)


def _operate(name: str, values: list[Value]) -> Value:
    """An operator over numbers, series, or one array and something else, element by element."""
    arrays = [value for value in values if isinstance(value, list)]
    if len(arrays) > 1 or (arrays and name not in ("+", "-", "*", "/", "^", "negative")):
        raise ExpressionError(f"{name} does not take {'two arrays' if len(arrays) > 1 else 'an array'} of time series")
    if arrays:
        return [_pointwise(OPERATORS[name], [one if value is arrays[0] else _single(value) for value in values]) for one in arrays[0]]
    singles = [_single(value) for value in values]
    if any(isinstance(single, dict) for single in singles):
        return _pointwise(OPERATORS[name], singles)
    return OPERATORS[name](*singles)


def _pointwise(function: Callable[..., float], values: Sequence[float | Series]) -> Series:
    """A point wherever one of the series has one. The others count as 0 there, and what is not a number is no point.

    "Missing values in a time series are treated as 0. If the value of a data point causes a function to attempt to divide by zero,
    the data point is dropped": docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-arithmetic
    """
    moments = {at for value in values if isinstance(value, dict) for at in value}
    return _finite({at: function(*(_at(value, at) for value in values)) for at in moments})


def _choose(condition: Value, then: Value, other: Value) -> Value:
    """IF. True without a point of `then` gives 0, false without a point of `other` gives none, as AWS's tables show.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#using-IF-expressions
    """
    when, yes, no = _single(condition), _single(then), _single(other)
    if not isinstance(when, dict):
        return yes if when else no
    return _finite({at: _at(yes, at) if holds else _at(no, at, math.nan) for at, holds in when.items()})


def _reduce(name: str, value: Value) -> Value:
    """A number for one series, a series for an array of them.

    Only AVG is documented to count an absent point of an array as 0; for SUM that changes nothing, MIN and MAX pass over it.
    """
    reducer = REDUCERS[name]
    if isinstance(value, dict):
        return reducer(list(value.values()))
    if not isinstance(value, list):
        raise ExpressionError(f"{name} takes a time series or an array of them, not a number")
    moments = {at for one in value for at in one}
    if name == "AVG":
        return {at: reducer([one.get(at, 0.0) for one in value]) for at in moments}
    return {at: reducer([one[at] for one in value if at in one]) for at in moments}


def _each(name: str, value: Value, function: Callable[[Series], Series]) -> Value:
    if isinstance(value, list):
        return [function(one) for one in value]
    if isinstance(value, dict):
        return function(value)
    raise ExpressionError(f"{name} takes a time series, not a number")


def _flat(value: Value) -> list[Series]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise ExpressionError("an array holds time series, not numbers")


def _single(value: Value) -> float | Series:
    if isinstance(value, list):
        raise ExpressionError("an array of time series stands where one is wanted")
    return value


def _at(value: float | Series, at: float, missing: float = 0.0) -> float:
    return value.get(at, missing) if isinstance(value, dict) else value


def _finite(points: Series) -> Series:
    return {at: value for at, value in points.items() if math.isfinite(value)}


def _check_count(name: str, given: Sequence[object], low: int, high: int) -> None:
    if not low <= len(given) <= high:
        raise ExpressionError(f"{name} takes {low if low == high else f'{low} or {high}'} arguments, not {len(given)}")


def _divide(left: float, right: float) -> float:
    return left / right if right else math.nan


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except (ValueError, OverflowError):
        return math.nan


def _truth(test: Callable[[float, float], object]) -> Callable[..., float]:
    return lambda left, right: 1.0 if test(left, right) else 0.0


def _diff(points: Series) -> Series:
    """From each point to the one before it, however far back that is; the first has none."""
    moments = sorted(points)
    return {at: points[at] - points[before] for before, at in pairwise(moments)}


def _rate(points: Series) -> Series:
    moments = sorted(points)
    return {at: (points[at] - points[before]) / (at - before) for before, at in pairwise(moments)}


def _rounded(function: Callable[[float], float]) -> Callable[[Series], Series]:
    return lambda points: {at: float(function(value)) for at, value in points.items()}


REDUCERS: dict[str, Callable[[list[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda values: _divide(math.fsum(values), len(values)),
    "MIN": lambda values: min(values, default=math.nan),
    "MAX": lambda values: max(values, default=math.nan),
}
MAPPERS: dict[str, Callable[[Series], Series]] = {
    "ABS": _rounded(abs),
    "CEIL": _rounded(math.ceil),
    "FLOOR": _rounded(math.floor),
    "DIFF": _diff,
    "RATE": _rate,
}
OPERATORS: dict[str, Callable[..., float]] = {
    "negative": operator.neg,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "^": _power,
    "==": _truth(operator.eq),
    "!=": _truth(operator.ne),
    "<=": _truth(operator.le),
    ">=": _truth(operator.ge),
    "<": _truth(operator.lt),
    ">": _truth(operator.gt),
    "AND": _truth(lambda left, right: left and right),
    "OR": _truth(lambda left, right: left or right),
}
