"""Every process localcloud starts, each in a group of its own, so that all can be stopped."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "HOME")


def base_environment() -> dict[str, str]:
    """What a child may see of this process's environment: no credentials, no settings of the user's own AWS account."""
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}


class Child:
    """A running process whose output lines go to a callback."""

    def __init__(self, process: "subprocess.Popen[str]", on_line: Callable[[str], None]) -> None:
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process.stdout, on_line), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit code, once all output was read. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout_s)
        self._reader.join(5)
        return code

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and all it started; one that is gone is fine."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _read(self, stream: IO[str], on_line: Callable[[str], None]) -> None:
        for line in stream:
            on_line(line.rstrip("\n"))


class Processes:
    """Starts children and stops them all."""

    def __init__(self) -> None:
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, on_line: Callable[[str], None]) -> Child:
        with self._lock:
            if self._stopped:
                raise RuntimeError("localcloud is stopping: no process is started any more")
            process = subprocess.Popen(
                list(argv), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            child = Child(process, on_line)
            self._children = {c for c in self._children if c.running} | {child}
        return child

    def stop_all(self) -> None:
        """Kill every child and wait until it is gone."""
        with self._lock:
            self._stopped = True
            children, self._children = self._children, set()
        for child in children:
            child.signal_group(signal.SIGKILL)
        for child in children:
            child.wait(10)
