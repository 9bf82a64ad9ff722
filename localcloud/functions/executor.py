"""Warm environments by function version, cold ones when all are busy, and the limit on how many."""

import io
import threading
import zipfile
from pathlib import Path

from localcloud.errors import ServiceError
from localcloud.functions.environment import Blueprint, Environment, Outcome
from localcloud.logs import LogWriter
from localcloud.processes import Processes


class Executor:
    """Runs functions. Environments whose blueprint is out of date are stopped when they are next idle."""

    def __init__(self, folder: Path, python: str, aws: dict[str, str], processes: Processes, logs: LogWriter) -> None:
        self._folder = folder
        self._python = python
        self._aws = aws
        self._processes = processes
        self._logs = logs
        self._pools: dict[str, list[tuple[Blueprint, Environment]]] = {}
        self._lock = threading.Lock()

    def unpack(self, digest: str, data: bytes) -> Path:
        """The folder that holds a zip's content, unpacked once a digest."""
        target = self._folder / digest.replace("/", "_").replace("=", "")
        with self._lock:
            if not target.exists():
                partial = target.with_suffix(".partial")
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    archive.extractall(partial)
                partial.rename(target)
        return target

    def run(self, blueprint: Blueprint, event: bytes, concurrency: int | None) -> Outcome:
        """Invoke in a free environment. Raises TooManyRequestsException above the reserved concurrency."""
        environment = self._take(blueprint, concurrency)
        try:
            return environment.invoke(event)
        finally:
            environment.busy = False

    def forget(self, arn: str) -> None:
        """Stop what runs for a function that was changed or deleted."""
        with self._lock:
            pool = self._pools.pop(arn, [])
        for _, environment in pool:
            if not environment.busy:
                environment.stop()

    def _take(self, blueprint: Blueprint, concurrency: int | None) -> Environment:
        with self._lock:
            pool = [(b, e) for b, e in self._pools.get(blueprint.arn, []) if e.alive]
            for known, environment in pool:
                if known == blueprint and not environment.busy:
                    environment.busy = True
                    self._pools[blueprint.arn] = pool
                    return environment
            stale = [e for b, e in pool if b != blueprint and not e.busy]
            pool = [(b, e) for b, e in pool if e not in stale]
            if concurrency is not None and len(pool) >= concurrency:
                raise ServiceError("TooManyRequestsException", "Rate Exceeded.")
            environment = Environment(blueprint, self._python, self._aws, self._processes, self._logs)
            self._pools[blueprint.arn] = [*pool, (blueprint, environment)]
        for old in stale:
            old.stop()
        return environment
