"""How long something may take: until it is stopped, or until a moment passes, by the clock."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from localcloud.clock import Clock, Signal

T = TypeVar("T")


class Either(Signal):
    """Set as soon as one of two signals is; who waits for it wakes with both."""

    def __init__(self, one: Signal, other: Signal) -> None:
        super().__init__(one._clock)
        self._parts = (one, other)

    def is_set(self) -> bool:
        return any(part.is_set() for part in self._parts)


@dataclass(frozen=True)
class Patience:
    """Waits for a state. `stopped` raises when `stop` is set, each limit raises its error from its moment on."""

    clock: Clock
    stop: Signal
    stopped: Exception
    limits: tuple[tuple[float, Exception], ...] = ()

    def within(self, moment: float, failure: Exception) -> "Patience":
        return replace(self, limits=(*self.limits, (moment, failure)))

    def check(self) -> None:
        if self.stop.is_set():
            raise self.stopped
        now = self.clock.now()
        for moment, failure in self.limits:
            if now >= moment:
                raise failure

    def __call__(self, seconds: float) -> None:
        """Wait; raises as soon as there is a reason to stop."""
        self.clock.wait(self._at_most(seconds), until=self.stop)
        self.check()

    def during(self, work: Callable[[], T]) -> T:
        """Do work that cannot be interrupted; when patience ends first, nobody waits for its result any more."""
        done = self.clock.signal()
        results: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                failures.append(error)
            finally:
                done.set()

        threading.Thread(target=run, daemon=True).start()
        while not done.is_set():
            self.clock.wait(self._at_most(60.0), until=Either(done, self.stop))
            if not done.is_set():
                self.check()
        if failures:
            raise failures[0]
        return results[0]

    def _at_most(self, seconds: float) -> float:
        return max(0.0, min([seconds, *(moment - self.clock.now() for moment, _ in self.limits)]))
