"""Faults on demand: fail, throttle, delay, kill, duplicate or reorder, at any call, by rule and seed.

A rule is asked at every call that it names; whether it strikes depends on the seed, the rule and the number of the
call, never on the timing of threads, so that a run can be repeated.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from localcloud.clock import Clock
from localcloud.errors import NotSupported, ServiceError

THROTTLED = {
    "s3": "SlowDown", "dynamodb": "ProvisionedThroughputExceededException", "lambda": "TooManyRequestsException", "cloudformation": "Throttling",
    "iam": "Throttling", "sns": "Throttled", "sts": "Throttling", "sqs": "RequestThrottled", "cloudwatch": "Throttling",
}  # fmt: skip
"""The code of a service that is asked too often; `ThrottlingException` where it is not here. Source: each API's errors."""
Effect = Literal["fail", "throttle", "delay", "kill", "duplicate", "reorder", "drop"]
When = Literal["before", "after"]
OF_CALLS = {"fail", "throttle", "delay", "kill"}
OF_DELIVERIES = {"duplicate", "reorder", "drop", "delay"}


@dataclass(frozen=True)
class Fault:
    """One rule.

    where: `<service>:<operation>` of an API call ("dynamodb:PutItem", "s3:*"), or `deliver:<detail-type>` of an event on
        its way to a target; * and ? are wildcards. caller: the calling role's name, with wildcards; `root` is the account.
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
    when: When = "before"
    rate: float = 1.0
    skip: int = 0
    times: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a rule that could never do what it says."""
        delivery, (service, colon, operation) = self.where.startswith("deliver:"), self.where.partition(":")
        for wrong, why in (
            (not (service and colon and operation), "`where` is not <service>:<operation> or deliver:<detail-type>"),
            (self.effect not in get_args(Effect), f"unknown effect {self.effect!r}"),
            (self.effect not in (OF_DELIVERIES if delivery else OF_CALLS), f"{'deliveries' if delivery else 'calls'} know no {self.effect}"),
            (self.when not in get_args(When), f"unknown moment {self.when!r}"),
            (delivery and self.when != "before", "a delivery has no after"),
            (delivery and self.caller != "*", "a delivery has no caller"),
            (self.effect in ("delay", "reorder") and self.seconds <= 0, f"{self.effect} needs `seconds`"),
            (self.seconds < 0 or self.skip < 0 or (self.times or 0) < 0, "`seconds`, `skip` and `times` count up from 0"),
            (not 0 <= self.rate <= 1, "`rate` is a share, from 0 to 1"),
        ):
            if wrong:
                raise ValueError(f"fault at {self.where}: {why}")


class CallerKilled(Exception):
    """The process that made this call is dead: nobody waits for an answer."""


class Faults:
    """The rules in force."""

    def __init__(self, clock: Clock, kill: Callable[[str], bool]) -> None:
        self._clock = clock
        self._kill = kill
        self._seed = 0
        self._rules: list[Fault] = []
        self._seen: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._lock = threading.Lock()

    def set(self, *rules: Fault, seed: int = 0) -> None:
        """Replace all rules, and start counting anew."""
        with self._lock:
            self._seed, self._rules, self._seen, self._struck = seed, list(rules), Counter(), Counter()

    def strikes(self) -> int:
        """How often any rule struck since they were set."""
        with self._lock:
            return self._struck.total()

    def at_call(self, when: str, service: str, operation: str, caller: str, access_key: str) -> None:
        """Asked before and after every API call. Raises ServiceError or CallerKilled, or takes time."""
        where = f"{service}:{operation}"
        for rule in self._striking(where, caller, when):
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
                    raise NotSupported(f"to kill the caller of {where}: {caller} is no running function")

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
            return [rule for number, rule in enumerate(self._rules) if _names(rule, where, caller, when) and self._strikes(number, rule)]

    def _strikes(self, number: int, rule: Fault) -> bool:
        """Whether the rule strikes at the next call it names: each call has its own draw, so the order of threads changes no count."""
        self._seen[number] += 1
        seen = self._seen[number]
        if seen <= rule.skip or (rule.times is not None and self._struck[number] >= rule.times):
            return False
        if random.Random(f"{self._seed}/{number}/{seen}").random() >= rule.rate:  # noqa: S311  # must repeat
            return False
        self._struck[number] += 1
        return True


def _names(rule: Fault, where: str, caller: str, when: str) -> bool:
    """A delivery is named by `deliver:` only, not by a wildcard for a service."""
    if rule.where.startswith("deliver:") is not where.startswith("deliver:"):
        return False
    return rule.when == when and fnmatchcase(where, rule.where) and fnmatchcase(caller, rule.caller)
