"""The one clock of localcloud's own timers: delays, Wait states, timeouts, schedules, alarm periods.

It runs with real time; a test moves it forward with `advance`. Processes that localcloud starts live in real time.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger("localcloud")


@dataclass(order=True)
class Timer:
    """Something to do at a moment; `period_s` repeats it."""

    due: float
    number: int
    action: Callable[[], None] = field(compare=False)
    period_s: float | None = field(default=None, compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Signal(threading.Event):
    """An event whose setting wakes what waits on the clock."""

    def __init__(self, condition: threading.Condition) -> None:
        super().__init__()
        self._clock = condition

    def set(self) -> None:
        super().set()
        with self._clock:
            self._clock.notify_all()


class Clock:
    """Everything in localcloud that waits, waits here."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._condition = threading.Condition()
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._stopped = False
        threading.Thread(target=self._run, daemon=True, name="clock").start()

    def now(self) -> float:
        """Seconds since the epoch, by this clock."""
        return time.time() + self.offset

    def signal(self) -> Signal:
        return Signal(self._condition)

    def wait(self, seconds: float, until: Signal | None = None) -> bool:
        """Wait by this clock; True as soon as `until` is set."""
        ends = self.now() + seconds
        with self._condition:
            while not (until and until.is_set()) and not self._stopped and (left := ends - self.now()) > 0:
                self._condition.wait(left)
        return bool(until and until.is_set())

    def at(self, moment: float, action: Callable[[], None], period_s: float | None = None) -> Timer:
        """Do something at a moment, and again every `period_s` if given. Actions must be short: they run one at a time."""
        timer = Timer(moment, next(self._numbers), action, period_s)
        with self._condition:
            heapq.heappush(self._timers, timer)
            self._condition.notify_all()
        return timer

    def advance(self, seconds: float) -> None:
        """Move the clock forward: timers that come due run in their order, each at its own moment; who waits wakes up."""
        target = self.now() + seconds
        while (timer := self._due(target)) is not None:
            self._move(timer.due)
            self._fire(timer)
        self._move(target)

    def stop(self) -> None:
        """Wake everybody; no timer fires any more."""
        with self._condition:
            self._stopped = True
            self._timers.clear()
            self._condition.notify_all()

    def _move(self, moment: float) -> None:
        with self._condition:
            self.offset += max(0.0, moment - self.now())
            self._condition.notify_all()

    def _due(self, moment: float) -> Timer | None:
        with self._condition:
            return heapq.heappop(self._timers) if self._timers and self._timers[0].due <= moment else None

    def _run(self) -> None:
        while not self._stopped:
            with self._condition:
                if not self._timers or self._timers[0].due > self.now():
                    self._condition.wait(self._timers[0].due - self.now() if self._timers else None)
            if (timer := self._due(self.now())) is not None:
                self._fire(timer)

    def _fire(self, timer: Timer) -> None:
        if timer.cancelled:
            return
        try:
            timer.action()
        except Exception:
            log.exception("a timer failed")
        if timer.period_s is not None:
            timer.due += timer.period_s
            with self._condition:
                if not self._stopped:
                    heapq.heappush(self._timers, timer)
