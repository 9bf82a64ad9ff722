"""The state of an alarm from its data points: M breaching points out of the last N, and what stands for missing ones.

Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
STATES: dict[str, State] = {"OK": "OK", "ALARM": "ALARM", "INSUFFICIENT_DATA": "INSUFFICIENT_DATA"}

EXTRA_PERIODS = 2  # AWS's examples look back 5 periods for 3; for other settings it says only that it looks back further than N
COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
TREATMENTS = {"missing": "Missing", "ignore": "Ignore", "breaching": "Breaching", "notBreaching": "NonBreaching"}


class RuleError(Exception):
    """An alarm that AWS refuses, or that compares in a way localcloud does not."""


@dataclass(frozen=True)
class AlarmRule:
    """The part of an alarm that decides about its state. RuleError if it cannot be decided by it.

    `m_of_n`: whether DatapointsToAlarm was given; AWS tells its reasons in other words when it was not.
    """

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    treat_missing: str
    period_s: int
    m_of_n: bool = True

    def __post_init__(self) -> None:
        if self.comparison not in COMPARISONS:
            raise RuleError(f"localcloud does not compare by {self.comparison}")
        if self.treat_missing not in TREATMENTS:
            raise RuleError(f"TreatMissingData is one of {', '.join(TREATMENTS)}, not {self.treat_missing}")
        if not 1 <= self.datapoints_to_alarm <= self.evaluation_periods:
            raise RuleError(f"{self.datapoints_to_alarm} out of {self.evaluation_periods} data points can not be breaching")

    def breached_by(self, value: float) -> bool:
        return COMPARISONS[self.comparison][0](value, self.threshold)


@dataclass(frozen=True)
class Verdict:
    """The state an alarm is in now, why in AWS's words, and the data points that decided, the newest first."""

    state: State
    reason: str
    points: tuple[tuple[float, float], ...]


def evaluation_range(rule: AlarmRule, now: float) -> tuple[float, ...]:
    """The starts of the periods an evaluation looks at, the newest first: the last complete ones before `now`.

    They begin at multiples of the period. AWS moves the window of a period over a minute along by minutes.
    """
    newest = (now // rule.period_s - 1) * rule.period_s
    return tuple(newest - back * rule.period_s for back in range(rule.evaluation_periods + EXTRA_PERIODS))


def judge(rule: AlarmRule, points: Mapping[float, float | None], now: float, current: str) -> Verdict:
    """The state at `now` of an alarm that is in the state `current`; points: period start -> value, None or absent if missing."""
    window = [points.get(start) for start in evaluation_range(rule, now)]
    real = tuple((start, value) for start, value in zip(evaluation_range(rule, now), window, strict=True) if value is not None)
    considered = real[: rule.evaluation_periods]
    absent = rule.evaluation_periods - len(considered)
    state = _state(rule, window, [rule.breached_by(value) for _, value in considered], absent)
    if state is None:
        return Verdict(STATES.get(current, "INSUFFICIENT_DATA"), _undecided(rule, len(considered)), considered)
    return Verdict(state, _reason(rule, state, considered, absent), considered)


def _state(rule: AlarmRule, window: list[float | None], breaches: list[bool], absent: int) -> State | None:
    """None: the alarm stays as it is. `absent` is how many points there are too few, after looking back as far as AWS does."""
    filled = absent if rule.treat_missing == "breaching" else 0
    if sum(breaches) + filled >= rule.datapoints_to_alarm:
        return "ALARM"
    if rule.treat_missing in ("breaching", "notBreaching") or not all(breaches):
        return "OK"
    return _state_of_few(rule, window)


def _state_of_few(rule: AlarmRule, window: list[float | None]) -> State | None:
    """Too few points, none of them good, and missing ones stand for nothing.

    AWS's "premature alarm state": a breaching point as old as M periods raises the alarm, though a newer one waits for more,
    and with "ignore" the alarm stays. Where AWS does not say which state a waiting alarm has, it keeps its own here.
    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html#CloudWatch-alarms-avoiding-premature-transition
    """
    if rule.treat_missing == "ignore":
        return None
    age = max((back for back, value in enumerate(window, 1) if value is not None), default=0)
    if not age:
        return "INSUFFICIENT_DATA"
    return "ALARM" if age >= rule.datapoints_to_alarm else None


def _reason(rule: AlarmRule, state: State, considered: tuple[tuple[float, float], ...], absent: int) -> str:
    """AWS's sentence, of which it documents examples and no grammar.

    Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html; without DatapointsToAlarm as
    recorded in github.com/localstack/localstack tests/aws/services/cloudwatch/test_cloudwatch.snapshot.json (test_put_metric_alarm)
    """
    if state == "INSUFFICIENT_DATA":
        return f"Insufficient Data: {_count(absent, 'datapoint')} {_were(absent)} unknown."
    treated = f" and {_count(absent, 'missing datapoint')} {_were(absent)} treated as [{TREATMENTS[rule.treat_missing]}]" if absent else ""
    alarming = state == "ALARM"
    told = [f"{float(value)} ({_clock(start)})" for start, value in considered if rule.breached_by(value) is alarming]
    if not told:
        return f"Threshold Crossed: {_received(len(considered))} for {_count(rule.evaluation_periods, 'period')}{treated}."
    crossed = f"{_were(len(told))}{'' if alarming else ' not'} {COMPARISONS[rule.comparison][1]} the threshold ({float(rule.threshold)})"
    if not rule.m_of_n:
        return f"Threshold Crossed: {_count(len(told), 'datapoint')} [{', '.join(told)}] {crossed}{treated}."
    listed = f"{len(told)} out of the last {rule.evaluation_periods} datapoints [{', '.join(told)}]"
    return f"Threshold Crossed: {listed} {crossed}{treated} ({_minimum(rule, state)})."


def _minimum(rule: AlarmRule, state: State) -> str:
    if state == "ALARM":
        return f"minimum {_count(rule.datapoints_to_alarm, 'datapoint')} for OK -> ALARM transition"
    return f"minimum {_count(rule.evaluation_periods - rule.datapoints_to_alarm + 1, 'datapoint')} for ALARM -> OK transition"


def _undecided(rule: AlarmRule, received: int) -> str:
    """No text of AWS's: it changes no state here, so that nobody is told."""
    return f"Unchanged: {_count(received, 'datapoint')} of {rule.evaluation_periods} received, which is too few to change the state."


def _received(number: int) -> str:
    return f"{_count(number, 'datapoint') if number else 'no datapoints'} {_were(number)} received"


def _clock(start: float) -> str:
    return datetime.fromtimestamp(start, UTC).strftime("%d/%m/%y %H:%M:%S")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
