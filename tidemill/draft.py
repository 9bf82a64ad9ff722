"""A first model.toml from a CSV file: types, ranges, categories, key, time and task, guessed from what is there.

It is a draft for a person to read: each guess says what it was made of. What it cannot guess it asks for (SpecError).
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from tidemill.errors import SpecError
from tidemill.metric import PRIMARY, Task
from tidemill.prepare.rules import typed_values
from tidemill.spec import SQL_NAME, Column

FEW = 20
"""So many different values are listed as the allowed ones; a number with so few may be a class."""
MANY_CATEGORIES = 0.5
"""A text column with more different values than this share of the rows says little: it is ignored."""
SMALL = 2000
NA_WORDS = frozenset({"na", "n/a", "nan", "null", "none", "?", "-", "missing"})
KEY_NAME = re.compile(r"(?i)(^|_)(id|key|uuid|no|number)$|id$")
TIME_NAME = re.compile(r"(?i)time|date|day|_at$")


@dataclass(frozen=True)
class Guess:
    """One column: its name in the spec, the header it came under, what it seems to be, and why."""

    name: str
    header: str
    type: str
    role: str
    nullable: bool
    why: str
    allowed: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    def toml(self) -> str:
        told = [f'role = "{self.role}"'] * (self.role != "feature") + [f'type = "{self.type}"']
        told += ["nullable = true"] * (self.nullable and self.role not in ("key", "time"))
        if self.range is not None and self.role == "feature":
            told += [f"min = {self.range[0]:.15g}", f"max = {self.range[1]:.15g}"]
        told += [f"allowed = [{', '.join(map(quoted, self.allowed))}]"] * bool(self.allowed)
        told += [f"aliases = [{quoted(self.header)}]"] * (self.header.lower() != self.name.lower())
        return f"{self.name} = {{ {', '.join(told)} }}"


@dataclass(frozen=True)
class Draft:
    """The text of a model.toml, and what a person should look at."""

    text: str
    task: Task
    guesses: tuple[Guess, ...]
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Wishes:
    """What the person said; None where the file is to tell."""

    label: str
    key: str | None = None
    time: str | None = None
    task: Task | None = None
    owner: str = "someone@example.com"


def draft(name: str, table: pl.DataFrame, wishes: Wishes, csv: dict[str, str]) -> Draft:
    """From n rows of text with null for missing. `csv` are the options of [data.csv] that differ from the defaults."""
    for role in ("label", "key", "time"):
        asked = getattr(wishes, role)
        if asked is not None and asked not in table.columns:
            raise SpecError(f"--{role} {asked}: no such column; the file has {', '.join(table.columns)}")
    decimal, names = csv.get("decimal", "."), _names(table.columns)
    table, warnings = _without_words(table, decimal)
    task = wishes.task or _task(table[wishes.label], decimal)
    types = {header: _type(table[header], decimal) for header in table.columns}
    key = wishes.key or _key(table, types, wishes)
    time = wishes.time or _time(types, wishes)
    guesses = tuple(_guess(table[header], names[header], types[header], {wishes.label: "label", key: "key", time: "time"}.get(header), task, decimal)
                    for header in table.columns)  # fmt: skip
    return Draft(_text(name, guesses, task, table, wishes, csv, time), task, guesses, warnings)


def _names(headers: Sequence[str]) -> dict[str, str]:
    """A name that a spec takes for each header; the header stays known as an alias."""
    made: dict[str, str] = {}
    for number, header in enumerate(headers, 1):
        plain = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode()
        name = re.sub(r"\W+", "_", plain).strip("_") or f"column_{number}"
        name = name if SQL_NAME.fullmatch(name) and not name.startswith("_") else f"c_{name}"
        taken = {other.lower() for other in made.values()}
        while name.lower() in taken:
            name = f"{name}_{number}"
        made[header] = name
    return made


def _task(label: pl.Series, decimal: str) -> Task:
    present = label.drop_nulls()
    if not len(present):
        raise SpecError(f"column {label.name} is the label and has no value")
    values = set(present.str.to_lowercase().unique())
    if values <= {"true", "false", "0", "1"}:
        return "binary"
    if _type(label, decimal) in ("integer", "float") and (len(values) > FEW or any(not _whole(value) for value in values)):
        return "regression"
    if len(values) > FEW * 5:
        raise SpecError(f"column {label.name} has {len(values):,} different texts, too many to be classes: name another label, or --task")
    return "multiclass"


def _whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


def _type(values: pl.Series, decimal: str) -> str:
    """What every value that is there can be read as."""
    present = values.drop_nulls()
    if not len(present):
        return "empty"
    lowered = present.str.to_lowercase()
    if lowered.is_in(["true", "false"]).all():
        return "boolean"
    if present.str.contains(r"^[+-]?(0|[1-9]\d{0,17})$").all():
        return "integer"
    if _numbers(present, decimal).is_not_null().all() and not present.str.contains(r"^[+-]?0\d").any():
        return "float"
    if typed_values(present, Column(type="datetime", role="time")).is_not_null().all():
        return "datetime"
    return "text"


def _numbers(texts: pl.Series, decimal: str) -> pl.Series:
    plain = texts.str.replace(",", ".", literal=True) if decimal == "," else texts
    return typed_values(plain, Column(type="float"))


def _key(table: pl.DataFrame, types: dict[str, str], wishes: Wishes) -> str:
    """A column whose every value is there once: one that is called so, or the first."""
    found = [
        header for header, kind in types.items()
        if header not in (wishes.label, wishes.time) and kind in ("integer", "text") and not table[header].null_count() and table[header].is_unique().all()
    ]  # fmt: skip
    if not found:
        raise SpecError("no column is a key: each row needs an id of its own in one column (text or whole numbers); add one and name it with --key")
    return next((header for header in found if KEY_NAME.search(header)), found[0])


def _time(types: dict[str, str], wishes: Wishes) -> str | None:
    found = [header for header, kind in types.items() if kind == "datetime" and header not in (wishes.label, wishes.key)]
    return next((header for header in found if TIME_NAME.search(header)), found[0] if found else None)


def _guess(values: pl.Series, name: str, kind: str, role: str | None, task: Task, decimal: str) -> Guess:
    nullable, present = values.null_count() > 0, values.drop_nulls()
    distinct = present.n_unique()
    plain = Guess(name, values.name, "string", "ignore", nullable, "")
    missing = f", {values.null_count() / len(values):.0%} missing" if nullable else ""
    if role == "label":
        classes = tuple(present.unique().sort().to_list()) if task == "multiclass" else ()
        kinds = {"binary": "boolean", "multiclass": "category", "regression": "integer" if kind == "integer" else "float"}
        return replace(plain, type=kinds[task], role="label", allowed=classes, why=f"{distinct:,} different values{missing}")
    if role == "key":
        return replace(plain, type="integer" if kind == "integer" else "string", role="key", why="every value once")
    if role == "time":
        return replace(plain, type="datetime", role="time", why=f"{present.min()!s} to {present.max()!s}")
    if kind in ("integer", "float"):
        numbers = _numbers(present, decimal)
        low, high = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]  # of floats
        return replace(plain, type=kind, role="feature", range=_wider(low, high), why=f"seen {low:g} to {high:g}{missing}")
    if kind == "boolean":
        return replace(plain, type="boolean", role="feature", why=f"true or false{missing}")
    if kind == "text" and distinct <= max(FEW, MANY_CATEGORIES * len(present)):
        allowed = tuple(present.unique().sort().to_list()) if distinct <= FEW else ()
        return replace(plain, type="category", role="feature", allowed=allowed, why=f"{distinct:,} different values{missing}")
    why = {"empty": "no value at all", "datetime": "a second time"}.get(kind, f"{distinct:,} different texts in {len(present):,} rows")
    return replace(plain, nullable=True, why=why)


def _wider(low: float, high: float) -> tuple[float, float]:
    """Room on both sides for what later files bring: as much again as was seen, to two digits; what was never negative stays so."""
    span = (high - low) or abs(high) or 1.0
    step = 10 ** (math.floor(math.log10(span)) - 1)
    top, bottom = math.ceil((high + span) / step) * step, math.floor((low - span) / step) * step
    return (0.0 if low >= 0 else bottom), top


def _without_words(table: pl.DataFrame, decimal: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Columns that are numbers but for a few words such as n/a count as numbers that may be missing; a warning for each."""
    told = []
    for header in table.columns:
        words = table[header].str.to_lowercase().is_in(list(NA_WORDS)).fill_null(False)
        rest = table[header].set(words, None)
        if words.any() and rest.null_count() < len(rest) and _numbers(rest.drop_nulls(), decimal).is_not_null().all():
            first = quoted(table[header].filter(words)[0])
            told.append(f"column {header} would be numbers but for {words.sum():,} fields such as {first}: only an empty field is a missing value")
            table = table.with_columns(rest)
    return table, tuple(told)


