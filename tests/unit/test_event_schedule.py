"""A schedule expression fires when EventBridge's does."""

import calendar
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.events.schedule import ScheduleError, next_after

CREATED = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def firings(expression, start, count):
    moment = at(start)
    found = []
    for _ in range(count):
        moment = next_after(expression, moment, CREATED)
        found.append(moment.strftime("%Y-%m-%d %H:%M"))
    return found


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html (cron examples); 2026-10-01 is a Thursday
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("0 10 * * ? *", ["2026-10-01 10:00", "2026-10-02 10:00"]),
        ("15 12 * * ? *", ["2026-10-01 12:15", "2026-10-02 12:15"]),
        ("0 18 ? * MON-FRI *", ["2026-10-01 18:00", "2026-10-02 18:00", "2026-10-05 18:00"]),
        ("0 8 1 * ? *", ["2026-10-01 08:00", "2026-11-01 08:00"]),
        ("0/15 * * * ? *", ["2026-10-01 00:15", "2026-10-01 00:30", "2026-10-01 00:45", "2026-10-01 01:00"]),
        ("0/10 * ? * MON-FRI *", ["2026-10-01 00:10", "2026-10-01 00:20"]),
        ("0/5 8-17 ? * MON-FRI *", ["2026-10-01 08:00", "2026-10-01 08:05"]),
        (
            "0/30 20-2 ? * MON-FRI *",
            ["2026-10-01 00:30", "2026-10-01 01:00", "2026-10-01 01:30", "2026-10-01 02:00", "2026-10-01 02:30", "2026-10-01 20:00"],
        ),
        ("1/10 0 * * ? *", ["2026-10-01 00:01", "2026-10-01 00:11", "2026-10-01 00:21"]),
    ],
)
def test_cron_fires_as_the_documented_examples_do(fields, expected):
    assert firings(f"cron({fields})", "2026-10-01T00:00", len(expected)) == expected


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html (wildcards L, W, #);
# 15 10 ? * 6L is in https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("0 0 L * ? *", ["2026-10-31", "2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28"]),
        ("0 0 L FEB ? *", ["2027-02-28", "2028-02-29"]),
        ("0 0 3W * ? *", ["2026-10-02", "2026-11-03", "2026-12-03", "2027-01-04"]),
        ("0 0 1W * ? *", ["2026-11-02", "2026-12-01", "2027-01-01", "2027-02-01", "2027-03-01", "2027-04-01", "2027-05-03"]),
        ("0 0 31W * ? *", ["2026-10-30", "2026-12-31", "2027-01-29", "2027-03-31"]),
        ("0 0 LW * ? *", ["2026-10-30", "2026-11-30", "2026-12-31", "2027-01-29"]),
        ("0 0 ? * 3#2 *", ["2026-10-13", "2026-11-10"]),
        ("0 0 ? * TUE#2 *", ["2026-10-13", "2026-11-10"]),
        ("0 0 ? * 5#5 *", ["2026-10-29", "2026-12-31"]),
        ("0 0 ? * 6L *", ["2026-10-30", "2026-11-27", "2026-12-25"]),
        ("0 0 ? * FRIL *", ["2026-10-30", "2026-11-27"]),
        ("0 0 ? 4 FRIL *", ["2027-04-30", "2028-04-28"]),
        ("0 0 ? * L *", ["2026-10-03", "2026-10-10"]),
        ("0 0 ? * 1 *", ["2026-10-04", "2026-10-11"]),
        ("0 0 ? * SUN,7 *", ["2026-10-03", "2026-10-04", "2026-10-10"]),
        ("0 0 ? * FRI-MON *", ["2026-10-02", "2026-10-03", "2026-10-04", "2026-10-05", "2026-10-09"]),
        ("0 0 1-31/10 * ? *", ["2026-10-11", "2026-10-21", "2026-10-31", "2026-11-01"]),
        ("0 0 1 JAN,FEB,MAR ? *", ["2027-01-01", "2027-02-01", "2027-03-01", "2028-01-01"]),
        ("0 0 29 2 ? *", ["2028-02-29", "2032-02-29"]),
        ("0 0 1 1 ? 2030-2199/100", ["2030-01-01", "2130-01-01"]),
    ],
)
def test_cron_days_fall_where_the_wildcards_say(fields, expected):
    assert firings(f"cron({fields})", "2026-10-01T00:00", len(expected)) == [f"{day} 00:00" for day in expected]


@pytest.mark.parametrize("fields", ["0 0 1 1 ? 2025", "0 0 30 2 ? *", "0 0 31W 4 ? *"])
def test_cron_that_never_comes_again_is_none(fields):
    assert next_after(f"cron({fields})", at("2026-01-01"), CREATED) is None


def test_cron_is_strictly_after_and_on_whole_minutes():
    noon = at("2026-10-01T12:00")
    assert next_after("cron(0 12 * * ? *)", noon - timedelta(microseconds=1), CREATED) == noon
    assert next_after("cron(0 12 * * ? *)", noon, CREATED) == noon + timedelta(days=1)
    assert next_after("cron(* * * * ? *)", noon + timedelta(seconds=59), CREATED) == noon + timedelta(minutes=1)


