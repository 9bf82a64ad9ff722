"""Every process localcloud starts, each in a group of its own, so that all can be stopped."""

import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from localcloud import guardian

KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "HOME")
SETTLE_S = 5.0
CHUNK_BYTES = 65536


def base_environment() -> dict[str, str]:
    """What a child may see of this process's environment: no credentials, no settings of the user's own AWS account."""
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}


class Pipe:
    """What a process writes, line by line to a callback."""

    def __init__(self, stream: IO[bytes], on_line: Callable[[str], None]) -> None:
        self._reading = threading.Lock()
        self._ended = False
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)
        threading.Thread(target=self._read, args=(stream, on_line), daemon=True).start()

    def pending(self) -> bool:
        """Whether something that was written has not reached the callback."""
        with self._reading:
            return not self._ended and bool(self._poll.poll(0))

    def _read(self, stream: IO[bytes], on_line: Callable[[str], None]) -> None:
        """Lines end with a newline only: a carriage return stays, progress bars and tracebacks use it within one."""
        rest = b""
        waiting = select.poll()
        waiting.register(stream, select.POLLIN)
        while not self._ended:
            waiting.poll()
            with self._reading:
                chunk = os.read(stream.fileno(), CHUNK_BYTES)
                *lines, rest = (rest + chunk).split(b"\n")
                self._ended = not chunk
                for line in lines if chunk or not rest else [*lines, rest]:
                    on_line(line.removesuffix(b"\r").decode(errors="replace"))
        stream.close()


class Child:
    """A running process whose output lines go to callbacks; without one for errors, these are output too."""

    def __init__(self, process: "subprocess.Popen[bytes]", on_line: Callable[[str], None], on_error: Callable[[str], None] | None = None) -> None:
        self._process = process
        streams = [(process.stdout, on_line), (process.stderr, on_error)]
        self._pipes = [Pipe(stream, told) for stream, told in streams if stream is not None and told is not None]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def rss_bytes(self, children: bool = True) -> int:
        """Resident memory of the process, and of its children, which takes a look at every process; 0 once it is gone."""
        try:
            process = psutil.Process(self._process.pid)
            family = [process, *process.children(recursive=True)] if children else [process]
            return int(sum(p.memory_info().rss for p in family))
        except psutil.Error:
            return 0

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit code, once all output was read. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(timeout_s)
        self.settle()
        return code

    def settle(self) -> None:
        """Wait until the callback was given what was written so far. What left the group may hold the pipe open: that is not waited for."""
        ends = time.monotonic() + SETTLE_S
        while any(pipe.pending() for pipe in self._pipes) and time.monotonic() < ends:
            time.sleep(0.0005)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and all it started; one that is gone is fine."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


class Processes:
    """Starts children and stops them all, also when this process is killed: then the guardian does.

    `folder` is removed at the end; None removes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._mark = secrets.token_hex(8)
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, self._mark, str(folder or "")], stdin=subprocess.PIPE, text=True, start_new_session=True,
            env=base_environment(),
        )  # fmt: skip

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, on_line: Callable[[str], None], on_error: Callable[[str], None] | None = None
    ) -> Child:
        """Start a child in a process group of its own. Raises RuntimeError once stop_all was called."""
        with self._lock:
            if self._stopped:
                raise RuntimeError("localcloud is stopping: no process is started any more")
            process = subprocess.Popen(
                list(argv), cwd=cwd, env={**env, guardian.MARK: self._mark}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if on_error is None else subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            self._tell(f"+{process.pid}")
            child = Child(process, on_line, on_error)
            for gone in [c for c in self._children if not c.running]:
                self._children.discard(gone)
                self._tell(f"-{gone.pid}")
            self._children.add(child)
        return child

    @property
    def running(self) -> list[int]:
        """The process ids of all children that still run."""
        with self._lock:
            return [child.pid for child in self._children if child.running]

    def stop_all(self) -> None:
        """Kill every child and wait until it is gone; the guardian then takes what they left behind, and ends."""
        with self._lock:
            self._stopped = True
            children, self._children = self._children, set()
        for child in children:
            child.signal_group(signal.SIGKILL)
        for child in children:
            child.wait(10)
        self._guardian.communicate(timeout=10)

    def _tell(self, line: str) -> None:
        pipe = self._guardian.stdin
        assert pipe is not None  # noqa: S101  # made with a pipe
        pipe.write(f"{line}\n")
        pipe.flush()
