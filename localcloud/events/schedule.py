"""When a scheduled rule fires next: EventBridge's `rate(...)` and `cron(...)` expressions.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
"""

import calendar
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, NoReturn

UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
SATURDAY = 7


class ScheduleError(Exception):
    """The schedule expression is not valid: says which part, and what is allowed. AWS answers ValidationException."""


class Field(NamedTuple):
    """A cron field: the values it takes, and the names that stand for them from `low` up."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


MINUTES = Field("minutes", 0, 59)
HOURS = Field("hours", 0, 23)
DAY_OF_MONTH = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))
DAY_OF_WEEK = Field("day-of-week", 1, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
YEAR = Field("year", 1970, 2199)


def next_after(expression: str, moment: datetime, created: datetime) -> datetime | None:
    """The first time strictly after `moment`, in UTC; None if there is none. A rate counts from `created`."""
    matched = re.fullmatch(r"(rate|cron)\(([^()]*)\)", expression)
    if not matched:
        raise ScheduleError(f"{expression!r} is not a schedule: needs rate(value unit) or cron(fields)")
    if matched[1] == "rate":
        return _next_of_rate(matched[2], moment, created)
    return next(_times(matched[2], moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)), None)


def _next_of_rate(text: str, moment: datetime, created: datetime) -> datetime | None:
    matched = re.fullmatch(r"\s*0*([1-9][0-9]*)\s+(minute|hour|day)(s?)\s*", text)
    if not matched or (matched[1] == "1") == bool(matched[3]):
        raise ScheduleError(f"rate({text}): needs 1 minute, hour or day, or a greater number of minutes, hours or days")
    try:
        period = int(matched[1]) * UNITS[matched[2]]
        return created + period * max((moment - created) // period + 1, 1)
    except OverflowError:
        return None


def _times(text: str, earliest: datetime) -> Iterator[datetime]:
    """The minutes that match, from `earliest` on."""
    fields = text.upper().split()
    if len(fields) != 6:
        raise ScheduleError(f"cron({text}): needs six fields (minutes hours day-of-month month day-of-week year), found {len(fields)}")
    minutes, hours = _values(fields[0], MINUTES), _values(fields[1], HOURS)
    months, years = _values(fields[3], MONTH), _values(fields[5], YEAR)
    falls_on = _days(fields[2], fields[4])
    for year, month in ((year, month) for year in years for month in months if (year, month) >= (earliest.year, earliest.month)):
        for day in range(1, calendar.monthrange(year, month)[1] + 1):
            if date(year, month, day) >= earliest.date() and falls_on(date(year, month, day)):
                times = (datetime(year, month, day, hour, minute, tzinfo=UTC) for hour in hours for minute in minutes)
                yield from (time for time in times if time >= earliest)


def _days(day_of_month: str, day_of_week: str) -> Callable[[date], bool]:
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ScheduleError(f"day-of-month {day_of_month!r}, day-of-week {day_of_week!r}: exactly one must be ?")
    return _by_day_of_month(day_of_month) if day_of_week == "?" else _by_day_of_week(day_of_week)


def _by_day_of_month(text: str) -> Callable[[date], bool]:
    """`L` is the month's last day, `3W` the weekday nearest its third day, `LW` its last weekday."""
    if text == "L":
        return lambda day: day.day == _last_day(day)
    if matched := re.fullmatch(r"(\w+)W", text):
        wanted = None if matched[1] == "L" else _number(matched[1], DAY_OF_MONTH)
        return lambda day: day.day == _nearest_weekday(day, wanted or _last_day(day))
    days = _values(text, DAY_OF_MONTH)
    return lambda day: day.day in days


def _by_day_of_week(text: str) -> Callable[[date], bool]:
    """`L` is the week's last day, `6L` the month's last Friday, `3#2` its second Tuesday; these stand alone."""
    if matched := re.fullmatch(r"(\w+)L", text):
        last = _number(matched[1], DAY_OF_WEEK)
        return lambda day: _weekday(day) == last and day.day > _last_day(day) - 7
    if matched := re.fullmatch(r"(\w+)#([1-5])", text):
        wanted, nth = _number(matched[1], DAY_OF_WEEK), int(matched[2])
        return lambda day: _weekday(day) == wanted and (day.day + 6) // 7 == nth
    if "/" in text:
        _refuse(text, DAY_OF_WEEK)
    weekdays = [SATURDAY] if text == "L" else _values(text, DAY_OF_WEEK)
    return lambda day: _weekday(day) in weekdays


def _weekday(day: date) -> int:
    """1 is Sunday."""
    return day.isoweekday() % 7 + 1


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(day: date, wanted: int) -> int | None:
    """The weekday nearest the wanted day of this month, never in another month; None if the month has no such day."""
    if wanted > (last := _last_day(day)):
        return None
    shift = {1: 1 if wanted < last else -2, SATURDAY: -1 if wanted > 1 else 2}
    return wanted + shift.get(_weekday(day.replace(day=wanted)), 0)


def _values(text: str, field: Field) -> list[int]:
    return sorted({value for part in text.split(",") for value in _part(part, field)})


def _part(text: str, field: Field) -> list[int]:
    """`*`, `5`, `1-15`, or one of them with a step; `5/10` runs to the field's end. `FRI-MON` wraps around, as in Quartz."""
    matched = re.fullmatch(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/0*(?P<step>[1-9][0-9]*))?", text)
    if not matched:
        _refuse(text, field)
    first, last, step = matched["first"], matched["last"], matched["step"]
    low = _number(first, field) if first else field.low
    high = _number(last, field) if last else field.high if step or not first else low
    if low > high and field is YEAR:
        _refuse(text, field)
    span = [*range(low, high + 1)] if low <= high else [*range(low, field.high + 1), *range(field.low, high + 1)]
    return span[:: int(step or 1)]


def _number(text: str, field: Field) -> int:
    if text in field.names:
        return field.low + field.names.index(text)
    if not re.fullmatch("[0-9]+", text) or not field.low <= int(text) <= field.high:
        _refuse(text, field)
    return int(text)


def _refuse(text: str, field: Field) -> NoReturn:
    named = f" or {field.names[0]}-{field.names[-1]}" if field.names else ""
    raise ScheduleError(f"{field.name} {text!r}: needs {field.low}-{field.high}{named}, or a wildcard this field allows")