def numbers(low, high):
    return st.sets(st.integers(low, high), min_size=1, max_size=4)


@given(numbers(0, 59), numbers(0, 23), numbers(1, 31), numbers(1, 12), MOMENTS)
def test_cron_gives_the_first_minute_that_satisfies_every_field(minutes, hours, days, months, moment):
    fields = [",".join(map(str, sorted(field))) for field in (minutes, hours, days, months)]
    found = next_after(f"cron({' '.join(fields)} ? *)", moment, CREATED)
    if found is None:
        assert not any(day <= calendar.monthrange(2024, month)[1] for day in days for month in months) or moment.year >= 2192
        return
    assert found > moment
    assert (found.second, found.microsecond, found.tzinfo) == (0, 0, UTC)
    assert found.minute in minutes
    assert found.hour in hours
    assert found.day in days
    assert found.month in months
    midnight = found.replace(hour=0, minute=0)
    earlier = (midnight.replace(hour=hour, minute=minute) for hour in hours for minute in minutes)
    assert not any(moment < time < found for time in earlier)
    skipped = (moment.date() + timedelta(days=n) for n in range(1, min((found.date() - moment.date()).days, 3000)))
    assert not any(day.day in days and day.month in months for day in skipped)


@given(numbers(1, 7), MOMENTS)
def test_cron_weekdays_count_from_sunday(weekdays, moment):
    found = next_after(f"cron(0 0 ? * {','.join(map(str, weekdays))} *)", moment, CREATED)
    if found is not None:
        assert int(found.strftime("%w")) + 1 in weekdays
        assert timedelta(0) < found - moment <= timedelta(days=7)


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rate-expressions.html
@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(5 minutes)", timedelta(minutes=5)),
        ("rate(1 hour)", timedelta(hours=1)),
        ("rate(5 hours)", timedelta(hours=5)),
        ("rate(1 day)", timedelta(days=1)),
        ("rate(7 days)", timedelta(days=7)),
    ],
)
def test_rate_counts_from_creation(expression, period):
    times = [CREATED]
    for _ in range(4):
        times.append(next_after(expression, times[-1], CREATED))
    assert {later - earlier for earlier, later in pairwise(times)} == {period}


@given(st.integers(2, 10_000), MOMENTS)
def test_rate_is_the_first_multiple_after_the_moment(minutes, moment):
    period = timedelta(minutes=minutes)
    found = next_after(f"rate({minutes} minutes)", moment, CREATED)
    assert found > moment
    assert (found - CREATED) % period == timedelta(0)
    assert found - period <= max(moment, CREATED)
    assert found > CREATED


def test_rate_beyond_the_calendar_is_none():
    assert next_after("rate(99999999999999 days)", CREATED, CREATED) is None


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html (limitations) and eb-rate-expressions.html
@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "needs rate"),
        ("at(2026-01-01T00:00:00)", "needs rate"),
        ("rate(1 minutes)", "needs 1 minute"),
        ("rate(1 hours)", "needs 1 minute"),
        ("rate(5 hour)", "needs 1 minute"),
        ("rate(0 minutes)", "needs 1 minute"),
        ("rate(-1 minutes)", "needs 1 minute"),
        ("rate(1.5 hours)", "needs 1 minute"),
        ("rate(5 seconds)", "needs 1 minute"),
        ("cron(0 12 * * ?)", "needs six fields .* found 5"),
        ("cron(0 12 * * * *)", "exactly one must be"),
        ("cron(0 12 1 * MON *)", "exactly one must be"),
        ("cron(0 12 ? * ? *)", "exactly one must be"),
        ("cron(60 12 * * ? *)", "minutes '60': needs 0-59"),
        ("cron(0 24 * * ? *)", "hours '24': needs 0-23"),
        ("cron(? 12 * * ? *)", "minutes '\\?'"),
        ("cron(0 12 32 * ? *)", "day-of-month '32': needs 1-31"),
        ("cron(0 12 L-3 * ? *)", "day-of-month 'L'"),
        ("cron(0 12 * 13 ? *)", "month '13': needs 1-12 or JAN-DEC"),
        ("cron(0 12 * MON ? *)", "month 'MON'"),
        ("cron(0 12 ? * 0 *)", "day-of-week '0': needs 1-7 or SUN-SAT"),
        ("cron(0 12 ? * 8 *)", "day-of-week '8'"),
        ("cron(0 12 ? * 3#6 *)", "day-of-week '3#6'"),
        ("cron(0 12 ? * 3#1,6#3 *)", "day-of-week '3#1'"),
        ("cron(0 12 ? * 2/2 *)", "day-of-week '2/2'"),
        ("cron(0 12 * * ? 1969)", "year '1969': needs 1970-2199"),
        ("cron(0 12 * * ? 2030-2020)", "year '2030-2020'"),
        ("cron(0/0 12 * * ? *)", "minutes '0/0'"),
        ("cron(0,, 12 * * ? *)", "minutes ''"),
        ("cron(1- 12 * * ? *)", "minutes '1-'"),
    ],
)
def test_a_bad_schedule_says_which_part_and_what_is_allowed(expression, told):
    with pytest.raises(ScheduleError, match=told):
        next_after(expression, CREATED, CREATED)
