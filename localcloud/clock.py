"""The one clock of localcloud's own timers: delays, Wait states, timeouts, polling."""

import threading
import time


class Clock:
    """Real time. Everything in localcloud that waits, waits here."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        """Wait, or return True as soon as `until` is set."""
        return (until or threading.Event()).wait(max(0.0, seconds))
