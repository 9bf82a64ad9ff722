"""Faults on demand: fail, throttle, delay, kill, duplicate or reorder, at any call, by rule and seed.

A rule is asked at every call that it names; whether it strikes depends on the seed, the rule and the number of the
call, never on the timing of threads, so that a run can be repeated.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from localcloud.clock import Clock
from localcloud.errors import ServiceError

THROTTLED = {
    "s3": "SlowDown", "dynamodb": "ProvisionedThroughputExceededException", "lambda": "TooManyRequestsException", "cloudformation": "Throttling",
    "iam": "Throttling", "sns": "Throttled", "sts": "Throttling", "sqs": "RequestThrottled",
}  # fmt: skip
Effect = Literal["fail", "throttle", "delay", "kill", "duplicate", "reorder", "drop"]


@dataclass(frozen=True)
class Fault:
    """One rule.

    where: `<service>:<operation>` of an API call ("dynamodb:PutItem", "s3:*"), or `deliver:<detail-type>` of an event on
        its way to a target; * and ? are wildcards. caller: the calling role's name, with wildcards.
    effect: fail (the error `code`), throttle (the service's own code), delay (`seconds`), kill (the process that
        calls); events may also be duplicated, reordered (held back by `seconds`) or dropped.
    when: before the call has had its effect, or after (the caller then sees a failure of something that happened).
    rate: share of calls it strikes; skip: calls let through first; times: strikes in all, None for no end.
    """

    where: str
    effect: Effect
    caller: str = "*"
    code: str = "InternalServerError"
    seconds: float = 0.0
    when: Literal["before", "after"] = "before"
    rate: float = 1.0
    skip: int = 0
    times: int | None = None


class CallerKilled(Exception):
    """The process that made this call is dead: nobody waits for an answer."""


class Faults:
    """The rules in force."""

    def __init__(self, clock: Clock, kill: Callable[[str], bool]) -> None:
        self._clock = clock
        self._kill = kill
        self._seed = 0
        self._rules: list[Fault] = []
        self._seen: dict[Fault, int] = {}
        self._struck: dict[Fault, int] = {}
        self._lock = threading.Lock()

    def set(self, *rules: Fault, seed: int = 0) -> None:
        """Replace all rules, and start counting anew."""
        with self._lock:
            self._seed, self._rules, self._seen, self._struck = seed, list(rules), {}, {}

    def strikes(self) -> int:
        """How often any rule struck since they were set."""
        return sum(self._struck.values())

    def at_call(self, when: str, service: str, operation: str, caller: str, access_key: str) -> None:
        """Asked before and after every API call. Raises ServiceError or CallerKilled, or takes time."""
        for rule in self._striking(f"{service}:{operation}", caller, when):
            match rule.effect:
                case "fail":
                    raise ServiceError(rule.code, f"injected: {rule.where}")
                case "throttle":
                    raise ServiceError(THROTTLED.get(service, "ThrottlingException"), f"Rate exceeded (injected: {rule.where})")
                case "delay":
                    self._clock.wait(rule.seconds)
                case "kill":
                    if self._kill(access_key):
                        raise CallerKilled(access_key)

    def on_delivery(self, detail_type: str) -> list[float]:
        """Seconds after which an event is delivered, once for each copy: usually [0.0]."""
        copies = [0.0]
        for rule in self._striking(f"deliver:{detail_type}", "", "before"):
            match rule.effect:
                case "drop":
                    copies = []
                case "duplicate":
                    copies = [*copies, *(rule.seconds for _ in copies)]
                case "delay" | "reorder":
                    copies = [copy + rule.seconds for copy in copies]
        return copies

    def _striking(self, where: str, caller: str, when: str) -> list[Fault]:
        if not self._rules:
            return []
        with self._lock:
            named = [r for r in self._rules if r.when == when and fnmatchcase(where, r.where) and fnmatchcase(caller, r.caller)]
            return [rule for rule in named if self._strikes(rule)]

    def _strikes(self, rule: Fault) -> bool:
        number = self._seen[rule] = self._seen.get(rule, 0) + 1
        if number <= rule.skip or (rule.times is not None and self._struck.get(rule, 0) >= rule.times):
            return False
        draw = random.Random(f"{self._seed}/{self._rules.index(rule)}/{number}").random()  # noqa: S311  # must repeat
        if draw >= rule.rate:
            return False
        self._struck[rule] = self._struck.get(rule, 0) + 1
        return True
