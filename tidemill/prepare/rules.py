"""The rules of a spec over rows of text: typed values for the rows that keep them, a reject for each broken one.

The rules are expressions made once a file. One pass finds the rows that break any; which rule it was is asked of those only.
"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from tidemill.errors import SpecError
from tidemill.expression import Column as ColumnOf
from tidemill.expression import Node, Value, parse_check
from tidemill.prepare.table import REJECTS, Table
from tidemill.spec import NUMERIC, TEXT, Column, ModelSpec
from tidemill.toml_lines import line_of

DATETIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M%#z",
)  # fmt: skip
BOOLEAN_TEXTS = pl.Enum(["true", "1", "false", "0"])
UTC = pl.Datetime("us", "UTC")
CALENDAR = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and the last microsecond of the years 1 to 9999, from 1970."""
DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "category": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "datetime": UTC,
}
OPERATORS: dict[str, Callable[..., pl.Expr]] = {
    "and": operator.and_, "or": operator.or_, "not": operator.invert, "is null": pl.Expr.is_null, "is not null": pl.Expr.is_not_null,
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """`broken` is true for a row that breaks it, over a column's values (its name) and its text (`text_of`)."""

    column: str
    name: str
    broken: pl.Expr


@dataclass(frozen=True)
class Checked:
    """`rows`: the kept rows, typed, in the spec's column order, with LINE; `rejects`: one row a broken rule, by line; `rejected`: rows lost."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    rejected: int


LINE = "_line"


def text_of(name: str) -> str:
    return f"{name}.text"


class Rules:
    """A spec's rules, ready to be applied to any number of blocks."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        refuse_bad_patterns(spec, f"models/{spec.name}/model.toml")
        self._rules = [rule for name, column in spec.columns.items() for rule in _column_rules(name, column)]
        self._across = list(_rules_across(spec))
        self._good = ~pl.any_horizontal(rule.broken for rule in (*self._rules, *self._across)).fill_null(False)
        decimal = spec.data.csv.decimal
        self._numbers = [_number(name, column, decimal) for name, column in spec.columns.items() if _is_number(column)]
        self._kept = [_with_other(name, column) for name, column in spec.columns.items()]

    def check(self, table: Table) -> Checked:
        """Type every value and apply every rule. A row with several faults is rejected once and reported for each column."""
        both = self._typed(table)
        good = both.select(self._good).to_series()
        kept = both.select(*self._kept, LINE)
        if good.all():
            return Checked(kept, table.unread, len(table.unread))
        bad = both.with_row_index("at").filter(~good)
        rows = pl.DataFrame({LINE: bad[LINE], "row": table.texts(bad["at"].to_list())}, schema={LINE: pl.Int64, "row": pl.String})
        rejects = self._faults(bad).join(rows, on=LINE, how="left", maintain_order="left").rename({LINE: "line"}).select(REJECTS.names())
        rejects = pl.concat([rejects, table.unread]).sort("line", maintain_order=True)
        return Checked(kept.filter(good), rejects, len(bad) + len(table.unread))

    def _typed(self, table: Table) -> pl.DataFrame:
        """Values under the columns' names, text beside them where the values are not the text itself."""
        series, numbers = [], table.columns.select(self._numbers)
        for name, column in self._spec.columns.items():
            text = table.columns[name]
            series.append(numbers[name] if name in numbers else typed_values(text, column).alias(name))
            if not _is_text(column):
                series.append(text.alias(text_of(name)))
        return pl.DataFrame([*series, pl.Series(LINE, table.lines, pl.Int64)])

    def _faults(self, bad: pl.DataFrame) -> pl.DataFrame:
        """LINE, column, rule, value: the first broken rule of each column of each row, by line."""
        names = [name for name, column in self._spec.columns.items() if column.role != "ignore"]
        texts = [pl.col(name if _is_text(self._spec.columns[name]) else text_of(name)).alias(name) for name in names]
        rules = bad.select(LINE, *map(self._first_broken, names)).unpivot(index=LINE, variable_name="column", value_name="rule")
        found = [rules.with_columns(bad.select(texts).unpivot()["value"]).filter(pl.col("rule").is_not_null())]
        for rule in self._across:  # of several columns, so no one value is at fault; the row shows them
            told = bad.filter(rule.broken.fill_null(False)).select(LINE, column=pl.lit(""), rule=pl.lit(rule.name), value=pl.lit(None, pl.String))
            found.append(told)
        return pl.concat(found).sort(LINE, maintain_order=True)

    def _first_broken(self, name: str) -> pl.Expr:
        rules: list[pl.Expr] = [pl.when(rule.broken.fill_null(False)).then(pl.lit(rule.name)) for rule in self._rules if rule.column == name]
        return pl.coalesce(rules or [pl.lit(None, pl.String)]).alias(name)


def _is_text(column: Column) -> bool:
    return column.role == "ignore" or column.type in TEXT


def _is_number(column: Column) -> bool:
    return column.role != "ignore" and column.type in NUMERIC


def typed_values(text: pl.Series, column: Column) -> pl.Series:
    """Values of the column's type; null where the text is missing or is no such value. An ignored column stays text."""
    if _is_text(column):
        return text
    if _is_number(column):
        return text.to_frame().select(_number(text.name, column, ".")).to_series()
    if column.type == "boolean":
        return _booleans(text)
    return _datetimes(text)


def _number(name: str, column: Column, decimal: str) -> pl.Expr:
    text = pl.col(name)
    if column.type == "integer":
        return text.cast(pl.Int64, strict=False)
    if decimal == ",":
        text = pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", ".", literal=True))
    values = text.cast(pl.Float64, strict=False)
    return pl.when(values.is_finite()).then(values).alias(name)


def _booleans(text: pl.Series) -> pl.Series:
    codes = text.cast(BOOLEAN_TEXTS, strict=False)
    if codes.null_count() > text.null_count():  # also True, TRUE ...
        codes = text.str.to_lowercase().cast(BOOLEAN_TEXTS, strict=False)
    return codes.to_physical() < 2


def _datetimes(text: pl.Series) -> pl.Series:
    """ISO 8601 in several forms, which no text has two of; without an offset the time is UTC."""
    found = _dates_of(text, DATETIME_FORMATS[0])
    rest = (found.is_null() & text.is_not_null()).arg_true()
    for form in DATETIME_FORMATS[1:]:
        if not len(rest):
            break
        values = _dates_of(text.gather(rest), form)
        read = values.is_not_null()
        if read.any():
            found = found.scatter(rest.filter(read), values.filter(read))
            rest = rest.filter(~read)
    return _in_calendar(found)


def _in_calendar(times: pl.Series) -> pl.Series:
    """Without years before 1 or after 9999, which no other library we hand times to can hold."""
    outside = ~times.to_physical().is_between(*CALENDAR).fill_null(True)
    return times.set(outside, None) if outside.any() else times


def _dates_of(text: pl.Series, form: str) -> pl.Series:
    if form.endswith("z"):
        return text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
    return text.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _column_rules(name: str, column: Column) -> Iterator[Rule]:
    if column.role == "ignore":
        return
    value, text = pl.col(name), pl.col(name if _is_text(column) else text_of(name))
    if not column.nullable:
        yield Rule(name, "required", text.is_null())
    if not _is_text(column):
        yield Rule(name, f"type {column.type}", value.is_null() & text.is_not_null())
    if column.min is not None:
        yield Rule(name, f"min {column.min:g}", value < column.min)
    if column.max is not None:
        yield Rule(name, f"max {column.max:g}", value > column.max)
    if column.min_length is not None:
        yield Rule(name, f"min_length {column.min_length}", value.str.len_chars() < column.min_length)
    if column.max_length is not None:
        yield Rule(name, f"max_length {column.max_length}", value.str.len_chars() > column.max_length)
    if column.allowed is not None and column.other == "reject":
        yield Rule(name, "allowed", ~value.is_in(list(column.allowed)))
    if column.pattern is not None:
        yield Rule(name, f"pattern {column.pattern}", ~value.str.contains(_whole(column.pattern)))


def _rules_across(spec: ModelSpec) -> Iterator[Rule]:
    types = {name: column.type for name, column in spec.columns.items()}
    for rule in spec.rules:
        yield Rule("", rule.name, ~compiled(parse_check(rule.check, types)))


def compiled(node: Node) -> pl.Expr:
    if isinstance(node, ColumnOf):
        return pl.col(node.name)
    if isinstance(node, Value):
        return pl.lit(node.value, UTC if node.kind == "datetime" else None)
    return OPERATORS[node.operator](*map(compiled, node.operands))


def refuse_bad_patterns(spec: ModelSpec, source: str, text: str = "") -> None:
    """Raises SpecError for a pattern that polars' regular expressions do not know; `text` is the model.toml, for the line."""
    for name, column in spec.columns.items():
        try:
            pl.Series([""]).str.contains(_whole(column.pattern or ""))
        except pl.exceptions.PolarsError as error:
            line = line_of(text, ("columns", name, "pattern"))
            told = str(error).strip().splitlines()[-1]
            raise SpecError(
                f"{source}{f':{line}' if line else ''}: columns.{name}.pattern: {column.pattern!r}: no regular expression: {told}"
            ) from error


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _with_other(name: str, column: Column) -> pl.Expr:
    """With `other = "missing"`, values outside `allowed` become missing."""
    if column.allowed is None or column.other == "reject":
        return pl.col(name)
    return pl.when(pl.col(name).is_in(list(column.allowed))).then(pl.col(name)).alias(name)