def _text(name: str, guesses: Sequence[Guess], task: Task, table: pl.DataFrame, wishes: Wishes, csv: dict[str, str], time: str | None) -> str:
    shares = (0.6, 0.2, 0.2) if len(table) < SMALL else (0.8, 0.1, 0.1)
    days = typed_values(table[time], Column(type="datetime", role="time")).dt.date().n_unique() if time is not None else 0
    by = "time" if days >= 10 else "key"
    why = f"by whole days: {days:,} of them" if by == "time" else "by a hash of the key" + (f": {days} days are too few to be cut" if time else "")
    width = max(len(guess.toml()) for guess in guesses)
    width = min(width, 100)
    options = f"csv = {{ {', '.join(f'{key} = {quoted(value)}' for key, value in csv.items())} }}\n" if csv else ""
    metric, margin = PRIMARY[task], _margin(task, table[wishes.label], csv.get("decimal", "."))
    columns = "\n".join(f"{guess.toml():<{width}}  # {guess.why}" for guess in guesses)
    return f"""# A draft from {len(table):,} rows: read it, change what is wrong, then: tidemill check models/{name}
# What each key means: docs/model-toml.md

name = "{name}"
task = "{task}"
question = ""                # what a prediction answers, for people
owners = [{quoted(wishes.owner)}]

[data]
format = "csv"
{options}reject_share_max = 0.05      # above this share of rejected rows the whole file is refused

[data.split]                 # {why}
by = "{by}"
train = {shares[0]}
validation = {shares[1]}
test = {shares[2]}

[columns]                    # ranges are wider than what was seen; rows outside of them are rejected with the reason
{columns}

[gate]
primary = "{metric}"
margin = {margin:g}                # so much worse than the champion still counts as equal
"""


def _margin(task: Task, label: pl.Series, decimal: str) -> float:
    """A hundredth of a probability metric, or a fiftieth of the label's standard deviation."""
    if task != "regression":
        return 0.01
    spread = _numbers(label.drop_nulls(), decimal).std() or 0.0
    return float(f"{spread / 50:.1g}")


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped) + '"'
