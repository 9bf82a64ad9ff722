"""A process of its own that outlives localcloud by a moment, however it ends, and kills what it started.

It reads `+<process group>` and `-<process group>` lines; at the end of its input, which also comes when localcloud is
killed, every group still listed dies, then everything else that carries the mark in its environment, and the folder goes.
Run as `python -I -S guardian.py <mark> <folder>`: it imports nothing but the standard library.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARK = "LOCALCLOUD_MARK"
PATIENCE_S, PAUSE_S = 4.0, 0.01


def main(mark: str, folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        kill(-group)
    keep_at(lambda: kill_marked(f"{MARK}={mark}".encode()))
    if folder:
        keep_at(lambda: remove(Path(folder)))


def keep_at(attempt: Callable[[], bool]) -> None:
    """Try until there is nothing left to do: what is killed dies a little later, forks before it does, and still writes."""
    ends = time.monotonic() + PATIENCE_S
    while not attempt() and time.monotonic() < ends:
        time.sleep(PAUSE_S)


def kill_marked(mark: bytes) -> bool:
    """True once there are none."""
    found = marked(mark)
    for pid in found:
        kill(pid)
    return not found


def remove(folder: Path) -> bool:
    """True once it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def kill(pid: int) -> None:
    """A negative number is a process group, as in kill(2)."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def marked(mark: bytes) -> list[int]:
    """Processes that left their group but kept the mark; Linux only, elsewhere none are found."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
