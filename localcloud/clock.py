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

LONGEST_WAIT_S = 3600.0
PATIENCE_S = 1.0
"""How long `advance` lets a timer's action finish before it moves on; an action that itself waits on the clock needs that."""


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
        self._firing = threading.RLock()
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
                self._condition.wait(min(left, LONGEST_WAIT_S))
        return bool(until and until.is_set())

    def at(self, moment: float, action: Callable[[], None], period_s: float | None = None) -> Timer:
        """Do something at a moment, and again every `period_s` if given. Actions must be short: they run one at a time."""
        if period_s is not None and period_s <= 0:
            raise ValueError(f"a timer's period must be longer than {period_s} s")
        timer = Timer(moment, next(self._numbers), action, period_s)
        with self._condition:
            if not self._stopped:
                heapq.heappush(self._timers, timer)
            self._condition.notify_all()
        return timer

    def advance(self, seconds: float) -> None:
        """Move the clock forward: timers that come due run in their order, each at its own moment; who waits wakes up."""
        if seconds < 0:
            raise ValueError(f"the clock goes forward only, not by {seconds} s")
        target = self.now() + seconds
        while (due := self._next_due(target)) is not None:
            self._move(due)
            if not self._firing.acquire(timeout=PATIENCE_S):
                break
            try:
                self._fire_first(due)
            finally:
                self._firing.release()
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

    def _next_due(self, moment: float) -> float | None:
        with self._condition:
            return self._timers[0].due if self._timers and self._timers[0].due <= moment else None

    def _run(self) -> None:
        while not self._stopped:
            with self._condition:
                left = self._timers[0].due - self.now() if self._timers else LONGEST_WAIT_S
                if left > 0:
                    self._condition.wait(min(left, LONGEST_WAIT_S))
            with self._firing:
                self._fire_first(self.now())

    def _fire_first(self, moment: float) -> None:
        """Run the action of the first timer that is due, if there is one. Called with `_firing` held: one action at a time, in order."""
        with self._condition:
            if self._stopped or not self._timers or self._timers[0].due > moment:
                return
            timer = heapq.heappop(self._timers)
        if timer.cancelled:
            return
        try:
            timer.action()
        except Exception:
            log.exception("a timer failed")
        if timer.period_s is not None and not timer.cancelled:
            timer.due += timer.period_s
            with self._condition:
                if not self._stopped:
                    heapq.heappush(self._timers, timer)
